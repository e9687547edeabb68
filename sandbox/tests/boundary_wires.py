"""Streams of bytes in memory for tests of the boundary, and two peers that talk over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from fairlead_sandbox.boundary import GUEST, HOST, Peer, Serve
from fairlead_sandbox.inside._frames import FrameReader, encode

Case = Callable[[], Awaitable[None]]


def run_on(backend: str, case: Case) -> None:
    """A case on trio or on asyncio. One that hangs fails."""

    async def bounded() -> None:
        with anyio.fail_after(20):
            await case()

    anyio.run(bounded, backend=backend)


class Wire:
    """One end of a stream of bytes; at most `pieces` of what was sent wait for the reader."""

    def __init__(self, send: ObjectSendStream[bytes], receive: ObjectReceiveStream[bytes]) -> None:
        self._send = send
        self._receive = receive
        self.sent = b""

    async def receive(self, max_bytes: int = 65536, /) -> bytes:
        return await self._receive.receive()

    async def send(self, item: bytes, /) -> None:
        await self._send.send(item)
        self.sent += item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._send.aclose()
        await self._receive.aclose()

    @property
    def frames(self) -> list[dict[str, Any]]:
        """What was sent here, in order."""
        return FrameReader(2**30).feed(self.sent)


def wires(pieces: int = 1) -> tuple[Wire, Wire]:
    there, arrive = anyio.create_memory_object_stream[bytes](pieces)
    back, return_ = anyio.create_memory_object_stream[bytes](pieces)
    return Wire(there, return_), Wire(back, arrive)


async def refuse(op: str, args: dict[str, Any], call: Any) -> Any:
    raise AssertionError(f"nobody expected {op}")


@asynccontextmanager
async def peers(
    guest: Serve = refuse, host: Serve = refuse, **more: Any
) -> AsyncIterator[tuple[Peer, Peer, tuple[Wire, Wire]]]:
    """A host's peer and a guest's, running. `more` is the host's."""
    near, far = wires()
    one = Peer(near, serve=host, side=HOST, **more)
    other = Peer(far, serve=guest, side=GUEST)
    async with anyio.create_task_group() as tasks:
        _ = tasks.start_soon(one.run)
        _ = tasks.start_soon(other.run)
        yield one, other, (near, far)
        tasks.cancel_scope.cancel()


class HandWritten:
    """The far end in the hands of the test: it sends and reads frames by itself."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._reader = FrameReader(2**30)
        self._frames: list[dict[str, Any]] = []

    async def say(self, frame: dict[str, Any]) -> None:
        await self.wire.send(encode(frame))

    async def hear(self) -> dict[str, Any]:
        while not self._frames:
            self._frames = self._reader.feed(await self.wire.receive())
        return self._frames.pop(0)


class Ended:
    """Why a peer ended."""

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._why: Any = None

    def set(self, why: Any) -> None:
        self._why = why
        self._event.set()

    async def why(self) -> Any:
        """Wait for the end."""
        await self._event.wait()
        return self._why


@asynccontextmanager
async def facing(serve: Serve = refuse, **more: Any) -> AsyncIterator[tuple[Peer, HandWritten, Ended]]:
    """A host's peer that faces the test itself."""
    near, far = wires(pieces=100)
    peer = Peer(near, serve=serve, **more)
    ended = Ended()

    async def run() -> None:
        ended.set(await peer.run())

    async with far, anyio.create_task_group() as tasks:
        _ = tasks.start_soon(run)
        yield peer, HandWritten(far), ended
        tasks.cancel_scope.cancel()
