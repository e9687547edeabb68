"""Approvals over the deaths of processes: open ones stay open, given ones are used once, and none is used twice."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import Capabilities, Outbound, events
from fairlead._fold import fold
from fairlead.errors import ApprovalRefused, JournalUnavailable
from fairlead.testing import CapturingChannel, run_virtually

from .asking import OPERATOR, SESSION, House, careful, decisions, happened, id_in, text_in

PLAIN = Capabilities()


async def test_open_approval_is_open_after_a_restart_and_is_not_asked_again(autojump_clock: object) -> None:
    """By whoever comes next, on another object of everything."""
    house = House()
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
    for _ in range(2):
        async with house.serving() as app:
            await trio.sleep(10)
            assert [name] == [record.event.id for record in await app.approvals()]  # type: ignore[attr-defined]  # requests
    async with house.serving() as app:
        receipt = await house.channel.say(f"/approve {name}")  # perhaps before the turn is taken up
        assert "accepted" == receipt.status
        assert "done: done" == await house.answer()
        assert 1 == len(await happened(app, events.ApprovalRequested))
    assert 1 == len(house.tool.calls)


async def test_decision_between_two_processes_is_used_by_the_next(autojump_clock: object) -> None:
    """Given by the operator, while nobody serves."""
    house = House()
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
    async with fairlead.open(memories=[house.memory], clock=house.clock) as app:
        await app.decide(name.upper(), allow=True, by=OPERATOR)
    async with house.serving():
        assert "done: done" == await house.answer()
    assert 1 == len(house.tool.calls)


async def test_expired_between_two_processes_is_a_denial(autojump_clock: object) -> None:
    """Also where nobody was there when its time was over."""
    house = House()
    async with house.serving():
        await house.channel.say("pay Ann")
        await house.asked()
    await trio.sleep(2000)
    async with house.serving():
        assert "it was denied" in await house.answer()
        assert "denied: Nobody approved" in await house.answer()
    assert [] == house.tool.calls


async def test_image_that_changed_between_two_processes_makes_it_void(autojump_clock: object) -> None:
    """Asked anew at once; a tap on the old question says why it is none."""
    house = House()
    async with house.serving():
        await house.channel.say("pay Ann")
        old = await house.asked()
    house.tool.distribution = "act 2.0"
    async with house.serving() as app:
        new = await house.asked()
        late = await house.channel.say(f"/approve {old}")
        assert f"approval {old!r} was already decided: denied as what would run has changed" == late.notice
        await house.channel.say(f"/approve {new}")
        assert "done: done" == await house.answer()
        assert [(False, "", "changed"), (True, "captured:alice", "")] == await decisions(app)


async def test_question_that_nobody_may_have_seen_is_asked_again(autojump_clock: object) -> None:
    """The process died between the sending and the journal: shown twice it has one id, and is one decision."""
    house = House()
    house.channel = CapturingChannel(capabilities=PLAIN)
    house.memory.left = 4  # the message, the answer with its question, the sending; not what became of it
    with trio.move_on_after(5):
        async with house.serving():
            await house.channel.say("pay Ann")
            await trio.sleep_forever()
    house.memory.left = 10**9
    async with house.serving():
        first, second = await house.asked(), await house.asked()
        assert first == second
        await house.channel.say(f"/approve {first}")
        assert "done: done" == await house.answer()
    assert 1 == len(house.tool.calls)


@pytest.mark.parametrize("effect", ["once", "idempotent", "read"])
@pytest.mark.parametrize("step", range(1, 10))
async def test_process_that_dies_at_any_append_starts_an_approved_call_once(
    effect: Any, step: int, autojump_clock: object
) -> None:
    """Whatever the tool says of itself: an approval is good for one start, and another one needs another approval."""
    house = House(effect=effect)
    house.memory.left = step
    granted: list[str] = []

    async def approve_all() -> None:
        seen = 0
        while True:
            for outbound in house.channel.sent[seen:]:
                seen += 1
                if "/approve " in text_in(outbound):
                    name = id_in(outbound)
                    await trio.sleep(1)
                    if (await house.channel.say(f"/approve {name}")).status == "accepted":
                        granted.append(name)
            await trio.sleep(1)

    with trio.move_on_after(20):
        async with house.serving(), trio.open_nursery() as nursery:
            nursery.start_soon(approve_all)
            await house.channel.say("pay Ann", external_id="e1")
            await trio.sleep_forever()
    house.memory.left = 10**9
    async with house.serving() as app, trio.open_nursery() as nursery:
        nursery.start_soon(approve_all)
        await house.channel.say("pay Ann", external_id="e1")
        await trio.sleep(60)
        used = [event.id for event in await happened(app, events.ApprovalUsed)]
        state = fold(SESSION, await app.sessions.records(SESSION))
        nursery.cancel_scope.cancel()
    assert not state.pending
    assert len(house.tool.calls) <= len(used) == len(set(used))
    if effect == "once":
        assert len(house.tool.calls) <= 1


async def test_started_and_left_is_unknown_and_the_approval_starts_nothing_more(autojump_clock: object) -> None:
    """Between the start and the result: nobody knows, and nothing is repeated because an approval is there."""
    house = House()
    began, hang = trio.Event(), trio.Event()

    async def hold(_: object) -> str:
        began.set()
        await hang.wait()
        return "done"

    house.tool._outcome = hold  # noqa: SLF001  # a call that does not return in its first life
    async with house.serving():
        await house.channel.say("pay Ann")
        await house.channel.say(f"/approve {await house.asked()}")
        await began.wait()
        house.memory.left = 1  # what the stop would journal is lost as well
        hang.set()
        await trio.sleep(1)
        house.memory.left = 10**9
    house.tool._outcome = "done"  # noqa: SLF001  # as above
    async with house.serving():
        assert (await house.answer()).startswith("unknown: The program stopped while this call ran.")
    assert 1 == len(house.tool.calls)


ACTS = st.sampled_from(["approve", "deny", "stranger", "operator", "wait", "long", "restart", "change"])


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=12), st.sampled_from(["once", "read"]))
def test_call_runs_only_after_a_valid_grant_and_at_most_once_each(acts: list[str], effect: Any) -> None:
    """Any order of taps by anybody, restarts, expiries and changes of what would run."""
    run_virtually(_life, acts, effect)


async def _life(acts: list[str], effect: Any) -> None:
    house = House(effect=effect, approval_seconds=100.0)
    begun = False
    lives: list[list[str]] = [[]]
    for act in acts:
        if act == "restart":
            lives.append([])
        else:
            lives[-1].append(act)
    for life in lives:
        async with house.serving() as app:
            if not begun:
                await house.channel.say("pay Ann")
                begun = True
            await trio.sleep(1)
            for act in life:
                await _do(house, app, act)
    async with house.serving() as app:
        await trio.sleep(500)
        records = await app.sessions.records(SESSION)
    _check(house, [record.event for record in records])


async def _do(house: House, app: fairlead.App, act: str) -> None:
    questions = [outbound for outbound in house.channel.sent if "/approve " in text_in(outbound)]
    name = id_in(questions[-1]) if questions else "nothing"
    match act:
        case "approve" | "deny":
            await house.channel.say(f"/{act} {name}")
        case "stranger":
            assert "refused" == (await house.channel.say(f"/approve {name}", author="mallory")).status
        case "operator":
            try:
                await app.decide(name, allow=True, by=OPERATOR)
            except ApprovalRefused:
                await trio.lowlevel.checkpoint()
        case "change":
            house.tool.distribution += "."
        case _:
            await trio.sleep(5 if act == "wait" else 101)


def _check(house: House, happened: list[events.Event]) -> None:
    """By the journal alone: each start has a grant of its own, in time, of what was asked; nothing is left open."""
    requested = {each.id: each for each in happened if isinstance(each, events.ApprovalRequested)}
    decided: dict[str, events.ApprovalDecided] = {}
    used: list[str] = []
    for event in happened:
        if isinstance(event, events.ApprovalDecided):
            decided.setdefault(event.id, event)
        elif isinstance(event, events.ApprovalUsed):
            grant = decided[event.id]
            assert grant.granted
            assert grant.by in ("captured:alice", OPERATOR.id)
            assert event.at < requested[event.id].expires
            used.append(event.id)
    assert len(used) == len(set(used))
    assert len(house.tool.calls) == len(used) <= 1
    assert all(isinstance(each, Outbound) for each in house.channel.sent)
    assert 1 == sum(isinstance(each, events.TurnEnded) for each in happened)


async def test_process_that_decides_about_a_dead_ones_turn_goes_on_with_it(autojump_clock: object) -> None:
    """What it writes makes the session its own: nobody else would take it up."""
    house = House(policies=[careful("role:admin")])
    async with house.serving():
        await house.channel.say("pay Ann")
        name = await house.asked()
    journal = house.memory.journal
    assert journal is not None
    claim, journal.claim = journal.claim, _nothing  # type: ignore[method-assign]  # it counts as this one's from now on
    async with house.serving() as app:
        await app.decide(name, allow=True, by=OPERATOR)
        assert "done: done" == await house.answer()
    journal.claim = claim  # type: ignore[method-assign]  # as above


async def _nothing() -> list[str]:
    return []


async def test_journal_that_fails_while_a_turn_waits_loses_nothing(autojump_clock: object) -> None:
    """The session is taken up again, the question is open as before, and is not shown twice."""
    house = House()
    async with house.serving() as app:
        await house.channel.say("pay Ann")
        name = await house.asked()
        journal = house.memory.journal
        assert journal is not None
        read = journal.read

        async def fail(*args: object, **options: object) -> list[events.Record]:
            raise JournalUnavailable("the disk is away")

        journal.read = fail  # type: ignore[method-assign]  # the seam where the disk goes away
        await trio.sleep(20)
        journal.read = read  # type: ignore[method-assign]  # and comes back
        await trio.sleep(60)
        await house.channel.say(f"/approve {name}")
        assert "done: done" == await house.answer()
        assert 1 == len(await happened(app, events.ApprovalRequested))
    assert 1 == len(house.tool.calls)
