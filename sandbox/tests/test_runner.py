"""The host's side of a sandbox, against supervisors that are not what they should be."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio
import trio.testing

from fairlead.errors import PluginLoadError, ToolError
from fairlead.wire import check
from fairlead_sandbox.errors import (
    BoundaryBroken,
    Killed,
    OutOfMemory,
    OutputLimit,
    PidLimit,
    SandboxError,
    SandboxLost,
    Timeout,
)
from fairlead_sandbox.inside import FrameReader, encode
from fairlead_sandbox.runner import Identities, Limits, Runner, Setup, Table, Watch, Work

from .inside_calls import Seen, run
from .inside_namespace import sandbox

FACTS = {"python": "3.11.2", "separate": True, "root": False, "recorded": False, "writable": [], "counted": True}
READY = {"op": "ready", "protocol": 1, "facts": FACTS, "workers": []}
SETUP = Setup(["/plugin/0"], (Table("t", "x.plugin", {"a": (1, {"b": ()})}),), Identities.from_base(5000))
WORK = Work("c1", "t", "x", {}, limits=Limits(seconds=5))
USAGE = {"cpu_seconds": 0.5, "peak_bytes": 7, "wall_seconds": 1.5}
END = {"op": "end", "id": "c1", "value": "v", "usage": USAGE, "repeated": False, "clean": True}
Reply = bytes | Mapping[str, Any] | None


class Supervisor:
    """Answers each frame of the host with the next of its replies; None: it is gone."""

    def __init__(self, *replies: Sequence[Reply]) -> None:
        self.heard: list[dict[str, Any]] = []
        self.kills = 0
        self._replies = list(replies)
        self._reader = FrameReader(1 << 24)
        self._send, self._receive = trio.open_memory_channel[bytes](100)

    async def send(self, item: bytes) -> None:
        for frame in self._reader.feed(item):
            check("sandbox-call", frame)
            self.heard.append(frame)
            for reply in self._replies.pop(0) if self._replies else ():
                if reply is None:
                    self._send.close()
                else:
                    await self._send.send(reply if isinstance(reply, bytes) else encode(dict(reply)))

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise anyio.EndOfStream from None

    async def kill(self) -> None:
        self.kills += 1


async def started(*replies: Sequence[Reply]) -> tuple[Runner, Supervisor]:
    supervisor = Supervisor([READY], *replies)
    runner = Runner(supervisor, supervisor.kill)
    await runner.start(SETUP)
    return runner, supervisor


async def test_call_is_ordered_and_its_end_is_an_outcome() -> None:
    """Every frame of the host's matches the schema; the usage is passed on."""
    runner, supervisor = await started([END])
    outcome = await runner.call(WORK)
    assert ("v", None, False) == (outcome.value, outcome.error, outcome.repeated)
    assert (0.5, 7, 1.5) == (outcome.usage.cpu_seconds, outcome.usage.peak_bytes, outcome.usage.wall_seconds)
    assert ["setup", "call"] == [frame["op"] for frame in supervisor.heard]
    assert (True, 0) == (runner.usable, supervisor.kills)


ERRORS: list[tuple[dict[str, Any], type[Exception], dict[str, Any]]] = [
    ({"kind": "tool", "problem": "no", "next_step": "yes"}, ToolError, {"problem": "no", "next_step": "yes"}),
    ({"kind": "failed", "class": "E", "problem": "p", "trace": "t"}, SandboxError, {"last_words": "t"}),
    ({"kind": "timeout", "seconds": 5}, Timeout, {"seconds": 5.0}),
    ({"kind": "memory", "limit": 9}, OutOfMemory, {"limit_bytes": 9}),
    ({"kind": "output", "limit": 9}, OutputLimit, {"limit_bytes": 9}),
    ({"kind": "pids", "limit": 9}, PidLimit, {"limit": 9}),
    ({"kind": "killed", "signal": 11}, Killed, {"signal": 11}),
    ({"kind": "exited", "status": 3}, SandboxError, {}),
    ({"kind": "broken", "problem": "p"}, BoundaryBroken, {}),
    ({"kind": "cancelled"}, SandboxError, {}),
    ({"kind": "interrupted"}, SandboxLost, {}),
    ({"kind": "refused", "problem": "p"}, SandboxError, {}),
]


@pytest.mark.parametrize(("error", "kind", "fields"), ERRORS, ids=[case[0]["kind"] for case in ERRORS])
async def test_each_end_has_its_type(error: dict[str, Any], kind: type[Exception], fields: dict[str, Any]) -> None:
    """With its numbers; the sandbox stays usable, for the supervisor has said that it is clean."""
    end = {key: value for key, value in END.items() if key != "value"} | {"error": error}
    check("sandbox-call", end)
    runner, _ = await started([end])
    outcome = await runner.call(WORK)
    assert kind is type(outcome.error)
    assert fields == {name: getattr(outcome.error, name) for name in fields}
    assert runner.usable


