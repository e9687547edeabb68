"""The database of a ledger: its tables, how it is made and opened, and its faults in words.

`entries` is the truth and only grows; the other tables follow from it, and are kept so that nothing has to be counted
again (`_audit` compares the two).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from fairlead_budgets._errors import LedgerUnavailable

__all__ = ["APPLICATION_ID", "VERSION", "connect", "explained", "open_reading", "open_writing", "transaction"]

APPLICATION_ID = 0x466C6242
"""``FlbB``: marks a file as ours (https://www.sqlite.org/fileformat2.html#application_id)."""
VERSION = 1
BUSY_SECONDS = 2.0
"""Less than the core's time for a review: another process that hangs denies requests and stops nothing."""
_PAUSE = 0.01

_TABLES = """
CREATE TABLE parties (
  id INTEGER PRIMARY KEY,
  principal TEXT NOT NULL, agent TEXT NOT NULL, session TEXT NOT NULL, channel TEXT NOT NULL,
  conversation TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
  UNIQUE (session, principal, agent, channel, conversation, provider, model)
) STRICT;

CREATE TABLE entries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,          -- Unix seconds; never less than in the entry before, unless an operator reset the time
  kind TEXT NOT NULL CHECK (kind IN ('reserved', 'settled', 'kept', 'released', 'lost', 'credited', 'warned', 'time')),
  request TEXT NOT NULL,
  party INTEGER REFERENCES parties(id),
  nano INTEGER NOT NULL,     -- nano-dollars
  input INTEGER NOT NULL,    -- tokens
  output INTEGER NOT NULL,   -- tokens
  requests INTEGER NOT NULL,
  detail TEXT NOT NULL       -- JSON
) STRICT;
CREATE INDEX entries_by_time ON entries(at);
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entries_remain BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;

CREATE TABLE holds (         -- what is reserved and not settled
  request TEXT PRIMARY KEY,
  process INTEGER NOT NULL,
  seq INTEGER NOT NULL REFERENCES entries(seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (      -- what each budget has been charged with, by bucket of time
  budget TEXT NOT NULL, key TEXT NOT NULL, start INTEGER NOT NULL,
  nano INTEGER NOT NULL, tokens INTEGER NOT NULL, requests INTEGER NOT NULL,
  held_nano INTEGER NOT NULL, held_tokens INTEGER NOT NULL, held_requests INTEGER NOT NULL,
  PRIMARY KEY (budget, key, start)
) STRICT, WITHOUT ROWID;

CREATE TABLE warned (        -- when somebody was last told
  budget TEXT NOT NULL, key TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (budget, key)
) STRICT, WITHOUT ROWID;
"""


def open_writing(path: Path) -> apsw.Connection:
    """A connection whose commits survive power loss; the file is made where there is none. `LedgerUnavailable`."""
    with explained(path):
        _make(path)
        connection = connect(path)
        try:
            _enter_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            with transaction(connection):
                if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
                    connection.execute(_TABLES)
                    connection.pragma("application_id", APPLICATION_ID)
                    connection.pragma("user_version", VERSION)
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reading(path: Path) -> apsw.Connection | None:
    """A connection that cannot write; None where there is no ledger yet. `LedgerUnavailable`."""
    if not path.exists():
        return None
    with explained(path):
        connection = connect(path)
        try:
            _check(connection, path)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
        return connection


def connect(path: Path) -> apsw.Connection:
    """A bare connection to a file that exists."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(int(BUSY_SECONDS * 1000))
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One that has the right to write from its start; committed at the end, undone by an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Errors of SQLite and of the operating system as `LedgerUnavailable`."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise _explain(error, path) from error


def _make(path: Path) -> None:
    """The directory and an empty file, for its owner only. One that exists is not opened: that would drop its locks."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        for directory in (path.parent, path.parent.parent):
            handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _enter_wal(connection: apsw.Connection) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except apsw.BusyError:  # SQLite does not wait for this by itself
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _check(connection: apsw.Connection, path: Path) -> None:
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application != APPLICATION_ID:
        raise LedgerUnavailable(
            f"{str(path)!r} is a database of another program; it was not touched",
            next_step=f"move it away: mv {path} {path}.other",
        )
    if version > VERSION:
        raise LedgerUnavailable(
            f"{str(path)!r} has version {version} of the tables, and this fairlead-budgets knows up to {VERSION}",
            next_step="pip install --upgrade fairlead-budgets",
        )


def _explain(error: Exception, path: Path) -> LedgerUnavailable:
    for kinds, problem, next_step in _FAULTS:
        if isinstance(error, kinds):
            return LedgerUnavailable(f"{str(path)!r} {problem} ({error})", next_step=next_step.format(path=path))
    return LedgerUnavailable(f"{str(path)!r} cannot be used: {type(error).__name__}: {error}")


_FAULTS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (apsw.NotADBError, apsw.CorruptError),
        "is damaged, or is no SQLite database",
        "mv {path} {path}.damaged; budgets then begin anew, and `sqlite3 {path}.damaged .recover` shows what was spent",
    ),
    ((apsw.FullError,), "lies on a disk that is full; nothing was written", "make space: df -h {path}"),
    (
        (apsw.BusyError, apsw.LockedError),
        f"has been written to by another process for over {BUSY_SECONDS:g} s; nothing was written",
        "see who it is: fuser -v {path}",
    ),
    (
        (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, OSError),
        "cannot be opened for writing",
        "look at its directory, owner and mode: ls -la {path}",
    ),
    ((apsw.IOError,), "lies on a disk that failed", "see `dmesg | tail`"),
)
