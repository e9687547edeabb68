"""A file that SQLite refuses to open: what can be read goes into a new one, and the old one is kept beside.

Each session is cut at its first record that is gone, and closed there: nobody goes on with work of which a part is
unknown, since that could have its effects a second time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import apsw
from attrs import define, field

from fairlead import Text, ToolCall, ToolResult
from fairlead.events import (
    AnswerDelivered,
    Event,
    MessageAccepted,
    ModelAnswered,
    ToolReturned,
    TurnEnded,
    TurnStarted,
)
from fairlead.wire import decode_event, encode_event
from fairlead_sqlite._file import connect, explained, key_hash, open_writing, sync_directory, transaction
from fairlead_sqlite._schema import APPLICATION_ID

__all__ = ["can_salvage", "salvage"]

MAGIC = b"SQLite format 3\0"
APPLICATION_PLACE = 68
"""In the header (https://www.sqlite.org/fileformat2.html, 1.3)."""
LAST = 1 << 62
"""No row has a number beyond it."""
LOST = "The record of this call was damaged. It may or may not have taken effect; do not repeat it."
DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.IOError)


@define
class Account:
    """What became of the sessions."""

    sessions: int = 0
    events: int = 0
    cut: list[str] = field(factory=list)
    lost: int = 0
    """Sessions of which nothing is left, as far as one knows of them."""


def can_salvage(path: Path, error: Exception) -> bool:
    """Whether a file that could not be opened is one of ours and damaged. Somebody else's is not touched."""
    if not isinstance(error.__cause__, apsw.CorruptError | apsw.NotADBError):
        return False
    with path.open("rb") as file:
        head = file.read(APPLICATION_PLACE + 4)
    return head.startswith(MAGIC) and head[APPLICATION_PLACE:] == APPLICATION_ID.to_bytes(4, "big")


def salvage(path: Path, busy_seconds: float) -> str:
    """Put a new file in the place of a damaged one, which no other process may have open; what is to be told.

    `JournalUnavailable`: that failed, for want of space, say; the damaged file is still there.
    """
    stamp = f"damaged-{time.time_ns() // 1_000_000}"
    log = path.with_name(f"{path.name}-wal")
    fresh = path.with_name(f"{path.name}.new")
    with explained(path, busy_seconds):
        for source in (path, log):
            if source.exists():
                shutil.copyfile(source, kept := source.with_name(f"{source.name}.{stamp}"))
                kept.chmod(0o600)
        for name in (fresh.name, f"{fresh.name}-wal", f"{fresh.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        account = _copy(path, fresh, busy_seconds)
        # The log first: SQLite would take it for the new file's.
        log.unlink(missing_ok=True)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        os.replace(fresh, path)  # noqa: PTH105  # counted by those who kill processes at each such call
        sync_directory(path.parent)
    cut = f"{len(account.cut)} of them cut at the first record that is gone ({', '.join(account.cut[:5])})"
    return (
        f"{path.name} was damaged. {account.events} events of {account.sessions} sessions could be read, {cut}; "
        f"{account.lost} sessions are lost. The old file is {path.name}.{stamp}"
    )


def _copy(path: Path, fresh: Path, busy_seconds: float) -> Account:
    new = open_writing(fresh, busy_seconds)
    old = connect(path, busy_seconds)
    try:
        old.execute("PRAGMA writable_schema = ON")  # else a file that is too short is not even opened
        with transaction(new):
            account = _copy_sessions(old, new)
            columns = ("num", "scope", "id", "at", "live", "ring", "text", "tags")
            for row in _rows(old, "notes", columns):
                new.execute("INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            new.execute("INSERT INTO words (words) VALUES ('rebuild')")
        return account
    finally:
        old.close(True)
        new.close(True)


def _rows(old: apsw.Connection, table: str, columns: Sequence[str]) -> Iterator[tuple[apsw.SQLiteValue, ...]]:
    """All rows that can be read, in the order of their numbers, which stand in the first column.

    Where one cannot be read, some behind it are passed over as well: as many as it takes to come to another page.
    """
    place, step = 0, 1
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE {columns[0]} >= ? ORDER BY {columns[0]}"  # noqa: S608  # ours
    while place < LAST:
        try:
            for row in old.execute(query, (place,)):
                yield row
                place, step = int(row[0]) + 1, 1
        except DAMAGE:
            place, step = place + step, step * 2
        except apsw.SQLError:  # there is no such table any more
            return
        else:
            return


def _copy_sessions(old: apsw.Connection, new: apsw.Connection) -> Account:
    columns = ("num", "id", "version", "pending", "instance", "owner", "created", "updated")
    sessions = {row[0]: row for row in _rows(old, "sessions", columns)}
    done: dict[object, int] = dict.fromkeys(sessions, 0)
    account = Account()
    unknown: set[object] = set()
    for place, num, version, body in _rows(old, "events", ("place", "num", "version", "body")):
        assert isinstance(body, bytes)
        assert isinstance(version, int)
        lines = body.split(b"\n")
        if num not in sessions:
            unknown.update({num} if any(body) else ())  # of an erased session there are zeros
        elif done[num] + len(lines) == version:
            new.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (place, num, version, body))
            done[num] = version
            account.events += len(lines)
    with suppress(*DAMAGE, apsw.SQLError):  # up to where it is damaged; among them are those of erased sessions
        for key in old.execute("SELECT hash, num FROM keys"):
            new.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", key)
    for num, row in sessions.items():
        if not done[num]:
            account.lost += 1
            continue
        new.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        account.sessions += 1
        if done[num] != row[2]:
            account.cut.append(str(row[1]))
            _close(new, num, done[num])
        _keep_keys(new, num)
    account.lost += len(unknown)
    return account


def _events(new: apsw.Connection, num: object) -> list[Event]:
    query = "SELECT body FROM events WHERE num = ? ORDER BY version"
    return [decode_event(line) for (body,) in new.execute(query, (num,)) for line in body.split(b"\n")]


def _close(new: apsw.Connection, num: object, version: int) -> None:
    lines = [encode_event(event) for event in closing(_events(new, num))]
    if lines:
        body = b"\n".join(lines)
        new.execute("INSERT INTO events (num, version, body) VALUES (?, ?, ?)", (num, version + len(lines), body))
    new.execute("UPDATE sessions SET version = ?, pending = 0 WHERE num = ?", (version + len(lines), num))


def _keep_keys(new: apsw.Connection, num: object) -> None:
    """Out of the messages: the table of keys may be what is damaged."""
    for event in _events(new, num):
        if isinstance(event, MessageAccepted) and event.key:
            new.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key_hash(event.key), num))


