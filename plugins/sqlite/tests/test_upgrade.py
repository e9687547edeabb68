"""Files of earlier versions: a session that one of them wrote is read, goes on, and is erased."""

from __future__ import annotations

import hashlib
from pathlib import Path

import apsw
import pytest

from fairlead.events import SessionStarted
from fairlead_sqlite._file import copies, make_file
from fairlead_sqlite._schema import APPLICATION_ID, STEPS

from .opened import file_of, opened, said

RECORDED = Path(__file__).parent / "data" / "session-of-version-1.jsonl"
"""The events of a whole session as version 1 wrote them: a question, two calls of tools, the answer."""

RELEASED = (
    "e058ff183564223f37415cc005948d8cba8bfdb76d5a439440bcc15ad6e590be",
    "22f4a76c83b8a0906b4a67bed5334a83506d26c8cccb5543d888550fbf1070c2",
)
"""What the steps were when they were released, as SHA-256. A new step adds a line; no line is ever changed."""

SESSION = "main/terminal//recorded"


def made_by_version_1(path: Path, *, with_new_view: bool) -> list[bytes]:
    """A file with the recorded session in it, row by row as version 1 wrote it; its lines."""
    make_file(path)
    lines = RECORDED.read_bytes().splitlines()
    connection = apsw.Connection(str(path))
    connection.execute(STEPS[0])
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", 1)
    for before, line in enumerate(lines):
        row = (SESSION, before, 0, None, "terminal:root", 1.0, None, line)
        connection.execute("INSERT INTO appends VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    if with_new_view:
        connection.execute(STEPS[1])
    connection.close()
    return lines


@pytest.mark.parametrize("with_new_view", [False, True], ids=["as-released", "as-between-releases"])
async def test_session_of_version_1_goes_on(tmp_path: Path, *, with_new_view: bool) -> None:
    """Every event is there, more are appended after it, and erasing it leaves no word in the file or its copy."""
    path = file_of(tmp_path)
    lines = made_by_version_1(path, with_new_view=with_new_view)
    async with opened(tmp_path) as memory:
        version = await memory.journal.append(SESSION, len(lines), [said("and then"), said("and last")], pending=False)
        assert len(lines) + 2 == version
        events = [record.event for record in await memory.journal.read(SESSION)]
        assert len(lines) + 2 == len(events)
        assert isinstance(events[0], SessionStarted)
    assert [path.with_name("fairlead.db.v1")] == copies(path)
    async with opened(tmp_path) as memory:
        assert await memory.journal.erase(SESSION)
    assert [] == copies(path)
    assert b"day of the week" not in path.read_bytes()


def test_released_steps_are_never_changed() -> None:
    """A changed step leaves the files that have it already without what it now makes; write a new step instead."""
    assert RELEASED == tuple(hashlib.sha256(step.encode()).hexdigest() for step in STEPS)
