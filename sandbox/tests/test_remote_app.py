"""A whole app whose workers of all kinds run in processes of their own; and what crosses the boundary in bulk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Delta, File, Message, ModelInfo, ModelRequest, Text
from fairlead.config import Config, ModelRef
from fairlead.errors import BrokenStream, JournalUnavailable, ProviderError, RateLimited, TurnFailed
from fairlead.events import Event, MessageAccepted, NoticeRaised, SessionStarted, ToolReturned
from fairlead.testing import Deltas, RecordingObserver, ScriptedProvider

from .boundary_guests import Launcher, launching

TRIO, ASYNCIO = "boundary_trio_plugins", "boundary_asyncio_plugins"
Launch = Callable[..., Launcher]


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    async with launching() as launch:
        yield launch


async def made(launcher: Launcher, kind: str) -> Any:
    """The first worker of a kind, not opened."""
    return (await launcher.plugin.workers())[kind][0]


class Line:
    """Somebody at the far side of the test channel."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffered = b""

    async def say(self, text: str, ident: str) -> None:
        await self._stream.send_all(json.dumps({"text": text, "id": ident}).encode() + b"\n")

    async def hear(self, do: str) -> str:
        """The text of the next line of that kind."""
        while True:
            while b"\n" not in self._buffered:
                data = await self._stream.receive_some()
                assert data, "the channel hung up"
                self._buffered += data
            line, _, self._buffered = self._buffered.partition(b"\n")
            said = json.loads(line)
            if said["do"] == do:
                return str(said["text"])


async def test_app_of_strangers_answers(launch: Launch, tmp_path: Path) -> None:
    """Message, policy, model, tool, journal, answer: each in a process of its own; the result has its evidence."""
    rules = {"rules": [{"name": "all", "effect": "allow", "actions": ["tool_call"], "resources": ["*"]}]}
    tools = launch("tools", TRIO)
    watcher = RecordingObserver()
    diary = tmp_path / "diary"
    observing = await made(launch("tools", TRIO, options={"diary": str(diary)}), "observers")
    async with (
        fairlead.open(
            channels=[await made(launch("channels", TRIO, name="line"), "channels")],
            providers=[await made(launch("providers", TRIO, name="script"), "providers")],
            tools=[await made(tools, "tools")],
            memories=[await made(launch("memories", "fairlead_sqlite.plugin", data_dir=tmp_path), "memories")],
            policies=[await made(launch("policies", "fairlead_rules.plugin", options=rules), "policies")],
            observers=[watcher, observing],
        ) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        with trio.fail_after(10):
            host, _, port = (await watcher.wait_for(NoticeRaised)).detail.removeprefix("listening at ").partition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream:
                far = Line(stream)
                await far.say("use fine", "m1")
                assert "accepted" == await far.hear("taken")
                assert (await far.hear("show")).endswith("line:alice")
                await far.say("use fine", "m1")
                assert "duplicate" == await far.hear("taken")
                await far.say("use raise", "m2")
                assert "the tool said internal error in the tool (SandboxError)" == await far.hear("show")
        nursery.cancel_scope.cancel()
    returned = watcher.events(ToolReturned)[0]
    assert {"level": "process", "pid": tools.started[0].process.pid} == dict(returned.result.evidence)
    assert "tool_returned" in diary.read_text()


def asked(text: str) -> ModelRequest:
    return ModelRequest("script", (Message("user", (Text(text),)),))


async def test_slow_reader_slows_the_provider_down(launch: Launch) -> None:
    """While `emit` waits, no more pieces come than the credit lets through."""
    launcher = launch("providers", TRIO)
    provider = await made(launcher, "providers")
    await provider.open()
    seen: list[Delta] = []

    def items() -> int:
        return sum(frame["type"] == "item" for frame in launcher.started[0].pipes.frames())

    async def emit(delta: Delta) -> None:
        seen.append(delta)
        if len(seen) == 1:
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert items() <= 16

    answer = await provider.generate(asked("say " + "many " * 200), emit)
    assert 200 == len(seen) == items()
    assert "many " * 200 == answer.parts[0].text


async def test_provider_whose_process_dies_is_a_provider_error(launch: Launch) -> None:
    """Which one depends on whether anything of the answer was there."""
    launcher = launch("providers", TRIO)
    provider = await made(launcher, "providers")
    await provider.open()

    async def kill(delta: Delta) -> None:
        launcher.kill()
        await launcher.started[-1].ended.wait()

    with pytest.raises(BrokenStream, match="exit -9"):
        await provider.generate(asked("say " + "many " * 60), kill)
    with pytest.raises(ProviderError, match="exit 9"):
        await provider.generate(asked("leave"), Deltas())
    answer = await provider.generate(asked("hello"), Deltas())
    assert "hello, this is a script" == answer.parts[0].text


async def test_session_larger_than_a_frame_is_written_and_read(launch: Launch, tmp_path: Path) -> None:
    """Page by page; the host takes at most 16 MiB in one frame."""
    launcher = launch("memories", "fairlead_sqlite.plugin", data_dir=tmp_path)
    memory = await made(launcher, "memories")
    await memory.open()
    launcher.started[0].pipes.keeps = False
    photo = File("photo.jpg", "image/jpeg", bytes(range(256)) * 12_000)
    events: list[Event] = [SessionStarted(at=1.0, agent="main")]
    events += [MessageAccepted(at=2.0, message=Message("user", (photo,))) for _ in range(8)]
    assert 9 == await memory.journal.append("s", 0, events, pending=True)
    assert events == [record.event for record in await memory.journal.read("s")]
    await memory.close()


async def test_journal_whose_process_is_gone_is_unavailable(launch: Launch, tmp_path: Path) -> None:
    """The call that was open does not know; the next one finds what is durable in a new process."""
    launcher = launch("memories", "fairlead_sqlite.plugin", data_dir=tmp_path)
    memory = await made(launcher, "memories")
    await memory.open()
    event = SessionStarted(at=1.0, agent="main")
    assert 1 == await memory.journal.append("s", 0, [event], pending=True)
    launcher.kill()
    with pytest.raises(JournalUnavailable):
        await memory.journal.append("s", 1, [event], pending=True)
    assert event == (await memory.journal.read("s"))[0].event
    assert 2 == len(launcher.started)
    await memory.close()


async def test_isolated_policy_is_settled(launch: Launch, tmp_path: Path) -> None:
    """It learns provider, prices and usage: a request that failed costs nothing, the next one what it used."""
    limits = {"talk": {"scope": "provider", "who": "p", "dollars": 0.011, "window": "total"}}
    made_of = {"options": {"limits": limits}, "data_dir": tmp_path}
    priced = ModelInfo("m", max_output=1000, input_price=0.0, output_price=10.0)
    model = ScriptedProvider([RateLimited("busy", provider="p"), "one", "two"], name="p", models=[priced])
    config = Config(models={"default": (ModelRef("p", "m"), ModelRef("p", "m"))})
    policy = await made(launch("policies", "fairlead_budgets.plugin", **made_of), "policies")
    async with fairlead.open(config, providers=[model], policies=[policy]) as app:
        assert "one" == (await app.ask("hi", session="s")).text
        assert "two" == (await app.ask("hi", session="s")).text
        model.extend([fairlead.ModelAnswer((Text("three"),), usage=fairlead.Usage(1, 1000)), "four"])
        await app.ask("hi", session="s")
        with pytest.raises(TurnFailed, match="Too little is left of budget 'talk' of p") as caught:
            await app.ask("hi", session="s")
    assert "app:budget talk" == caught.value.rule
    assert 4 == model.answered
