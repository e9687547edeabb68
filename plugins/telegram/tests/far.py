"""A channel with the Telegram of the tests at its far side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from fairlead import Address, Inbound, Outbound, Settings, Text
from fairlead.testing import FakeInbox
from fairlead.types import Part
from fairlead_telegram._channel import TelegramChannel
from fairlead_telegram._options import read_options

from .methods import BOT
from .server import TOKEN, FakeTelegram, serving, wait_until

ANN_HERE = Address("telegram", str(BOT["id"]), "4001")
GROUP_HERE = Address("telegram", str(BOT["id"]), "-5001")
FORUM_HERE = Address("telegram", str(BOT["id"]), "-1001234567890", "7")


def make_channel(telegram: FakeTelegram, folder: Path, **options: Any) -> TelegramChannel:
    given = {"token": TOKEN, "api_url": telegram.url, "poll_seconds": 5, **options}
    return TelegramChannel(read_options(Settings("telegram", given, folder)))


@asynccontextmanager
async def opened(channel: TelegramChannel) -> AsyncIterator[TelegramChannel]:
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


@asynccontextmanager
async def running(
    folder: Path, telegram: FakeTelegram | None = None, inbox: FakeInbox | None = None, **options: Any
) -> AsyncIterator[tuple[TelegramChannel, FakeInbox, FakeTelegram]]:
    """An open channel that runs, what it hands in to, and its far side."""
    inbox = inbox or FakeInbox()
    if telegram is None:
        with serving() as made:
            async with running(folder, made, inbox, **options) as found:
                yield found
        return
    async with opened(make_channel(telegram, folder, **options)) as channel, trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, inbox)
        with trio.fail_after(30):
            telegram.reached_at = await inbox.wait_ready()
            yield channel, inbox, telegram
        nursery.cancel_scope.cancel()


async def until(telegram: FakeTelegram, true: Callable[[FakeTelegram], object]) -> None:
    """Wait for something at the far side."""
    assert await trio.to_thread.run_sync(partial(wait_until, telegram, true), abandon_on_cancel=True)


def answer(
    *parts: Part | str, to: Address = ANN_HERE, key: str = "turn-1", replying: Inbound | None = None
) -> Outbound:
    made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    return Outbound(key, to, made, replying.external_id if replying is not None else "", session="kit")
