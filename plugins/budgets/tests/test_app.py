"""Budgets in a whole app: what is reserved before each request to a model, and settled after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from fairlead import ModelAnswer, ModelInfo, ModelRequest, Principal, Text, Usage, errors, events
from fairlead.config import Agent
from fairlead.testing import CapturingChannel, RecordingObserver, calls
from fairlead_budgets import _file
from fairlead_budgets.operations import accounts, audit, report

from .spending import answer, app_of, one, provider, table

TEN = {"limits": {"ten": {"requests": 10, "window": "total"}}}


async def asked_at_once(app: object, number: int) -> tuple[int, list[errors.TurnFailed]]:
    """How many were answered, and the refusals."""
    answered, refused = 0, list[errors.TurnFailed]()

    async def ask(place: int) -> None:
        nonlocal answered
        try:
            await app.ask("hi", session=f"s{place}")  # type: ignore[attr-defined]  # an App
        except errors.TurnFailed as failure:
            refused.append(failure)
        else:
            answered += 1

    async with trio.open_nursery() as nursery:
        for place in range(number):
            nursery.start_soon(ask, place)
    return answered, refused


@pytest.mark.parametrize(
    "limit",
    [{"requests": 10}, {"tokens": 10 * 10_300}, {"dollars": 10 * 0.103}],
    ids=["requests", "tokens", "dollars"],
)
async def test_fifty_at_once_against_a_budget_for_ten_are_ten_requests(tmp_path: Path, limit: dict[str, float]) -> None:
    """Behaviour 23, in each unit: ten reach the model, forty are refused by name before it hears of them."""
    dear = ModelInfo("m", max_output=10_000, input_price=10.0, output_price=10.0)
    model = provider([answer(usage=Usage(300, 10_000))], dear, repeat=True, delay=0.05)
    limits = {"ten": limit | {"window": "total"}}
    async with app_of(tmp_path, model, limits=limits) as app:
        answered, refused = await asked_at_once(app, 50)
    assert (10, 10, 40) == (answered, model.answered, len(refused))
    assert {("policy", "app:budget ten")} == {(failure.reason, failure.rule) for failure in refused}
    assert all("'ten'" in failure.problem for failure in refused)
    state = one(tmp_path, limits=limits)
    assert (10, 0, 1.0) == (state.used_requests, state.held_requests, round(state.share, 9))
    assert () == audit(table(tmp_path)).faults


async def test_each_person_has_the_budget_for_herself(tmp_path: Path) -> None:
    """Ann's is used up, Bob's is not; the host's own questions are nobody's in particular, and count together."""
    limits = {"person": {"scope": "principal", "requests": 1}}
    async with app_of(tmp_path, provider([answer()], repeat=True), limits=limits) as app:
        ann, bob = Principal("kit:ann"), Principal("kit:bob")
        await app.ask("hi", session="a", principal=ann)
        with pytest.raises(errors.TurnFailed, match="Budget 'person' of kit:ann is used up: 1 of 1 requests made"):
            await app.ask("hi", session="a", principal=ann)
        await app.ask("hi", session="b", principal=bob)
        await app.ask("hi", session="c")
        with pytest.raises(errors.TurnFailed, match="'person' of nobody in particular"):
            await app.ask("hi", session="d")


async def test_sessions_and_agents_have_budgets_of_their_own(tmp_path: Path) -> None:
    """A session that is used up stops nobody else; what everybody spent counts for the agent."""
    limits = {"talk": {"scope": "session", "requests": 2}, "agent": {"scope": "agent", "who": "main", "requests": 3}}
    async with app_of(tmp_path, provider([answer()], repeat=True), limits=limits) as app:
        await app.ask("hi", session="a")
        await app.ask("hi", session="a")
        with pytest.raises(errors.TurnFailed, match="'talk' of a is used up"):
            await app.ask("hi", session="a")
        await app.ask("hi", session="b")
        with pytest.raises(errors.TurnFailed, match="'agent' of main is used up"):
            await app.ask("hi", session="c")


async def test_every_request_of_a_turn_counts(tmp_path: Path) -> None:
    """A turn with a tool is two; the second does not fit, and the turn ends with the words of the budget."""
    limits = {"one": {"requests": 1}}
    async with app_of(tmp_path, provider([calls(("nothing", {})), answer()]), limits=limits) as app:
        with pytest.raises(errors.TurnFailed, match="1 of 1 requests made since") as caught:
            await app.ask("hi", session="s")
    assert "app:budget one" == caught.value.rule
    assert "policy" == caught.value.reason


async def test_fallback_to_a_dearer_model_is_another_request(tmp_path: Path) -> None:
    """The first fails and costs nothing; the second would cost too much, and is not asked."""
    dear = ModelInfo("dear", window=100_000, max_output=1000, input_price=100.0, output_price=1000.0)
    first = provider([errors.RateLimited("busy", provider="p")], name="p")
    second = provider([answer()], dear, name="q")
    limits = {"day": {"dollars": 0.5, "window": "day"}}
    async with app_of(tmp_path, first, second, chain=("p/m", "q/dear"), limits=limits) as app:
        with pytest.raises(errors.TurnFailed, match="This request is larger than the whole budget 'day'"):
            await app.ask("hi", session="s")
    assert (1, 0) == (first.answered, second.answered)
    assert (0, 0) == (one(tmp_path, limits=limits).used_requests, one(tmp_path, limits=limits).held_requests)


@pytest.mark.parametrize(
    ("failure", "requests"),
    [
        (errors.RateLimited("busy", provider="p"), 0),
        (errors.AuthenticationFailed("no", provider="p"), 0),
        (errors.ProviderTimeout("late", provider="p"), 2),  # these two are asked once more
        (errors.BrokenStream("half", provider="p"), 2),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_a_failure_costs(tmp_path: Path, failure: Exception, requests: int) -> None:
    """Nothing where the provider surely did nothing; else the most that it can have been, since nobody can know."""
    limits = {"day": {"dollars": 5, "requests": 10, "window": "day"}}
    async with app_of(tmp_path, provider([failure]), limits=limits) as app:
        with pytest.raises(errors.TurnFailed):
            await app.ask("hi", session="s")
    state = one(tmp_path, limits=limits)
    assert (requests, 0, bool(requests)) == (state.used_requests, state.held_requests, state.used_dollars > 0.01)
    assert requests == sum(row.unknown for row in report(table(tmp_path), "session", 0))


async def test_answer_without_figures_is_paid_as_reserved(tmp_path: Path) -> None:
    """A provider that does not say what it used gets nobody past a budget."""
    limits = {"day": {"tokens": 1_000_000}}
    async with app_of(tmp_path, provider([ModelAnswer((Text("fine"),))]), limits=limits) as app:
        await app.ask("hi", session="s")
    assert one(tmp_path, limits=limits).used_tokens > 1000


async def test_cancelled_turn_is_paid_as_reserved(tmp_path: Path) -> None:
    """The provider may have worked."""
    limits = {"day": {"dollars": 5}}
    async with app_of(tmp_path, provider([answer()], delay=3600), limits=limits) as app:
        with trio.move_on_after(0.2):
            await app.ask("hi", session="s")
    state = one(tmp_path, limits=limits)
    assert (1, 0) == (state.used_requests, state.held_requests)
    assert state.used_dollars > 0.01


async def test_denial_of_another_policy_gives_back_what_was_reserved(tmp_path: Path) -> None:
    """The request was never sent."""
    rules = [{"name": "no models", "effect": "deny", "actions": ["model_request"]}]
    limits = {"day": {"dollars": 5}}
    model = provider([answer()])
    async with app_of(tmp_path, model, rules=rules, limits=limits) as app:
        with pytest.raises(errors.TurnFailed, match="no models"):
            await app.ask("hi", session="s")
    state = one(tmp_path, limits=limits)
    assert (0, 0, 0) == (model.answered, state.used_requests, state.held_requests)


async def test_person_reads_what_is_spent_and_when_it_renews(tmp_path: Path) -> None:
    """In the channel where she asked; in the time of the budget and in UTC."""
    limits = {"day": {"dollars": 0.011, "window": "day"}}
    channel = CapturingChannel()
    model = provider([answer(usage=Usage(100, 1000))], repeat=True)
    async with (
        app_of(tmp_path, model, channels=[channel], limits=limits, timezone="Europe/Berlin") as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        await channel.say("hi", author="ann")
        await channel.next()
        await channel.say("and now?", author="ann")
        (part,) = (await channel.next()).parts
        app.stop()
    assert isinstance(part, Text)
    assert "Too little is left of budget 'day': $0.01 of $0.01 spent since " in part.text
    assert ", and this request may cost $0.0" in part.text
    assert "It renews at " in part.text
    assert "00:00 CET (" in part.text or "00:00 CEST (" in part.text


async def test_warning_reaches_observers_and_the_person_once(tmp_path: Path) -> None:
    """At half of it, below the next answer, and not again in this window."""
    limits = {"few": {"requests": 10, "warn_at": 0.2, "tell": True}}
    seen = RecordingObserver()
    async with app_of(tmp_path, provider([answer()], repeat=True), observers=[seen], limits=limits) as app:
        texts = [(await app.ask("hi", session="s")).text for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked()  # observers are behind
    told = [event.reason for event in seen.events(events.Decided) if event.rule == "budget few"]
    assert ["fine", "fine"] == texts[:2]
    assert texts[2].startswith("fine\n20% of budget 'few' is used: 2 of 10 requests. It renews at ")
    assert ["fine", "fine"] == texts[3:]
    assert 1 == len(told)
    assert told[0] in texts[2]


async def test_budget_that_only_warns_lets_everything_pass(tmp_path: Path) -> None:
    """The operator is told once."""
    limits = {"few": {"requests": 1, "at_limit": "warn"}}
    seen = RecordingObserver()
    async with app_of(tmp_path, provider([answer()], repeat=True), observers=[seen], limits=limits) as app:
        for _ in range(4):
            await app.ask("hi", session="s")
        await trio.testing.wait_all_tasks_blocked()  # observers are behind
    told = [event.effect for event in seen.events(events.Decided) if event.rule == "budget few"]
    assert ["allow"] == told
    assert 4 == one(tmp_path, limits=limits).used_requests


async def test_answer_is_bounded_where_nothing_else_bounds_it(tmp_path: Path) -> None:
    """A model that does not say how much it can answer is told; what is reserved is then the most."""
    silent = ModelInfo("m", input_price=1.0, output_price=1.0)
    model = provider([answer()], silent, repeat=True)
    async with app_of(tmp_path, model, limits={"day": {"dollars": 5}}) as app:
        await app.ask("hi", session="s")
    async with app_of(tmp_path, model, limits={"day": {"dollars": 5}}, output_tokens=200) as app:
        await app.ask("hi", session="t")
    assert [4096, 200] == [request.max_output_tokens for request in model.requests]


async def test_unpriced_model_is_refused_with_what_to_type(tmp_path: Path) -> None:
    """Until somebody writes its price down, or says that only tokens count."""
    unpriced = ModelInfo("m", max_output=100)
    limits = {"day": {"dollars": 5}}
    model = provider([answer()], unpriced, repeat=True)
    async with app_of(tmp_path, model, limits=limits) as app:
        with pytest.raises(errors.TurnFailed, match=r'prices\] "p/m" = \{ input = 2.5, output = 10 \}'):
            await app.ask("hi", session="s")
    async with app_of(tmp_path, model, limits=limits, unknown_price="tokens") as app:
        await app.ask("hi", session="s")
    assert (0.0, 150) == (one(tmp_path, limits=limits).used_dollars, one(tmp_path, limits=limits).used_tokens)
    async with app_of(tmp_path, model, limits=limits, prices={"p/*": {"input": 10, "output": 100}}) as app:
        await app.ask("hi", session="s")
    assert 0.006 == round(one(tmp_path, limits=limits).used_dollars, 9)


async def test_ledger_that_cannot_be_written_stops_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent that nobody writes down; once it can be written, the next one passes."""
    monkeypatch.setattr(_file, "BUSY_SECONDS", 0.05)
    limits = {"day": {"dollars": 5}}
    model = provider([answer()], repeat=True)
    async with app_of(tmp_path, model, limits=limits) as app:
        other = _file.connect(table(tmp_path).file)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.TurnFailed, match=r"what is spent cannot be written down: .* by another process"):
            await app.ask("hi", session="s")
        other.execute("ROLLBACK")
        other.close()
        assert 0 == model.answered
        await app.ask("hi", session="s")
    assert 1 == model.answered


