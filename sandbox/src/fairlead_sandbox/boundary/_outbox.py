"""What waits to be written: whole frames, so that a cancelled sender never leaves half of one on the wire."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from fairlead_sandbox.boundary._calls import Waiter

__all__ = ["Outbox", "Stream"]

_BATCH = 64 * 1024
"""Bytes that are put together into one write."""


class Stream(Protocol):
    """Bytes there and back: what `anyio.abc.ByteStream` has of it, and what a process or a container gives."""

    async def receive(self, max_bytes: int = 65536, /) -> bytes:
        """Some bytes. `anyio.EndOfStream`, or no bytes: the other side has ended."""

    async def send(self, item: bytes, /) -> None:
        """All of the bytes; waits while the other side does not read."""

    async def aclose(self) -> None:
        """Let go, without waiting for the other side."""


class Outbox:
    """Frames on their way out, written by one task."""

    def __init__(self, stream: Stream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._filled = Waiter()
        self.room = Waiter()
        self.closed = False

    @property
    def has_room(self) -> bool:
        return self.closed or self._bytes < self._max_bytes

    async def put(self, frame: bytes) -> None:
        """Wait for room, then add a frame. Cancelled: it was not added. Closed: it goes nowhere."""
        while not self.has_room:
            await self.room.changed()
        self.put_nowait(frame)

    def put_nowait(self, frame: bytes) -> None:
        """Add a frame of which there are few (one for each open call), whether there is room or not."""
        if not self.closed:
            self._frames.append(frame)
            self._bytes += len(frame)
            self._filled.wake()

    def close(self) -> None:
        """Nothing more is written; whoever waits for room goes on."""
        self.closed = True
        self._frames.clear()
        self.room.wake()

    async def run(self) -> None:
        """Write until cancelled. Raises what the stream raises."""
        while True:
            while not self._frames:
                await self._filled.changed()
            batch = self._next()
            await self._stream.send(batch)
            self._bytes -= len(batch)
            if self.has_room:
                self.room.wake()

    def _next(self) -> bytes:
        batch = [self._frames.popleft()]
        size = len(batch[0])
        while self._frames and size + len(self._frames[0]) <= _BATCH:
            size += len(self._frames[0])
            batch.append(self._frames.popleft())
        return batch[0] if len(batch) == 1 else b"".join(batch)
