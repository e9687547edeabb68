"""The policy by itself: what is reserved, what it becomes, and what people read."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import evolve

from fairlead import Message, ModelInfo, ModelRequest, Principal, Review, Settings, Text, Usage
from fairlead.errors import ConfigError
from fairlead_budgets import _file
from fairlead_budgets._errors import LedgerUnavailable
from fairlead_budgets._policy import Budgets
from fairlead_budgets.operations import accounts, audit, entries

from .spending import NOW, PRICED, Clock, denial, one, opened, review, table

HOUR, DAY = 3600, 86_400
DAILY = {"daily": {"dollars": 5, "window": "day"}}


async def test_request_is_charged_once_however_often_it_is_asked_and_settled(tmp_path: Path) -> None:
    """Its id is what counts."""
    asked = review("r1")
    async with opened(tmp_path, limits=DAILY) as policy:
        for _ in range(3):
            assert None is await denial(policy, asked)
        assert 1 == one(tmp_path, Clock(), limits=DAILY).held_requests
        for _ in range(3):
            await policy.settle(asked, Usage(1000, 100, cost=0.5))
    state = one(tmp_path, Clock(), limits=DAILY)
    assert (0.5, 1100, 1, 0) == (state.used_dollars, state.used_tokens, state.used_requests, state.held_requests)


async def test_what_was_never_asked_is_not_settled(tmp_path: Path) -> None:
    """The core tells of requests that another policy stopped before this one was asked."""
    async with opened(tmp_path, limits=DAILY) as policy:
        await policy.settle(review("r1"), Usage(1, 1, cost=1.0))
        await policy.settle(review("r2"), None)
    assert 0 == one(tmp_path, Clock(), limits=DAILY).used_requests


async def test_revised_request_is_charged_with_what_it_can_be_now(tmp_path: Path) -> None:
    """A policy that comes later made it larger; one that then does not fit is let go."""
    limits = {"daily": {"dollars": 0.02, "window": "day"}}
    asked = review("r1")
    larger = review("r1", text="x" * 4000)
    too_large = review("r1", text="x" * 100_000)
    async with opened(tmp_path, limits=limits) as policy:
        assert None is await denial(policy, asked)
        before = one(tmp_path, Clock(), limits=limits)
        assert None is await denial(policy, larger)
        after = one(tmp_path, Clock(), limits=limits)
        assert await denial(policy, too_large)
        end = one(tmp_path, Clock(), limits=limits)
    assert [1, 1, 0] == [state.held_requests for state in (before, after, end)]
    assert before.held_dollars < after.held_dollars
    assert 0 == end.held_dollars == end.used_dollars
    assert () == audit(table(tmp_path)).faults


async def test_request_of_several_people_is_charged_to_each_of_them(tmp_path: Path) -> None:
    """Once to what they share; where one of them has nothing left, it is charged to nobody."""
    limits = {"person": {"scope": "principal", "requests": 2}, "all": {"requests": 100}}

    def state() -> dict[str, tuple[int, int]]:
        found = accounts(table(tmp_path, Clock(), limits=limits))
        return {each.who: (each.held_requests, each.used_requests) for each in found}

    async with opened(tmp_path, limits=limits) as policy:
        assert None is await denial(policy, review("r0", who="kit:bob"))
        for ident in ("r1", "r2"):
            refused = [await denial(policy, review(ident, who=f"kit:{who}")) for who in ("ann", "bob", "ann")]
            assert ident == "r1" or refused[1] is not None
        assert {"kit:ann": (2, 0), "kit:bob": (2, 0), "": (3, 0)} == state()
        for who in ("ann", "bob"):
            await policy.settle(review("r1", who=f"kit:{who}"), Usage(10, 5, cost=0.1))
    assert {"kit:ann": (1, 1), "kit:bob": (1, 1), "": (2, 1)} == state()
    assert () == audit(table(tmp_path)).faults


async def test_refusal_says_all_there_is_to_know(tmp_path: Path) -> None:
    """What is spent, what is under way, what was asked, whose budget it is, and when it renews, in both times."""
    limits = {"person": {"scope": "principal", "dollars": 5, "window": "day"}}
    async with opened(tmp_path, limits=limits, timezone="Europe/Berlin") as policy:
        spent = review("r1")
        assert None is await denial(policy, spent)
        await policy.settle(spent, Usage(1000, 100, cost=4.97))
        assert None is await denial(policy, review("r2"))
        refused = await denial(policy, review("r3", text="x" * 100_000))
    assert refused is not None
    assert "budget person" == refused.rule
    assert (
        "Too little is left of budget 'person' of kit:ann: $4.97 of $5.00 spent since 2027-01-15 00:00 CET "
        "(2027-01-14 23:00 UTC) and $0.01 reserved by requests under way, and this request may cost $0.06. "
        "It renews at 2027-01-16 00:00 CET (2027-01-15 23:00 UTC)."
    ) == refused.reason


async def test_ids_of_strangers_are_safe_to_show(tmp_path: Path) -> None:
    """They move no cursor, and are no wall of text."""
    limits = {"person": {"scope": "principal", "requests": 0}}
    async with opened(tmp_path, limits=limits) as policy:
        refused = await denial(policy, review("r1", who="kit:\x1b[2J\u202e" + "x" * 5000 + "\ud83d"))
    assert refused is not None
    assert "of kit:?[2J?xx" in refused.reason
    assert len(refused.reason) < 400


async def test_longest_wait_is_told(tmp_path: Path) -> None:
    """Where two budgets are used up, the hour's and the month's."""
    limits = {"hourly": {"requests": 1, "window": "hour"}, "monthly": {"requests": 1, "window": "month"}}
    async with opened(tmp_path, limits=limits) as policy:
        assert None is await denial(policy, review("r1"))
        refused = await denial(policy, review("r2"))
    assert refused is not None
    assert "budget monthly" == refused.rule


async def test_budget_renews_with_its_window(tmp_path: Path) -> None:
    """A request that was under way at midnight counts for the day on which it was asked."""
    clock = Clock()
    limits = {"daily": {"requests": 1, "window": "day"}}
    async with opened(tmp_path, clock, limits=limits) as policy:
        first = review("r1")
        assert None is await denial(policy, first)
        assert await denial(policy, review("r2"))
        clock.now += DAY
        await policy.settle(first, Usage(1, 1, cost=0.1))
        assert 0 == one(tmp_path, clock, limits=limits).used_requests
        assert None is await denial(policy, review("r3"))


async def test_rolling_budget_frees_what_is_older_than_its_span(tmp_path: Path) -> None:
    """Not a moment before, and at the moment that was told."""
    clock = Clock()
    limits = {"rolling": {"requests": 2, "rolling": "24h"}}
    async with opened(tmp_path, clock, limits=limits) as policy:
        assert None is await denial(policy, review("r1"))
        clock.now += 6 * HOUR
        assert None is await denial(policy, review("r2"))
        refused = await denial(policy, review("r3"))
        assert refused is not None
        assert "free again after 24h, first at 2027-01-16 08:24 UTC" in refused.reason
        clock.now = NOW + DAY
        assert await denial(policy, review("r4"))
        clock.now = NOW + DAY + 24 * 60
        assert None is await denial(policy, review("r5"))
        assert await denial(policy, review("r6"))


async def test_clock_that_goes_back_renews_nothing(tmp_path: Path) -> None:
    """Also not to a day on which nothing was spent; doctor says so, and what to do."""
    clock = Clock()
    limits = {"daily": {"requests": 1, "window": "day"}}
    async with opened(tmp_path, clock, limits=limits) as policy:
        assert None is await denial(policy, review("r1"))
        clock.now -= 3 * DAY
        assert await denial(policy, review("r2"))
        _, finding = await policy.check()
        assert not finding.ok
        assert "the clock is 259,200 s behind the ledger" in finding.detail
        assert "fairlead budgets time" in finding.next_step
        clock.now += 4 * DAY
        assert None is await denial(policy, review("r3"))


async def test_own_prices_are_stronger_than_the_providers(tmp_path: Path) -> None:
    """Also where the core has worked out a cost by the provider's; cached input has a price of its own."""
    prices = {"p/m": {"input": 100, "output": 1000, "cached": 10}}
    async with opened(tmp_path, limits=DAILY, prices=prices) as policy:
        asked = review("r1")
        assert None is await denial(policy, asked)
        await policy.settle(asked, Usage(1000, 100, 400, cost=0.000_001))
    assert 0.06 + 0.004 + 0.1 == pytest.approx(one(tmp_path, Clock(), limits=DAILY).used_dollars)


