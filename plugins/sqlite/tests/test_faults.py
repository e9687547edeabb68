"""Disks that are full or fail, files that are damaged, foreign, newer or held by somebody else."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from fairlead.errors import JournalUnavailable
from fairlead_sqlite._schema import STEPS

from .failing_disk import failing_disk
from .opened import OpenMemory, file_of, grouped, opened, said, started, texts


async def append_until_it_fails(memory: OpenMemory) -> int:
    """The last acknowledged version of session ``s``."""
    for version in range(1, 500):
        try:
            await memory.journal.append("s", version, [said("x" * 3000)], pending=True)
        except JournalUnavailable:
            return version
    raise AssertionError("500 appends of 3 kB went well")


async def test_full_disk_acknowledges_nothing_false(tmp_path: Path) -> None:
    """The append fails in words, what was acknowledged is there, and with new space it goes on."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        await memory.writer.do(lambda connection: connection.pragma("max_page_count", 60))
        version = await append_until_it_fails(memory)
        assert version == len(await memory.journal.read("s"))
        # The quota belongs to the connection, which was left after the failure.
        assert version + 1 == await memory.journal.append("s", version, [said()], pending=False)


async def test_full_disk_fails_all_of_a_group(tmp_path: Path) -> None:
    """Each waiter gets an error of its own, and nothing of the group was written."""
    async with opened(tmp_path) as memory:
        await memory.writer.do(lambda connection: connection.pragma("max_page_count", 40))
        errors: list[JournalUnavailable] = []

        async def append(session: str) -> None:
            try:
                await memory.journal.append(session, 0, [said("x" * 100_000)], pending=True)
            except JournalUnavailable as error:
                errors.append(error)

        async with grouped(memory) as nursery:
            for number in range(5):
                nursery.start_soon(append, f"s{number}")
        assert 5 == len({id(error) for error in errors})
        assert "df -h" in errors[0].next_step
        assert () == await memory.journal.sessions()


@contextmanager
def small_files(limit_bytes: int) -> Iterator[None]:
    """Writing beyond this place of a file fails, as on a disk that breaks (EFBIG becomes SQLITE_IOERR_WRITE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_failing_disk_acknowledges_nothing_false(tmp_path: Path) -> None:
    """After an error of the disk the file is opened anew, and what it then holds is what was acknowledged."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        with small_files(400_000):
            version = await append_until_it_fails(memory)
        assert version == len(await memory.journal.read("s"))
        assert version + 1 == await memory.journal.append("s", version, [said()], pending=False)
    async with opened(tmp_path) as memory:
        assert version + 1 == len(await memory.journal.read("s"))


async def test_nothing_is_acknowledged_on_a_file_whose_fsync_failed(tmp_path: Path) -> None:
    """The log is opened anew, brought into the main file and cut off, before anything is written behind it."""
    with failing_disk() as disk:
        async with opened(tmp_path) as memory:
            await memory.journal.append("s", 0, [said("first")], pending=True)
            disk.syncs_fail_of = "-wal"
            with pytest.raises(JournalUnavailable, match="disk that failed"):
                await memory.journal.append("s", 1, [said("lost")], pending=True)
            with pytest.raises(JournalUnavailable):  # the main file cannot take the log while that does not work
                await memory.journal.append("s", 1, [said("lost too")], pending=True)
            with pytest.raises(JournalUnavailable):
                await memory.journal.probe()
            disk.syncs_fail_of = ""
            start = len(disk.done)
            await memory.journal.probe()
            assert 2 == await memory.journal.append("s", 1, [said("second")], pending=True)
            acts = disk.acts(start)
            brought = acts.index(("fairlead.db", "sync"))
            cut = acts.index(("fairlead.db-wal", "truncate"))
            written = acts.index(("fairlead.db-wal", "write"))
            assert brought < cut < written
            assert not disk.used_after_a_failure
            assert ["first", "second"] == await texts(memory.journal, "s")


async def test_failing_main_file_loses_nothing(tmp_path: Path) -> None:
    """It only takes what the log has already; while it fails, nothing more is acknowledged."""
    with failing_disk() as disk:
        async with opened(tmp_path) as memory:
            disk.syncs_fail_of = ".db"
            await memory.journal.append("s", 0, [said()], pending=True)
            version = await append_until_it_fails(memory)
            disk.syncs_fail_of = ""
            assert version + 1 == await memory.journal.append("s", version, [said()], pending=True)
            assert version + 1 == len(await memory.journal.read("s"))


async def test_file_held_by_another_process_is_waited_for(tmp_path: Path) -> None:
    """After `busy_seconds` an append fails in words; once the other is done it works again."""
    async with opened(tmp_path, busy_seconds=0.05) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        other = apsw.Connection(str(file_of(tmp_path)))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnavailable, match=r"more than 0\.05 s") as caught:
            await memory.journal.append("s", 1, [said()], pending=True)
        assert "fuser" in caught.value.next_step
        with pytest.raises(JournalUnavailable):
            await memory.journal.claim()
        assert ["hello"] == await texts(memory.journal, "s")
        other.execute("COMMIT")
        other.close()
        assert 2 == await memory.journal.append("s", 1, [said()], pending=True)


async def refused(directory: Path) -> JournalUnavailable:
    with pytest.raises(JournalUnavailable) as caught:
        async with opened(directory):
            pass
    assert [] == list((directory / "sqlite").glob("instances/*"))
    return caught.value


async def test_damaged_file_is_named_with_the_next_step(tmp_path: Path) -> None:
    """Neither opened nor changed."""
    file_of(tmp_path).parent.mkdir()
    file_of(tmp_path).write_bytes(b"no database at all " * 1000)
    error = await refused(tmp_path)
    assert str(file_of(tmp_path)) in error.problem
    assert "damaged" in error.problem
    assert error.next_step.startswith("mv ")
    assert b"no database at all " * 1000 == file_of(tmp_path).read_bytes()


async def test_damaged_pages_are_an_error_and_a_finding(tmp_path: Path) -> None:
    """Reading says that the file is damaged, and so does the doctor's check."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said("x" * 2000)] * 200, pending=False)
    content = bytearray(file_of(tmp_path).read_bytes())
    page = 4096
    for number in range(8, len(content) // page):
        content[number * page : number * page + 200] = b"\xff" * 200
    file_of(tmp_path).write_bytes(content)
    async with opened(tmp_path) as memory:
        with pytest.raises(JournalUnavailable, match="damaged"):
            await memory.journal.read("s")
        finding, disk = await memory.check()
    assert (False, True) == (finding.ok, disk.ok)
    assert ".recover" in finding.next_step


async def test_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    """The message has both versions and the command."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [started()], pending=False)
        await memory.writer.do(lambda connection: connection.pragma("user_version", 99))
    before = file_of(tmp_path).read_bytes()
    error = await refused(tmp_path)
    assert "version 99" in error.problem
    assert f"up to {len(STEPS)}" in error.problem
    assert "pip install --upgrade fairlead-sqlite" == error.next_step
    assert before == file_of(tmp_path).read_bytes()


async def test_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    """It may be anybody's; we add no tables to it."""
    file_of(tmp_path).parent.mkdir()
    other = apsw.Connection(str(file_of(tmp_path)))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = file_of(tmp_path).read_bytes()
    error = await refused(tmp_path)
    assert "another program" in error.problem
    assert "path" in error.next_step
    assert before == file_of(tmp_path).read_bytes()


async def test_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    """A directory in its place."""
    file_of(tmp_path).mkdir(parents=True)
    error = await refused(tmp_path)
    assert str(file_of(tmp_path)) in error.problem
