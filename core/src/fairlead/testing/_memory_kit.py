"""The promises of a memory: of its journal and of its recall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Journal, Memory, Recall
from fairlead._events import Event, MessageAccepted, SessionStarted, TurnEnded, TurnStarted
from fairlead._message import Address, File, Message, Principal, Text
from fairlead._work import Note
from fairlead.errors import DuplicateKey, JournalError, VersionConflict
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise

__all__ = ["JournalConformance", "MemoryConformance", "RecallConformance"]

APPEND, READ, SESSIONS = "fairlead.memory.Journal.append", "Journal.read", "Journal.sessions"
ERASE, CLAIM = "fairlead.memory.Journal.erase", "fairlead.memory.Journal.claim"
ADD, SEARCH, FORGET = (f"fairlead.memory.Recall.{name}" for name in ("add", "search", "erase"))


def started(owner: str = "kit:alice", at: float = 1000.0) -> SessionStarted:
    return SessionStarted(at=at, agent="main", owner=owner)


def accepted(key: str = "", text: str = "hello", at: float = 1000.0) -> MessageAccepted:
    parts = (Text(text), File("a.bin", "application/octet-stream", b"\x00\xff"))
    message = Message("user", parts, author=Principal("kit:alice", "Alice", ("admin",)))
    return MessageAccepted(at=at, message=message, address=Address("kit", "", "room"), external_id=key, key=key)


def files_with(word: bytes, directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file() and word in path.read_bytes()]


class JournalConformance(WorkerConformance[Memory]):
    """For a memory that offers a journal. Subclass it and override `make_worker`."""

    durable = True
    """False for a journal that forgets when it is closed; it must then forget all of it."""

    def journal(self, memory: Memory) -> Journal:
        promise(memory.journal is not None, "the facet is set by open()", source="fairlead.Memory", seen=memory)
        assert memory.journal is not None
        return memory.journal

    async def versions(self, journal: Journal, session: str) -> list[int]:
        return [record.version for record in await journal.read(session)]

    async def refused(self, error: type[JournalError], journal: Journal, *args: object) -> JournalError:
        try:
            version = await journal.append(*args, pending=True)  # type: ignore[arg-type]  # as the test gave them
        except error as raised:
            return raised
        promise(False, f"append raises {error.__name__}", source=APPEND, seen=f"version {version}")
        raise AssertionError("unreachable: promise() has failed the check")

    async def test_events_come_back_equal_and_without_gaps(self, tmp_path: Path) -> None:
        """Versions count from 1, `read` gives what was appended, all of it or what is after a version."""
        first = [started(), *(accepted(text=text) for text in HOSTILE_TEXTS)]
        second: list[Event] = [
            TurnStarted(at=1.5, turn="t", messages=("m",)),
            TurnEnded(turn="t", messages=("m",), outcome="failed"),
        ]
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            half = await journal.append("s", 0, first, pending=True)
            whole = await journal.append("s", half, second, pending=False)
            records = list(await journal.read("s"))
            rest = list(await journal.read("s", after=half))
            nothing = list(await journal.read("nobody"))
        promise(
            (half, whole) == (len(first), len(first + second)),
            "append gives the new version",
            source=APPEND,
            seen=(half, whole),
        )
        promise(
            [*first, *second] == [record.event for record in records],
            "events come back equal",
            source=READ,
            seen=records,
        )
        places = [(record.session, record.version) for record in records]
        promise(places == [("s", n + 1) for n in range(whole)], "versions have no gap", source=READ, seen=places)
        promise(records[half:] == rest, "`after` leaves out what is known", source=READ, seen=rest)
        promise(not nothing, "an unknown session is empty", source=READ, seen=nothing)

    async def test_conflict_leaves_nothing(self, tmp_path: Path) -> None:
        """Who is not at the newest version gets `VersionConflict` with both versions, and nothing of it is kept."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            await journal.append("s", 0, [started(), accepted()], pending=True)
            for session, expected, found in (("s", 0, 2), ("s", 1, 2), ("s", 3, 2), ("nobody", 1, 0)):
                error = await self.refused(VersionConflict, journal, session, expected, [accepted("k"), accepted()])
                assert isinstance(error, VersionConflict)
                seen = (error.session, error.expected, error.found)
                promise(seen == (session, expected, found), "a conflict names both versions", source=APPEND, seen=seen)
                versions = await self.versions(journal, session)
                promise(len(versions) == found, "a conflict leaves nothing", source=APPEND, seen=versions)
            promise(await journal.find("k") is None, "a conflict leaves no key", source=APPEND)

    async def test_duplicate_key_leaves_nothing(self, tmp_path: Path) -> None:
        """A key is unique in the whole journal; `find` says which session has it; an empty key is none."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            await journal.append("s", 0, [started(), accepted("k"), accepted(), accepted()], pending=True)
            for session, expected in (("s", 4), ("other", 0)):
                events = [started(), accepted("new"), accepted("k")]
                error = await self.refused(DuplicateKey, journal, session, expected, events)
                assert isinstance(error, DuplicateKey)
                promise(
                    error.key == "k", "the error names the key", source="fairlead.errors.DuplicateKey", seen=error.key
                )
                versions = await self.versions(journal, session)
                promise(len(versions) == expected, "a duplicate leaves nothing", source=APPEND, seen=versions)
            found = (await journal.find("k"), await journal.find("new"), await journal.find("unknown"))
        promise(found == ("s", None, None), "find gives the key's session", source="Journal.find", seen=found)

    async def test_appends_at_once_keep_one_order(self, tmp_path: Path) -> None:
        """Writers race: one wins, the others see a conflict and try again; sessions do not touch each other."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)

            async def write(session: str) -> None:
                while True:
                    try:
                        seen = len(await journal.read(session))
                        await journal.append(session, seen, [accepted()], pending=True)
                    except VersionConflict:
                        continue
                    return

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(write, f"s{number % 2}")
            versions = [await self.versions(journal, session) for session in ("s0", "s1")]
        promise(versions == [list(range(1, 11))] * 2, "no append is lost or doubled", source=APPEND, seen=versions)

    async def test_cancelled_append_is_whole_or_nothing(self, tmp_path: Path) -> None:
        """Cancelled before, or while it waits: all of its events are there or none."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            for number, seconds in enumerate((0.0, 0.0001, 0.001, 0.01)):
                with trio.move_on_after(seconds):
                    await journal.append(f"s{number}", 0, [started(), accepted(), accepted()], pending=True)
            counts = {len(await journal.read(f"s{number}")) for number in range(4)}
        promise(counts <= {0, 3}, "a cancelled append is whole or nothing", source=APPEND, seen=counts)

    async def test_sessions_are_listed_by_last_use_and_owner(self, tmp_path: Path) -> None:
        """Last used first, page by page; an owner's list has nobody else's sessions."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            for number in range(6):
                owner = f"kit:{'alice' if number % 2 else 'bob'}"
                await journal.append(f"s{number}", 0, [started(owner, 1000.0 + number)], pending=number == 1)
            await journal.append("s0", 1, [accepted(at=2000.0)], pending=False)
            every = list(await journal.sessions())
            page = list(await journal.sessions(limit=2))
            following = list(await journal.sessions(before=page[-1].updated))
            hers = list(await journal.sessions(owner="kit:alice"))
        ids = [info.id for info in every]
        promise(ids == ["s0", "s5", "s4", "s3", "s2", "s1"], "last used first", source=SESSIONS, seen=ids)
        promise(page == every[:2], "`limit` is kept", source=SESSIONS, seen=page)
        overlap = {info.id for info in page} & {info.id for info in following}
        promise(not overlap, "`before` gives what is older", source=SESSIONS, seen=following)
        promise([info.id for info in hers] == ["s5", "s3", "s1"], "an owner sees their own", source=SESSIONS, seen=hers)
        right = every[0].version == 2 and every[-1].pending and every[-1].owner == "kit:alice"  # noqa: PLR2004  # two events
        promise(right, "version, pending and owner are told", source="fairlead.memory.SessionInfo", seen=every)

    async def test_claim_takes_over_what_nobody_owns(self, tmp_path: Path) -> None:
        """What this process works at is not handed out; after a restart what was pending is, once."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                await journal.append("busy", 0, [started(), accepted()], pending=True)
                await journal.append("done", 0, [started(), accepted()], pending=False)
                owned = list(await journal.claim())
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                first, second = list(await journal.claim()), list(await journal.claim())
        promise(not owned, "a session is not taken from its living owner", source=CLAIM, seen=owned)
        wanted = ["busy"] if self.durable else []
        promise(first == wanted, "what was pending is taken over", source=CLAIM, seen=first)
        promise(not second, "nobody gets the same one again", source=CLAIM, seen=second)

    async def test_erased_session_is_gone_and_its_keys_stay_known(self, tmp_path: Path) -> None:
        """Its words are in no file any more; a message that was erased is not taken for a new one."""
        word = "xylophonequartz"
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                await journal.append("s", 0, [started(), accepted("k", word)], pending=True)
                await journal.append("kept", 0, [started()], pending=False)
                answers = (await journal.erase("s"), await journal.erase("s"), await journal.erase("nobody"))
                left = (list(await journal.read("s")), [info.id for info in await journal.sessions()])
                await self.refused(DuplicateKey, journal, "other", 0, [started(), accepted("k")])
            holds = files_with(word.encode(), tmp_path)
        promise(answers == (True, False, False), "erase says whether there was one", source=ERASE, seen=answers)
        promise(left == ([], ["kept"]), "an erased session is gone, no other", source=ERASE, seen=left)
        promise(not holds, "its words are in no file", source=ERASE, seen=holds)

    async def test_journal_survives_a_restart(self, tmp_path: Path) -> None:
        """What was appended is there in the next process, and is gone on with. One that is not durable begins anew."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                await journal.append("s", 0, [started(), accepted("k")], pending=False)
                before = list(await journal.read("s"))
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                after = list(await journal.read("s"))
                promise(after == (before if self.durable else []), "a restart loses nothing", source=APPEND, seen=after)
                version = await journal.append("s", len(after), [accepted()], pending=False)
                if self.durable:
                    await self.refused(DuplicateKey, journal, "s", version, [accepted("k")])
        promise(version == len(after) + 1, "a session goes on after a restart", source=APPEND, seen=version)


