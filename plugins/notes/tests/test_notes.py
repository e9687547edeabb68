"""The notes' tools, on a recall that is bound to one person as the core binds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from fairlead import ToolCall
from fairlead.errors import ToolError
from fairlead.memory import Note, Recall
from fairlead.testing import FakeToolContext
from fairlead_notes import Notes

MOMENT = 1_803_859_200.0
EXAMPLES: dict[str, dict[str, Any]] = {
    "remember": {"text": "likes green tea", "tags": ["food"]},
    "recall": {"query": "tea"},
    "forget": {"id": "unknown"},
}


class BoundRecall(Recall):
    """What the core puts into a context: one person's notes, whatever scope is asked for."""

    def __init__(self, scope: str = "kit:alice", notes: dict[str, dict[str, Note]] | None = None) -> None:
        self._scope = scope
        self.notes = ({} if notes is None else notes).setdefault(scope, {})

    async def add(self, note: Note) -> Note:
        self.notes[note.id] = evolve(note, scope=self._scope)
        return self.notes[note.id]

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        found = [note for note in reversed(self.notes.values()) if query.lower() in note.text.lower()]
        return found[:limit]

    async def erase(self, scope: str, note: str | None = None) -> int:
        assert note, "the tool must never ask to erase a whole scope"
        return 0 if self.notes.pop(note, None) is None else 1


async def use(
    recall: Recall | None, tool: str, arguments: dict[str, Any], call: str = "c1", session: str = "s1"
) -> str:
    context = FakeToolContext(session, recall=recall, clock=lambda: MOMENT)
    return await Notes().call(ToolCall(call, tool, arguments), context)


async def test_note_is_remembered_found_and_forgotten() -> None:
    """The id that recall shows is the one that forget takes."""
    recall = BoundRecall()
    told = await use(recall, "remember", {"text": "likes green tea", "tags": ["food", "drink"]})
    (note,) = recall.notes.values()
    assert f"Remembered as note {note.id}." == told
    assert ("likes green tea", "kit:alice", MOMENT, ("food", "drink")) == (note.text, note.scope, note.at, note.tags)
    line = f"- [{note.id}] likes green tea (2027-03-01; tags: food, drink)"
    assert line == await use(recall, "recall", {"query": "tea"})
    assert f"Note {note.id} is forgotten." == await use(recall, "forget", {"id": note.id})
    assert "No notes about 'tea' were found." == await use(recall, "recall", {"query": "tea"})
    assert "There are no notes." == await use(recall, "recall", {"query": ""})


async def test_call_that_runs_again_writes_no_second_note() -> None:
    """After a crash between the effect and its journal entry the core runs an idempotent call again."""
    recall = BoundRecall()
    arguments = {"text": "likes green tea"}
    assert await use(recall, "remember", arguments) == await use(recall, "remember", arguments)
    assert 1 == len(recall.notes)


async def test_calls_that_share_an_id_do_not_replace_each_others_notes() -> None:
    """Some servers number the calls of each answer from 0."""
    recall = BoundRecall()
    await use(recall, "remember", {"text": "likes green tea"}, call="call_0")
    await use(recall, "remember", {"text": "lives in Oslo"}, call="call_0")
    await use(recall, "remember", {"text": "likes green tea"}, call="call_0", session="s2")
    assert 3 == len(recall.notes)


async def test_forgetting_twice_is_no_fault() -> None:
    """`forget` is idempotent: the second time there is nothing to remove."""
    assert "There is no note abc." == await use(BoundRecall(), "forget", {"id": "abc"})


async def test_limit_is_kept() -> None:
    """Five without a limit."""
    recall = BoundRecall()
    for number in range(8):
        await use(recall, "remember", {"text": f"note number {number}"})
    assert 5 == len((await use(recall, "recall", {"query": "number"})).splitlines())
    assert 2 == len((await use(recall, "recall", {"query": "number", "limit": 2})).splitlines())


async def test_people_do_not_see_each_others_notes() -> None:
    """The context's recall decides whose notes they are."""
    everybody: dict[str, dict[str, Note]] = {}
    await use(BoundRecall("kit:alice", everybody), "remember", {"text": "likes green tea"})
    assert "There are no notes." == await use(BoundRecall("kit:bob", everybody), "recall", {"query": ""})


@pytest.mark.parametrize("tool", EXAMPLES)
async def test_app_without_recall_is_told_so(tool: str) -> None:
    """The model learns that nothing was kept, and the operator what to add."""
    with pytest.raises(ToolError) as caught:
        await use(None, tool, EXAMPLES[tool])
    assert "no configured memory offers recall" in caught.value.problem
    assert "[memories.sqlite]" in caught.value.next_step
