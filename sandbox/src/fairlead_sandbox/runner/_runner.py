"""Drives one sandbox from the host, over the attached standard input and output of its supervisor."""

from __future__ import annotations

import binascii
import codecs
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import anyio
import trio
from attrs import asdict

from fairlead.errors import FairleadError, PluginLoadError, SchemaError, ToolError
from fairlead.wire import check, unstructure
from fairlead_sandbox.errors import BoundaryBroken, SandboxLost
from fairlead_sandbox.inside import FrameError, FrameReader, encode
from fairlead_sandbox.runner._data import Outcome, Setup, Work
from fairlead_sandbox.runner._outcome import load_error, outcome_of

__all__ = ["Runner", "Watch"]

PROTOCOL = 1
MAX_FRAME = 192 * 1024 * 1024
"""Bytes: a frame carries a result (`Limits.result_bytes`) whose text JSON may write longer."""
MAX_ORDER = 64 * 1024 * 1024
"""Bytes of a frame that the supervisor takes."""
TAIL = 65536
"""Characters of each stream that an `Outcome` keeps."""
CANCEL_SECONDS = 2.0
"""In which a cancelled call must have ended, or its sandbox is killed."""
SPARE_SECONDS = 10.0
"""Beyond a call's own limit, in which the supervisor has ended and cleaned up. Else it is gone, or hangs."""


_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Stream(Protocol):
    """The supervisor's input and output: what `anyio.abc.ByteStream` has."""

    async def send(self, item: bytes, /) -> None: ...

    async def receive(self, max_bytes: int = ..., /) -> bytes: ...


class Watch:
    """What a caller sees of a call while it runs. This one looks away; subclass what you need."""

    async def output(self, stream: str, text: str) -> None:
        """A piece of ``stdout`` or ``stderr``. While this waits, the call may have to wait too."""

    async def progress(self, detail: str) -> None:
        """What the tool says of itself, at most 200 characters."""

    async def ask(self, service: str, args: Mapping[str, Any]) -> Any:
        """Answer ``recall.add``, ``recall.search`` or ``recall.erase`` with plain JSON; the arguments are untrusted.

        A `FairleadError` is told to the tool; anything else ends the call.
        """
        raise FairleadError(f"nobody here offers {service!r}")


