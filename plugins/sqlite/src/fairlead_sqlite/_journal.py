"""The journal: events of sessions, in order, durable before anybody hears that they are there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw
import trio

from fairlead.events import ApprovalRequested, Event, MessageAccepted, Record, SessionStarted
from fairlead.memory import Journal, SessionInfo
from fairlead.wire import decode_event, encode_event
from fairlead_sqlite._clerk import Clerk
from fairlead_sqlite._file import copies, key_hash, transaction, truncate_wal
from fairlead_sqlite._glance import Glance
from fairlead_sqlite._holds import Holds
from fairlead_sqlite._instances import Instance
from fairlead_sqlite._writing import Append, Row, Writer

__all__ = ["SqliteJournal"]

ROWS_AT_ONCE = 64
"""That one step reads: with 13 MB in each (a message of 10 MB in base64) still under SQLite's 1 GB a value."""
EVENTS_A_ROW = 64
"""Of an append that brings more, as a fork does; they are encoded before other tasks get their turn."""
BYTES_A_ROW = 100_000
"""Of an append that brings more, unless one event is larger."""
ROOM_BYTES = 1_000_000
"""Free space without which a disk that was full still counts as full."""
CHARS_AT_ONCE = 100_000
"""JSON that is decoded before other tasks get their turn: about 1 ms."""


class SqliteJournal(Journal):
    """See `fairlead.memory.Journal`; appends go to the writer's thread, other things to the reader's."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        reader: Clerk,
        glance: Glance,
        instance: Instance,
        holds: Holds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._glance = glance
        self._instance = instance
        self._holds = holds
        self._clock = clock

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        """The events are encoded here and not in the thread: it would only fight with this one for the interpreter.

        `ValueError`: an event or a name cannot be written as UTF-8 JSON.
        """
        session.encode()  # a lone surrogate must fail here, and not together with the others of a group
        now = self._clock()
        owner = ""
        if expected_version == 0:  # whose a session is stands in it from its start
            owner = next((event.owner for event in events if isinstance(event, SessionStarted)), "")
        instance = self._instance.id if pending else None
        keys: dict[bytes, str] = {}
        hashes: list[bytes] = []
        rows: list[Row] = []
        version = expected_version
        for lines in _encoded(events, keys, hashes):
            if rows:
                await trio.lowlevel.checkpoint()
            hashed = hashes.pop() if hashes else None
            rows.append((session, version, pending, instance, owner, now, hashed, b"\n".join(lines), len(lines)))
            version += len(lines)
        if not rows:
            rows.append((session, version, pending, instance, owner, now, None, None, 0))
        rows += [(session, version, pending, instance, owner, now, hashed, None, 0) for hashed in hashes]
        append = Append(_no_work, session=session, expected=expected_version, rows=rows, keys=keys)
        await self._writer.append(append)
        return expected_version + len(events)

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        """Read in the thread, decoded here in small pieces, so that a long session delays nobody.

        Where there is nothing to read, as for each new session, no thread is asked.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        await self._catch_up()
        version = self._glance.version(session)
        if version is not None and version <= after:
            return []
        records: list[Record] = []
        chars = 0
        for line in await self._reader.do(lambda connection: _lines(connection, session, after)):
            records.append(Record(session, after + len(records) + 1, decode_event(line)))
            chars += len(line)
            if chars > CHARS_AT_ONCE:
                chars = 0
                await trio.lowlevel.checkpoint()
        return records

    async def find(self, key: str) -> str | None:
        await self._catch_up()
        found: str | None = await self._reader.do(
            lambda connection: (
                connection.execute("SELECT id FROM keys JOIN sessions USING (num) WHERE hash = ?", (key_hash(key),)).get
            )
        )
        return found

    async def claim(self) -> Sequence[str]:
        return await self._writer.do(lambda connection: _claim(connection, self._instance))

    async def probe(self) -> None:
        """A write of one page, where there is space for some of what comes next."""
        await self._writer.do(lambda connection: _probe(connection, self._path))

    async def hold(self, session: str) -> None:
        """One that another process has is asked for again, a hundred times a second at first and then ten times."""
        pause = 0.01
        while not self._holds.take(session):
            await trio.sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def release(self, session: str) -> None:
        self._holds.drop(session)

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        await self._catch_up()
        return await self._reader.do(lambda connection: _sessions(connection, owner, limit, before))

    async def erase(self, session: str) -> bool:
        """`JournalUnavailable`: it is gone, but another process holds on to the log, which still has its words."""
        return await self._writer.do(lambda connection: _erase(connection, self._path, session))

    async def _catch_up(self) -> None:
        """Let appends that were cancelled come to their end, so that what is read now stays true."""
        if self._writer.abandoned:
            await self._writer.do(_no_work)


