"""The guest's side of a connection: bytes that were read too far wait here for whoever reads next."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

import trio

from fairlead_sandbox.egress._decisions import Refusal
from fairlead_sandbox.egress._limits import EgressLimits

__all__ = ["Gone", "Idle", "Wire"]

CHUNK = 65_536
DRAIN_SECONDS = 2.0
DRAIN_CHUNKS = 64


class Gone(Exception):  # named for what happened, as the errors of the core are
    """Nobody reads or writes at the other end any more; there is nothing left to tell it."""


class Wire:
    """A connection of the guest."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self.started = False
        """An answer has begun, so no other one can follow."""

    async def more(self) -> bool:
        """Wait for more bytes in `buffer`; False at the end of what comes. `Gone`: the connection broke."""
        try:
            data = await self.stream.receive_some(CHUNK)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None
        self.buffer += data
        return bool(data)

    def take(self) -> bytes:
        """All that is there."""
        data = bytes(self.buffer)
        self.buffer.clear()
        return data

    async def send(self, data: bytes) -> None:
        """Send all of it. `Gone`: nobody reads any more."""
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Gone from None

    async def read_head(self, limits: EgressLimits, *, first: bool) -> bytes | None:
        """The next head with its empty line; None where none comes any more.

        `Refusal`: it is too large, or does not come in time.
        """
        if not self.buffer and not first:
            with trio.move_on_after(limits.keepalive_seconds):
                await self.more()
            if not self.buffer:
                return None
        with trio.move_on_after(limits.head_seconds):
            while (end := self.buffer.find(b"\r\n\r\n", 0, limits.head_bytes)) < 0:
                if len(self.buffer) >= limits.head_bytes:
                    raise Refusal(431, "head-too-large", f"a head may have {limits.head_bytes} bytes")
                if not await self.more():
                    if self.buffer:
                        raise Refusal(400, "malformed", "the head of the request was cut off")
                    return None
            head = bytes(self.buffer[: end + 4])
            del self.buffer[: end + 4]
            return head
        if not self.buffer:
            return None
        raise Refusal(408, "slow", f"the head of the request was not whole after {limits.head_seconds:g} s")

    async def drain(self) -> None:
        """Say that nothing more is sent, and read on a little: a socket closed on unread bytes loses its answer."""
        with suppress(Gone, trio.BrokenResourceError, trio.ClosedResourceError):
            with trio.move_on_after(DRAIN_SECONDS):
                await self.stream.send_eof()
                for _ in range(DRAIN_CHUNKS):
                    self.buffer.clear()
                    if not await self.more():
                        return


class Idle:
    """A scope that ends by itself when nothing was touched for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.scope = trio.CancelScope()

    def __enter__(self) -> Self:
        self.touch()
        self.scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self.scope.__exit__(kind, error, trace)

    @property
    def ended(self) -> bool:
        """It ended by itself."""
        return self.scope.cancelled_caught

    def touch(self) -> None:
        """Something moved."""
        self.scope.deadline = trio.current_time() + self.seconds
