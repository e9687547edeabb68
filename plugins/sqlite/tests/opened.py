"""What the tests of this directory share: an open memory, and events to write."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from fairlead import Message, Settings, Text
from fairlead.events import Event, MessageAccepted, SessionStarted
from fairlead.memory import Journal, Recall
from fairlead_sqlite import SqliteMemory
from fairlead_sqlite._clerk import Clerk
from fairlead_sqlite._glance import Glance


class OpenMemory(SqliteMemory):
    """Both facets are there, as they are after `open`."""

    journal: Journal
    recall: Recall

    @property
    def writer(self) -> Clerk:
        return self._clerks[1]

    @property
    def reader(self) -> Clerk:
        return self._clerks[0]

    @property
    def glance(self) -> Glance:
        assert self._glance is not None
        return self._glance


@asynccontextmanager
async def opened(directory: Path, **options: Any) -> AsyncIterator[OpenMemory]:
    memory = OpenMemory(Settings("sqlite", options, directory))
    await memory.open()
    try:
        yield memory
    finally:
        await memory.close()


@asynccontextmanager
async def grouped(memory: OpenMemory) -> AsyncIterator[trio.Nursery]:
    """The writer is held up meanwhile, so that what the tasks of the nursery ask for is one group."""
    begun, gate = threading.Event(), threading.Event()

    def hold(_: object) -> bool:
        begun.set()
        return gate.wait(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.writer.do, hold)
        await trio.to_thread.run_sync(begun.wait)  # else a thread that begins late takes some of what follows along
        try:
            yield nursery
            await trio.testing.wait_all_tasks_blocked()
        finally:
            gate.set()


def file_of(directory: Path) -> Path:
    return directory / "sqlite" / "fairlead.db"


def started(owner: str = "") -> Event:
    return SessionStarted(agent="main", owner=owner, at=1.0)


def said(text: str = "hello", key: str = "") -> MessageAccepted:
    return MessageAccepted(message=Message("user", (Text(text),)), key=key, at=2.0)


async def texts(journal: Journal, session: str) -> list[str]:
    return [
        record.event.message.text for record in await journal.read(session) if isinstance(record.event, MessageAccepted)
    ]


def raw(directory: Path) -> bytes:
    """All bytes of all files of the memory."""
    return b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())
