"""Passing bytes both ways until both sides have ended."""

from __future__ import annotations

from collections.abc import Callable

import trio

__all__ = ["splice"]

CHUNK = 65_536
"""Also the most that waits for a reader who is slow, in each direction."""
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


async def splice(client: trio.SocketStream, guest: trio.SocketStream, touch: Callable[[], None]) -> None:
    """Until both have ended or one broke; `touch` is called for each piece. Neither stream is closed.

    The end of one direction is passed on, and the other goes on: who has asked may close its side and still listen.
    """
    async with trio.open_nursery() as nursery:

        async def run(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            try:
                while data := await source.receive_some(CHUNK):
                    touch()
                    await sink.send_all(data)
                    touch()
                await sink.send_eof()
            except BROKEN:
                nursery.cancel_scope.cancel()

        nursery.start_soon(run, client, guest)
        nursery.start_soon(run, guest, client)