NO_END = {key: value for key, value in END.items() if key != "value"}
BROKEN: dict[str, Reply] = {
    "no frame": b"\x00\x00\x00\x02[]",
    "too long": b"\xff\xff\xff\xff",
    "NaN": b'\x00\x00\x00\x0b{"op": NaN}',
    "no word": {"id": "c1"},
    "unknown word": {"op": "reboot", "id": "c1"},
    "another call": {**END, "id": "c2"},
    "no value and no error": NO_END,
    "unknown error": {**NO_END, "error": {"kind": "tired"}},
    "error that is no object": {**NO_END, "error": "tired"},
    "error without its number": {**NO_END, "error": {"kind": "timeout"}},
    "usage that is no object": {**END, "usage": 3},
    "usage without numbers": {**END, "usage": {"cpu_seconds": "x"}},
    "no word on cleanness": {key: value for key, value in END.items() if key != "clean"},
    "output of a third stream": {"op": "output", "id": "c1", "stream": "stdlog", "data": "eA=="},
    "output that is no text": {"op": "output", "id": "c1", "stream": "stdout", "data": 3},
    "output that is no base64": {"op": "output", "id": "c1", "stream": "stdout", "data": "e!A"},
    "ask without a number": {"op": "ask", "id": "c1", "service": "recall.search", "args": {}},
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_not_the_protocol_ends_the_sandbox(reply: Reply) -> None:
    """It is killed, and cannot be used again."""
    runner, supervisor = await started([reply, END])
    with pytest.raises(BoundaryBroken):
        await runner.call(WORK)
    assert not runner.usable
    assert supervisor.kills >= 1
    with pytest.raises(SandboxLost, match="cannot be used any more"):
        await runner.call(WORK)


async def test_sandbox_that_goes_away_is_lost() -> None:
    """Before the end, in the middle of a frame, or while nothing runs."""
    for replies in ([None], [encode(END)[:-3], None]):
        runner, supervisor = await started(replies)
        with pytest.raises(SandboxLost, match="gone"):
            await runner.call(WORK)
        assert (False, True) == (runner.usable, supervisor.kills >= 1)


async def test_unclean_sandbox_is_not_used_again() -> None:
    """The call itself has its outcome."""
    runner, _ = await started([{**END, "clean": False, "dirt": "files"}])
    assert "v" == (await runner.call(WORK)).value
    assert not runner.usable


async def test_supervisor_that_says_nothing_is_killed(autojump_clock: trio.testing.MockClock) -> None:
    """Some time after the call's own limit, for the supervisor keeps that one."""
    runner, supervisor = await started([])
    began = trio.current_time()
    with pytest.raises(SandboxLost, match="did not end the call 'c1' in time"):
        await runner.call(WORK)
    assert 5 < trio.current_time() - began < 30
    assert (False, True) == (runner.usable, supervisor.kills >= 1)


async def test_cancelled_call_that_ends_in_time_leaves_a_usable_sandbox(autojump_clock: trio.testing.MockClock) -> None:
    """What comes meanwhile is shown to nobody."""
    seen = Seen()
    late = {"op": "output", "id": "c1", "stream": "stdout", "data": "bGF0ZQ=="}
    runner, supervisor = await started([], [late, END], [END])
    with trio.move_on_after(1):
        await runner.call(WORK, seen)
    assert ["setup", "call", "cancel"] == [frame["op"] for frame in supervisor.heard]
    assert [] == seen.pieces
    assert (True, 0) == (runner.usable, supervisor.kills)
    assert "v" == (await runner.call(WORK)).value


async def test_cancelled_call_that_does_not_end_is_killed_after_two_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """With its sandbox."""
    runner, supervisor = await started([])
    began = trio.current_time()
    with trio.move_on_after(1):
        await runner.call(WORK)
    assert 3.0 == pytest.approx(trio.current_time() - began)
    assert (False, True) == (runner.usable, supervisor.kills >= 1)


async def test_slow_watcher_is_not_taken_for_a_slow_sandbox(autojump_clock: trio.testing.MockClock) -> None:
    """Its time does not count."""

    class Slow(Watch):
        async def output(self, stream: str, text: str) -> None:
            await trio.sleep(1000)

    output = {"op": "output", "id": "c1", "stream": "stdout", "data": "eA=="}
    runner, _ = await started([output, output, END])
    assert "xx" == (await runner.call(WORK, Slow())).stdout


@pytest.mark.parametrize("fault", [KeyError("k"), TypeError("t"), ValueError("v")], ids=["key", "type", "value"])
async def test_fault_of_the_watcher_is_its_own(fault: Exception) -> None:
    """It is not taken for a fault of the sandbox, which goes on."""

    class Broken(Watch):
        async def output(self, stream: str, text: str) -> None:
            raise fault

    output = {"op": "output", "id": "c1", "stream": "stdout", "data": "eA=="}
    runner, supervisor = await started([output], [END], [END])
    with pytest.raises(type(fault)):
        await runner.call(WORK, Broken())
    assert (True, 0) == (runner.usable, supervisor.kills)
    assert "v" == (await runner.call(WORK)).value


async def test_two_operations_at_once_are_a_mistake() -> None:
    """Of the caller's, who is told; the first one goes on."""
    runner, supervisor = await started([])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(runner.call, WORK)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="one operation at a time"):
            await runner.call(WORK)
        assert (True, 0) == (runner.usable, supervisor.kills)
        nursery.cancel_scope.cancel()


