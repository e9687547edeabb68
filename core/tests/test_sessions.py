"""Sessions: the fold, the view of the history, the cache, and what people do with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import Address, Delivery, Message, Principal, Text, ToolCall, ToolResult, Usage, errors, events
from fairlead._fold import History, SessionState, apply, fold
from fairlead._journal import VolatileJournal
from fairlead._schemas import check
from fairlead._session import Session, Sessions
from fairlead.config import Config, Limits
from fairlead.testing import CapturingChannel, CountingTool, ScriptedProvider, calls

Record = events.Record


def said(text: str, role: Any = "user", **fields: Any) -> Message:
    return Message(role, (Text(text),), **fields)


# -- a story: any run of turns that the engine could have journalled


@st.composite
def turn_events(draw: st.DrawFn, number: int) -> list[events.Event]:
    """One message and what became of it; perhaps cut off in the middle."""
    turn, message = f"t{number}", said(f"question {number}", id=f"m{number}")
    address = draw(st.sampled_from([None, Address("chat", conversation="room")]))
    story: list[events.Event] = [
        events.MessageAccepted(message=message, address=address),
        events.TurnStarted(turn=turn, messages=(message.id,)),
    ]
    for step in range(draw(st.integers(0, 2))):
        made = tuple(ToolCall(f"{turn}c{step}{n}", "tool", {}) for n in range(draw(st.integers(1, 2))))
        story.append(answer(turn, said("wait", "assistant", calls=made)))
        story.extend(events.ToolReturned(turn=turn, result=ToolResult(call.id, "tool", (Text("r"),))) for call in made)
    outcome: Any = draw(st.sampled_from(["answered", "failed", "cancelled"]))
    if outcome == "answered":
        story.append(answer(turn, said(f"answer {number}", "assistant")))
    notice = None if outcome == "answered" else said("sorry", "assistant")
    story.append(events.TurnEnded(turn=turn, messages=(message.id,), outcome=outcome, answer=notice, address=address))
    if address is not None:
        story.append(events.AnswerSending(turn=turn, attempt=1))
        story.append(events.AnswerDelivered(turn=turn, status="sent"))
    return story


def answer(turn: str, message: Message) -> events.ModelAnswered:
    return events.ModelAnswered(turn=turn, message=message, provider="p", model="m", usage=Usage(1, 2))


@st.composite
def stories(draw: st.DrawFn) -> list[Record]:
    """A session's records, cut off anywhere."""
    happened: list[events.Event] = [events.SessionStarted(agent="main", owner="alice")]
    for number in range(draw(st.integers(0, 4))):
        happened.extend(draw(turn_events(number)))
    kept = happened[: draw(st.integers(1, len(happened)))]
    return [Record("s", version, event) for version, event in enumerate(kept, 1)]


def without_version(state: SessionState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("agent", "items", "queue", "turn", "outbox")}


@settings(max_examples=60, deadline=None)
@given(stories(), st.data())
def test_fold_is_the_same_as_taking_one_event_after_the_other(records: list[Record], data: st.DataObject) -> None:
    """From any place on: what a process holds in memory is what another one reads from the journal."""
    place = data.draw(st.integers(0, len(records)))
    state = fold("s", records[:place])
    for record in records[place:]:
        apply(state, record.event)
    assert without_version(fold("s", records)) == without_version(state)
    assert len(records) == fold("s", records).version


@settings(max_examples=60, deadline=None)
@given(stories(), st.data())
def test_rollback_gives_the_state_of_that_version(records: list[Record], data: st.DataObject) -> None:
    """Whatever was rolled back before, and also where the version itself had been rolled back."""
    for _ in range(3):
        to = data.draw(st.integers(1, len(records)))
        then = without_version(fold("s", records[:to]))
        records = [*records, Record("s", len(records) + 1, events.RolledBack(to_version=to))]
        assert then == without_version(fold("s", records))
        assert len(records) == fold("s", records).version


