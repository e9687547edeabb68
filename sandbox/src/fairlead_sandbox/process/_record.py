"""What is kept on disk about a plugin's process, so that another program can list it and end its quarantine."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
from attrs import frozen

from fairlead.errors import SchemaError
from fairlead.wire import loads

__all__ = ["Crash", "Record", "Status", "read_record", "read_records", "revive", "write_record"]

Status = Literal["stopped", "starting", "ready", "backing-off", "quarantined"]
STATUSES: frozenset[str] = frozenset({"stopped", "starting", "ready", "backing-off", "quarantined"})
MAX_BYTES = 1 << 20
WORDS = 2000
"""Characters of the last words of one crash that are kept."""


@frozen
class Crash:
    """One end that nobody asked for."""

    at: float
    """Unix seconds."""
    words: str
    """How it ended, and the end of what it wrote to standard error. Written by the plugin: not to be trusted."""


@frozen
class Record:
    """The state of one plugin, as it was last written."""

    name: str
    status: Status
    since: float
    """Unix seconds."""
    crashes: Sequence[Crash] = ()
    """Those that count, the oldest first."""
    restarts: int = 0
    host: int = 0
    """The pid of the program that runs it, or last ran it."""

    @property
    def now(self) -> Status:
        """The status, where its host still lives; a quarantine outlives it."""
        return self.status if self.status == "quarantined" or _lives(self.host) else "stopped"


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def read_record(file: Path) -> Record | None:
    """What is kept; None where nothing is, or where it cannot be understood: it is then written anew."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        value = loads(file.read_bytes())
        crashes = tuple(Crash(float(crash["at"]), str(crash["words"])) for crash in value["crashes"])
        status = value["status"]
        if status not in STATUSES:
            return None
        return Record(
            str(value["name"]), status, float(value["since"]), crashes, int(value["restarts"]), int(value["host"])
        )
    except (OSError, ValueError, TypeError, KeyError, SchemaError):
        return None


def read_records(directory: Path) -> Sequence[Record]:
    """Those of all plugins that ever ran in a process, by name."""
    found = (read_record(file) for file in sorted(directory.glob("*.json")))
    return tuple(record for record in found if record is not None)


def write_record(file: Path, record: Record) -> None:
    """In one step: whoever reads sees the old one or the new one. `OSError` where the disk refuses."""
    crashes = [{"at": crash.at, "words": _plain(crash.words)} for crash in record.crashes]
    value = attrs.asdict(record, recurse=False) | {"crashes": crashes}
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as made:
            json.dump(value, made)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _plain(words: str) -> str:
    """Short, and without lone surrogates, which our own reader refuses."""
    return words[-WORDS:].encode("utf-8", "replace").decode("utf-8")


def revive(file: Path, now: float) -> bool:
    """End a quarantine, from any program: the crashes are forgotten, and its host starts it again when it is needed.

    False where it is in none. `now`: Unix seconds.
    """
    record = read_record(file)
    if record is None or record.status != "quarantined":
        return False
    write_record(file, attrs.evolve(record, status="stopped", since=now, crashes=()))
    return True
