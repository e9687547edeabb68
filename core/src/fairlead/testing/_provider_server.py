"""A model's server for tests: HTTP on loopback, an author's wire format, and every fault that real servers show."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
from attrs import define, field, frozen

from fairlead._message import ToolCall
from fairlead.testing._provider_wire import FAULTS, Fault, ModelAsked, ModelReply, ModelWire

__all__ = ["ModelServer"]

MAX_HEAD, MAX_BODY = 65_536, 64 << 20
"""Bytes."""
TROUBLE = (trio.BrokenResourceError, trio.ClosedResourceError)
SAYS_FIRST = ModelReply(("first", "second"))


@frozen
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def oblige(asked: ModelAsked) -> ModelReply | Fault:
    """As it is: refuse a model that nobody has, call `add` where it is offered and has no result, else say hello."""
    if asked.model.startswith("no-such"):
        return "404"
    if "add" in asked.tools and not asked.results:
        return ModelReply(("I add.",), (ToolCall("call_1", "add", {"a": 2, "b": 3}),))
    return ModelReply(("Hel", "lo", " there"))


@define
class ModelServer:
    """A running one. `ProviderConformance.far_side` starts it where `wire` is set."""

    wire: ModelWire
    url: str = ""
    """``http://127.0.0.1:PORT``; every path below it is answered."""
    fault: Fault | None = None
    """What every request meets from now on."""
    replies: Callable[[ModelAsked], ModelReply | Fault] = oblige
    gate: trio.Event | None = None
    """Where one is set, an answer waits for it after its first piece of text."""
    requests: list[ModelAsked] = field(factory=list)
    """What was asked, in order."""
    connections: int = 0
    """How many there were."""
    hung_up: int = 0
    """How often a client went away before its answer had ended."""
    _open: set[trio.SocketStream] = field(factory=set)
    _changed: trio.Event = field(factory=trio.Event)
    _stop: trio.CancelScope = field(factory=trio.CancelScope)
    _port: int = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, wire: ModelWire) -> AsyncIterator[ModelServer]:
        """A server for as long as the block lasts."""
        server = cls(wire)
        async with trio.open_nursery() as nursery:
            await server.start(nursery)
            server._nursery = nursery
            yield server
            nursery.cancel_scope.cancel()

    _nursery: trio.Nursery | None = None

    @property
    def open(self) -> int:
        """The connections that are open now."""
        return len(self._open)

    async def start(self, nursery: trio.Nursery) -> None:
        """Listen, on the port of the last time where there was one."""
        listeners = await trio.open_tcp_listeners(self._port, host="127.0.0.1")
        self._port = listeners[0].socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._stop = trio.CancelScope()
        await nursery.start(self._listen, listeners)

    async def set_fault(self, fault: Fault | None) -> None:
        """From now on every request meets it; None: all is well again."""
        assert self._nursery is not None
        if fault == "nobody listens":
            self._stop.cancel()
            await self.until(lambda: not self._open and self._stop.cancelled_caught)
        elif self.fault == "nobody listens":
            await self.start(self._nursery)
        self.fault = fault

    async def until(self, fact: Callable[[], object]) -> None:
        """Wait until something about the connections is so."""
        while not fact():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _listen(self, listeners: list[trio.SocketListener], task_status: trio.TaskStatus[None]) -> None:
        with self._stop:
            async with trio.open_nursery() as connections:
                serve = partial(trio.serve_listeners, self._serve, listeners, handler_nursery=connections)
                await connections.start(serve)
                task_status.started()
        self._tell()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self._open.add(stream)
        self._tell()
        try:
            async with stream:
                with suppress(*TROUBLE):
                    buffered = bytearray()
                    while (request := await _read_request(stream, buffered)) is not None:
                        if not await self._answer(stream, request):
                            return
        finally:
            self._open.discard(stream)
            self._tell()

    async def _answer(self, stream: trio.SocketStream, request: _Request) -> bool:
        """Whether the connection can be used again."""
        if request.method != "POST":
            await _send_whole(stream, 200, self.wire.listed(self.wire.models))
            return True
        asked = self.wire.asked(request.body, request.headers)
        self.requests.append(asked)
        reply = self.fault or self.replies(asked)
        if isinstance(reply, ModelReply):
            return await self._stream(stream, reply, asked)
        return await self._fail(stream, reply, asked)

    async def _fail(self, stream: trio.SocketStream, fault: Fault, asked: ModelAsked) -> bool:
        if fault in FAULTS:
            status, words = FAULTS[fault]
            # The server repeats the key, as careless ones do.
            body = self.wire.refusal(status, f"{words} {asked.key}".strip())
            await _send_whole(stream, status, body, "Retry-After: 7\r\n" if fault == "429 with a time" else "")
            return True
        if fault == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if fault in ("invalid arguments", "unknown tool", "empty answer"):
            tool, arguments = ("add", '{"a": 2, "b"') if fault == "invalid arguments" else ("no_such_tool", {"x": 1})
            calls = () if fault == "empty answer" else (ToolCall("call_1", tool, arguments),)
            return await self._stream(stream, ModelReply(calls=calls), asked)
        await self._break(stream, fault, asked)
        return False

    async def _break(self, stream: trio.SocketStream, fault: Fault, asked: ModelAsked) -> None:
        """Begin an answer, show its first words, and go wrong."""
        await _send_head(stream, self.wire.stream_type)
        for event in self.wire.answer(SAYS_FIRST, asked):
            await _send_chunk(stream, event)
            if b"first" in event:
                break
        if fault == "garbage":
            await _send_chunk(stream, self.wire.garbage)
            await stream.send_all(b"0\r\n\r\n")
        elif fault == "stall":
            await self._wait_for_the_end(stream)

    async def _wait_for_the_end(self, stream: trio.SocketStream) -> None:
        with suppress(*TROUBLE):
            await stream.receive_some()
        self.hung_up += 1
        self._tell()

    async def _stream(self, stream: trio.SocketStream, reply: ModelReply, asked: ModelAsked) -> bool:
        mark = json.dumps(reply.pieces[0])[1:-1].encode() if reply.pieces else b""
        waits = self.gate is not None and bool(mark)
        try:
            await _send_head(stream, self.wire.stream_type)
            for event in self.wire.answer(reply, asked):
                await _send_chunk(stream, event)
                if waits and mark in event and self.gate is not None:
                    waits = False
                    await self.gate.wait()
            await stream.send_all(b"0\r\n\r\n")
        except TROUBLE:
            self.hung_up += 1
            self._tell()
            return False
        return True