async def test_summary_of_a_long_session_counts(tmp_path: Path) -> None:
    """A compaction asks a model as well; every request that reached it is in the ledger, and nothing else is."""
    small = ModelInfo("m", window=4000, max_output=100, input_price=1.0, output_price=10.0)
    words = "The harbour was quiet and the crew went on with the usual work of the day. " * 12

    def step(request: ModelRequest) -> ModelAnswer:
        summary = request.instructions.startswith("You write the summary")
        return answer("They spoke of the harbour." if summary else words, Usage(len(request.history), 200))

    model = provider([step], small, repeat=True)
    limits = {"all": {"requests": 1000}}
    async with app_of(tmp_path, model, limits=limits) as app:
        for number in range(8):
            await app.ask(f"question {number}: {words}", session="s")
        made = await app.sessions.compact("s")
        assert made is not None
        assert made.summary
    state = one(tmp_path, limits=limits)
    assert 8 < model.answered == state.used_requests
    assert ["s"] == [row.who for row in report(table(tmp_path), "session", 0)]


async def test_turn_of_several_people_is_charged_to_each(tmp_path: Path) -> None:
    """What was collected while a turn ran is one request; it needs room in the budget of everybody who asked."""
    limits = {"person": {"scope": "principal", "requests": 1}, "all": {"requests": 10}}
    channel, model = CapturingChannel(), provider([answer()], repeat=True, delay=0.5)
    async with (
        app_of(tmp_path, model, channels=[channel], agent=Agent(mode="collect"), limits=limits) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        await channel.say("one", author="ann")
        while not model.answered:
            await trio.testing.wait_all_tasks_blocked(0.01)
        await channel.say("two", author="bob")
        await channel.say("three", author="carl")
        assert ["answer", "answer"] == [(await channel.next()).kind for _ in range(2)]
        await channel.say("four", author="carl")
        assert "notice" == (await channel.next()).kind
        app.stop()
    used = {each.who: each.used_requests for each in accounts(table(tmp_path, limits=limits))}
    assert {"captured:ann": 1, "captured:bob": 1, "captured:carl": 1, "": 2} == used
    assert 2 == model.answered
