"""The two requests to the engine that stay open: a container's streams, and the news that it is gone.

Docker's SDK would hold a thread for each of them as long as the container lives. These are plain trio.
"""

from __future__ import annotations

import json
import select
from collections import deque

import anyio
import trio
from anyio.abc import ByteStream

from fairlead_sandbox.errors import BoundaryBroken, EngineUnavailable, SandboxLost

__all__ = ["AttachedStream", "PendingExit", "attach", "watch_exit"]

HEAD_BYTES = 16 * 1024
RECEIVE_BYTES = 64 * 1024
ANSWER_SECONDS = 20.0
"""For the head of an answer: an engine that hangs takes every question and says nothing."""
STDOUT, STDERR = 1, 2
FRAME_HEAD = 8
"""A byte for the stream, three of zero, four for the length (Docker Engine API, "Stream format" of attach)."""
LAST_WORDS_BYTES = 8 * 1024


async def _request(path: str, target: str, *, upgrade: bool) -> tuple[trio.SocketStream, bytes]:
    """Send a POST without a body. Gives the stream behind the head of the answer, and what of the body came along."""
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        problem = f"no Docker Engine answers at {path}: {error.strerror}"
        raise EngineUnavailable(problem, next_step="fairlead sandbox doctor", floor="container") from error
    try:
        wish = "Connection: Upgrade\r\nUpgrade: tcp\r\n" if upgrade else ""
        # Without an upgrade HTTP/1.0: the answer is then neither in chunks nor followed by another.
        version = "1.1" if upgrade else "1.0"
        with trio.fail_after(ANSWER_SECONDS):
            await stream.send_all(
                f"POST {target} HTTP/{version}\r\nHost: docker\r\n{wish}Content-Length: 0\r\n\r\n".encode()
            )
            return stream, await _answer(stream, target)
    except trio.TooSlowError:
        await trio.aclose_forcefully(stream)
        problem = f"the engine gives no answer to {target.partition('?')[0]} in {ANSWER_SECONDS:g} s"
        raise EngineUnavailable(problem, next_step="fairlead sandbox doctor", floor="container") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _answer(stream: trio.SocketStream, target: str) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            data = await stream.receive_some(RECEIVE_BYTES)
        except trio.BrokenResourceError:
            data = b""
        received += data
        if not data or len(received) > HEAD_BYTES:
            raise EngineUnavailable(f"the engine broke off its answer to {target}", floor="container")
    head, _, body = received.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status not in ([b"101"], [b"200"]):
        words = head.split(b"\r\n", 1)[0].decode("ascii", "replace")
        raise SandboxLost(f"the engine answers {words!r} to {target}: {body[:200].decode('utf-8', 'replace')}")
    return body