async def _read_request(stream: trio.SocketStream, buffered: bytearray) -> _Request | None:
    """The next request of a connection; None where the client has gone."""
    while (end := buffered.find(b"\r\n\r\n")) < 0:
        if len(buffered) > MAX_HEAD or not await _fill(stream, buffered):
            return None
    first, *lines = bytes(buffered[:end]).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    del buffered[: end + 4]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _read_chunks(stream, buffered)
    else:
        body = await _read_exactly(stream, buffered, min(int(headers.get("content-length", "0")), MAX_BODY))
    method, path, _ = first.split(" ", 2)
    return None if body is None else _Request(method, path, headers, body)


async def _fill(stream: trio.SocketStream, buffered: bytearray) -> bool:
    data = await stream.receive_some()
    buffered += data
    return bool(data)


async def _read_exactly(stream: trio.SocketStream, buffered: bytearray, size: int) -> bytes | None:
    while len(buffered) < size:
        if not await _fill(stream, buffered):
            return None
    found = bytes(buffered[:size])
    del buffered[:size]
    return found


async def _read_chunks(stream: trio.SocketStream, buffered: bytearray) -> bytes | None:
    body = b""
    while True:
        while (end := buffered.find(b"\r\n")) < 0:
            if not await _fill(stream, buffered):
                return None
        size = int(bytes(buffered[:end]).partition(b";")[0], 16)
        del buffered[: end + 2]
        chunk = await _read_exactly(stream, buffered, size + 2)
        if chunk is None or len(body) > MAX_BODY:
            return None
        body += chunk[:-2]
        if not size:
            return body


async def _send_head(stream: trio.SocketStream, kind: str) -> None:
    await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())


async def _send_chunk(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(b"%x\r\n%b\r\n" % (len(data), data))


async def _send_whole(stream: trio.SocketStream, status: int, body: bytes, headers: str = "") -> None:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    await stream.send_all(head.encode() + body)
