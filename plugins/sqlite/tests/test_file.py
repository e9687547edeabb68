"""The file: where it lies, who may read it, how it is brought up to date, and what the doctor says."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from fairlead.errors import JournalUnavailable
from fairlead_sqlite._check import check_file
from fairlead_sqlite._file import copies, open_writing
from fairlead_sqlite._schema import STEPS

from .opened import file_of, opened, said, texts


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """The directory, the database, its log and the locks."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        found = {path: mode(path) for path in (tmp_path / "sqlite").rglob("*")}
        assert 0o700 == mode(tmp_path / "sqlite")
    assert 6 == len(found)
    assert {0o600, 0o700} == set(found.values())
    assert [tmp_path / "sqlite" / "instances"] == [path for path, bits in found.items() if bits == 0o700]


@pytest.mark.parametrize("path", ["other/place.db", "absolute"])
async def test_path_is_an_option(tmp_path: Path, path: str) -> None:
    """Relative to the data directory, or absolute."""
    wanted = tmp_path / "elsewhere" / "x.db" if path == "absolute" else tmp_path / path
    async with opened(tmp_path, path=str(wanted) if path == "absolute" else path) as memory:
        assert wanted == memory.path
        await memory.journal.append("s", 0, [said()], pending=False)
    assert wanted.exists()


async def test_settings_of_a_connection_make_it_durable_and_forgetful(tmp_path: Path) -> None:
    """Each commit waits for the disk; what is deleted is overwritten."""
    async with opened(tmp_path) as memory:
        found = [
            await memory.writer.do(lambda connection, name=name: connection.pragma(name))  # type: ignore[misc]  # a default binds it
            for name in ("journal_mode", "synchronous", "secure_delete", "user_version")
        ]
    assert ["wal", 2, 1, len(STEPS)] == found


async def test_check_says_that_all_is_well(tmp_path: Path) -> None:
    """One finding for the file and one for its disk."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        findings = await memory.check()
    assert [True, True] == [finding.ok for finding in findings]
    assert "whole" in findings[0].detail
    assert "MB free" in findings[1].detail


async def test_check_of_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    """A check does not raise for what it finds."""
    async with opened(tmp_path) as memory:
        (tmp_path / "sqlite").rename(tmp_path / "gone")
        findings = await memory.check()
        (tmp_path / "gone").rename(tmp_path / "sqlite")
    assert [False, False] == [finding.ok for finding in findings]
    assert all("ls -la" in finding.next_step for finding in findings)


MANY_KEYS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 20000)
INSERT INTO keys SELECT CAST(n AS BLOB), n FROM numbers
"""


async def test_check_gives_up_on_a_file_that_is_too_large(tmp_path: Path) -> None:
    """No time at all: the check ends, and says so."""
    async with opened(tmp_path) as memory:
        await memory.writer.do(lambda connection: connection.execute(MANY_KEYS).fetchall())
        finding = check_file(memory.path, 0.0)
    assert finding.ok
    assert "too large" in finding.detail


async def test_file_is_brought_up_to_date_with_a_copy(tmp_path: Path) -> None:
    """The steps that are missing run in one transaction; the copy is the file as it was."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
    path = file_of(tmp_path)
    newer = (*STEPS, "CREATE TABLE added (x)", "INSERT INTO added VALUES (3)")
    for _ in range(2):
        connection = open_writing(path, 1.0, newer)
        assert 3 == connection.execute("SELECT x FROM added").get
        assert len(newer) == connection.pragma("user_version")
        connection.close()
    (copy,) = copies(path)
    assert f"fairlead.db.v{len(STEPS)}" == copy.name
    assert 0o600 == mode(copy)
    copy.rename(path)
    async with opened(tmp_path) as memory:
        assert "wal" == await memory.writer.do(lambda connection: connection.pragma("journal_mode"))
        assert ["hello"] == await texts(memory.journal, "s")


async def test_failed_upgrade_changes_nothing(tmp_path: Path) -> None:
    """A step in the middle fails: the file has its old version and works."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
    with pytest.raises(JournalUnavailable):
        open_writing(file_of(tmp_path), 1.0, (*STEPS, "CREATE TABLE added (x)", "no SQL"))
    connection = apsw.Connection(str(file_of(tmp_path)))
    assert not connection.table_exists("main", "added")
    connection.close()
    async with opened(tmp_path) as memory:
        assert ["hello"] == await texts(memory.journal, "s")


def test_entry_point_imports_no_apsw() -> None:
    """It is imported when the app starts; what is heavy comes when the memory is opened."""
    program = "import fairlead_sqlite.plugin, sys; sys.exit('apsw' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode


async def test_process_that_dies_while_it_makes_the_file_leaves_one_that_opens(tmp_path: Path) -> None:
    """What it had begun is undone by the next one, which must not be content to read for that."""
    path = file_of(tmp_path)
    path.parent.mkdir()
    template = tmp_path / "template.db"
    connection = apsw.Connection(str(template))
    connection.execute("PRAGMA user_version = 0; BEGIN IMMEDIATE; CREATE TABLE t (x)")
    connection.cache_flush()  # a journal that must be rolled back stands beside the file
    shutil.copy(template, path)
    shutil.copy(tmp_path / "template.db-journal", path.with_name("fairlead.db-journal"))
    connection.close()
    assert path.with_name("fairlead.db-journal").stat().st_size > 0
    async with opened(tmp_path) as memory:
        assert 1 == await memory.journal.append("s", 0, [said()], pending=False)
