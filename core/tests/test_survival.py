"""What survives a process: it dies at any append, and the next one goes on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import fairlead
from fairlead import Capabilities, events
from fairlead._fold import fold
from fairlead.testing import CapturingChannel, CountingTool, ScriptedProvider, calls

from .served import Surviving, of_kind, serving, settled, settled_in_time

IDEMPOTENT = Capabilities(idempotency=True)


@pytest.mark.parametrize("effect", ["read", "idempotent", "once"])
@pytest.mark.parametrize("step", range(1, 8))
@pytest.mark.parametrize("capabilities", [Capabilities(), IDEMPOTENT])
async def test_process_that_dies_at_any_append_loses_nothing(
    effect: Any, step: int, capabilities: Capabilities, autojump_clock: object
) -> None:
    """Accepted is answered, by whoever comes next; a `once` tool runs at most once, and nothing is said twice."""
    memory = Surviving()
    memory.left = step
    tool = CountingTool("act", "done", effect=effect)
    channel = CapturingChannel(capabilities=capabilities)
    accepted = False

    def provider() -> ScriptedProvider:
        def answer(request: fairlead.ModelRequest) -> Any:
            last = request.history[-1]
            return calls(("act", {})) if isinstance(last, fairlead.Message) else f"it is {last.error or last.text}"

        return ScriptedProvider([answer], repeat=True)

    with trio.move_on_after(10):
        async with serving(providers=[provider()], tools=[tool], channels=[channel], memories=[memory]):
            await channel.say("go", external_id="e1")
            accepted = True
            await trio.sleep_forever()
    memory.left = 10**9
    async with serving(providers=[provider()], tools=[tool], channels=[channel], memories=[memory]) as app:
        if not accepted:
            await channel.say("go", external_id="e1")
        session = (await app.sessions.list())[0].id
        await settled_in_time(app, session)
        records = await app.sessions.records(session)
        state = fold(session, records)
        delivery = (await of_kind(app, session, events.AnswerDelivered))[0]
    assert not state.pending
    assert 1 == len([record for record in records if isinstance(record.event, events.TurnEnded)])
    assert len(channel.sent) <= 1
    if delivery.status == "sent":
        assert 1 == len(channel.sent)
    if effect == "once":
        assert len(tool.calls) <= 1
    else:
        assert len(tool.calls) >= 1


async def test_unknown_outcome_is_told_to_the_model() -> None:
    """A `once` tool that was running is not repeated; the model learns that nobody knows."""
    memory = Surviving()
    provider = ScriptedProvider([calls(("act", {}))])

    async def hang(arguments: object) -> str:
        await trio.sleep_forever()

    tool = CountingTool("act", hang, effect="once")
    channel = CapturingChannel()
    with trio.CancelScope() as life:
        async with serving(providers=[provider], tools=[tool], channels=[channel], memories=[memory]):
            await channel.say("go")
            while not tool.calls:
                await trio.lowlevel.checkpoint()
            life.cancel()
            await trio.sleep_forever()
    second = ScriptedProvider(["I cannot say."])
    async with serving(providers=[second], tools=[tool], channels=[channel], memories=[memory]):
        await channel.next()
    result = second.requests[0].history[-1]
    assert isinstance(result, fairlead.ToolResult)
    assert "unknown" == result.error
    assert 1 == len(tool.calls)


async def test_answer_waits_for_a_process_that_has_its_channel() -> None:
    """An app without the channel finishes the turn and leaves the sending."""
    memory = Surviving()
    channel = CapturingChannel()
    async with (
        fairlead.open(providers=[ScriptedProvider(["x"], delay=1e4)], channels=[channel], memories=[memory]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        receipt = await channel.say("go")
        nursery.cancel_scope.cancel()
    async with serving(
        providers=[ScriptedProvider(["done"])], channels=[CapturingChannel("other")], memories=[memory]
    ) as app:
        await settled(lambda: ended(app, receipt.session))
    assert [] == channel.sent
    async with serving(providers=[ScriptedProvider([])], channels=[channel], memories=[memory]):
        assert "done" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # a text part


async def ended(app: fairlead.App, session: str) -> bool:
    return bool(await of_kind(app, session, events.TurnEnded))


async def test_app_without_channels_finishes_what_a_dead_process_left() -> None:
    """`serve` returns once it has, and not before it has looked."""
    memory = Surviving()
    memory.left = 2  # it dies in the middle of the turn
    async with fairlead.open(providers=[ScriptedProvider(["never"])], memories=[memory]) as app:
        with trio.move_on_after(1) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(app.ask, "hi")
                await trio.testing.wait_all_tasks_blocked()
                app._desk.stopping = True  # noqa: SLF001  # a process that is gone writes nothing for the cancellation
                scope.cancel()
    memory.left = 10**9
    async with fairlead.open(providers=[ScriptedProvider(["late, but there"])], memories=[memory]) as app:
        await app.serve()
        (info,) = await app.sessions.list()
        assert not info.pending
