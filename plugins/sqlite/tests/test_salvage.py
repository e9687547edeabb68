"""A file that SQLite refuses to open is no refusal to start: what can be read goes on, the rest is told and kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlead import Address, Message, Text, ToolCall, ToolResult
from fairlead.errors import DuplicateKey
from fairlead.events import AnswerDelivered, MessageAccepted, ModelAnswered, ToolReturned, TurnEnded, TurnStarted
from fairlead.memory import Note
from fairlead_sqlite._salvage import closing

from .opened import file_of, opened, raw, said, texts

PAGE = 4096


async def fill(directory: Path, sessions: int, events: int) -> None:
    """Sessions that grew side by side, so that each has something at the end of the file."""
    async with opened(directory) as memory:
        for number in range(events):
            for session in range(sessions):
                event = said(f"{number}" + "x" * 500, key=f"{session}-{number}")
                await memory.journal.append(f"s{session}", number, [event], pending=False)
        await memory.recall.add(Note("a quartz note", "ann"))


def cut(path: Path, pages: int) -> bytes:
    """Take pages off the end of the file, as a disk may that loses its last writes; what it was then."""
    os.truncate(path, path.stat().st_size - pages * PAGE)
    return path.read_bytes()


async def test_file_that_is_too_short_opens_with_what_is_left(tmp_path: Path) -> None:
    """Each session goes on from its last record that is there; nothing of it is waiting."""
    await fill(tmp_path, 4, 60)
    before = cut(file_of(tmp_path), 12)
    async with opened(tmp_path) as memory:
        (told,) = memory.notices
        assert "was damaged" in told
        (copy,) = file_of(tmp_path).parent.glob("fairlead.db.damaged-*")
        assert before == copy.read_bytes()
        for session in range(4):
            found = await texts(memory.journal, f"s{session}")
            assert 0 < len(found) < 60
            assert [str(number) for number in range(len(found))] == [text.rstrip("x") for text in found]
            records = await memory.journal.read(f"s{session}")
            ended = [record.event for record in records if isinstance(record.event, TurnEnded)]
            assert {("cancelled", "damaged")} == {(event.outcome, event.reason) for event in ended}
            with pytest.raises(DuplicateKey):
                await memory.journal.append(f"s{session}", len(records), [said(key=f"{session}-0")], pending=False)
            await memory.journal.append(f"s{session}", len(records), [said("more")], pending=False)
        assert () == tuple(await memory.journal.claim())
        found_now, found_then = (each for each in await memory.check() if each.subject == "sqlite: fairlead.db")
        assert (True, False, f"rm {copy}") == (found_now.ok, found_then.ok, found_then.next_step)
    async with opened(tmp_path) as memory:
        assert () == tuple(memory.notices)


async def test_notes_are_found_again(tmp_path: Path) -> None:
    """The index of words is made anew."""
    await fill(tmp_path, 1, 5)
    async with opened(tmp_path) as memory:
        for number in range(100):
            await memory.journal.append("late", number, [said("x" * 3000)], pending=False)
    cut(file_of(tmp_path), 20)
    async with opened(tmp_path) as memory:
        assert ["a quartz note"] == [note.text for note in await memory.recall.search("ann", "quartz")]
        assert 5 == len(await memory.journal.read("s0"))


async def test_copy_of_the_damaged_file_goes_with_what_is_erased(tmp_path: Path) -> None:
    """No words of an erased session stay anywhere."""
    await fill(tmp_path, 2, 40)
    cut(file_of(tmp_path), 8)
    async with opened(tmp_path) as memory:
        await memory.journal.append("secret", 0, [said("zxylo")], pending=False)
        assert await memory.journal.erase("secret")
        assert b"zxylo" not in raw(tmp_path)
        assert [] == list(file_of(tmp_path).parent.glob("*.damaged-*"))


def test_what_is_open_is_closed() -> None:
    """Calls, turns, messages and answers, each once."""
    one, two, three = (Message("user", (Text(word),), id=word) for word in ("one", "two", "three"))
    address = Address("far")
    happened = [
        MessageAccepted(message=one, address=address),
        MessageAccepted(message=two, address=address),
        TurnStarted(turn="t1", messages=("one",)),
        TurnEnded(turn="t1", messages=("one",), outcome="answered", address=address),
        MessageAccepted(message=three, address=address),
        TurnStarted(turn="t2", messages=("two",)),
        ModelAnswered(
            turn="t2",
            message=Message("assistant", (), calls=(ToolCall("c1", "pay", {}), ToolCall("c2", "pay", {}))),
            provider="p",
            model="m",
        ),
        ToolReturned(turn="t2", result=ToolResult("c1", "pay")),
    ]
    closed = closing(happened)
    kinds = [type(event) for event in closed]
    assert [AnswerDelivered, ToolReturned, TurnEnded, TurnEnded] == kinds
    assert [("two",), ("three",)] == [event.messages for event in closed if isinstance(event, TurnEnded)]
    assert ["c2"] == [event.result.call for event in closed if isinstance(event, ToolReturned)]
    assert [] == closing([*happened, *closed])