class Runner:
    """One sandbox. Not to be shared by tasks without their own lock: one call at a time."""

    def __init__(self, stream: Stream, kill: Callable[[], Awaitable[None]]) -> None:
        """`stream`: the supervisor's input and output. `kill`: ends the whole sandbox at once; may be called twice."""
        self._stream = stream
        self._kill = kill
        self._reader = FrameReader(MAX_FRAME)
        self._frames: list[dict[str, Any]] = []
        self._sending = trio.Lock()
        self._busy = False
        self.usable = False
        """Whether it can take another call: it started, and nothing has gone wrong with it since."""
        self.facts: Mapping[str, Any] = {}
        """What the supervisor found: ``separate`` users, ``recorded``, ``counted``, other ``writable`` mounts."""
        self.workers: Sequence[Mapping[str, Any]] = ()

    async def start(self, setup: Setup) -> None:
        """Wait until the plugins are loaded. Put your own limit of time around it.

        `PluginLoadError`: a plugin failed. `SandboxLost`: the sandbox ended. `BoundaryBroken`: it speaks another
        protocol. After an error or cancellation the sandbox is killed.
        """
        async with self._guarded():
            await self.send(_setup_frame(setup))
            ready = _checked(await self.receive(), "ready")
            self.facts = ready["facts"]
            if problem := ready.get("problem"):
                raise load_error(problem)
            self.workers = ready["workers"]
        self.usable = True

    async def describe(self) -> Sequence[Mapping[str, Any]]:
        """The workers: ``table``, ``worker`` (its place), ``name``, ``specs`` as JSON. Untrusted. Errors as `call`."""
        async with self._guarded():
            await self.send({"op": "describe"})
            self.workers = _checked(await self.receive(), "described")["workers"]
            return self.workers

    async def call(self, work: Work, watch: Watch | None = None) -> Outcome:
        """Run one call to its end, whatever that is: the `Outcome` has the error.

        `SandboxLost`: the sandbox went away, and whether the call had its effect is unknown; `BoundaryBroken`: it
        broke the protocol. Then, and where `usable` is false afterwards, throw it away.

        Cancelled: the tool is asked to stop, and killed after 0.3 s; this waits up to 2 s for that, and else kills the
        sandbox.
        """
        if not self.usable:
            raise SandboxLost("this sandbox cannot be used any more", next_step="take another one")
        try:
            order = encode(_call_frame(work))
        except FrameError as error:
            return _not_sent(work, error.problem)
        except RecursionError:
            return _not_sent(work, "they are nested too deeply")
        if len(order) > MAX_ORDER:
            return _not_sent(work, f"{len(order)} bytes were found, at most {MAX_ORDER} are allowed")
        running = _Call(self, work, watch or Watch())
        async with self._guarded():
            await self.transmit(order)
            try:
                with running.patience:
                    return await running.follow()
            except BaseException:
                await self._cancel(running)
                raise
            raise SandboxLost(f"the sandbox did not end the call {work.id!r} in time, and was killed")

    async def _cancel(self, running: _Call) -> None:
        """Leave the sandbox without that call, or kill it."""
        if running.over or not self.usable:
            return
        with trio.move_on_after(CANCEL_SECONDS, shield=True) as scope:
            try:
                await self.send({"op": "cancel", "id": running.work.id})
                await running.skip()
            except FairleadError:
                self.usable = False
        if scope.cancelled_caught:
            self.usable = False

    async def aclose(self) -> None:
        """Kill the sandbox."""
        self.usable = False
        with trio.CancelScope(shield=True):
            await self._kill()

    # -- the channel

    @contextlib.asynccontextmanager
    async def _guarded(self) -> AsyncIterator[None]:
        """For one operation: what breaks the channel ends the sandbox, and what is malformed breaks it."""
        if self._busy:
            raise RuntimeError("one operation at a time")
        self._busy, was_usable, well = True, self.usable, False
        try:
            yield
            well = True
        except (SandboxLost, BoundaryBroken, PluginLoadError):
            was_usable = False
            raise
        finally:
            self._busy = False
            if not well and not (was_usable and self.usable):
                await self.aclose()

    async def send(self, frame: dict[str, Any]) -> None:
        """One whole frame, also where the caller is cancelled: half of one would break the channel."""
        await self.transmit(encode(frame))

    async def transmit(self, data: bytes) -> None:
        """As `send`, for a frame that is encoded already."""
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            async with self._sending:
                try:
                    await self._stream.send(data)
                except _GONE as error:
                    raise _lost() from error
                return
        raise BoundaryBroken(f"the supervisor has read nothing for {CANCEL_SECONDS:g} s")

    async def receive(self) -> dict[str, Any]:
        while not self._frames:
            try:
                data = await self._stream.receive(TAIL)
            except _GONE as error:
                raise _lost() from error
            try:
                self._frames += self._reader.feed(data)
            except FrameError as error:
                raise BoundaryBroken(f"the supervisor sent what is no frame: {error.problem}") from error
        return self._frames.pop(0)


_SHAPES: Mapping[str, Mapping[str, type]] = {
    "output": {"id": str, "stream": str, "data": str},
    "progress": {"id": str, "detail": str},
    "ask": {"id": str, "ask": int, "service": str, "args": dict},
    "end": {"id": str, "usage": dict, "repeated": bool, "clean": bool},
}
"""What each frame of a call has. Not the schema: a flood of them would cost the host more than the sandbox."""
_NONE: Mapping[str, type] = {"op": Mapping}
"""What no frame has."""


