"""The loop stands still for an append that is alone and quick, and never for long."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from fairlead_sqlite._writing import QUICK_APPENDS, Writer

from .opened import OpenMemory, opened, said

LONG_SECONDS = 0.2
FEW_TURNS = 5
"""One of them may come while the thread begins, before the loop stands still."""


def writer_of(memory: OpenMemory) -> Writer:
    assert isinstance(memory.writer, Writer)
    return memory.writer


class SlowDisk:
    """Its commits wait until another task had a few turns, or for a long time if none has."""

    def __init__(self) -> None:
        self.loop_went_on: list[bool] = []
        self._turn = threading.Event()
        self._begun = threading.Event()

    def commit(self) -> bool:
        self._begun.set()
        self.loop_went_on.append(self._turn.wait(LONG_SECONDS))
        return False

    async def take_turns(self) -> None:
        turns = 0
        while True:
            await trio.lowlevel.checkpoint()
            turns += self._begun.is_set()
            if turns == FEW_TURNS:
                self._turn.set()


@asynccontextmanager
async def slow_disk(memory: OpenMemory) -> AsyncIterator[SlowDisk]:
    disk = SlowDisk()
    await memory.writer.do(lambda connection: connection.set_commit_hook(disk.commit))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.take_turns)
        yield disk
        nursery.cancel_scope.cancel()
    await memory.writer.do(lambda connection: connection.set_commit_hook(None))


async def append(memory: OpenMemory, session: str, versions: int = 1, first: int = 0) -> None:
    for version in range(first, first + versions):
        await memory.journal.append(session, version, [said()], pending=True)


async def test_slow_disk_holds_up_nobody_else(tmp_path: Path) -> None:
    """When the patience is over, the others go on while the append waits."""
    async with opened(tmp_path) as memory:
        await append(memory, "s", QUICK_APPENDS)
        async with slow_disk(memory) as disk:
            await append(memory, "slow")
        assert [True] == disk.loop_went_on


async def test_loop_stands_still_for_an_append_that_is_alone(tmp_path: Path) -> None:
    """As long as the patience lasts: here for ever."""
    async with opened(tmp_path) as memory:
        writer_of(memory).patience = 100
        async with slow_disk(memory) as disk:
            await append(memory, "s")
        assert [False] == disk.loop_went_on


async def test_loop_goes_on_where_another_task_asks_too(tmp_path: Path) -> None:
    """Else its append could not join the next group."""
    async with opened(tmp_path) as memory:
        writer_of(memory).patience = 100
        async with slow_disk(memory) as disk, trio.open_nursery() as nursery:
            nursery.start_soon(append, memory, "one")
            nursery.start_soon(append, memory, "two")
        assert disk.loop_went_on
        assert all(disk.loop_went_on)


async def test_slow_append_ends_the_standing_until_many_were_quick(tmp_path: Path) -> None:
    """So a disk that is slow for long costs the loop one patience in all."""
    async with opened(tmp_path) as memory:
        async with slow_disk(memory) as disk:
            await append(memory, "s")
            writer_of(memory).patience = 100
            await append(memory, "t")
        assert [True, True] == disk.loop_went_on
        await append(memory, "quick", QUICK_APPENDS)
        async with slow_disk(memory) as disk:
            await append(memory, "u")
        assert [False] == disk.loop_went_on


async def test_nobody_is_forgotten_wherever_the_patience_ends(tmp_path: Path) -> None:
    """Before the append is done, after it, or in the moment between; alone, with others, and cancelled."""
    chance = random.Random(11)  # noqa: S311  # the same times in each run
    async with opened(tmp_path) as memory:

        async def talk(session: str) -> None:
            for _ in range(100):
                writer = writer_of(memory)
                writer.patience = chance.choice((1e-9, 2e-5, 5e-5, 1e-4, 1.5e-4, 2e-4, 1.0))
                for _ in range(chance.randrange(4)):
                    await trio.lowlevel.checkpoint()
                version = len(await memory.journal.read(session))
                with trio.move_on_after(chance.choice((0, 0.0001, 5, 5, 5))):
                    await append(memory, session, first=version)

        with trio.fail_after(60):
            for tasks in (1, 2, 5):
                async with trio.open_nursery() as nursery:
                    for number in range(tasks):
                        nursery.start_soon(talk, f"s{number}")
        await memory.writer.do(lambda _: None)  # the last one who was cancelled may have left something
        assert not memory.writer.abandoned
        assert 5 == len(await memory.journal.sessions())