class RecallConformance(WorkerConformance[Memory]):
    """For a memory that offers recall. Subclass it and override `make_worker`."""

    lasting = True
    """False for a recall that forgets when it is closed."""

    def recall(self, memory: Memory) -> Recall:
        promise(memory.recall is not None, "the facet is set by open()", source="fairlead.Memory", seen=memory)
        assert memory.recall is not None
        return memory.recall

    @staticmethod
    def ids(notes: Sequence[Note]) -> list[str]:
        return [note.id for note in notes]

    async def test_note_is_found_by_its_words(self, tmp_path: Path) -> None:
        """Best first, at most `limit`, with everything that was given."""
        tea = Note("Alice drinks green tea at four", "kit:alice", "n1", 1000.0, ("drink",))
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            kept = await recall.add(tea)
            for number in range(8):
                await recall.add(
                    Note(f"the garden has {number} apple trees", "kit:alice", f"t{number}", 1001.0 + number)
                )
            found, some = (
                list(await recall.search("kit:alice", "green tea")),
                list(await recall.search("kit:alice", "trees", 3)),
            )
        promise(evolve(kept, score=0.0) == tea, "add gives the note as it is kept", source=ADD, seen=kept)
        promise(found and evolve(found[0], score=0.0) == tea, "the nearest note comes first", source=SEARCH, seen=found)
        promise(0 < len(some) <= 3, "`limit` is kept", source=SEARCH, seen=some)  # noqa: PLR2004  # the limit given

    async def test_scopes_never_see_each_other(self, tmp_path: Path) -> None:
        """Neither by search, nor by an id that both use, nor by erasing."""
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for scope in ("kit:alice", "kit:bob", "kit:alic", "kit:%", ""):
                await recall.add(Note(f"the password of {scope} is tulip", scope, "same"))
            for scope in ("kit:alice", "kit:bob", "kit:alic", "kit:%", "", "nobody"):
                for query in ("tulip", "password", "", scope):
                    seen = {note.scope for note in await recall.search(scope, query, 50)}
                    promise(
                        seen <= {scope}, "a search never leaves its scope", source=SEARCH, seen=(scope, query, seen)
                    )
            hers = [note.text for note in await recall.search("kit:alice", "tulip")]
            promise(
                len(hers) == 1 and "alice" in hers[0], "an id in another scope replaces nothing", source=ADD, seen=hers
            )
            count = await recall.erase("nobody", "same") + await recall.erase("nobody")
            left = await recall.search("kit:alice", "tulip")
        promise(count == 0 and len(left) == 1, "erasing never leaves its scope", source=FORGET, seen=(count, left))

    async def test_any_text_is_a_note_and_a_query(self, tmp_path: Path) -> None:
        """Quotes, operators, emptiness and all of Unicode."""
        queries = (
            "",
            " ",
            '"',
            "'",
            "*",
            "(",
            "NOT",
            "AND OR",
            "a NEAR b",
            "text:tea",
            "-tea",
            "^tea",
            "\x00",
            "\\",
            "%",
        )
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for number, text in enumerate(HOSTILE_TEXTS):
                await recall.add(Note(text, "kit:alice", f"n{number}"))
            for query in (*queries, *HOSTILE_TEXTS):
                notes = await recall.search("kit:alice", query)
                promise(all(isinstance(note, Note) for note in notes), "any text is a query", source=SEARCH, seen=notes)
            every = sorted(note.text for note in await recall.search("kit:alice", "", 50))
        promise(every == sorted(HOSTILE_TEXTS), "any text is kept unchanged", source=ADD, seen=every)

    async def test_empty_query_gives_the_newest(self, tmp_path: Path) -> None:
        """The newest by their time, first."""
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for at in (3000.0, 1000.0, 2000.0):
                await recall.add(Note(f"written at {at}", "kit:alice", f"n{at:.0f}", at))
            newest = self.ids(await recall.search("kit:alice", "", 2))
        promise(newest == ["n3000", "n2000"], "an empty query gives the newest", source=SEARCH, seen=newest)

    async def test_same_id_replaces(self, tmp_path: Path) -> None:
        """The old words are found no more."""
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            await recall.add(Note("likes coffee", "kit:alice", "n"))
            await recall.add(Note("likes tea", "kit:alice", "n"))
            every = [note.text for note in await recall.search("kit:alice", "", 50)]
            old = [note.text for note in await recall.search("kit:alice", "coffee")]
        promise(every == ["likes tea"], "the same id replaces", source=ADD, seen=every)
        promise("likes coffee" not in old, "what was replaced is not found", source=ADD, seen=old)

    async def test_erasing_counts_and_forgets(self, tmp_path: Path) -> None:
        """One note, or all of the scope."""
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for name in ("one", "two", "three"):
                await recall.add(Note(f"a note about {name}", "kit:alice", name))
            counts = [await recall.erase("kit:alice", "one"), await recall.erase("kit:alice", "one")]
            left = sorted(self.ids(await recall.search("kit:alice", "note", 50)))
            counts += [await recall.erase("kit:alice"), await recall.erase("kit:alice")]
            nothing = list(await recall.search("kit:alice", "note"))
        promise(counts == [1, 0, 2, 0], "erase gives the number removed", source=FORGET, seen=counts)
        promise(left == ["three", "two"] and not nothing, "what is erased is not found", source=FORGET, seen=left)

    async def test_adds_at_once_are_all_kept(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time, and what it took survives a restart."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory, trio.open_nursery() as nursery:
                for number in range(20):
                    note = Note(f"note number {number}", f"kit:{number % 2}", f"n{number}")
                    nursery.start_soon(partial(self.recall(memory).add, note))
            async with self.worker(tmp_path) as memory:
                counts = [len(await self.recall(memory).search(scope, "", 50)) for scope in ("kit:0", "kit:1")]
        promise(counts == ([10, 10] if self.lasting else [0, 0]), "a note is durable", source=ADD, seen=counts)


class MemoryConformance(JournalConformance, RecallConformance):
    """For a memory that offers both facets."""
