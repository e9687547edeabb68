"""The channel as the tests run it: alone, with an inbox in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from fairlead import Address, Delivery, Inbound, Outbound, Settings, Text
from fairlead.testing import FakeInbox
from fairlead_irc._channel import IrcChannel
from fairlead_irc._options import read_options

FAST = {"flood_burst": 1000, "flood_seconds": 0.0, "reconnect_seconds": 0.05, "reconnect_max_seconds": 0.2}
"""Nobody is flooded on loopback, and nobody waits long for a connection there."""
SECONDS = 30.0


def make_channel(port: int, **options: Any) -> IrcChannel:
    given = {"host": "127.0.0.1", "port": port, "tls": False, "nick": "bot", **FAST, **options}
    return IrcChannel(read_options(Settings("irc", given)))


@asynccontextmanager
async def running(channel: IrcChannel, inbox: FakeInbox | None = None) -> AsyncIterator[FakeInbox]:
    """An open channel that runs and is ready."""
    inbox = inbox or FakeInbox()
    await channel.open()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run, inbox)
            with trio.fail_after(SECONDS):
                await inbox.wait_ready()
            yield inbox
            nursery.cancel_scope.cancel()
    finally:
        await channel.close()


async def next_of(inbox: FakeInbox) -> Inbound:
    with trio.fail_after(SECONDS):
        return await inbox.next()


async def heard(inbox: FakeInbox) -> str:
    """The words of the next message."""
    (part,) = (await next_of(inbox)).parts
    assert isinstance(part, Text)
    return part.text


async def say(channel: IrcChannel, where: str | Address, text: str, key: str = "turn-1", **more: Any) -> Delivery:
    """What the channel says of a message that it was given to send."""
    address = Address("irc", "127.0.0.1", where) if isinstance(where, str) else where
    with trio.fail_after(SECONDS):
        return await channel.send(Outbound(key, address, (Text(text),), **more))


async def until(probe: Callable[[], object]) -> None:
    """Wait until something is so that tells nobody."""
    with trio.fail_after(SECONDS):
        while not probe():  # noqa: ASYNC110  # see above
            await trio.sleep(0.01)  # real time: sockets