class AttachedStream(ByteStream):
    """A container's standard input and output as one stream of bytes; what it writes to its standard error is kept.

    Only the end of it: `last_words`. A container that writes faster than it is read waits; nothing is held here beyond
    one piece. One task receives at a time.
    """

    def __init__(self, stream: trio.SocketStream, begun: bytes = b"") -> None:
        self._stream = stream
        self._buffer = bytearray(begun)
        self._left = 0
        self._kind = STDOUT
        self._errors: deque[bytes] = deque()
        self._error_bytes = 0
        self._sending = trio.Lock()
        self._ended = False

    @property
    def last_words(self) -> str:
        """The end of its standard error, as far as it was received."""
        return b"".join(self._errors)[-LAST_WORDS_BYTES:].decode("utf-8", "replace")

    @property
    def at_end(self) -> bool:
        """Whether nothing more can come, as far as it is known now; nothing is received."""
        number = self._stream.socket.fileno()
        if self._ended or number < 0:
            return True
        poll = select.poll()
        poll.register(number, select.POLLRDHUP)
        return bool(poll.poll(0))

    async def receive(self, max_bytes: int = RECEIVE_BYTES) -> bytes:
        """Some bytes of standard output. `anyio.EndOfStream` at its end, `BoundaryBroken` for what is no frame."""
        while True:
            piece = self._piece(max_bytes)
            if piece:
                await trio.lowlevel.checkpoint()
                return piece
            if self._ended or not (data := await self._more()):
                self._ended = True
                raise anyio.EndOfStream
            self._buffer += data

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's streams have it: nothing at the end."""
        try:
            return await self.receive(max_bytes or RECEIVE_BYTES)
        except anyio.EndOfStream:
            return b""

    async def _more(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except trio.BrokenResourceError:
            return b""

    def _piece(self, max_bytes: int) -> bytes:
        """The next bytes of standard output in the buffer; those of standard error before them are put aside."""
        while True:
            if self._left == 0:
                if len(self._buffer) < FRAME_HEAD:
                    return b""
                self._begin_frame()
            elif not self._buffer:
                return b""
            else:
                size = min(self._left, len(self._buffer), max_bytes if self._kind == STDOUT else self._left)
                piece = bytes(self._buffer[:size])
                del self._buffer[:size]
                self._left -= size
                if self._kind == STDOUT:
                    return piece
                self._keep(piece)

    def _begin_frame(self) -> None:
        self._kind = self._buffer[0]
        if self._kind not in (STDOUT, STDERR) or any(self._buffer[1:4]):
            raise BoundaryBroken(f"the engine sent {bytes(self._buffer[:FRAME_HEAD])!r}, a frame's head is expected")
        self._left = int.from_bytes(self._buffer[4:FRAME_HEAD], "big")
        del self._buffer[:FRAME_HEAD]

    def _keep(self, piece: bytes) -> None:
        self._errors.append(piece[-LAST_WORDS_BYTES:])
        self._error_bytes += len(self._errors[-1])
        while self._error_bytes - len(self._errors[0]) >= LAST_WORDS_BYTES:
            self._error_bytes -= len(self._errors.popleft())

    async def send(self, item: bytes) -> None:
        """All of it to standard input. `anyio.BrokenResourceError` where nobody reads it any more."""
        async with self._sending:
            try:
                await self._stream.send_all(item)
            except trio.ClosedResourceError as error:
                raise anyio.ClosedResourceError from error
            except trio.BrokenResourceError as error:
                raise anyio.BrokenResourceError from error

    async def send_all(self, data: bytes) -> None:
        """As trio's streams have it: `trio.BrokenResourceError` where nobody reads it any more."""
        async with self._sending:
            await self._stream.send_all(data)

    async def send_eof(self) -> None:
        """The end of its standard input: PID 1 ends itself then."""
        async with self._sending:
            try:
                await self._stream.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await trio.lowlevel.checkpoint()

    async def drain(self) -> None:
        """Receive and forget until the end, so that `last_words` are the last ones."""
        try:
            while True:
                await self.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BusyResourceError, trio.BusyResourceError):
            return

    async def aclose(self) -> None:
        """Both directions; the container sees the end of its input."""
        await self._stream.aclose()

    def close(self) -> None:
        """The same at once."""
        self._stream.socket.close()


async def attach(path: str, version: str, container: str) -> AttachedStream:
    """Connect to a container that was not started yet, so that nothing of what it says is lost."""
    target = f"/v{version}/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    return AttachedStream(*await _request(path, target, upgrade=True))


class PendingExit:
    """The engine's answer that comes when the container is gone, with the exit status."""

    def __init__(self, stream: trio.SocketStream, begun: bytes = b"") -> None:
        self._stream = stream
        self._received = bytearray(begun)
        self.status: int | None = None
        """Once it is known."""
        self._reading = trio.Lock()
        self.done = False

    async def wait(self) -> int | None:
        """Until the engine has removed the container: its exit status, or None where the engine did not tell."""
        async with self._reading:
            if not self.done:
                await self._read()
                self.done = True
                await self._stream.aclose()
        return self.status

    async def _read(self) -> None:
        try:
            while len(self._received) < HEAD_BYTES and (data := await self._stream.receive_some(HEAD_BYTES)):
                self._received += data
            answer = json.loads(bytes(self._received))
            self.status = int(answer["StatusCode"])
        except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError, KeyError, TypeError):
            self.status = None

    def close(self) -> None:
        """Forget the question."""
        self.done = True
        self._stream.socket.close()


async def watch_exit(path: str, version: str, container: str) -> PendingExit:
    """Ask before the start: afterwards the container may be gone, and its status with it."""
    target = f"/v{version}/containers/{container}/wait?condition=removed"
    return PendingExit(*await _request(path, target, upgrade=False))
