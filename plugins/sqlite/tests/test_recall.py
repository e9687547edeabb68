"""Search: languages, ranking, and words that are only parts of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.memory import Note

from .opened import opened

NOTES = {
    "cafe": "Das Café in der Straße ist montags geschlossen",
    "garden": "the garden needs water on monday and on friday",
    "gardener": "the gardener is called Tom",
    "rocket": "launch \U0001f680 at noon",
    "tokyo": "我们在东京见面",
    "empty": "",
}

CASES = [
    ("cafe", ["cafe"]),
    ("CAFE\u0301", ["cafe"]),
    ("garden", ["garden", "gardener"]),
    ("called garden", ["gardener", "garden"]),
    ("gard", ["gardener", "garden"]),
    ("Is there water on Friday?", ["garden", "gardener"]),
    ("\U0001f680", ["rocket"]),
    ("东京", ["tokyo"]),
    ("important", ["gardener"]),
    ("nothing of this", []),
    ('"garden" AND (', ["garden", "gardener"]),
    ("\ud800", []),
]


@pytest.mark.parametrize(("query", "expected"), CASES, ids=[ascii(query) for query, _ in CASES])
async def test_search_finds_best_first(tmp_path: Path, query: str, expected: list[str]) -> None:
    """Whole words before beginnings, rare words before common ones, accents and case set aside."""
    async with opened(tmp_path) as memory:
        for number, (name, text) in enumerate(NOTES.items()):
            tags = ("important",) if name == "gardener" else ()
            await memory.recall.add(Note(text, "alice", name, float(number), tags))
        found = await memory.recall.search("alice", query)
    assert expected == [note.id for note in found]
    assert sorted((note.score for note in found), reverse=True) == [note.score for note in found]


async def test_note_that_was_replaced_many_times_is_one_note(tmp_path: Path) -> None:
    """Only its last words count."""
    async with opened(tmp_path) as memory:
        for number in range(20):
            await memory.recall.add(Note(f"version{number} of it", "alice", "n", tags=(f"tag{number}",)))
        assert ["version19 of it"] == [note.text for note in await memory.recall.search("alice", "it version tag3")]
        assert [] == list(await memory.recall.search("alice", "tag18"))
        assert 1 == await memory.recall.erase("alice")


async def test_limit_of_nothing_gives_nothing(tmp_path: Path) -> None:
    """Zero and less."""
    async with opened(tmp_path) as memory:
        await memory.recall.add(Note("tea", "alice"))
        assert [[], [], []] == [
            list(await memory.recall.search("alice", query, limit)) for query, limit in (("tea", 0), ("", -1), ("?", 0))
        ]