def coded(number: int) -> str:
    return base64.b64encode(b"%06d" % number).decode()


async def test_only_the_end_of_long_output_is_kept() -> None:
    """However it came."""
    pieces = [{"op": "output", "id": "c1", "stream": "stderr", "data": coded(n)} for n in range(50_000)]
    data = b"".join(encode(piece) for piece in pieces)
    runner, _ = await started([data, END])
    outcome = await runner.call(WORK)
    assert ("", 65536) == (outcome.stdout, len(outcome.stderr))
    assert outcome.stderr.endswith("049998049999")


NOT_READY: dict[str, tuple[Reply, type[Exception]]] = {
    "gone": (None, SandboxLost),
    "another protocol": ({**READY, "protocol": 2}, BoundaryBroken),
    "another word": (END, BoundaryBroken),
    "no workers": ({key: value for key, value in READY.items() if key != "workers"}, BoundaryBroken),
    "specs that are none": (
        {**READY, "workers": [{"table": "t", "worker": 0, "name": "n", "specs": [{"name": 3}]}]},
        BoundaryBroken,
    ),
    "plugin failed": (
        {**READY, "problem": {"table": "t", "class": "E", "problem": "no licence", "trace": "tr"}},
        PluginLoadError,
    ),
}


@pytest.mark.parametrize(("reply", "error"), NOT_READY.values(), ids=NOT_READY.keys())
async def test_sandbox_that_does_not_start_is_killed(reply: Reply, error: type[Exception]) -> None:
    """And the error says whose fault it is."""
    supervisor = Supervisor([reply])
    runner = Runner(supervisor, supervisor.kill)
    with pytest.raises(error):
        await runner.start(SETUP)
    assert (False, True) == (runner.usable, supervisor.kills >= 1)


async def test_start_that_is_cancelled_kills_the_sandbox(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody would."""
    supervisor = Supervisor([])
    runner = Runner(supervisor, supervisor.kill)
    with trio.move_on_after(1):
        await runner.start(SETUP)
    assert (False, True) == (runner.usable, supervisor.kills >= 1)


def validating(stream: Any, seen: list[str]) -> Any:
    """A stream whose frames are all held against the schema."""

    class Checked:
        reader, writer = FrameReader(1 << 28), FrameReader(1 << 28)

        def _check(self, frames: list[dict[str, Any]]) -> None:
            for frame in frames:
                check("sandbox-call", frame)
                seen.append(frame["op"])

        async def send(self, item: bytes) -> None:
            self._check(self.writer.feed(item))
            await stream.send(item)

        async def receive(self, max_bytes: int = 65536) -> bytes:
            data: bytes = await stream.receive(max_bytes)
            self._check(self.reader.feed(data))
            return data

    return Checked()


async def test_real_frames_match_the_schema(tmp_path: Path) -> None:
    """Of every kind, in both directions."""
    ops: list[str] = []
    wrap: Callable[[Any], Any] = lambda stream: validating(stream, ops)  # noqa: E731  # a type that is short
    async with sandbox(tmp_path, wrap=wrap) as box:
        await box.runner.describe()
        code = "print('x')\nawait context.progress('p')\nawait context.recall.search('s', 'q')\nreturn 'r'"
        await run(box, code, watch=Seen([]), recall=True)
        await run(box, "1 / 0", "once", effect="once")
        await run(box, "1 / 0", "once", effect="once")
        await run(box, "os._exit(1)")
        with trio.move_on_after(0.2):
            await run(box, "await trio.sleep(9)")
    both = {"setup", "ready", "describe", "described", "call", "output", "progress", "ask", "answer", "cancel", "end"}
    assert both == set(ops)
