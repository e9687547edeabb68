"""Passing bytes both ways until both sides have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio
from attrs import define

from fairlead_sandbox.egress._wire import Gone, Idle, Wire

__all__ = ["Traffic", "splice"]

CHUNK = 65_536
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError, Gone)
Change = Callable[[bytes], bytes]
"""Of each piece before it goes on; an exception of `BROKEN` ends both directions."""


@define
class Traffic:
    """Bytes that were passed on."""

    up: int = 0
    down: int = 0


async def splice(
    wire: Wire,
    upstream: trio.abc.Stream,
    idle: Idle,
    traffic: Traffic,
    *,
    change_up: Change = bytes,
    change_down: Change = bytes,
) -> None:
    """Pass on what `wire` has read already and all that comes, until both sides have ended, one is gone, or it is idle.

    The end of one direction is passed on, and the other goes on: who has asked may close its side and still listen.
    Neither stream is closed. What the two functions give goes on instead of what came.
    """
    async with trio.open_nursery() as nursery:

        async def run(direction: Callable[[], Awaitable[None]], sink: trio.abc.Stream) -> None:
            with suppress(*BROKEN):
                await direction()
                if isinstance(sink, trio.abc.HalfCloseableStream):
                    await sink.send_eof()
                    return
            # One is broken, or it is TLS, which ends in both directions at once.
            nursery.cancel_scope.cancel()

        nursery.start_soon(run, lambda: _up(wire, upstream, idle, traffic, change_up), upstream)
        nursery.start_soon(run, lambda: _down(wire, upstream, idle, traffic, change_down), wire.stream)


async def _up(wire: Wire, upstream: trio.abc.Stream, idle: Idle, traffic: Traffic, change: Change) -> None:
    while True:
        if data := change(wire.take()):
            await upstream.send_all(data)
            traffic.up += len(data)
            idle.touch()
        if not await wire.more():
            return


async def _down(wire: Wire, upstream: trio.abc.Stream, idle: Idle, traffic: Traffic, change: Change) -> None:
    while data := bytes(await upstream.receive_some(CHUNK)):
        traffic.down += len(data)
        idle.touch()
        await wire.send(change(data))
        idle.touch()
