"""The recall of the memory in files, and each way to break it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio
from attrs import asdict, evolve

from fairlead.memory import Note, Recall

__all__ = ["FileRecall"]

WORD = re.compile(r"\w+")


class FileRecall(Recall):
    """All notes in one file, searched by the words that they share with the query."""

    def __init__(self, directory: Path, write: Callable[[str, Any], None], wrong: str) -> None:
        self._path, self._replace, self.wrong = directory / "notes.json", write, wrong
        self._changes = 0
        self._removed: list[Note] = []

    def close(self) -> None:
        if self.wrong == "forgets notes when closed":
            self._write([])
        if self.wrong == "undoes erasing when closed":
            self._write([*self._notes(), *self._removed])

    def _notes(self) -> list[Note]:
        if not self._path.exists():
            return []
        return [Note(**{**each, "tags": tuple(each["tags"])}) for each in json.loads(self._path.read_bytes())]

    def _write(self, notes: Sequence[Note]) -> None:
        self._replace("notes.json", [asdict(note) for note in notes])
        if self.wrong == "keeps a copy of notes" and notes:
            self._replace("notes.backup", [asdict(note) for note in notes])

    def _is_same(self, one: Note, other: Note) -> bool:
        if self.wrong == "has one id for all":
            return one.id == other.id
        if self.wrong == "folds ids":
            return (one.scope, one.id.casefold()) == (other.scope, other.id.casefold())
        return (one.scope, one.id) == (other.scope, other.id)

    async def add(self, note: Note) -> Note:
        await trio.lowlevel.checkpoint()
        if self.wrong == "strips notes":
            note = evolve(note, text=note.text.strip())
        if self.wrong == "cuts notes":
            note = evolve(note, text=note.text[:100_000])
        notes = self._notes()
        if self.wrong == "looks and then writes notes":
            await trio.lowlevel.checkpoint()
        if self.wrong == "writes half a note":
            self._write([*notes, evolve(note, text=note.text[: len(note.text) // 3])])
            for _ in range(4):  # so long that a cancellation surely meets it
                await trio.lowlevel.checkpoint()
        others = [each for each in notes if self.wrong == "adds what it has" or not self._is_same(each, note)]
        self._changes += len(others) < len(notes)
        if self._changes > 1 and self.wrong == "loses notes that change":
            others = others[1:]
        self._write([*others, note])
        return evolve(note, tags=()) if self.wrong == "gives another note" else note

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        await trio.lowlevel.checkpoint()
        if self.wrong == "searches slowly":
            await trio.sleep(0.6)  # real time: the check looks at a clock
        if self.wrong == "takes regular expressions":
            re.compile(query)
        notes = [note for note in self._notes() if note.scope == scope]
        if self.wrong == "searches by beginning":
            notes = [note for note in self._notes() if note.scope.startswith(scope)]
        found = self._ranked(notes, query)
        if self.wrong == "forgets tags":
            found = [evolve(note, tags=()) for note in found]
        if self.wrong == "gives notes twice":
            found = [note for note in found for _ in range(2)]
        return found if self.wrong == "gives all" else found[:limit]

    def _ranked(self, notes: Sequence[Note], query: str) -> list[Note]:
        wanted = set(WORD.findall(query.lower()))
        if not query.strip():
            return sorted(notes, key=lambda note: note.at if self.wrong == "gives the oldest" else -note.at)
        scored = [evolve(note, score=float(len(wanted & set(WORD.findall(note.text.lower()))))) for note in notes]
        found = sorted((note for note in scored if note.score), key=lambda note: (-note.score, -note.at))
        if self.wrong == "sorts by time":
            found.sort(key=lambda note: -note.at)
        return [evolve(note, score=-note.score) for note in found] if self.wrong == "has odd scores" else found

    async def erase(self, scope: str, note: str | None = None) -> int:
        await trio.lowlevel.checkpoint()
        notes = self._notes()
        gone = [each for each in notes if each.scope == scope and (note is None or each.id == note)]
        if self.wrong == "erases by beginning":
            gone = [each for each in notes if each.scope.startswith(scope) and (note is None or each.id == note)]
        if self.wrong == "erases one of a scope":
            gone = gone[:1]
        self._removed += gone
        if self.wrong != "erases nothing":
            self._write([each for each in notes if each not in gone])
        return len(gone)
