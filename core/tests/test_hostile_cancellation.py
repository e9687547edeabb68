"""A turn that is cancelled after any number of steps of the loop: nothing stays open, and nothing is held."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import fairlead
from fairlead import events
from fairlead._fold import fold
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, calls

from .served import serving


class After(trio.abc.Instrument):
    """Cancels a scope when its tasks have been scheduled so often."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self.scope = scope
        self.steps = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps -= 1
        if self.steps == 0:
            self.scope.cancel()


def workers() -> dict[str, Any]:
    script: list[Any] = [calls(("read", {}), ("once", {})), calls(("once", {})), "done"]
    tools = [CountingTool("read"), CountingTool("once", effect="once", parallel=False)]
    return {"providers": [ScriptedProvider(script)], "tools": tools, "policies": [FakePolicy(lambda _: None)]}


def held(app: fairlead.App) -> int:
    return app._desk.lanes.running  # noqa: SLF001  # the room's own test


@pytest.mark.parametrize("steps", range(1, 60))
async def test_question_that_is_cancelled_at_any_step_has_its_end(steps: int) -> None:
    """What was accepted has ended, each call has one result, and the next question is answered."""
    async with fairlead.open(**workers()) as app:
        with trio.CancelScope() as scope:
            instrument = After(scope, steps)
            trio.lowlevel.add_instrument(instrument)
            try:
                await app.ask("go", session="s")
            finally:
                trio.lowlevel.remove_instrument(instrument)
        assert 0 == held(app)
        records = await app.sessions.records("s") if await app.sessions.list() else []
        state = fold("s", records)
        assert not state.queue
        assert state.turn is None
        told = [record.event for record in records]
        wished = [call.id for event in told if isinstance(event, events.ModelAnswered) for call in event.message.calls]
        results = [event.result.call for event in told if isinstance(event, events.ToolReturned)]
        assert sorted(wished) == sorted(results)
        assert len([1 for event in told if isinstance(event, events.MessageAccepted)]) == len(
            [1 for event in told if isinstance(event, events.TurnEnded)]
        )


@pytest.mark.parametrize("steps", range(1, 80, 2))
async def test_person_who_cancels_at_any_step_has_an_answer(steps: int, autojump_clock: object) -> None:
    """The turn ends, one message is sent about it, and nothing is held."""
    channel = CapturingChannel()
    async with serving(channels=[channel], **workers()) as app:
        receipt = await channel.say("go")
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await app.cancel(receipt.session)
        await channel.next()
        await trio.sleep(10)
        records = await app.sessions.records(receipt.session)
        assert not fold("s", records).pending
        assert 1 == len(channel.sent)
        assert 0 == held(app)
