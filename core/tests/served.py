"""What the tests of the path from a channel and back share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

import fairlead
from fairlead import Capabilities, events
from fairlead._journal import VolatileMemory
from fairlead.config import Config

IDEMPOTENT = Capabilities(idempotency=True)


@asynccontextmanager
async def serving(config: Config | None = None, **workers: Any) -> AsyncIterator[fairlead.App]:
    """An app whose channels run."""
    async with fairlead.open(config, **workers) as app, trio.open_nursery() as nursery:
        nursery.start_soon(app.serve)
        yield app
        app.stop()


async def of_kind(app: fairlead.App, session: str, kind: type[Any]) -> list[Any]:
    return [record.event for record in await app.sessions.records(session) if isinstance(record.event, kind)]


async def settled(check: Callable[[], Awaitable[bool]]) -> None:
    """Give other tasks their turn until it is so; bounded."""
    for _ in range(2000):
        if await check():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("it never came to be")


async def delivered(app: fairlead.App, session: str) -> bool:
    return bool(await of_kind(app, session, events.AnswerDelivered))


async def settled_in_time(app: fairlead.App, session: str) -> None:
    """Until an answer is delivered, by the virtual `autojump_clock` of the test."""
    for _ in range(1000):
        if await delivered(app, session):
            return
        await trio.sleep(1)
    raise AssertionError("nothing was delivered in 1,000 s")


class Surviving(VolatileMemory):
    """A journal that outlives its process, which dies at a chosen append: before it is written, or after."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9
        journal = self.journal
        assert journal is not None
        write = journal.append

        async def append(*args: Any, **options: Any) -> int:
            self.left -= 1
            if self.left == 0:
                await trio.sleep_forever()  # never acknowledged: the process is gone
            return await write(*args, **options)

        async def claim() -> list[str]:
            return [info.id for info in await journal.sessions() if info.pending]

        journal.append, journal.claim = append, claim  # type: ignore[method-assign]  # the seam where the process dies
