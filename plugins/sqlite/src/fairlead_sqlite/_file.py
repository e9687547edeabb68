"""The database file: made, opened, brought up to date, and its faults in words."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from fairlead.errors import JournalUnavailable
from fairlead_sqlite._schema import APPLICATION_ID, STEPS
from fairlead_sqlite._tail import kept_tails

__all__ = [
    "connect",
    "copies",
    "explain",
    "explained",
    "key_hash",
    "open_reading",
    "open_writing",
    "sync_directory",
    "transaction",
    "truncate_wal",
]

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
RETRY_SECONDS = 0.01
"""Between tries to change the journal mode, which SQLite does not wait for by itself."""


def open_writing(path: Path, busy_seconds: float, steps: Sequence[str] = STEPS) -> apsw.Connection:
    """A connection whose commits survive power loss, to a file that is made or brought up to date where needed.

    `JournalUnavailable`: it is newer than this program, is no file of ours, or cannot be opened; nothing was changed.
    """
    with explained(path, busy_seconds):
        make_file(path)
        _check_version(path, busy_seconds, len(steps))
        connection = connect(path, busy_seconds)
        try:
            _enter_wal(connection, busy_seconds)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            upgrade(connection, path, steps)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reading(path: Path, busy_seconds: float) -> apsw.Connection:
    """A connection that cannot write. `JournalUnavailable`: it cannot be opened."""
    with explained(path, busy_seconds):
        connection = connect(path, busy_seconds)
        connection.execute("PRAGMA query_only = ON")
        return connection


def connect(path: Path, busy_seconds: float, *, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """A bare connection to a file that exists. What SQLite puts aside stays in memory, not in temporary files."""
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(int(busy_seconds * 1000))
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def make_file(path: Path) -> None:
    """The directory and an empty file, for its owner only; SQLite gives its other files the same mode.

    An existing file is never opened here: closing it would drop the locks of SQLite in this process
    (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, FILE_MODE))
        for directory in (path.parent, path.parent.parent):
            sync_directory(directory)


def sync_directory(path: Path) -> None:
    """Let it survive power loss. Not for a file that SQLite has open: see `make_file`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_version(path: Path, busy_seconds: float, newest: int) -> None:
    """Refuse a file that we must not touch, before any connection that could write."""
    try:
        version, application, tables = _marks(path, busy_seconds, apsw.SQLITE_OPEN_READONLY)
    except apsw.ReadOnlyError:  # whoever wrote to it died meanwhile, so there is something to be undone first
        version, application, tables = _marks(path, busy_seconds, apsw.SQLITE_OPEN_READWRITE)
    if tables and application != APPLICATION_ID:
        raise JournalUnavailable(
            f"{str(path)!r} is a database of another program: expected application_id {APPLICATION_ID:#x}, found "
            f"{application:#x}. It was not touched.",
            next_step="set `path` of the memory to a file of its own",
        )
    if version > newest:
        raise JournalUnavailable(
            f"{str(path)!r} has version {version} of the tables and this fairlead-sqlite knows up to {newest}: "
            "a newer one wrote it. It was not touched.",
            next_step="pip install --upgrade fairlead-sqlite",
        )


def _marks(path: Path, busy_seconds: float, flags: int) -> tuple[int, int, int]:
    """Version, application and number of tables."""
    connection = connect(path, busy_seconds, flags=flags)
    try:
        connection.execute("BEGIN")  # one look: another process may be making the tables
        version, application = connection.pragma("user_version"), connection.pragma("application_id")
        return version, application, connection.execute("SELECT count(*) FROM sqlite_schema").get
    finally:
        connection.close()


def _enter_wal(connection: apsw.Connection, busy_seconds: float) -> None:
    """Changes nothing in a file that is so already; a copy that was put back is not."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except apsw.BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_SECONDS)


def upgrade(connection: apsw.Connection, path: Path, steps: Sequence[str]) -> None:
    """Bring the tables to the newest version in one transaction, after a copy of a file that has something in it."""
    found = connection.pragma("user_version")
    if found >= len(steps):
        return
    if found > 0:
        copy = path.with_name(f"{path.name}.v{found}")
        copy.unlink(missing_ok=True)
        make_file(copy)
        connection.execute("VACUUM INTO ?", (str(copy),))
        sync_directory(copy)
    with transaction(connection):
        # Another process may have done it between the two looks.
        for step in steps[connection.pragma("user_version") :]:
            connection.execute(step)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", len(steps))


def key_hash(key: str) -> bytes:
    """What is kept of a key, also after its session is erased."""
    return hashlib.blake2b(key.encode(), digest_size=16).digest()


def copies(path: Path) -> list[Path]:
    """What upgrades have left beside the file, and crashes; whatever is erased must not be in them."""
    return sorted(
        [*path.parent.glob(f"{path.name}.v*"), *path.parent.glob(f"{path.name}*.damaged-*"), *kept_tails(path)]
    )


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """One transaction that has the right to write from its start; committed at the end, undone by an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def truncate_wal(connection: apsw.Connection, path: Path) -> None:
    """Bring everything into the main file and empty the log, so that it has no old words. Waits for readers."""
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError as error:
        raise JournalUnavailable(
            f"it is erased from {str(path)!r}, but its words are still in the log {path.name + '-wal'!r}, since "
            "another process reads it",
            next_step="erase it again later; that empties the log and then says that nothing was there",
        ) from error


@contextmanager
def explained(path: Path, busy_seconds: float) -> Iterator[None]:
    """Errors of SQLite and of the operating system as `JournalUnavailable`."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise explain(error, path, busy_seconds) from error


def explain(error: Exception, path: Path, busy_seconds: float) -> JournalUnavailable:
    """What happened to which file, and what to do."""
    for kinds, problem, next_step in _FAULTS:
        if isinstance(error, kinds):
            text = f"{str(path)!r} {problem.format(seconds=busy_seconds)} (SQLite: {error})"
            return JournalUnavailable(text, next_step=next_step.format(path=path))
    return JournalUnavailable(f"{str(path)!r} cannot be used: {type(error).__name__}: {error}")


_FAULTS: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
    (
        (apsw.NotADBError, apsw.CorruptError),
        "is damaged, or is no SQLite database",
        "mv {path} {path}.damaged, then restore a backup, or see what is left: sqlite3 {path}.damaged .recover",
    ),
    (
        (apsw.FullError,),
        "lies on a disk that is full; nothing was written",
        "make space (`df -h {path}`); then try again",
    ),
    (
        (apsw.BusyError, apsw.LockedError),
        "has been written to by another process for more than {seconds:g} s; nothing was written",
        "see who it is with `fuser -v {path}`, or set a larger `busy_seconds`",
    ),
    (
        (apsw.ReadOnlyError, apsw.CantOpenError, apsw.PermissionsError, OSError),
        "cannot be opened for writing",
        "look at its directory, owner and mode with `ls -la {path}`",
    ),
    ((apsw.IOError,), "lies on a disk that failed; what was not acknowledged may be lost", "see `dmesg | tail`"),
)