@settings(max_examples=60, deadline=None)
@given(stories())
def test_nothing_is_pending_when_all_has_ended(records: list[Record]) -> None:
    """Pending is: a message without an end, an open turn, or an answer on its way."""
    accepted = {r.event.message.id for r in records if isinstance(r.event, events.MessageAccepted)}
    ended = [r.event for r in records if isinstance(r.event, events.TurnEnded)]
    delivered = {r.event.turn for r in records if isinstance(r.event, events.AnswerDelivered)}
    unsent = {event.turn for event in ended if event.address is not None} - delivered
    assert fold("s", records).pending is bool(
        unsent or accepted - {message for event in ended for message in event.messages}
    )


# -- the view of the history


ITEMS: list[Message | ToolResult] = [said(str(number)) for number in range(6)]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 6),
    st.none() | st.integers(-8, 8),
    st.none() | st.integers(-8, 8),
    st.none() | st.integers(-3, 3).filter(bool),
)
def test_history_is_like_a_tuple_of_its_items(
    length: int, start: int | None, stop: int | None, step: int | None
) -> None:
    """Indices, negative ones, slices, iteration both ways, membership."""
    view, plain = History(list(ITEMS), length), tuple(ITEMS[:length])
    assert (len(plain), plain, plain[::-1]) == (len(view), tuple(view), tuple(reversed(view)))
    assert list(plain[start:stop:step]) == list(view[start:stop:step])
    for index in range(-8, 8):
        if -length <= index < length:
            assert plain[index] is view[index]
        else:
            with pytest.raises(IndexError):
                view[index]
    assert [item in plain for item in ITEMS] == [item in view for item in ITEMS]


def test_history_does_not_grow_while_it_is_read() -> None:
    """Not even in the middle of an iteration, and not its slices."""
    items = list(ITEMS[:3])
    view = History(items, len(items))
    seen = []
    for item in view:
        items.append(said("later"))
        seen.append(item)
    assert ITEMS[:3] == seen == list(view) == list(view[:])
    assert (3, ITEMS[2]) == (len(view), view[-1])


# -- the cache


async def start(journal: VolatileJournal, name: str) -> None:
    await journal.append(name, 0, [events.SessionStarted(agent="main")], pending=False)


async def test_cache_forgets_the_least_recently_used_only() -> None:
    """And reads it again when it is wanted."""
    journal = VolatileJournal()
    sessions = Sessions(journal, capacity=3)
    for name in "abc":
        await start(journal, name)
        await sessions.get(name)
    await sessions.get("a")
    await sessions.get("d")
    assert (True, False, True, True) == tuple(sessions.peek(name) is not None for name in "abcd")
    assert 1 == (await sessions.get("b")).state.version


async def test_cache_never_forgets_a_session_in_use() -> None:
    """Neither one that a task holds nor one with unfinished work, whatever the capacity."""
    journal = VolatileJournal()
    sessions = Sessions(journal, capacity=2)
    held = await sessions.get("held")
    held.users += 1
    waiting = await sessions.get("waiting")
    await waiting.append(events.MessageAccepted(message=said("hi")))
    for number in range(20):
        await sessions.get(f"other{number}")
    assert held is await sessions.get("held")
    assert waiting is await sessions.get("waiting")


