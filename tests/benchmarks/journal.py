"""What a durable append costs, beside a bare wait for the disk in the same directory and the same run.

    uv run python tests/benchmarks/journal.py [DIRECTORY]

The unit is one bare write: 4 KiB over an existing place of a file, then fdatasync. Absolute figures are good for one
machine and one day only; ratios and the microseconds beside the wait are what counts.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from fairlead import Message, Settings, Text
from fairlead.events import ModelAnswered
from fairlead.memory import Journal
from fairlead_sqlite import SqliteMemory

ROUNDS = 400
SESSIONS = 100
LENGTHS = (10, 1_000, 10_000)
PAGE_BYTES = 4096
EVENT = ModelAnswered(turn="t1", message=Message("assistant", (Text("word " * 60),)), provider="p", model="m", at=1.0)


@contextmanager
def bare_file(directory: Path) -> Iterator[int]:
    """A file whose place on the disk is already taken."""
    fd = os.open(directory / "bare", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.pwrite(fd, bytes(PAGE_BYTES), 0)
        os.fsync(fd)
        yield fd
    finally:
        os.close(fd)


def bare_write(fd: int) -> float:
    """Seconds of one write and one wait for the disk."""
    start = time.perf_counter()
    os.pwrite(fd, os.urandom(PAGE_BYTES), 0)
    os.fdatasync(fd)
    return time.perf_counter() - start


async def append_one(journal: Journal, session: str, version: int) -> float:
    """Seconds of one append."""
    start = time.perf_counter()
    await journal.append(session, version, [EVENT], pending=True)
    return time.perf_counter() - start


async def single(journal: Journal, fd: int) -> None:
    """One session, one append at a time, each beside a bare write, here and in a thread."""
    first = [await append_one(journal, "single", version) for version in range(ROUNDS)]
    bare, threaded, appends = [], [], []
    for version in range(ROUNDS, 2 * ROUNDS):
        bare.append(bare_write(fd))
        start = time.perf_counter()
        await trio.to_thread.run_sync(bare_write, fd)
        threaded.append(time.perf_counter() - start)
        appends.append(await append_one(journal, "single", version))
    wait, hop, took = (statistics.median(times) for times in (bare, threaded, appends))
    slow_wait, slow = (statistics.quantiles(times, n=20)[18] for times in (bare, appends))
    print(f"bare write + fdatasync   median {wait * 1e6:8.0f} us   p95 {slow_wait * 1e6:8.0f} us")
    print(f"the same, trio.to_thread median {hop * 1e6:8.0f} us   {' ' * 15}   {hop / wait:5.2f} x")
    print(
        f"one append, alone        median {took * 1e6:8.0f} us   p95 {slow * 1e6:8.0f} us   {took / wait:5.2f} x"
        f"   wait {(took - wait) * 1e6:+.0f} us (goal: at most +100)"
    )
    # Of a journal that was just opened, whose log is not long yet.
    print(f"the first {ROUNDS} of them    median {statistics.median(first) * 1e6:8.0f} us")


async def new(journal: Journal) -> None:
    """What each new session asks first."""
    reads = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        assert not await journal.read(f"new-{number}")
        reads.append(time.perf_counter() - start)
    print(f"read of a new session    median {statistics.median(reads) * 1e6:8.0f} us   (goal: at most 50)")


async def concurrent(journal: Journal, fd: int) -> None:
    """Many sessions append at once; the cost of one append is the wall time by their number."""
    rounds = ROUNDS // 10

    async def session(name: str) -> None:
        for version in range(rounds):
            await journal.append(name, version, [EVENT], pending=True)

    wait = statistics.median(bare_write(fd) for _ in range(ROUNDS))
    start = time.perf_counter()
    cpu = time.process_time()
    async with trio.open_nursery() as nursery:
        for number in range(SESSIONS):
            nursery.start_soon(session, f"many-{number}")
    took, used = time.perf_counter() - start, time.process_time() - cpu
    count = SESSIONS * rounds
    print(
        f"{SESSIONS} sessions at once     each   {took / count * 1e6:8.0f} us   cpu {used / count * 1e6:8.0f} us   "
        f"{took / count / wait:5.2f} x   {count / took:,.0f} appends/s"
    )


async def lengths(journal: Journal, fd: int) -> None:
    """An append to a long session costs what one to a short one does; reading it again grows with its length only."""
    for length in LENGTHS:
        name = f"length-{length}"
        await journal.append(name, 0, [EVENT] * length, pending=False)
        start = time.perf_counter()
        records = await journal.read(name)
        read = time.perf_counter() - start
        bare, appends = [], []
        for version in range(length, length + ROUNDS // 2):
            bare.append(bare_write(fd))
            appends.append(await append_one(journal, name, version))
        wait, took = statistics.median(bare), statistics.median(appends)
        print(
            f"at {length:6,} events         median {took * 1e6:8.0f} us   {took / wait:5.2f} x   "
            f"wait {(took - wait) * 1e6:+.0f} us   whole session read in {read * 1e3:.1f} ms "
            f"({read / len(records) * 1e6:.0f} us an event)"
        )


async def main(directory: Path) -> None:
    """All of it, on one file."""
    memory = SqliteMemory(Settings("sqlite", data_dir=directory))
    await memory.open()
    assert memory.journal is not None
    try:
        with bare_file(directory) as fd:
            await single(memory.journal, fd)
            await new(memory.journal)
            await concurrent(memory.journal, fd)
            await lengths(memory.journal, fd)
    finally:
        await memory.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        trio.run(main, Path(scratch))