def _encoded(events: Sequence[Event], keys: dict[bytes, str], hashes: list[bytes]) -> Iterator[list[bytes]]:
    """The lines of one row after the other. The keys of the messages in them and their hashes are added."""
    lines: list[bytes] = []
    size = 0
    for event in events:
        if isinstance(event, MessageAccepted | ApprovalRequested) and event.key:
            hashes.append(key_hash(event.key))
            keys[hashes[-1]] = event.key
        line = encode_event(event)
        lines.append(line)
        size += len(line)
        if len(lines) == EVENTS_A_ROW or size > BYTES_A_ROW:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _probe(connection: apsw.Connection, path: Path) -> None:
    if shutil.disk_usage(path.parent).free < ROOM_BYTES:
        raise apsw.FullError(f"less than {ROOM_BYTES:,} bytes are free")
    connection.pragma("user_version", connection.pragma("user_version"))  # written, though it is the same


def _no_work(_: apsw.Connection) -> int:
    return 0


def _lines(connection: apsw.Connection, session: str, after: int) -> list[str]:
    """The events as they were encoded; many in a step, for each gives the interpreter's lock away."""
    lines: list[str] = []
    step = ROWS_AT_ONCE
    connection.execute("BEGIN")
    try:
        num = connection.execute("SELECT num FROM sessions WHERE id = ?", (session,)).get
        while num is not None:
            start = after + len(lines)
            try:
                joined, last = connection.execute(
                    "SELECT group_concat(body, char(10) ORDER BY version), max(version) FROM"
                    " (SELECT body, version FROM events WHERE num = ? AND version > ? ORDER BY version LIMIT ?)",
                    (num, start, step),
                ).get
            except apsw.TooBigError:
                if step == 1:
                    raise
                step //= 2  # these are large ones: SQLite joins at most 1 GB
                continue
            if joined is None:
                break
            found = joined.split("\n")
            lines += found[start - (last - len(found)) :]  # a row may begin before what is asked for
    finally:
        connection.execute("COMMIT")
    return lines


def _claim(connection: apsw.Connection, instance: Instance) -> list[str]:
    claimed: list[str] = []
    # Who has the right to write is alone here: nobody else looks at the same rows at the same time.
    with transaction(connection):
        owners = connection.execute("SELECT DISTINCT instance FROM sessions WHERE pending").fetchall()
        for (owner,) in owners:
            if instance.is_dead(str(owner)):
                claimed += [
                    session
                    for (session,) in connection.execute(
                        "UPDATE sessions SET instance = ? WHERE pending AND instance IS ? RETURNING id",
                        (instance.id, owner),
                    )
                ]
    instance.sweep()
    return claimed


def _sessions(
    connection: apsw.Connection, owner: str | None, limit: int, before: float | None
) -> tuple[SessionInfo, ...]:
    # Said twice, so that the index of those who have an owner serves.
    whose = "owner = ?1 AND owner <> ''" if owner else "(?1 IS NULL OR owner = ?1)"
    rows = connection.execute(
        "SELECT id, version, pending, created, updated, owner FROM sessions"  # noqa: S608  # constants
        f" WHERE {whose} AND (?2 IS NULL OR updated < ?2)"
        " ORDER BY updated DESC, num DESC LIMIT ?3",
        (owner, before, max(limit, 0)),
    )
    return tuple(
        SessionInfo(name, version, bool(pending), created, updated, of)
        for name, version, pending, created, updated, of in rows
    )


def _erase(connection: apsw.Connection, path: Path, session: str) -> bool:
    with transaction(connection):
        num = connection.execute("SELECT num FROM sessions WHERE id = ?", (session,)).get
        # The same length: SQLite overwrites the row where it lies. See `_schema` for why it is not deleted.
        connection.execute("UPDATE events SET body = zeroblob(length(body)) WHERE num = ?", (num,))
        connection.execute("DELETE FROM sessions WHERE num = ?", (num,))
    for copy in copies(path):
        copy.unlink(missing_ok=True)
    truncate_wal(connection, path)
    return num is not None