@define
class Open:
    """What is not at its end in a session."""

    turn: TurnStarted | None = None
    waiting: list[str] = field(factory=list)
    """Messages."""
    calls: dict[str, ToolCall] = field(factory=dict)
    unsent: list[str] = field(factory=list)
    """Turns."""

    def take(self, event: Event) -> None:
        match event:
            case MessageAccepted(message=message):
                self.waiting.append(message.id)
            case TurnStarted():
                self.turn = event
            case ModelAnswered(message=message):
                self.calls.update({call.id: call for call in message.calls})
            case ToolReturned(result=result):
                self.calls.pop(result.call, None)
            case TurnEnded():
                self.turn = None
                self.waiting = [name for name in self.waiting if name not in event.messages]
                if event.address is not None and (event.answer is not None or event.outcome == "answered"):
                    self.unsent.append(event.turn)
            case AnswerDelivered(turn=turn) if turn in self.unsent:
                self.unsent.remove(turn)


def closing(events: Sequence[Event]) -> list[Event]:
    """Events after which nothing of a session is open."""
    left, now = Open(), time.time()
    for event in events:
        left.take(event)
    closed: list[Event] = [AnswerDelivered(turn=name, status="unknown", at=now) for name in left.unsent]
    begun: tuple[str, ...] = ()
    if left.turn is not None:
        begun = left.turn.messages
        for call in left.calls.values():
            result = ToolResult(call.id, call.tool, (Text(LOST),), "unknown")
            closed.append(ToolReturned(turn=left.turn.turn, result=result, at=now))
        closed.append(_cancelled(left.turn.turn, begun, now))
    closed += [_cancelled(secrets.token_hex(11), (name,), now) for name in left.waiting if name not in begun]
    return closed


def _cancelled(turn: str, messages: tuple[str, ...], now: float) -> TurnEnded:
    return TurnEnded(turn=turn, messages=messages, outcome="cancelled", reason="damaged", at=now)
