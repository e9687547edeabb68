"""Group commit: all appends that wait are one statement, one transaction and one wait for the disk."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import apsw
from attrs import define, field

from fairlead.errors import DuplicateKey, VersionConflict
from fairlead_sqlite._clerk import Clerk, Request
from fairlead_sqlite._file import explained, open_writing, transaction
from fairlead_sqlite._log import Log
from fairlead_sqlite._schema import ROW_WIDTH

__all__ = ["Append", "Writer"]

T = TypeVar("T")
Row = tuple[object, ...]
MOST_ROWS = 256
"""Of one statement: its text (4.6 kB) fits apsw's cache of statements, its parameters SQLite's limit of 32,766."""
PATIENCE_SECONDS = 0.0005
"""For which the loop stands still for one append: as long as for decoding 50 kB of JSON."""
QUICK_APPENDS = 16
"""In a row, after one that was not, before the loop stands still for one again."""


@define(eq=False)
class Append(Request[int]):
    """One append: its rows are written all or none."""

    session: str = field(kw_only=True)
    expected: int = field(kw_only=True)
    rows: Sequence[Row] = field(kw_only=True)
    """As the columns of the view `appends`."""
    keys: dict[bytes, str] = field(factory=dict, kw_only=True)
    """The keys of accepted messages, by their hashes."""


class Writer(Clerk):
    """The one thread that writes."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._log = Log(path, busy_seconds)
        self.patience = PATIENCE_SECONDS
        """In seconds: an append that takes less is a quick one."""
        self._quick = QUICK_APPENDS
        self._untidy = False
        self._doubtful = False
        """The disk failed, and what the log has in the cache need not be on it."""
        super().__init__(path, busy_seconds, self._open)

    async def append(self, append: Append) -> None:
        """Wait until it is written; raises its error.

        The loop stands still for one that is alone, where the last ones were quick. So a disk that grows slow has it
        stand still once, for `patience` at most, and not again until it is quick.
        """
        stands = self._quick >= QUICK_APPENDS and not self._untidy
        await self.ask(append, self.patience if stands else 0.0)

    # -- in the thread

    def _open(self, path: Path, busy_seconds: float) -> apsw.Connection:
        connection = open_writing(path, busy_seconds)
        try:
            self._log.watch(connection)
            if self._doubtful:
                self._renew(connection)
        except BaseException:
            connection.close(True)
            raise
        return connection

    def _renew(self, connection: apsw.Connection) -> None:
        """Bring the log into the main file, wait for the disk, and cut the log off; nothing is acknowledged before.

        A failed fsync leaves pages in the cache that count as written and are on no disk: the next fsync says that all
        is well (https://lwn.net/Articles/752063/, https://www.sqlite.org/draft/wal.html). So no frame that was written
        before is relied on again. What was acknowledged stands in frames whose own fsync went well; their pages are
        written anew, to another file, and waited for.
        """
        with explained(self._path, self._busy_seconds):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._doubtful = False

    def fail(self, requests: Sequence[Request[T]], error: Exception) -> None:
        self._doubtful = self._doubtful or isinstance(error, apsw.IOError)
        super().fail(requests, error)

    def work_off(self, batch: Sequence[Request[object]]) -> None:
        first = batch[0] if len(batch) == 1 else None
        if isinstance(first, Append):  # the usual case, and the one where the way there counts
            self._append_and_wake([first])
            if self._untidy:
                self._tidy()
        else:
            self._work_off_many(batch)
            self._tidy()

    def _work_off_many(self, batch: Sequence[Request[object]]) -> None:
        for appends, requests in itertools.groupby(batch, key=lambda request: isinstance(request, Append)):
            if not appends:
                super().work_off(list(requests))
                continue
            for group in groups(request for request in requests if isinstance(request, Append)):
                self._append_and_wake(group)

    def _append_and_wake(self, group: Sequence[Append]) -> None:
        started = time.perf_counter()
        self._append(group)
        took = time.perf_counter() - started
        self._quick = self._quick + 1 if took < self.patience else 0
        self._untidy = self._log.is_untidy  # before anybody is woken, who may append again at once
        self.wake(group)

    def _tidy(self) -> None:
        """After those who waited were woken. Errors are nobody's: where they matter, the next request meets them."""
        if self._connection is not None:
            try:
                self._log.tidy(self._connection)
            except apsw.Error as error:
                self.fail([], error)
        self._untidy = False

    def _append(self, group: Sequence[Append]) -> None:
        try:
            connection = self.connection()
            if sum(len(append.rows) for append in group) > MOST_ROWS:
                _append_each(connection, group)
                return
            try:
                # A statement by itself is a transaction: SQLite begins it, writes, waits for the disk and ends it in
                # one call, without the interpreter's lock.
                insert(connection, [row for append in group for row in append.rows])
            except apsw.ConstraintError:
                _append_each(connection, group)
        except Exception as error:  # noqa: BLE001  # it is raised in the tasks that wait
            self.fail(group, error)


def groups(appends: Iterator[Append]) -> Iterator[list[Append]]:
    """The appends in order, in groups of at most `MOST_ROWS` rows; a longer one is alone."""
    group: list[Append] = []
    rows = 0
    for append in appends:
        if group and rows + len(append.rows) > MOST_ROWS:
            yield group
            group, rows = [], 0
        group.append(append)
        rows += len(append.rows)
    if group:
        yield group


@functools.cache
def statement(rows: int) -> str:
    """The INSERT of so many rows."""
    row = f"({','.join('?' * ROW_WIDTH)})"
    return f"INSERT INTO appends VALUES {','.join([row] * rows)}"  # noqa: S608  # made of question marks


def insert(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    """Add at most `MOST_ROWS` rows in one call. `ConstraintError`: a version or a key is taken; none was added.

    Statements are prepared for 1, 2, 4, ... rows only; the trigger passes over rows of nothing.
    """
    size = 1 << (len(rows) - 1).bit_length()
    connection.execute(
        statement(size), [value for row in rows for value in row] + [None] * ROW_WIDTH * (size - len(rows))
    )


def _append_each(connection: apsw.Connection, group: Sequence[Append]) -> None:
    """One transaction, in which an append that is refused fails alone."""
    refused: list[tuple[Append, Exception]] = []
    with transaction(connection):
        for append in group:
            connection.execute("SAVEPOINT append")
            try:
                for start in range(0, len(append.rows), MOST_ROWS):
                    insert(connection, append.rows[start : start + MOST_ROWS])
            except apsw.ConstraintError as error:
                connection.execute("ROLLBACK TO append")
                refused.append((append, why(connection, append, error)))
            connection.execute("RELEASE append")
    for append, reason in refused:
        append.error = reason


def why(connection: apsw.Connection, append: Append, error: apsw.ConstraintError) -> Exception:
    """The reason for which an append was refused."""
    found = connection.execute("SELECT version FROM sessions WHERE id = ?", (append.session,)).get or 0
    if found != append.expected:
        return VersionConflict(
            f"session {append.session!r} is at version {found}, expected {append.expected}",
            session=append.session,
            expected=append.expected,
            found=found,
            next_step="read the session again",
        )
    for hashed, key in append.keys.items():
        if connection.execute("SELECT 1 FROM keys WHERE hash = ?", (hashed,)).get:
            return DuplicateKey(f"key {key!r} is already in the journal", session=append.session, key=key)
    if append.keys:
        key = next(iter(append.keys.values()))
        return DuplicateKey(f"key {key!r} stands twice in one append", session=append.session, key=key)
    return error