async def test_reservation_is_no_more_than_the_window_of_the_model(tmp_path: Path) -> None:
    """No provider takes more, so a file that somebody pastes does not use up the budget of a month."""
    small = ModelInfo("m", window=1000, max_output=500, input_price=1.0, output_price=0.0)
    async with opened(tmp_path, limits=DAILY) as policy:
        assert None is await denial(policy, review("r1", model=small, text="x" * 1_000_000))
    assert (0.001, 1500) == (
        round(one(tmp_path, Clock(), limits=DAILY).held_dollars, 9),
        one(tmp_path, Clock(), limits=DAILY).held_tokens,
    )


async def test_figures_of_a_provider_gone_mad_are_kept_within_bounds(tmp_path: Path) -> None:
    """What it says is counted, as far as it can be counted; the ledger goes on."""
    async with opened(tmp_path, limits=DAILY) as policy:
        for number in range(3):
            asked = review(f"r{number}")
            await denial(policy, asked)
            await policy.settle(asked, Usage(10**40, 10**40, cost=1e300))
        assert await denial(policy, review("r9"))
    assert () == audit(table(tmp_path)).faults


async def test_cancelled_review_leaves_nothing_that_nobody_settles(tmp_path: Path) -> None:
    """It was not written, or it returns as if it had not been cancelled, so that the core settles it."""
    async with opened(tmp_path, limits=DAILY) as policy:
        returned = 0
        for number in range(40):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(policy.review, review(f"beside-{number}"))
                    for _ in range(number % 4):
                        await trio.lowlevel.checkpoint()
                    scope.cancel() if number % 2 else None
                    await policy.review(review(f"r{number}"))
                    returned += 1
        held = one(tmp_path, Clock(), limits=DAILY).held_requests
        known = {entry.request for entry in entries(table(tmp_path, limits=DAILY), "daily", 100)}
    assert returned == sum(ident.startswith("r") for ident in known)
    assert held == len(known)


