"""Stuck work is seen, and ended (behaviour 10); a lane is free when its turn is dead (behaviour 7)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import fairlead
from fairlead import Delta, events
from fairlead.config import Config, Limits
from fairlead.testing import CapturingChannel, CountingTool, RecordingObserver, ScriptedProvider, calls
from fairlead.types import Emit

from .served import of_kind, serving

LIMITS = Limits(seconds=10_000, tool_seconds=5_000, warn_seconds=120, stall_seconds=300)


def notices(watcher: RecordingObserver) -> list[str]:
    return [notice.detail for notice in watcher.events(events.NoticeRaised) if notice.subject == "lanes"]


async def hang(arguments: Any) -> str:
    await trio.sleep(4_000)
    return "late"


async def test_turn_that_makes_no_progress_is_told_once_and_then_ended(autojump_clock: trio.testing.MockClock) -> None:
    """The operator learns where, and what is waited for; the person gets a notice, and the call a result."""
    tool, channel, watcher = CountingTool("hang", hang, effect="once"), CapturingChannel(), RecordingObserver()
    provider = ScriptedProvider([calls(("hang", {})), "next"])
    config = Config(limits=LIMITS)
    async with serving(config, providers=[provider], tools=[tool], channels=[channel], observers=[watcher]) as app:
        receipt = await channel.say("go")
        began = trio.current_time()
        sent = await channel.next()
        assert 300 <= trio.current_time() - began <= 300 + 120 / 4
        await channel.say("still there?")
        assert "next" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # a text part
        (ended, _) = await of_kind(app, receipt.session, events.TurnEnded)
        assert ("failed", "stalled") == (ended.outcome, ended.reason)
        assert ["unknown"] == [event.result.error for event in await of_kind(app, receipt.session, events.ToolReturned)]
        call = (await of_kind(app, receipt.session, events.ModelAnswered))[0].message.calls[0]
    assert "The turn was stopped: nothing went on for 300 s." == sent.parts[0].text  # type: ignore[union-attr]  # a text part
    warned, stopped = notices(watcher)
    assert f"tool 'hang' (call {call.id}) in turn {ended.turn} is waited for" in warned
    assert repr(receipt.session) in warned
    assert "its turn is ended" in stopped


async def test_question_that_stalls_fails(autojump_clock: object) -> None:
    """Whoever asked gets an error with the reason."""
    async with fairlead.open(Config(limits=LIMITS), providers=[ScriptedProvider(["late"], delay=4_000)]) as app:
        with pytest.raises(fairlead.errors.TurnFailed) as failed:
            await app.ask("go")
    assert "stalled" == failed.value.reason


@pytest.mark.parametrize("what", ["pieces of the answer", "words of a tool"])
async def test_slow_work_that_goes_on_is_left_alone(what: str, autojump_clock: object) -> None:
    """Each piece of an answer and each word of a tool is progress."""

    class Slow(ScriptedProvider):
        async def generate(self, request: fairlead.ModelRequest, emit: Emit) -> fairlead.ModelAnswer:
            for number in range(20):
                await trio.sleep(100)
                await emit(Delta(f"{number} "))
            return fairlead.ModelAnswer((fairlead.Text("".join(f"{number} " for number in range(20))),))

    async def work(context: fairlead.ToolContext) -> str:
        """Work."""
        for number in range(20):
            await trio.sleep(100)
            await context.progress(f"{number}")
        return "done"

    watcher = RecordingObserver()
    provider = Slow() if what == "pieces of the answer" else ScriptedProvider([calls(("work", {})), "ok"])
    async with fairlead.open(Config(limits=LIMITS), providers=[provider], tools=[work], observers=[watcher]) as app:
        await app.ask("go")
    assert [] == notices(watcher)


async def test_lane_is_held_until_the_turn_is_dead(autojump_clock: object) -> None:
    """What ignores its cancellation here cannot be killed: the operator is told, and nobody comes between."""
    done: list[str] = []

    async def stubborn(arguments: Any) -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(200)
            done.append("the first is dead")
        return "late"

    channel, watcher = CapturingChannel(), RecordingObserver()

    def answer(request: fairlead.ModelRequest) -> Any:
        last = request.history[-1]
        if last.text == "one":
            return calls(("stubborn", {}))
        done.append("the second is asked for")
        return "two"

    async with serving(
        providers=[ScriptedProvider([answer], repeat=True)],
        tools=[CountingTool("stubborn", stubborn)],
        channels=[channel],
        observers=[watcher],
    ):
        await channel.say("one")
        await trio.sleep(1)
        assert await channel.cancel()
        await channel.say("two")
        for _ in range(2):
            await channel.next()
    assert ["the first is dead", "the second is asked for"] == done
    (told,) = notices(watcher)
    assert "was stopped and goes on: its lane is held until it ends" in told


async def test_watch_sleeps_while_nothing_runs(autojump_clock: trio.testing.MockClock) -> None:
    """An idle app does nothing: no deadline is set."""
    async with fairlead.open(providers=[ScriptedProvider(["ok"])]) as app:
        await app.ask("go")
        await trio.sleep(1_000)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_whoever_waits_for_a_person_is_not_stuck(autojump_clock: object) -> None:
    """An approval may take a day."""

    async def ask_somebody(arguments: Any) -> str:
        session = app._desk.sessions.peek("s")  # noqa: SLF001  # the room's own test
        assert session is not None
        assert session.running is not None
        session.running.patient = True
        await trio.sleep(4_000)
        session.running.patient = False
        return "yes"

    tool, watcher = CountingTool("ask", ask_somebody), RecordingObserver()
    provider = ScriptedProvider([calls(("ask", {})), "ok"])
    async with fairlead.open(Config(limits=LIMITS), providers=[provider], tools=[tool], observers=[watcher]) as app:
        assert "ok" == (await app.ask("go", session="s")).text
    assert [] == notices(watcher)