class _Tail:
    """The end of what was written. It comes in pieces, small ones by the hundred thousand among them."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pieces: list[str] = []
        self._chars = 0

    def add(self, data: bytes, *, final: bool) -> str:
        """The text that is complete with `data`."""
        text = self._decoder.decode(data, final=final)
        self._pieces.append(text)
        self._chars += len(text)
        if self._chars > 2 * TAIL:
            self._pieces = [self.text]
            self._chars = len(self._pieces[0])
        return text

    @property
    def text(self) -> str:
        return "".join(self._pieces)[-TAIL:]


class _Call:
    """One call while it runs."""

    def __init__(self, runner: Runner, work: Work, watch: Watch) -> None:
        self.work = work
        self.over = False
        self.patience = trio.CancelScope(deadline=trio.current_time() + work.limits.seconds + SPARE_SECONDS)
        """For the sandbox alone: what the watcher takes is not counted."""
        self._runner = runner
        self._watch = watch
        self._tails = {"stdout": _Tail(), "stderr": _Tail()}

    async def follow(self) -> Outcome:
        """Show what comes until the end."""
        try:
            frame = await self._until_end()
        except BaseExceptionGroup as group:
            raise _only(group) from None
        return outcome_of(frame, self.work, self._tails["stdout"].text, self._tails["stderr"].text)

    async def _until_end(self) -> dict[str, Any]:
        async with trio.open_nursery() as nursery:
            while (frame := await self._next())["op"] != "end":
                match frame["op"]:
                    case "output" if frame["stream"] in self._tails:
                        await self._written(frame["stream"], frame["data"])
                    case "progress":
                        await self._show(self._watch.progress(frame["detail"]))
                    case "ask":
                        nursery.start_soon(self._answer, frame)
                    case other:
                        raise BoundaryBroken(f"the supervisor sent {other!r} at the wrong time")
            nursery.cancel_scope.cancel()
        for stream in self._tails:
            await self._written(stream, "", final=True)
        return frame

    async def _written(self, stream: str, data: str, *, final: bool = False) -> None:
        """Bytes of a stream, which may end in the middle of a character."""
        try:
            text = self._tails[stream].add(binascii.a2b_base64(data, strict_mode=True), final=final)
        except ValueError as error:
            raise BoundaryBroken(f"the supervisor sent output that is no base64: {error}") from error
        if text:
            await self._show(self._watch.output(stream, text))

    async def _next(self) -> dict[str, Any]:
        frame = await self._runner.receive()
        shape = _SHAPES.get(str(frame.get("op")), _NONE)
        if fault := next((key for key, kind in shape.items() if type(frame.get(key)) is not kind), None):
            raise BoundaryBroken(f"the supervisor sent a frame with {fault} = {str(frame.get(fault))[:80]!r}")
        if frame["id"] != self.work.id:
            raise BoundaryBroken(f"the supervisor spoke of the call {frame['id'][:80]!r}")
        if frame["op"] == "end":
            self.over = True
            if not frame["clean"]:
                self._runner.usable = False
        return frame

    async def _show(self, showing: Awaitable[None]) -> None:
        left = self.patience.deadline - trio.current_time()
        self.patience.deadline = math.inf
        await showing
        self.patience.deadline = trio.current_time() + left

    async def skip(self) -> None:
        """Wait for the end and show nothing."""
        while (await self._next())["op"] != "end":
            pass

    async def _answer(self, frame: Mapping[str, Any]) -> None:
        answer = {"op": "answer", "id": self.work.id, "ask": frame["ask"]}
        try:
            answer["value"] = await self._watch.ask(frame["service"], frame["args"])
            data = encode(answer)
        except FairleadError as error:
            data = encode(answer | {"error": {"problem": error.problem}})
        except FrameError as error:
            data = encode(answer | {"value": None, "error": {"problem": f"the answer cannot be sent: {error.problem}"}})
        await self._runner.transmit(data)


def _not_sent(work: Work, problem: str) -> Outcome:
    """Nothing was begun: the caller's arguments are at fault, and the sandbox is as good as before."""
    return Outcome(error=ToolError(f"the call of {work.tool!r} was not made: its arguments cannot be sent: {problem}"))


def _checked(frame: dict[str, Any], op: str) -> dict[str, Any]:
    """A frame that says what plugins say of themselves. `BoundaryBroken`: it does not match the schema."""
    try:
        check("sandbox-call", frame)
    except SchemaError as error:
        raise BoundaryBroken(f"the sandbox sent a frame that is none: {error.problem} ({error.path})") from error
    if frame["op"] != op:
        raise BoundaryBroken(f"expected {op!r} from the sandbox, found {frame['op']!r}")
    return frame


def _only(error: BaseException) -> BaseException:
    """The one exception in a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _lost() -> SandboxLost:
    return SandboxLost("the sandbox is gone", next_step="call again: another one is started")


def _setup_frame(setup: Setup) -> dict[str, Any]:
    frame = {"op": "setup", "protocol": PROTOCOL, **asdict(setup)}
    frame["plugins"] = frame.pop("tables")
    return {key: _plain(value) for key, value in frame.items()}


def _call_frame(work: Work) -> dict[str, Any]:
    frame = {"op": "call", **asdict(work, recurse=False)}
    frame["limits"] = asdict(work.limits)
    frame["principal"] = unstructure(work.principal) if work.principal is not None else None
    frame["record"] = frame.pop("effect") != "read"
    return {key: _plain(value) for key, value in frame.items()}


def _plain(value: Any) -> Any:
    """Mappings and sequences of every kind as JSON's own."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
