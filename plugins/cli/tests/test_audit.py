"""The conservation law, counted."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import fairlead
from fairlead import Address, Message, Text, ToolCall, ToolResult, events
from fairlead.testing import CapturingChannel, CountingTool, ScriptedProvider, calls
from fairlead_cli._audit import Account, audit

HERE = Address("chat", conversation="room")


def told(*happened: events.Event) -> Account:
    return audit("s", [events.Record("s", version, event) for version, event in enumerate(happened, 1)])


def accepted(name: str) -> events.MessageAccepted:
    return events.MessageAccepted(message=Message("user", (Text(name),), id=name), address=HERE)


def ended(turn: str, *messages: str, outcome: Any = "answered") -> events.TurnEnded:
    return events.TurnEnded(turn=turn, messages=messages, outcome=outcome, address=HERE)


def answered(turn: str, *names: str) -> events.ModelAnswered:
    message = Message("assistant", (Text("x"),), calls=tuple(ToolCall(name, "act", {}) for name in names))
    return events.ModelAnswered(turn=turn, message=message, provider="p", model="m")


def returned(turn: str, call: str, error: str = "") -> events.ToolReturned:
    return events.ToolReturned(turn=turn, result=ToolResult(call, "act", (Text("x"),), error))


def delivered(turn: str, status: Any = "sent") -> events.AnswerDelivered:
    return events.AnswerDelivered(turn=turn, status=status)


def test_every_end_is_counted() -> None:
    """Accepted is the sum of the ends and of what waits."""
    outcomes = ("answered", "refused", "failed", "cancelled")
    story = [accepted(outcome) for outcome in (*outcomes, "waiting")]
    found = told(*story, *(ended(f"t{outcome}", outcome, outcome=outcome) for outcome in outcomes))
    assert (5, 1, 1, 1, 1, 1) == (
        found.accepted,
        found.answered,
        found.refused,
        found.failed,
        found.cancelled,
        found.waiting,
    )
    assert [] == found.faults


def test_answers_are_counted_by_what_is_known_of_them() -> None:
    """Sent, unknown, and what is still to be sent."""
    story = [event for n in "abcd" for event in (accepted(n), ended(f"t{n}", n))]
    found = told(*story, delivered("ta"), delivered("tb", "unknown"), delivered("tc", "failed"))
    assert (1, 1, 2) == (found.sent, found.unknown, found.undelivered)


@pytest.mark.parametrize(
    ("story", "fault"),
    [
        ((accepted("a"), ended("t", "a"), ended("u", "a")), "message a ended 2 times"),
        ((ended("t", "a"),), "message a ended, and was never accepted"),
        ((accepted("a"), ended("t", "a"), delivered("t"), delivered("t")), "was sent 2 times"),
        ((accepted("a"), answered("t", "c"), ended("t", "a")), "without a result of its call c"),
        ((accepted("a"), answered("t", "c"), returned("t", "c"), returned("t", "c")), "call c has 2 results"),
    ],
)
def test_what_breaks_the_law_is_named(story: tuple[Any, ...], fault: str) -> None:
    """One sentence for each."""
    (found,) = told(*story).faults
    assert fault in found


async def test_whole_app_keeps_the_law() -> None:
    """With a tool, a refusal, a failure and a message that comes twice; rolled back and gone on with."""
    channel = CapturingChannel()
    tool = CountingTool("act", "done")
    provider = ScriptedProvider([calls(("act", {})), "Done.", "Again."])
    async with (
        fairlead.open(providers=[provider], tools=[tool], channels=[channel]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        for event in ("e1", "e1", "e2", "e3"):
            await channel.say("go", external_id=event)
        for _ in range(3):
            await channel.next()
        (info,) = await app.sessions.list()
        app.stop()
    async with fairlead.open() as empty:
        assert () == tuple(await empty.sessions.list())
    found = audit(info.id, await app.sessions.records(info.id))
    assert (3, 2, 1, 3, []) == (found.accepted, found.answered, found.failed, found.sent, found.faults)


def test_approvals_are_given_before_they_are_used_and_used_once() -> None:
    """The first decision counts; a question that was shown twice is no answer that was sent twice."""
    asked = events.ApprovalRequested(turn="t", id="abc", call="c", tool="act", arguments={})
    yes, no = (events.ApprovalDecided(id="abc", granted=granted) for granted in (True, False))
    used = events.ApprovalUsed(turn="t", id="abc")
    assert [] == told(asked, delivered("abc"), delivered("abc"), delivered("abc.expired"), yes, no, used).faults
    assert 0 == told(asked, delivered("abc")).sent
    assert ["s: approval abc was used, and nobody had given it"] == told(asked, no, yes, used).faults
    assert ["s: approval abc was used twice"] == told(asked, yes, used, used).faults