async def test_one_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """All that wait are one transaction; then each is tried by itself."""
    async with opened(tmp_path, limits=DAILY) as policy:
        odd = review("r\ud83d")
        failed = []

        async def ask(asked: Review) -> None:
            try:
                await policy.review(asked)
            except (LedgerUnavailable, UnicodeEncodeError) as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, review(f"r{number}"))
            nursery.start_soon(ask, odd)
    assert 1 == len(failed)
    assert 5 == one(tmp_path, Clock(), limits=DAILY).held_requests


async def test_full_disk_denies_and_comes_back(tmp_path: Path) -> None:
    """Nothing is sent that is not written down, and nothing is left of what was not."""
    async with opened(tmp_path, limits=DAILY) as policy:
        assert None is await denial(policy, review("r0"))
        assert policy._clerk is not None  # noqa: SLF001  # its disk is made small
        connection = policy._clerk._connection  # noqa: SLF001  # the same
        assert connection is not None
        connection.pragma("max_page_count", 1)
        number = 0
        while (refused := await denial(policy, review(f"r{number}", session=f"{'x' * 1000}{number}"))) is None:
            number += 1
        assert "lies on a disk that is full" in refused.reason
        connection.pragma("max_page_count", 1_000_000)
        assert None is await denial(policy, review("r-last"))
    assert () == audit(table(tmp_path)).faults


