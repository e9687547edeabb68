"""The promises of every tool, on a recall that is bound to one person as the core binds it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve

from fairlead import Principal, Settings, Tool, ToolSpec
from fairlead.memory import Note, Recall
from fairlead.testing import FakeToolContext, ToolConformance
from fairlead_notes.plugin import fairlead_tools


class Bound(Recall):
    """One person's notes, whatever scope is asked for."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}

    async def add(self, note: Note) -> Note:
        self.notes[note.id] = evolve(note, scope="kit:alice")
        return self.notes[note.id]

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        return [note for note in reversed(self.notes.values()) if query.lower() in note.text.lower()][:limit]

    async def erase(self, scope: str, note: str | None = None) -> int:
        return 0 if self.notes.pop(note or "", None) is None else 1


class TestNotes(ToolConformance):
    """What they can change are the person's notes."""

    examples_: ClassVar[dict[str, dict[str, Any]]] = {
        "remember": {"text": "likes green tea", "tags": ["food"]},
        "recall": {"query": "tea"},
        "forget": {"id": "unknown"},
    }

    recall: Bound

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        self.recall = Bound()
        yield

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("notes", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Tool:
        return fairlead_tools(self.settings(tmp_path))[0]

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return self.examples_[spec.name]

    async def context(self, spec: ToolSpec) -> FakeToolContext:
        return FakeToolContext(principal=Principal("kit:alice"), recall=self.recall)

    async def state(self, tmp_path: Path) -> object:
        # Not when: a note that is written again is the same note, some microseconds later.
        return {name: (note.text, note.scope, note.tags) for name, note in self.recall.notes.items()}
