"""What is erased is in no file any more."""

from __future__ import annotations

import random
from pathlib import Path

import apsw
import pytest

from fairlead.errors import DuplicateKey, JournalUnavailable
from fairlead.memory import Note

from .opened import file_of, opened, raw, said, started

SIZES = (10, 50, 200, 500, 1500, 5000, 20_000)
"""Characters of an event: from many to a page to several pages for one."""


def word(name: object) -> str:
    return f"quartz{name}zxylo"


async def test_no_words_of_erased_sessions_stay_among_those_of_others(tmp_path: Path) -> None:
    """Sessions that grew side by side, with events of all sizes, are erased one by one: the files have no copy."""
    chance = random.Random(11)  # noqa: S311  # the same sessions in each run
    async with opened(tmp_path) as memory:
        versions = dict.fromkeys(range(30), 0)
        for _ in range(900):
            number = chance.randrange(30)
            event = said(word(f"{number:02}") + "y" * chance.choice(SIZES), key=f"{chance.random()}")
            versions[number] = await memory.journal.append(f"s{number}", versions[number], [event], pending=True)
        assert word("03").encode() in raw(tmp_path)
        for number in range(0, 30, 3):
            assert await memory.journal.erase(f"s{number}")
            found = raw(tmp_path)
            assert 0 == found.count(word(f"{number:02}").encode())
            assert versions[number + 1] <= found.count(word(f"{number + 1:02}").encode())
        assert versions[1] == len(await memory.journal.read("s1"))
        assert 20 == len(await memory.journal.sessions())


async def test_erased_session_can_begin_anew_and_its_keys_stay_known(tmp_path: Path) -> None:
    """The key belongs to no session then, and least of all to the next one that is made."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [started("alice"), said(key="k")], pending=True)
        assert await memory.journal.erase("s")
        assert 1 == await memory.journal.append("new", 0, [said()], pending=False)
        assert 1 == await memory.journal.append("s", 0, [said()], pending=False)
        assert await memory.journal.find("k") is None
        with pytest.raises(DuplicateKey):
            await memory.journal.append("s", 1, [said(key="k")], pending=False)
        assert [] == list(await memory.journal.claim())
    assert b"alice" not in raw(tmp_path)


async def test_no_words_of_erased_notes_stay(tmp_path: Path) -> None:
    """Neither in the notes nor in the index, also not of what was replaced; the rest is still found."""
    chance = random.Random(13)  # noqa: S311  # the same notes in each run
    async with opened(tmp_path) as memory:
        for number in range(120):
            filler = " ".join(
                f"{chance.choice('abcdefgh')}{chance.randrange(500)}" for _ in range(chance.randrange(80))
            )
            text = f"{word(number)} {filler}"
            await memory.recall.add(Note(text, f"p{number % 4}", f"n{number}", float(number), (word(f"tag{number}"),)))
        await memory.recall.add(Note("replaced", "p1", "n1"))
        assert word(5).encode() in raw(tmp_path)
        assert 1 == await memory.recall.erase("p1", "n5")
        assert 0 == raw(tmp_path).count(b"quartz5zxylo")
        assert 0 == raw(tmp_path).count(b"quartztag5zxylo")
        assert 29 == await memory.recall.erase("p1")
        left = raw(tmp_path)
        assert [] == [number for number in range(1, 120, 4) if word(number).encode() in left]
        assert [] == [number for number in range(1, 120, 4) if f"tag{number}zx".encode() in left]
        assert ["n6"] == [note.id for note in await memory.recall.search("p2", word(6))]
        assert 30 == len(await memory.recall.search("p2", "", 100))


async def test_erasing_while_another_process_reads_says_so(tmp_path: Path) -> None:
    """The log cannot be emptied then; done again later, it is."""
    async with opened(tmp_path, busy_seconds=0.05) as memory:
        await memory.journal.append("s", 0, [said(word(1))], pending=False)
        other = apsw.Connection(str(file_of(tmp_path)))
        reading = other.execute("SELECT * FROM events, keys")
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM events").get
        with pytest.raises(JournalUnavailable, match="another process reads") as caught:
            await memory.journal.erase("s")
        assert "erase it again" in caught.value.next_step
        assert [] == await memory.journal.read("s")
        reading.close()
        other.close()
        assert not await memory.journal.erase("s")
        assert word(1).encode() not in raw(tmp_path)


async def test_copies_of_upgrades_are_erased_too(tmp_path: Path) -> None:
    """A copy from before an upgrade has the words as well, so it goes with them."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said(word(1))], pending=False)
        copy = file_of(tmp_path).with_name("fairlead.db.v1")
        await memory.writer.do(lambda connection: connection.execute("VACUUM INTO ?", (str(copy),)).fetchall())
        assert word(1).encode() in copy.read_bytes()
        assert await memory.journal.erase("s")
    assert not copy.exists()
