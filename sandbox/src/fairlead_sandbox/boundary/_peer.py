"""One end of a boundary: calls and streams in both directions over one stream of bytes.

It runs on trio and on asyncio. The other end may be hostile: it can end the boundary and nothing else.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from fairlead.errors import SchemaError
from fairlead_sandbox.boundary._calls import Call, Items, Request, Serve, Waiter
from fairlead_sandbox.boundary._errors import CANCELLED, decode_error, encode_error, said
from fairlead_sandbox.boundary._outbox import Outbox, Stream
from fairlead_sandbox.boundary._reader import Reader
from fairlead_sandbox.boundary._shapes import check_shape
from fairlead_sandbox.boundary._sides import HOST, Side
from fairlead_sandbox.errors import BoundaryBroken, SandboxError, SandboxLost
from fairlead_sandbox.inside._frames import HEAD_BYTES, FrameError, encode

__all__ = ["Peer"]

CANCEL_SECONDS = 2.0
"""For the other side to end what was cancelled."""
_LAST_SECONDS = 0.5
"""For the last words of one that has ended, and for what is still to be read when nothing can be written any more."""
_CHUNK = 64 * 1024
_SLICE = 8 * 1024
"""Bytes that are taken in at a time: others have their turn in between, however small the frames are."""
_STRAYS = 1000
"""Frames about calls that are over. Each answer may cross with one or two of them; more are a flood."""
_WINDOW = 1024 * 1024
"""Bytes of a stream that may be on their way."""


async def _nothing(op: str, _args: dict[str, Any], _call: Call) -> Any:
    raise SandboxError(f"nothing is offered here under the name {op!r}")


class Peer:
    """One end. Run `run` in a task; the other methods are used from other tasks of the same event loop.

    `serve` answers what the other side asks outside of a call. `on_stuck` is called, and awaited where it can be, when
    the other side did not end a cancelled call in 2 s: kill it there. `last_words` is asked once when the other side
    is gone, for at most half a second: what a process wrote before it ended.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        serve: Serve = _nothing,
        side: Side = HOST,
        on_stuck: Callable[[], object] | None = None,
        last_words: Callable[[], Awaitable[str]] | None = None,
        first: Iterable[dict[str, Any]] = (),
    ) -> None:
        """`first`: frames that were read already."""
        self.on_stuck = on_stuck
        self.last_words = last_words
        self._why: SandboxError | None = None
        self._stream = stream
        self._serve = serve
        self._side = side
        self._first = first
        self._outbox = Outbox(stream, side.gives.queued_bytes)
        self._reader = Reader(side.takes)
        self._requests: dict[int, Request] = {}
        self._asked_bytes = 0
        self._last_id = 0
        self._slots = Waiter()
        self._calls: dict[int, Call] = {}
        self._held_bytes = 0
        self._owed_bytes = 0
        self._turn = 0.0
        self._strays = -_STRAYS
        self._tasks: TaskGroup | None = None
        self._reading = anyio.CancelScope()

    @property
    def ended(self) -> SandboxError | None:
        """Why nothing can be called any more; None while the boundary is whole."""
        return self._why

    # -- asking

    async def call(
        self, op: str, args: dict[str, Any] | None = None, *, within: int | None = None, services: Serve | None = None
    ) -> Any:
        """Ask the other side, and wait for its answer, which is JSON and not to be trusted.

        `within`: the id of the call of the other side that this one belongs to: both are cancelled together.
        `services`: answers what the other side asks within this call, until it ends.

        Raises what the other side raised, if it may; `SandboxError` for anything else. `SchemaError`: the arguments
        are no JSON or too large, nothing was sent. `SandboxLost`, `BoundaryBroken`: the boundary is closed, and whether
        the call had an effect is unknown. Cancelled: the other side was told, and has ended it or is given up.
        """
        async with self._asking("call", op, args, within, services, {}) as request:
            while not request.ended:
                await request.changed()
        return request.outcome()

    @asynccontextmanager
    async def stream(
        self,
        op: str,
        args: dict[str, Any] | None = None,
        *,
        credit: int = 16,
        within: int | None = None,
        services: Serve | None = None,
    ) -> AsyncIterator[Items]:
        """Ask the other side for items, of which at most `credit` are on their way, and about 1 MiB.

        Otherwise as `call`. Left before the end, or cancelled: the other side is told and has ended it.
        """
        more = {"credit": credit, "window": _WINDOW}
        async with self._asking("stream", op, args, within, services, more) as request:
            yield Items(self, request)

    @asynccontextmanager
    async def _asking(
        self,
        kind: str,
        op: str,
        args: dict[str, Any] | None,
        within: int | None,
        services: Serve | None,
        more: dict[str, int],
    ) -> AsyncIterator[Request]:
        self._last_id += 1
        request = Request(self._last_id, op, services)
        if more:
            request.wish = request.credit, request.window = more["credit"], more["window"]
        frame = {"type": kind, "id": request.id, "op": op, "args": args or {}, **more}
        if within is not None:
            frame["within"] = within
        data = self._encoded(frame)
        await self._admit(request, len(data))
        try:
            await self._outbox.put(data)
            try:
                yield request
            finally:
                if not request.ended:
                    await self._abandon(request)
        finally:
            await self._forget(request)

    def _encoded(self, frame: dict[str, Any]) -> bytes:
        try:
            data = encode(frame)
        except FrameError as error:
            raise SchemaError(f"it cannot pass the boundary: {error.problem}", schema="boundary") from None
        limit = self._side.gives.frame_bytes
        if len(data) - HEAD_BYTES > limit:
            problem = f"found {len(data)} bytes, at most {limit} can pass the boundary at a time"
            raise SchemaError(problem, schema="boundary")
        return data

    async def _admit(self, request: Request, size: int) -> None:
        """Wait until the other side takes one more call of that size."""
        gives = self._side.gives
        while self.ended is None and self._requests:
            if len(self._requests) < gives.calls and self._asked_bytes + size <= gives.held_bytes:
                break
            await self._slots.changed()
        self._raise_if_ended()
        request.size = size
        self._requests[request.id] = request
        self._asked_bytes += size

    async def _abandon(self, request: Request) -> None:
        request.cancelled = True
        request.cancel_children()
        with anyio.CancelScope(shield=True):
            self._outbox.put_nowait(encode({"type": "cancel", "id": request.id}))
            with anyio.move_on_after(CANCEL_SECONDS):
                while not request.ended:
                    await request.changed()
            if not request.ended:
                problem = f"{request.op} did not end within {CANCEL_SECONDS:g} s of its cancellation"
                await self._give_up(BoundaryBroken(problem))

    async def _give_up(self, error: SandboxError) -> None:
        self._fail(error)
        if self.on_stuck is not None:
            done = self.on_stuck()
            if inspect.isawaitable(done):
                await done
        self._break(error)

    def _break(self, error: SandboxError) -> None:
        self._fail(error)
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def _forget(self, request: Request) -> None:
        """Nothing that was asked within it outlives it."""
        request.cancelled = True
        if request.children:
            request.cancel_children()
            with anyio.CancelScope(shield=True):
                while request.children:
                    await request.changed()
        del self._requests[request.id]
        self._asked_bytes -= request.size
        self._slots.wake()

    def give_back(self, request: Request, size: int) -> None:
        """An item was read: tell the other side from time to time that it may send more."""
        back = request.returned
        back[0] += 1
        back[1] += size
        if request.ended or (back[0] * 2 < request.wish[0] and back[1] * 2 < request.wish[1]):
            return
        request.credit += back[0]
        request.window += back[1]
        frame = {"type": "credit", "id": request.id, "credit": back[0], "window": back[1]}
        back[:] = [0, 0]
        self._outbox.put_nowait(encode(frame))

    # -- the life of the boundary

    async def run(self) -> SandboxError:
        """Read until the other side ends or breaks the rules; why it is over. Then every open call has raised that.

        Cancelled: the boundary is closed from this side. The stream is closed in any case.
        """
        why: SandboxError = SandboxLost("the boundary was closed from this side")
        try:
            if self.ended is None:
                async with anyio.create_task_group() as self._tasks:
                    _ = self._tasks.start_soon(self._write)
                    why = await self._with_last_words(await self._read())
                    self._fail(why)
                    self._tasks.cancel_scope.cancel()
        finally:
            self._fail(why)
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await self._stream.aclose()
        return why if self._why is None else self._why

    async def aclose(self) -> None:
        """Close from this side: open calls raise `SandboxLost`, `run` returns."""
        self._break(SandboxLost("the boundary was closed from this side"))
        await self._stream.aclose()

    def _fail(self, error: SandboxError) -> None:
        if self.ended is not None:
            return
        self._why = error
        self._outbox.close()
        for request in list(self._requests.values()):
            request.cancel_children()
            request.end(error=_again(error))
        self._slots.wake()
        for call in self._calls.values():
            call.room.wake()

    def _raise_if_ended(self) -> None:
        if self.ended is not None:
            raise _again(self.ended)

    async def _with_last_words(self, why: SandboxError) -> SandboxError:
        if self.last_words is not None and not why.last_words:
            with anyio.move_on_after(_LAST_SECONDS):
                why.last_words = await self.last_words()
        return why

    async def _write(self) -> None:
        try:
            await self._outbox.run()
        except Exception:  # noqa: BLE001  # whatever a stream raises, it is gone
            # It may have said its last before it stopped reading.
            self._reading.deadline = anyio.current_time() + _LAST_SECONDS

    async def _read(self) -> SandboxError:
        """Take in all that comes; why there is no more."""
        try:
            for frame in self._first:
                self._take(frame, len(encode(frame)))
            with self._reading:
                self._turn = time.perf_counter()
                while data := await self._receive():
                    for start in range(0, len(data), _SLICE):
                        await self._take_in(data[start : start + _SLICE])
        except FrameError as error:
            return BoundaryBroken(error.problem)
        except SandboxLost as error:
            return error
        if self._reading.cancelled_caught:
            return SandboxLost("the other side does not read any more")
        return SandboxLost(f"the other side ended{'' if self._reader.empty else ' in the middle of a frame'}")

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive(_CHUNK)
        except anyio.EndOfStream:
            return b""
        except Exception as error:
            raise SandboxLost(f"the stream broke: {type(error).__name__} {said(error)}".rstrip()) from error

    async def _take_in(self, data: bytes) -> None:
        for frame, size in self._reader.feed(data):
            self._take(frame, size)
        if time.perf_counter() - self._turn > _TURN:
            await anyio.lowlevel.checkpoint()
            self._turn = time.perf_counter()

    # -- what comes in

    def _take(self, frame: dict[str, Any], size: int) -> None:
        kind = check_shape(frame)
        if kind in ("call", "stream"):
            self._take_call(frame, size)
        elif kind in ("cancel", "credit"):
            self._take_word(frame)
        else:
            self._take_answer(kind, frame, size)

    def _take_call(self, frame: dict[str, Any], size: int) -> None:
        number, takes = frame["id"], self._side.takes
        if number in self._calls:
            raise FrameError(f"the call {number} is open already")
        if len(self._calls) >= takes.calls or (self._calls and self._held_bytes + size > takes.held_bytes):
            raise FrameError(f"more than {takes.calls} calls or {takes.held_bytes} bytes of calls are open")
        within = frame.get("within")
        parent = self._requests.get(within) if within is not None else None
        call = Call(self, number, frame["op"], parent, size)
        if frame["type"] == "stream":
            call.streams, call.credit, call.window = True, frame["credit"], frame["window"]
        self._calls[number] = call
        self._held_bytes += size
        serve = self._serve
        if within is not None:
            late = parent is None or parent.cancelled or parent.ended
            serve = _too_late if late or parent is None else parent.services or _nothing
        if parent is not None:
            parent.children.add(call)
        assert self._tasks is not None, "frames are read while run() runs"
        start = partial(self._tasks.start_soon, self._answer, call, serve, frame["args"])
        context = parent.context if parent is not None else None
        _ = start() if context is None else context.run(start)

    def _take_word(self, frame: dict[str, Any]) -> None:
        call = self._calls.get(frame["id"])
        if call is None:  # it crossed with our answer
            self._stray()
        elif frame["type"] == "cancel":
            call.scope.cancel()
        else:
            call.credit += frame["credit"]
            call.window += frame["window"]
            call.room.wake()

    def _take_answer(self, kind: str, frame: dict[str, Any], size: int) -> None:
        request = self._requests.get(frame["id"])
        if request is None or request.ended:
            raise FrameError(f"found an answer to the call {frame['id']}, which is not open")
        if kind == "result":
            request.end(frame["value"])
        elif kind == "error":
            request.end(error=decode_error(frame["error"], self._side.believes))
        elif request.credit <= 0 or request.window <= 0:
            raise FrameError(f"found an item of the stream {frame['id']} that nobody has asked for yet")
        else:
            request.credit -= 1
            request.window -= size
            if not request.cancelled:
                request.items.append((frame["value"], size))
                request.wake()

    def _stray(self) -> None:
        self._strays += 1
        if self._strays > 0:
            raise FrameError("found a flood of frames about calls that are over")

    # -- answering

    async def _answer(self, call: Call, serve: Serve, args: dict[str, Any]) -> None:
        try:
            frame = await self._outcome(call, serve, args)
            call.over = True
            call.room.wake()
            try:
                data = self._encoded(frame)
            except SchemaError as error:
                data = self._encoded({"type": "error", "id": call.id, "error": encode_error(error)})
            await self._give(data)
            self._strays -= 2
        finally:
            del self._calls[call.id]
            self._held_bytes -= call.size
            if call.parent is not None:
                call.parent.children.discard(call)
                call.parent.wake()

    async def _give(self, answer: bytes) -> None:
        """Write an answer, as soon as there is room. One who asks much and reads nothing is no further served."""
        self._owed_bytes += len(answer)
        try:
            if self._owed_bytes > max(self._side.takes.held_bytes, len(answer)):
                self._break(BoundaryBroken("the other side asks, and does not read the answers"))
            await self._outbox.put(answer)
        finally:
            self._owed_bytes -= len(answer)

    async def _outcome(self, call: Call, serve: Serve, args: dict[str, Any]) -> dict[str, Any]:
        """The frame that answers. Whatever the code raises that serves the call is its own fault, and an answer."""
        try:
            with call.scope:
                return {"type": "result", "id": call.id, "value": await serve(call.op, args, call)}
        except BaseException as error:  # also SystemExit, and a CancelledError that nobody asked for
            mine = (
                isinstance(error, anyio.get_cancelled_exc_class()) and anyio.current_effective_deadline() == -math.inf
            )
            if mine or isinstance(error, KeyboardInterrupt):
                raise
            shown = encode_error(_leaf(error), candid=self._side.candid)
            return {"type": "error", "id": call.id, "error": shown}
        return {"type": "error", "id": call.id, "error": {"class": CANCELLED, "problem": "it was cancelled"}}

    async def send_item(self, call: Call, item: Any) -> None:
        """One item of a stream, as soon as the other side wants it."""
        data = self._encoded({"type": "item", "id": call.id, "value": item})
        while not call.over and self.ended is None:
            if call.credit > 0 and call.window > 0 and self._outbox.has_room:
                call.credit -= 1
                call.window -= len(data) - HEAD_BYTES
                self._outbox.put_nowait(data)
                await anyio.lowlevel.checkpoint()
                return
            await (call.room if call.credit <= 0 or call.window <= 0 else self._outbox.room).changed()
        self._raise_if_ended()
        raise SandboxError(f"{call.op} is over, and gives no more items")


_TURN = 0.002
"""Seconds of this side's time before others have theirs."""


def _again(error: SandboxError) -> SandboxError:
    """The same error: one that several tasks raise would grow with each of them."""
    return type(error)(error.problem, next_step=error.next_step, last_words=error.last_words)


async def _too_late(op: str, _args: dict[str, Any], _call: Call) -> Any:
    raise SandboxError(f"the call to which {op!r} belongs is over")


def _leaf(error: BaseException) -> BaseException:
    """The only exception at the bottom of a group: task groups wrap what passes through them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