async def test_many_sessions_through_a_small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is answered in its place, with four times as many sessions as the cache holds."""
    monkeypatch.setattr(Sessions.__init__, "__defaults__", (None, 5))
    provider = ScriptedProvider([lambda request: f"{request.session} {len(request.history)}"], repeat=True)
    replies: list[str] = []

    async def ask(app: fairlead.App, session: str) -> None:
        replies.append((await app.ask("hi", session=session)).text)

    async with fairlead.open(providers=[provider]) as app, trio.open_nursery() as nursery:
        for _ in range(3):
            for number in range(20):
                nursery.start_soon(ask, app, f"s{number}")
    assert sorted(f"s{number} {length}" for number in range(20) for length in (1, 3, 5)) == sorted(replies)


async def test_two_tasks_that_ask_for_one_session_get_one() -> None:
    """Also when both had to read it."""

    class Slow(VolatileJournal):
        async def read(self, session: str, after: int = 0) -> Any:
            await trio.lowlevel.checkpoint()
            return await super().read(session, after)

    sessions = Sessions(Slow())
    got: list[Session] = []

    async def get() -> None:
        got.append(await sessions.get("s"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(get)
        nursery.start_soon(get)
    assert got[0] is got[1]


async def test_noted_event_survives_an_append_that_was_refused() -> None:
    """The same message delivered twice while a turn runs: the turn goes on as if nothing had come."""
    channel = CapturingChannel()
    asked, go_on = trio.Event(), trio.Event()

    async def think(request: fairlead.ModelRequest) -> str:
        asked.set()
        await go_on.wait()
        return "Hello."

    async with (
        fairlead.open(providers=[ScriptedProvider([think, "again"])], channels=[channel]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        session = (await channel.say("hi", external_id="e1")).session
        await asked.wait()
        assert "duplicate" == (await channel.say("hi", external_id="e1")).status
        assert "duplicate" == (await channel.say("hi", external_id="e1")).status
        go_on.set()
        await channel.next()
        await channel.say("more", external_id="e2")
        await channel.next()
        history = [item.text for item in await app.sessions.history(session)]
        usage = [r.event.usage for r in await app.sessions.records(session) if isinstance(r.event, events.TurnEnded)]
        app.stop()
    assert ["hi", "Hello.", "more", "again"] == history
    assert [Usage(10, 5)] * 2 == usage


# -- what people do with sessions


async def talk(app: fairlead.App, *texts: str, session: str = "s") -> list[int]:
    """Ask each, and give the version after each."""
    versions = []
    for text in texts:
        await app.ask(text, session=session)
        versions.append((await app.sessions.records(session))[-1].version)
    return versions


def echo() -> ScriptedProvider:
    return ScriptedProvider([lambda request: f"re: {request.history[-1].text}"], repeat=True)


async def texts_of(app: fairlead.App, session: str) -> list[str]:
    return [item.text for item in await app.sessions.history(session)]


async def test_rollback_hides_and_keeps() -> None:
    """The model does not see what lies between; the journal still has it."""
    provider = echo()
    async with fairlead.open(providers=[provider]) as app:
        after_one, after_two = await talk(app, "one", "two")
        assert after_two + 1 == await app.sessions.rollback("s", after_one)
        assert ["one", "re: one"] == await texts_of(app, "s")
        await talk(app, "three")
        assert ["one", "re: one", "three"] == [item.text for item in provider.requests[-1].history]
        records = await app.sessions.records("s")
        assert list(range(1, len(records) + 1)) == [record.version for record in records]
        assert any(isinstance(r.event, events.MessageAccepted) and r.event.message.text == "two" for r in records)


async def test_rollback_of_a_rollback_brings_back() -> None:
    """A version that was hidden can be continued from as well."""
    async with fairlead.open(providers=[echo()]) as app:
        after_one, after_two = await talk(app, "one", "two")
        await app.sessions.rollback("s", after_one)
        await app.sessions.rollback("s", after_two)
        assert ["one", "re: one", "two", "re: two"] == await texts_of(app, "s")


async def test_rollback_into_a_turn_is_refused_and_names_the_version_to_use() -> None:
    """Half a turn is nothing to go on from."""
    provider = ScriptedProvider(["1", calls(("act", {})), "2"])
    async with fairlead.open(providers=[provider], tools=[CountingTool("act")]) as app:
        after_one, after_two = await talk(app, "one", "two")
        for inside in range(after_one + 1, after_two):
            with pytest.raises(
                errors.JournalError, match=f"version {inside} of session 's' lies inside a turn"
            ) as told:
                await app.sessions.rollback("s", inside)
            assert f"fairlead sessions rollback s --to {after_one}" == told.value.next_step
        assert after_two == (await app.sessions.records("s"))[-1].version


@pytest.mark.parametrize("to", [0, -1, 99])
async def test_version_that_is_not_there_is_refused(to: int) -> None:
    """For rollback and fork alike; the versions that are there are named."""
    async with fairlead.open(providers=[echo()]) as app:
        (last,) = await talk(app, "one")
        for act in (app.sessions.rollback, app.sessions.fork):
            with pytest.raises(errors.JournalError, match=f"has versions 1 to {last}, found {to}"):
                await act("s", to)


async def test_unknown_session_is_refused_everywhere() -> None:
    """With the command that lists them."""
    async with fairlead.open(providers=[echo()]) as app:
        store = app.sessions
        for act in (store.records, store.history, store.fork, store.export):
            with pytest.raises(errors.SessionNotFound, match="there is no session 'x'") as told:
                await act("x")
            assert "fairlead sessions list" == told.value.next_step
        with pytest.raises(errors.SessionNotFound):
            await store.rollback("x", 1)
        assert not await store.erase("x")
        assert [] == list(await store.list())


async def test_message_that_waits_survives_a_rollback(autojump_clock: object) -> None:
    """Accepted is answered: what came in while the session was busy is still answered, on the older history."""
    provider = ScriptedProvider(["1", "2", "3"], delay=1.0)
    async with fairlead.open(providers=[provider]) as app:
        after_one, _ = await talk(app, "one", "two")
        replies: list[str] = []

        async def ask() -> None:
            replies.append((await app.ask("three", session="s")).text)

        lane = app.sessions._lanes.enter("s")  # noqa: SLF001  # somebody is before both
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.sessions.rollback, "s", after_one)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            app.sessions._lanes.leave(lane)  # noqa: SLF001  # as above
        assert ["3"] == replies
        assert ["one", "1", "three"] == [item.text for item in provider.requests[-1].history]
        assert not (await app.sessions.list())[0].pending


async def test_fork_at_every_version_can_go_on() -> None:
    """A turn that was open there is closed, every call has its result, and nothing is pending."""
    provider = ScriptedProvider(
        [lambda request: calls(("act", {}), ("act", {})) if request.history[-1].text == "two" else "done"], repeat=True
    )
    async with fairlead.open(providers=[provider], tools=[CountingTool("act")]) as app:
        _, last = await talk(app, "one", "two")
        for version in range(1, last + 1):
            name = await app.sessions.fork("s", version)
            records = await app.sessions.records(name)
            state = fold(name, records)
            assert not state.pending
            assert list(range(1, len(records) + 1)) == [record.version for record in records]
            assert (
                events.SessionForked(parent="s", parent_version=version, at=records[-1].event.at) == records[-1].event
            )
            assert "done" == (await app.ask("go on", session=name)).text
            asked = [call.id for item in provider.requests[-1].history for call in getattr(item, "calls", ())]
            results = [item.call for item in provider.requests[-1].history if isinstance(item, ToolResult)]
            assert sorted(asked) == sorted(results)
        assert last == (await app.sessions.records("s"))[-1].version


async def test_fork_delivers_nothing() -> None:
    """An answer that was on its way is sent by the first session alone; the copy is as well no duplicate."""
    channel = CapturingChannel()
    channel.fail_next(Delivery("failed", reason="busy", retry_after=1e6))
    async with (
        fairlead.open(providers=[echo()], channels=[channel]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        session = (await channel.say("hi", external_id="e1")).session
        while not channel.tries:
            await trio.lowlevel.checkpoint()
        assert fold(session, await app.sessions.records(session)).outbox
        name = await app.sessions.fork(session)
        assert not (await app.sessions.list())[0].pending
        assert "duplicate" == (await channel.say("hi", external_id="e1")).status
        assert "re: on" == (await app.ask("on", session=name)).text
        nursery.cancel_scope.cancel()
    assert ([], 1) == (channel.sent, channel.tries)


async def test_export_matches_its_schema() -> None:
    """Also with calls, notices and a rollback in it, and it is plain JSON."""
    provider = ScriptedProvider(["1", calls(("act", {"a": [1]})), "2", calls(("rm", {})), RuntimeError("x")])
    async with fairlead.open(providers=[provider], tools=[CountingTool("act", parameters=OPEN)]) as app:
        after_one, _ = await talk(app, "one", "two")
        with pytest.raises(errors.TurnFailed):
            await app.ask("three", session="s", principal=Principal("app:bob", "Bob", ("admin",)))
        await app.sessions.rollback("s", after_one)
        exported = await app.sessions.export("s")
    check("session-export", exported)
    assert exported == json.loads(json.dumps(exported, allow_nan=False))
    assert len(exported["events"]) == exported["events"][-1]["version"]


OPEN = {"type": "object"}


async def test_erased_session_is_gone() -> None:
    """From the journal, the list and the memory of the process; its name begins anew."""
    provider = echo()
    async with fairlead.open(providers=[provider]) as app:
        await talk(app, "secret")
        assert await app.sessions.erase("s")
        assert not await app.sessions.erase("s")
        assert [] == list(await app.sessions.list())
        await talk(app, "fresh")
        assert ["fresh"] == [item.text for item in provider.requests[-1].history]


async def test_question_that_waits_in_an_erased_session_is_cancelled(autojump_clock: object) -> None:
    """Its message was erased with the rest: the caller is told so, and the next question begins anew."""
    provider = ScriptedProvider([lambda request: request.history[-1].text], delay=1.0, repeat=True)
    async with fairlead.open(providers=[provider]) as app:
        faults: list[errors.TurnError] = []

        async def ask() -> None:
            with pytest.raises(errors.TurnCancelled, match="erased") as told:
                await app.ask("second", session="s")
            faults.append(told.value)

        async with trio.open_nursery() as nursery:
            lane = app.sessions._lanes.enter("s")  # noqa: SLF001  # somebody is before both
            nursery.start_soon(app.sessions.erase, "s")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            app.sessions._lanes.leave(lane)  # noqa: SLF001  # as above
        assert ["s"] == [fault.session for fault in faults]
        assert "third" == (await app.ask("third", session="s")).text
    assert 1 == len(provider.requests)


async def test_question_that_is_given_up_does_not_bring_back_an_erased_session() -> None:
    """Not even the end of its turn is written."""
    async with fairlead.open(providers=[echo()]) as app:
        await talk(app, "secret")
        lanes = app.sessions._lanes  # noqa: SLF001  # so that the erasure comes while the question waits
        before = lanes.enter("s")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.sessions.erase, "s")
            await trio.testing.wait_all_tasks_blocked()
            between = lanes.enter("s")
            async with trio.open_nursery() as asking:
                asking.start_soon(talk, app, "second")
                await trio.testing.wait_all_tasks_blocked()
                lanes.leave(before)
                await trio.testing.wait_all_tasks_blocked()
                asking.cancel_scope.cancel()
            lanes.leave(between)
        assert [] == list(await app.sessions.list())


async def test_whole_text_of_a_result_is_kept() -> None:
    """Where it was cut for the model, and where it was not; an unknown call is an error."""
    long = "".join(f"line {number}\n" for number in range(100))
    provider = ScriptedProvider([calls(("act", {})), calls(("act", {})), "ok"])
    outcomes = iter([long, "short"])
    tool = CountingTool("act", lambda _: next(outcomes))
    async with fairlead.open(Config(limits=Limits(result_chars=100)), providers=[provider], tools=[tool]) as app:
        await app.ask("go", session="s")
        first, second = (item for item in await app.sessions.history("s") if isinstance(item, ToolResult))
        assert (long, "short") == (
            await app.sessions.full_text("s", first.call),
            await app.sessions.full_text("s", second.call),
        )
        assert len(long) - 100 == first.cut
        with pytest.raises(errors.SessionNotFound, match="no result of a call 'c9'"):
            await app.sessions.full_text("s", "c9")
