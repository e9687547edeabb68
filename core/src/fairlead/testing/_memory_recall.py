"""The promises of a recall: what is kept is found, by whom it belongs to, and nobody else."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Recall
from fairlead._work import Note
from fairlead.testing._applies import applies
from fairlead.testing._memory_base import ADD, FORGET, HER, HIM, NAMES, SEARCH, RecallKit, cancel_after, holding
from fairlead.testing._worker_kit import HOSTILE_TEXTS, promise, same, within

__all__ = ["RecallNotes"]

QUERIES = ("", " ", '"', "'", "*", "(", "NOT", "AND OR", "a NEAR b", "text:tea", "-tea", "^tea", "\x00", "\\", "%", "_")
STEPS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
SCOPES = (HER, HIM, "kit:alic", "kit:%", "kit:_lice", "KIT:ALICE", "")
WORD = "wyvernzephyr"
"""A word that stands in no program by chance."""
MANY = 300
FORGETS = "the recall forgets when it is closed: `lasting` is False"
TEA = Note("Alice drinks green tea at four", HER, "n1", 1000.0, ("drink", "habit"))


async def plant(recall: Recall) -> None:
    """A note about tea, and some about trees, each newer than the one before."""
    await recall.add(TEA)
    for number in (7, 8, 1, 2, 3):
        await recall.add(Note(f"the garden has {number} trees", HER, f"t{number}", 1001.0 + number))


class RecallNotes(RecallKit):
    """`add`, `search` and `erase`."""

    async def test_adding_gives_the_note_as_it_is_kept(self, tmp_path: Path) -> None:
        """With everything that was given."""
        async with self.recalls(tmp_path) as recall:
            same(TEA, evolve(await recall.add(TEA), score=0.0), "add gives the note as it is kept", ADD)

    async def test_note_is_found_whole(self, tmp_path: Path) -> None:
        """Text, scope, id, time, tags."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            found = [evolve(note, score=0.0) for note in await recall.search(HER, "green tea")]
        promise(TEA in found, "a note is found by its words, whole", SEARCH, found)

    async def test_nearest_note_comes_first(self, tmp_path: Path) -> None:
        """The one that has all the words before those that have some."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            await recall.add(Note("green garden paint", HER, "g", 2000.0))
            await recall.add(Note("a cup of something at four", HER, "c", 2001.0))
            found = [note.id for note in await recall.search(HER, "green tea at four")]
        same("n1", found[0] if found else None, "the nearest note comes first", SEARCH)

    async def test_scores_fall(self, tmp_path: Path) -> None:
        """Higher is nearer."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            scores = [note.score for note in await recall.search(HER, "garden trees tea", 50)]
        promise(scores == sorted(scores, reverse=True), "higher is nearer", "fairlead.memory.Note.score", scores)

    async def test_limit_is_kept(self, tmp_path: Path) -> None:
        """Fewer where there are fewer."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            counts = [len(await recall.search(HER, "trees", limit)) for limit in (1, 3, 5)]
            whole = [len(await recall.search(HER, "", limit)) for limit in (1, 6, 1000)]
        same(([1, 3, 5], [1, 6, 6]), (counts, whole), "`limit` is kept", SEARCH)

    async def test_empty_query_gives_the_newest(self, tmp_path: Path) -> None:
        """By their time, and not by when they were added."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            found = [note.id for note in await recall.search(HER, "", 3)]
        same(["t8", "t7", "t3"], found, "an empty query gives the newest", SEARCH)

    async def test_no_note_comes_twice(self, tmp_path: Path) -> None:
        """Whatever words it has in common with the query."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            for query in ("garden trees", "the the the", "", "tea tea green green"):
                ids = [note.id for note in await recall.search(HER, query, 50)]
                promise(len(ids) == len(set(ids)), "no note comes twice", SEARCH, (query, ids))

    async def test_search_never_leaves_its_scope(self, tmp_path: Path) -> None:
        """Also of scopes that look like patterns, or begin alike."""
        async with self.recalls(tmp_path) as recall:
            for scope in SCOPES:
                await recall.add(Note(f"the password of {scope} is tulip", scope, f"of {scope}"))
            for scope in (*SCOPES, "nobody"):
                for query in ("tulip", "password", "", scope, "tulip OR kit"):
                    seen = {note.scope for note in await recall.search(scope, query, 50)}
                    promise(seen <= {scope}, "a search never leaves its scope", SEARCH, (scope, query, seen))

    async def test_same_id_in_two_scopes_is_two_notes(self, tmp_path: Path) -> None:
        """Neither replaces the other."""
        async with self.recalls(tmp_path) as recall:
            for scope in (HER, HIM):
                await recall.add(Note(f"the password of {scope} is tulip", scope, "same"))
            found = [await self.found(recall, "tulip", scope) for scope in (HER, HIM)]
        expected = [[f"the password of {scope} is tulip"] for scope in (HER, HIM)]
        same(expected, found, "an id in another scope replaces nothing", ADD)

    async def test_erasing_never_leaves_its_scope(self, tmp_path: Path) -> None:
        """One note by its id, and all of a scope."""
        async with self.recalls(tmp_path) as recall:
            for scope in SCOPES:
                await recall.add(Note("kept", scope, "same"))
            gone = [await recall.erase("nobody", "same"), await recall.erase("nobody"), await recall.erase("kit:alic")]
            left = {scope: len(await recall.search(scope, "", 50)) for scope in SCOPES}
        same([0, 0, 1], gone, "erase gives the number removed", FORGET)
        same({scope: int(scope != "kit:alic") for scope in SCOPES}, left, "erasing never leaves its scope", FORGET)

    async def test_any_text_is_a_query(self, tmp_path: Path) -> None:
        """Quotes, operators, emptiness, all of Unicode, and very long ones."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            for query in (*QUERIES, *HOSTILE_TEXTS, "tea " * 5000, "x" * 100_000):
                with within(10, "any text is a valid query", SEARCH):
                    await self.found(recall, query)

    async def test_any_text_is_a_note(self, tmp_path: Path) -> None:
        """It comes back unchanged."""
        texts = (*HOSTILE_TEXTS, "\x00 and \x7f", " ", "\u2028", "NOT", '"')
        async with self.recalls(tmp_path) as recall:
            for number, text in enumerate(texts):
                await recall.add(Note(text, HER, f"n{number}"))
            found = sorted(await self.found(recall, ""))
        same(sorted(texts), found, "any text is kept unchanged", ADD)

    async def test_any_text_is_an_id_and_a_scope(self, tmp_path: Path) -> None:
        """And no two are taken for one another."""
        async with self.recalls(tmp_path) as recall:
            for name in NAMES:
                await recall.add(Note(f"id {name}", HER, name))
                await recall.add(Note(f"scope {name}", f"scope {name}", "one"))
            ids = {note.id for note in await recall.search(HER, "", 50)}
            scopes = [await self.found(recall, "", f"scope {name}") for name in NAMES]
        same(set(NAMES), ids, "any text is an id", ADD)
        same([[f"scope {name}"] for name in NAMES], scopes, "any text is a scope", ADD)

    async def test_same_id_replaces(self, tmp_path: Path) -> None:
        """Old words are not found any more."""
        async with self.recalls(tmp_path) as recall:
            for text in ("likes coffee", "likes tea"):
                await recall.add(Note(text, HER, "one"))
            same(["likes tea"], await self.found(recall, ""), "the same id replaces", ADD)
            promise("likes coffee" not in await self.found(recall, "coffee"), "old words are not found", ADD)

    async def test_erased_note_is_not_found(self, tmp_path: Path) -> None:
        """By no words; and it is said whether there was one."""
        async with self.recalls(tmp_path) as recall:
            for name, text in (("one", "likes tea"), ("two", "likes tea too")):
                await recall.add(Note(text, HER, name))
            counts = [await recall.erase(HER, "one"), await recall.erase(HER, "one"), await recall.erase(HER, "never")]
            found = [await self.found(recall, query) for query in ("likes", "")]
        same([1, 0, 0], counts, "erase gives the number removed", FORGET)
        same([["likes tea too"]] * 2, found, "what is erased is not found", FORGET)

    async def test_erased_scope_is_empty(self, tmp_path: Path) -> None:
        """All of it; and it can be filled again."""
        async with self.recalls(tmp_path) as recall:
            await plant(recall)
            counts = [await recall.erase(HER), await recall.erase(HER)]
            found = [await self.found(recall, query) for query in ("tea", "")]
            await recall.add(TEA)
            again = await self.found(recall, "tea")
        same(([6, 0], [[], []]), (counts, found), "what is erased is not found", FORGET)
        same([TEA.text], again, "an erased scope can be filled again", ADD)

    async def test_words_of_an_erased_note_are_in_no_file(self, tmp_path: Path) -> None:
        """Nor after the memory was closed."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                for number in range(50):
                    await self.recall(memory).add(Note(f"{WORD} {number} " * 50, HER, f"n{number}"))
                await self.recall(memory).erase(HER)
            same([], holding(await self.files(tmp_path), WORD), "the words of an erased note are in no file", FORGET)

    async def test_notes_survive_a_restart(self, tmp_path: Path) -> None:
        """What add() took is durable; or, where nothing lasts, all of it is gone."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                await plant(self.recall(memory))
            async with self.worker(tmp_path) as memory:
                found = [await self.found(self.recall(memory), query) for query in ("green tea", "")]
        expected = [bool(self.lasting), 6 if self.lasting else 0]
        same(expected, [TEA.text in found[0], len(found[1])], "a note is durable", ADD)

    async def test_erased_note_stays_erased(self, tmp_path: Path) -> None:
        """After a restart."""
        applies(self.lasting, FORGETS)
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                await plant(self.recall(memory))
                await self.recall(memory).erase(HER, "n1")
            async with self.worker(tmp_path) as memory:
                found = await self.found(self.recall(memory), "green tea")
        promise(TEA.text not in found, "what is erased stays erased", FORGET, found)

    async def test_notes_at_once_are_all_kept(self, tmp_path: Path) -> None:
        """Two people, twenty notes, while others search."""
        async with self.recalls(tmp_path) as recall:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    note = Note(f"note number {number}", (HER, HIM)[number % 2], f"n{number}")
                    nursery.start_soon(recall.add, note)
                    nursery.start_soon(recall.search, HER, "note")
            counts = [len(await self.found(recall, "", scope)) for scope in (HER, HIM)]
        same([10, 10], counts, "no note is lost", ADD)

    async def test_cancelled_note_is_whole_or_nothing(self, tmp_path: Path) -> None:
        """At any point; the next one is kept."""
        async with self.recalls(tmp_path) as recall:
            for steps in STEPS:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cancel_after, steps, nursery.cancel_scope)
                    await recall.add(Note(f"whole thing {steps}", HER, f"n{steps}"))
                    nursery.cancel_scope.cancel()
            await recall.add(TEA)
            found = await self.found(recall, "")
        promise(TEA.text in found, "a note after a cancelled one is kept", ADD, found)
        whole = {TEA.text, *(f"whole thing {steps}" for steps in STEPS)}
        promise(set(found) <= whole, "a cancelled note is whole or nothing", ADD, found)

    async def test_long_note_is_kept(self, tmp_path: Path) -> None:
        """A million characters."""
        text = "needle " + "hay " * 250_000
        async with self.recalls(tmp_path) as recall:
            with within(20, "a long note is kept", ADD):
                await recall.add(Note(text, HER, "long"))
                found = await self.found(recall, "needle")
        promise(text in found, "a long note is kept whole", ADD, [len(each) for each in found])

    async def test_search_among_many_notes_takes_little_time(self, tmp_path: Path) -> None:
        """Of which one is meant."""
        async with self.recalls(tmp_path) as recall:
            async with trio.open_nursery() as nursery:
                for number in range(MANY):
                    note = Note(f"note {number} about bread and butter", HER, f"n{number}", float(number))
                    nursery.start_soon(recall.add, note)
            await recall.add(Note("the key lies under the amaryllis", HER, "key", 0.0))
            with within(self.search_seconds, f"a search among {MANY} notes ends", SEARCH):
                found = await self.found(recall, "amaryllis")
        same("the key lies under the amaryllis", found[0] if found else None, "the nearest note comes first", SEARCH)
