"""The write-ahead log: longer than what is in it, but never for long, and whole at any time."""

from __future__ import annotations

import shutil
from pathlib import Path

import apsw
import pytest

from fairlead_sqlite._file import open_writing
from fairlead_sqlite._log import CHECKPOINT_PAGES, Log

from .opened import OpenMemory, file_of, opened, said, texts
from .test_faults import small_files

FRAME_BYTES = 4096 + 24


def log_of(directory: Path) -> Path:
    return file_of(directory).with_name("fairlead.db-wal")


async def append(memory: OpenMemory, start: int, stop: int) -> None:
    for version in range(start, stop):
        await memory.journal.append("s", version, [said(str(version))], pending=True)
    await memory.writer.do(lambda _: None)  # what comes after an append is done as well then


async def test_log_has_its_place_before_it_is_needed(tmp_path: Path) -> None:
    """The next appends do not make it longer."""
    async with opened(tmp_path) as memory:
        await append(memory, 0, 1)
        before = log_of(tmp_path).stat().st_size
        assert before > 60 * FRAME_BYTES
        assert log_of(tmp_path).read_bytes().endswith(bytes(50 * FRAME_BYTES))
        await append(memory, 1, 10)
        assert before == log_of(tmp_path).stat().st_size


async def test_process_that_dies_leaves_a_log_that_is_read(tmp_path: Path) -> None:
    """The zeros at its end are not taken for anything; what comes next is written where they begin."""
    first, second = tmp_path / "first", tmp_path / "second"
    async with opened(first) as memory:
        await append(memory, 0, 40)
        second.mkdir()
        shutil.copytree(first / "sqlite", second / "sqlite", ignore=shutil.ignore_patterns("*-shm"))
    async with opened(second) as memory:
        assert [str(number) for number in range(40)] == await texts(memory.journal, "s")
        await append(memory, 40, 50)
        assert 50 == len(await memory.journal.read("s"))


async def test_log_is_brought_into_the_file_and_begins_anew(tmp_path: Path) -> None:
    """However much is written, it stays short."""
    async with opened(tmp_path) as memory:
        await append(memory, 0, 450)
        main = file_of(tmp_path).stat().st_size
        await append(memory, 450, 1200)
        assert log_of(tmp_path).stat().st_size < (CHECKPOINT_PAGES + 100) * FRAME_BYTES
        assert main < file_of(tmp_path).stat().st_size
        assert 1200 == len(await memory.journal.read("s"))


async def test_log_that_was_emptied_gets_its_place_again(tmp_path: Path) -> None:
    """Erasing a session cuts the log off."""
    async with opened(tmp_path) as memory:
        await append(memory, 0, 10)
        await memory.journal.append("other", 0, [said()], pending=False)
        assert await memory.journal.erase("other")
        await append(memory, 10, 12)
        assert log_of(tmp_path).stat().st_size > 60 * FRAME_BYTES


async def test_no_space_for_a_longer_log_is_no_fault(tmp_path: Path) -> None:
    """What fits without it is written."""
    async with opened(tmp_path) as memory:
        with small_files(200_000):
            await append(memory, 0, 5)
        assert 5 == len(await memory.journal.read("s"))


async def test_log_is_not_made_longer_while_another_process_writes(tmp_path: Path) -> None:
    """The zeros would be where that one's next words go. Nobody waits for its end either."""
    path = file_of(tmp_path)
    connection = open_writing(path, 30.0)
    log = Log(path, 30.0)
    log.watch(connection)
    connection.execute("INSERT INTO keys VALUES (x'00', 1)")
    before = log_of(tmp_path).stat().st_size
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(apsw.BusyError):
        log.tidy(connection)
    assert before == log_of(tmp_path).stat().st_size
    other.execute("ROLLBACK")
    log.tidy(connection)
    assert before < log_of(tmp_path).stat().st_size
    other.close()
    connection.close()
