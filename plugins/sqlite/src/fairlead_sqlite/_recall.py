"""Recall by words: FTS5 with BM25, one scope at a time."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw

from fairlead.memory import Note, Recall
from fairlead_sqlite._clerk import Clerk
from fairlead_sqlite._file import copies, transaction, truncate_wal

__all__ = ["SqliteRecall"]

WORDS_OF_QUERY = 32
"""Different words of a query that are searched for; the rest of a longer text adds time and little else."""
PREFIX_CHARS = 3
"""From this length on a word finds longer ones that begin with it."""
COLUMNS = "n.scope, n.id, n.at, n.text, n.tags"
GONE = "live = 0, text = zeroblob(length(text)), tags = zeroblob(length(tags))"
"""What becomes of a note that is replaced or erased: it is overwritten in place. See `_schema` for why."""


class SqliteRecall(Recall):
    """See `fairlead.memory.Recall`; writes go to the writer's thread, searches to the reader's."""

    def __init__(self, path: Path, writer: Clerk, reader: Clerk) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader

    async def add(self, note: Note) -> Note:
        text = note.text.encode()
        tags = json.dumps(note.tags, ensure_ascii=False).encode()
        await self._writer.do(lambda connection: _add(connection, note, text, tags))
        return note

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        if self._writer.abandoned:
            await self._writer.do(lambda _: None)
        return await self._reader.do(lambda connection: _search(connection, scope, query, max(limit, 0)))

    async def erase(self, scope: str, note: str | None = None) -> int:
        """The index is made anew from what is left, since parts of it may have old words in their unused space."""
        return await self._writer.do(lambda connection: _erase(connection, self._path, scope, note))


def ring(scope: str) -> str:
    """The scope as one word of the index."""
    return f"r{hashlib.blake2b(scope.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _add(connection: apsw.Connection, note: Note, text: bytes, tags: bytes) -> None:
    with transaction(connection):
        old = connection.execute(
            "SELECT num, ring, CAST(text AS TEXT), CAST(tags AS TEXT) FROM notes WHERE scope = ? AND id = ? AND live",
            (note.scope, note.id),
        ).fetchall()
        for row in old:
            connection.execute("INSERT INTO words (words, rowid, ring, text, tags) VALUES ('delete', ?, ?, ?, ?)", row)
            connection.execute(f"UPDATE notes SET {GONE} WHERE num = ?", (row[0],))  # noqa: S608  # a constant
        of = ring(note.scope)
        num = connection.execute(
            "INSERT INTO notes (scope, id, at, live, ring, text, tags) VALUES (?, ?, ?, 1, ?, ?, ?) RETURNING num",
            (note.scope, note.id, note.at, of, text, tags),
        ).get
        connection.execute(
            "INSERT INTO words (rowid, ring, text, tags) VALUES (?, ?, ?, ?)", (num, of, text.decode(), tags.decode())
        )


def _search(connection: apsw.Connection, scope: str, query: str, limit: int) -> tuple[Note, ...]:
    asked = unicodedata.normalize("NFC", query.encode("utf-8", "replace").decode()).replace("\0", " ").strip()
    if not asked:
        return _notes(
            connection.execute(
                f"SELECT {COLUMNS}, 0.0 FROM notes n WHERE n.scope = ? AND n.live"  # noqa: S608  # a constant
                " ORDER BY n.at DESC, n.num DESC LIMIT ?",
                (scope, limit),
            )
        )
    found: tuple[Note, ...] = ()
    if match := _match(scope, asked):
        found = _notes(
            connection.execute(
                f"SELECT {COLUMNS}, -bm25(words, 0.0, 1.0, 0.5) AS score"  # noqa: S608  # a constant
                " FROM words JOIN notes n ON n.num = words.rowid"
                " WHERE words MATCH ? AND n.scope = ? AND n.live ORDER BY score DESC, n.at DESC, n.num DESC LIMIT ?",
                (match, scope, limit),
            )
        )
    return found or _substring(connection, scope, asked, limit)


def _match(scope: str, asked: str) -> str:
    """Any of the words, whole or as a beginning: BM25 puts notes with more and with rarer ones first.

    Quoted words are always valid (https://www.sqlite.org/fts5.html, 3.1); a word has no quotes in it.
    """
    words = list(dict.fromkeys(re.findall(r"\w+", asked.casefold())))[:WORDS_OF_QUERY]
    terms = [f'"{word}"' for word in words] + [f'"{word}"*' for word in words if len(word) >= PREFIX_CHARS]
    return f'ring : "{ring(scope)}" AND {{text tags}} : ({" OR ".join(terms)})' if terms else ""


def _substring(connection: apsw.Connection, scope: str, asked: str, limit: int) -> tuple[Note, ...]:
    """For what the index has no words for: signs, emoji, and parts of a text that is written without spaces."""
    return _notes(
        connection.execute(
            f"SELECT {COLUMNS}, 0.0 FROM notes n"  # noqa: S608  # a constant
            " WHERE n.scope = ? AND n.live AND instr(CAST(n.text AS TEXT), ?) ORDER BY n.at DESC, n.num DESC LIMIT ?",
            (scope, asked, limit),
        )
    )


def _notes(rows: Iterable[tuple[str, str, float, bytes, bytes, float]]) -> tuple[Note, ...]:
    return tuple(
        Note(text.decode(), scope, id=note, at=at, tags=tuple(json.loads(tags)), score=score)
        for scope, note, at, text, tags, score in rows
    )


def _erase(connection: apsw.Connection, path: Path, scope: str, note: str | None) -> int:
    with transaction(connection):
        gone = connection.execute(
            f"UPDATE notes SET {GONE} WHERE scope = ?1 AND live AND (?2 IS NULL OR id = ?2) RETURNING 1",  # noqa: S608  # a constant
            (scope, note),
        ).fetchall()
        if gone:
            connection.execute("INSERT INTO words (words) VALUES ('rebuild')")
    for copy in copies(path):
        copy.unlink(missing_ok=True)
    truncate_wal(connection, path)
    return len(gone)
