"""Whether a file is whole, for ``fairlead doctor``."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import apsw

from fairlead import Finding
from fairlead_sqlite._file import connect, explain
from fairlead_sqlite._tail import find_tail, kept_tails

__all__ = ["check_disk", "check_file", "check_tails"]

LOW_SPACE_BYTES = 200_000_000

STEPS_BETWEEN_LOOKS = 10_000
"""Instructions of SQLite's machine between two looks at the clock: some 100 us."""


def check_file(path: Path, seconds: float) -> Finding:
    """One finding: the size, and what a check of the pages says; it is given up after `seconds`."""
    subject = f"sqlite: {path.name}"
    try:
        size = f"{path.stat().st_size / 1e6:,.1f} MB at {str(path)!r}"
        faults = _quick_check(path, seconds)
    except (apsw.Error, OSError) as error:
        told = explain(error, path, seconds)
        return Finding(subject, ok=False, detail=told.problem, next_step=told.next_step)
    if faults is None:
        return Finding(subject, ok=True, detail=f"{size}, too large to be checked in {seconds:g} s")
    if faults == ["ok"]:
        return Finding(subject, ok=True, detail=f"{size}, whole")
    return Finding(
        subject,
        ok=False,
        detail=f"{size}: {'; '.join(faults)}",
        next_step=f"cp {path} {path}.damaged && sqlite3 {path}.damaged .recover",
    )


def check_disk(path: Path) -> Finding:
    """One finding: the space that is left where the file lies."""
    subject = f"sqlite: disk of {path.name}"
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        return Finding(subject, ok=False, detail=str(error), next_step=f"ls -la {path.parent}")
    next_step = "" if free >= LOW_SPACE_BYTES else f"df -h {path.parent}"
    return Finding(subject, not next_step, f"{free / 1e6:,.0f} MB free at {str(path.parent)!r}", next_step)


def check_tails(path: Path) -> tuple[Finding, ...]:
    """A finding for each damaged file that was kept, and each log whose end was cut.

    Of a log a torn end is no fault, and a damaged middle is.
    """
    findings = [
        Finding(
            f"sqlite: {path.name}",
            ok=False,
            detail=f"was damaged; it was kept at {str(copy)!r}",
            next_step=f"rm {copy}",
        )
        for copy in sorted(path.parent.glob(f"{path.name}.damaged-*"))
    ]
    for copy in kept_tails(path):
        tail = find_tail(copy.read_bytes())
        if tail is not None:
            step = f"rm {copy}" if tail.behind else ""
            detail = f"{tail.words}; it was kept at {str(copy)!r}"
            findings.append(Finding(f"sqlite: log of {path.name}", not tail.behind, detail, step))
    return tuple(findings)


def _quick_check(path: Path, seconds: float) -> list[str] | None:
    """What SQLite says, ``ok`` for a whole file; None where the time was too short."""
    deadline = time.monotonic() + seconds
    connection = connect(path, 1.0)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS_BETWEEN_LOOKS)
        return [text for (text,) in connection.execute("PRAGMA quick_check(3)")]
    except apsw.InterruptError:
        return None
    finally:
        connection.close()