async def test_warning_is_told_once_in_a_window(tmp_path: Path) -> None:
    """In words for the operator, and again in the next one."""
    clock = Clock()
    limits = {"daily": {"dollars": 1, "window": "day", "warn_at": 0.8}}
    told = []
    async with opened(tmp_path, clock, limits=limits) as policy:
        for day in range(2):
            for number in range(4):
                asked = review(f"r{day}-{number}")
                told += [(day, number, verdict.reason) for verdict in await policy.review(asked)]
                await policy.settle(asked, Usage(1, 1, cost=0.3))
            clock.now += DAY
    words = "90% of budget 'daily' is used: $0.90 of $1.00. It renews at 2027-01-16 00:00 UTC."
    assert [(0, 3, words), (1, 3, words.replace("01-16", "01-17"))] == told


async def test_person_is_told_below_one_answer(tmp_path: Path) -> None:
    """The core asks again about what it revised; then it is told."""
    limits = {"few": {"requests": 1, "at_limit": "warn", "tell": True}}
    async with opened(tmp_path, limits=limits) as policy:
        assert {"model_request", "message_out"} == policy.boundaries
        for number in range(2):
            await policy.review(review(f"r{number}"))
            await policy.settle(review(f"r{number}"), Usage(1, 1, cost=0.1))
        answer = Message("assistant", (Text("fine"),), id="a1")
        out = Review("message_out", answer, "s1", "main", Principal("kit:ann"))
        (verdict,) = await policy.review(out)
        assert isinstance(verdict.revised, Message)
        assert verdict.revised.text.startswith("fine\n100% of budget 'few' is used: 1 of 1 requests.")
        assert () == await policy.review(evolve(out, subject=verdict.revised))
        assert () == await policy.review(out)
        assert () == await policy.review(evolve(out, session="another"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timezone": "Mars/Base"}, "policies.budgets.timezone: found 'Mars/Base', expected the name of a time zone"),
        ({"timezone": "../../etc/passwd"}, "expected the name of a time zone"),
        ({"limits": {"a": {"dollars": 1, "window": "day", "rolling": "24h"}}}, "has both window and rolling"),
        ({"limits": {"a": {"dollars": 1, "who": "kit:ann"}}}, "says who, and is about everything together"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], words: str, tmp_path: Path) -> None:
    """With the path, and what to write."""
    with pytest.raises(ConfigError) as caught:
        Budgets(Settings("budgets", options, tmp_path))
    assert words in str(caught.value)
    assert caught.value.next_step


async def test_file_of_another_program_is_not_touched(tmp_path: Path) -> None:
    """Nor one that a newer version wrote; the policy does not open, so that nothing is asked without it."""
    file = tmp_path / "budgets" / "budgets.db"
    file.parent.mkdir()
    file.write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerUnavailable, match="is damaged, or is no SQLite database"):
        async with opened(tmp_path):
            raise AssertionError
    file.unlink()
    async with opened(tmp_path):
        pass
    other = _file.connect(file)
    other.pragma("user_version", 99)
    other.close()
    with pytest.raises(LedgerUnavailable, match="has version 99 of the tables"):
        async with opened(tmp_path):
            raise AssertionError


async def test_entries_cannot_be_changed(tmp_path: Path) -> None:
    """The ledger is append-only, also for who has the file open."""
    async with opened(tmp_path, limits=DAILY) as policy:
        await denial(policy, review("r1"))
        connection = _file.connect(table(tmp_path).file)
        for statement in ("UPDATE entries SET nano = 0", "DELETE FROM entries"):
            with pytest.raises(Exception, match="entries are never"):
                connection.execute(statement)
        connection.close()


async def test_question_of_no_session_is_counted(tmp_path: Path) -> None:
    """A host's function may ask a model without one."""
    asked = Review("model_request", ModelRequest("m", (), id="r1"), provider="p", model=PRICED)
    async with opened(tmp_path, limits=DAILY) as policy:
        assert None is await denial(policy, asked)
        assert None is await denial(policy, evolve(asked, subject=ModelRequest("m", (), id="r2")))
    assert 2 == one(tmp_path, Clock(), limits=DAILY).held_requests
