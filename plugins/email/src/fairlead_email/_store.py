"""What must survive a restart: how far the mailbox was read, where answers go, who belongs to which thread.

One SQLite file. Each step is durable before it returns. The methods block: call them in a thread.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from fairlead_email._answer import Errand

__all__ = ["Held", "Position", "Store"]

KEPT_SECONDS = 400 * 86_400
"""How long a thread is remembered after its last mail."""
_TABLES = """
CREATE TABLE IF NOT EXISTS positions (mailbox TEXT PRIMARY KEY, validity INTEGER, uid INTEGER, since REAL);
CREATE TABLE IF NOT EXISTS mails (
  id TEXT, root TEXT, digest TEXT, person TEXT, recipient TEXT, subject TEXT, message_id TEXT, refs TEXT, at REAL,
  PRIMARY KEY (id, root)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mails_root ON mails (root, at);
CREATE INDEX IF NOT EXISTS mails_person ON mails (person, at);
CREATE TABLE IF NOT EXISTS members (root TEXT, person TEXT, PRIMARY KEY (root, person)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sends (id TEXT PRIMARY KEY, state TEXT, at REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (mailbox TEXT, validity INTEGER, uid INTEGER, sender TEXT, why TEXT, at REAL,
  PRIMARY KEY (mailbox, validity, uid));
"""


@frozen
class Position:
    """How far a mailbox was read."""

    validity: int
    """The UIDVALIDITY that `uid` belongs to."""
    uid: int
    """Up to here everything is in the journal, or was decided on."""
    since: float = 0.0
    """When the mailbox got the newest of them: Unix seconds."""


@frozen
class Held:
    """A mail that was not handed in."""

    sender: str
    why: str
    at: float


@define(eq=False)
class Store:
    """The file of one channel."""

    path: Path
    _file: sqlite3.Connection = field(init=False)
    _lock: threading.Lock = field(factory=threading.Lock)

    def open(self, now: float) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=5)
        self.path.chmod(0o600)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=FULL")  # NORMAL loses what was acknowledged when the power fails
        self._file.executescript(_TABLES)
        old = now - KEPT_SECONDS
        self._file.execute(
            "DELETE FROM mails WHERE root IN (SELECT root FROM mails GROUP BY root HAVING max(at) < ?)", [old]
        )
        self._file.execute("DELETE FROM members WHERE root NOT IN (SELECT root FROM mails)")
        self._file.execute("DELETE FROM held WHERE at < ?", [old])
        self._file.execute("DELETE FROM sends WHERE at < ?", [old])

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._file.execute(sql, values).fetchall()

    def position(self, mailbox: str) -> Position | None:
        rows = self._rows("SELECT validity, uid, since FROM positions WHERE mailbox = ?", mailbox)
        return Position(*rows[0]) if rows else None

    def advance(self, mailbox: str, position: Position) -> None:
        values = (mailbox, position.validity, position.uid, position.since)
        self._rows("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)", *values)

    # -- threads

    def conversation(self, references: Sequence[str], own_id: str, person: str) -> str:
        """The conversation that a mail belongs to: ``<ID>`` of its thread's root, by the mails that it refers to.

        Who was neither writer nor reader of a thread so far gets one of his own, also where he knows its ids: they
        are no secrets, and a thread's session knows what was said in it.
        """
        root = f"<{references[0] if references else own_id}>"
        for known in reversed(references):
            rows = self._rows("SELECT root FROM mails WHERE id = ? ORDER BY at DESC LIMIT 1", known)
            if rows:
                root = rows[0][0]
                break
        members = {row[0] for row in self._rows("SELECT person FROM members WHERE root = ?", root)}
        if members and person not in members:
            return f"<{hashlib.sha256(f'{root} {person}'.encode()).hexdigest()[:32]}>"
        return root

    def external_id(self, message_id: str, root: str, digest: str) -> str:
        """The id of a mail in its conversation: its own, unless it has none or another mail bears it already."""
        if not message_id:
            return f"sha256:{digest}"
        rows = self._rows("SELECT digest FROM mails WHERE id = ? AND root = ?", message_id, root)
        return message_id if not rows or rows[0][0] == digest else f"{message_id}#{digest}"

    def is_known(self, external_id: str, root: str) -> bool:
        return bool(self._rows("SELECT 1 FROM mails WHERE id = ? AND root = ?", external_id, root))

    def recent(self, person: str, since: float) -> int:
        """How many mails of a person were handed in since then."""
        return int(self._rows("SELECT count(*) FROM mails WHERE person = ? AND at > ?", person, since)[0][0])

    def remember(
        self, external_id: str, root: str, digest: str, person: str, errand: Errand, members: Sequence[str], at: float
    ) -> None:
        """Keep a mail, so that it can be answered; once, however often it comes."""
        row = (external_id, root, digest, person, errand.recipient, errand.subject, errand.message_id)
        with self._lock, self._file:
            self._file.execute("BEGIN IMMEDIATE")
            self._file.execute(
                "INSERT OR IGNORE INTO mails VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, json.dumps(errand.references), at),
            )
            self._file.executemany("INSERT OR IGNORE INTO members VALUES (?, ?)", [(root, one) for one in members])

    def remember_sent(self, message_id: str, root: str, recipient: str, at: float) -> None:
        """Keep the id of an answer before it is sent: what refers to it belongs to the same conversation."""
        with self._lock, self._file:
            self._file.execute("BEGIN IMMEDIATE")
            self._file.execute(
                "INSERT OR IGNORE INTO mails VALUES (?, ?, '', '', '', '', '', '[]', ?)", (message_id, root, at)
            )
            self._file.execute("INSERT OR IGNORE INTO members VALUES (?, ?)", (root, recipient))

    def sending(self, message_id: str) -> str:
        """How far a mail has come: ``sent``; ``sending``: its end was sent, and no answer is known; else empty."""
        rows = self._rows("SELECT state FROM sends WHERE id = ?", message_id)
        return str(rows[0][0]) if rows else ""

    def settle(self, message_id: str, state: str, at: float) -> None:
        """Note how far a mail has come; with an empty state, that it was surely not taken."""
        if state:
            self._rows("INSERT OR REPLACE INTO sends VALUES (?, ?, ?)", message_id, state, at)
        else:
            self._rows("DELETE FROM sends WHERE id = ?", message_id)

    def errand(self, root: str, external_id: str) -> Errand | None:
        """Where the answer to a mail goes; to the newest of the conversation where none is named or known."""
        rows = self._rows(
            "SELECT recipient, subject, message_id, refs FROM mails WHERE root = ? AND recipient != '' "
            "ORDER BY id = ? DESC, at DESC LIMIT 1",
            root,
            external_id,
        )
        if not rows:
            return None
        recipient, subject, message_id, references = rows[0]
        return Errand(recipient, subject, message_id, tuple(json.loads(references)))

    # -- what was not handed in

    def hold(self, mailbox: str, validity: int, uid: int, held: Held) -> None:
        values = (mailbox, validity, uid, held.sender, held.why, held.at)
        self._rows("INSERT OR REPLACE INTO held VALUES (?, ?, ?, ?, ?, ?)", *values)

    def held(self, since: float) -> list[Held]:
        """The newest first."""
        rows = self._rows("SELECT sender, why, at FROM held WHERE at > ? ORDER BY at DESC, uid DESC LIMIT 1000", since)
        return [Held(*row) for row in rows]
