"""The promises of a memory: of its journal and of its recall."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Journal, Memory, Recall
from fairlead._events import Event, MessageAccepted, SessionStarted, TurnEnded, TurnStarted
from fairlead._message import Address, File, Message, Principal, Text
from fairlead._work import Note
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, files_below, promise, same

__all__ = ["JournalConformance", "MemoryConformance", "RecallConformance"]

APPEND, READ, FIND, CLAIM, SESSIONS, ERASE = (
    f"fairlead.memory.Journal.{name}" for name in ("append", "read", "find", "claim", "sessions", "erase")
)
ADD, SEARCH, FORGET = (f"fairlead.memory.Recall.{name}" for name in ("add", "search", "erase"))
HER, HIM = "kit:alice", "kit:bob"


def started(owner: str = HER, at: float = 1000.0) -> SessionStarted:
    return SessionStarted(at=at, agent="main", owner=owner)


def accepted(key: str = "", text: str = "hello", at: float = 1000.0) -> MessageAccepted:
    parts = (Text(text), File("a.bin", "application/octet-stream", b"\x00\xff"))
    message = Message("user", parts, author=Principal(HER, "Alice", ("admin",)))
    return MessageAccepted(at=at, message=message, address=Address("kit", "", "room"), external_id=key, key=key)


class JournalConformance(WorkerConformance[Memory]):
    """For a memory that offers a journal. Subclass it and override `make_worker`."""

    durable = True
    """False for a journal that forgets when it is closed; it must then forget all of it."""

    def journal(self, memory: Memory) -> Journal:
        assert memory.journal is not None, "open() sets the facet"
        return memory.journal

    async def is_refused(self, journal: Journal, session: str, version: int, *events: Event) -> Exception:
        """Append what must not be appended, and see that nothing is left behind."""
        before, seen = list(await journal.read(session)), None
        try:
            await journal.append(session, version, events, pending=True)
        except (VersionConflict, DuplicateKey) as error:
            seen = error
        promise(seen, "a conflict and a known key are refused", APPEND, (session, version))
        assert seen is not None
        same(before, list(await journal.read(session)), "a refused append leaves nothing", APPEND)
        return seen

    async def test_events_come_back_equal_and_without_gaps(self, tmp_path: Path) -> None:
        """Versions count from 1, `read` gives what was appended, all of it or what is after a version."""
        first: list[Event] = [started(), *(accepted(text=text) for text in HOSTILE_TEXTS)]
        ended = TurnEnded(turn="t", messages=("m",), outcome="failed")
        second: list[Event] = [TurnStarted(at=1.5, turn="t", messages=("m",)), ended]
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            half = await journal.append("s", 0, first, pending=True)
            whole = await journal.append("s", half, second, pending=False)
            records, rest = list(await journal.read("s")), list(await journal.read("s", after=half))
            same([], list(await journal.read("nobody")), "an unknown session is empty", READ)
        same((len(first), len(first + second)), (half, whole), "append gives the new version", APPEND)
        same(first + second, [record.event for record in records], "events come back equal", READ)
        places = [(record.session, record.version) for record in records]
        same([("s", place) for place in range(1, whole + 1)], places, "versions have no gap", READ)
        same(records[half:], rest, "`after` leaves out what is known", READ)

    async def test_refused_append_leaves_nothing(self, tmp_path: Path) -> None:
        """A conflict names both versions, a duplicate its key; keys are unique in the whole journal."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            await journal.append("s", 0, [started(), accepted("k"), accepted(), accepted()], pending=True)
            for session, expected, found in (("s", 0, 4), ("s", 3, 4), ("s", 5, 4), ("nobody", 1, 0)):
                error = await self.is_refused(journal, session, expected, accepted("new"), accepted())
                seen = (type(error), getattr(error, "expected", None), getattr(error, "found", None))
                same((VersionConflict, expected, found), seen, "a conflict names both versions", APPEND)
            for session, expected in (("s", 4), ("other", 0)):
                error = await self.is_refused(journal, session, expected, started(), accepted("new"), accepted("k"))
                same((DuplicateKey, "k"), (type(error), getattr(error, "key", None)), "it names the key", APPEND)
            found_keys = [await journal.find(key) for key in ("k", "new", "unknown")]
        same(["s", None, None], found_keys, "find gives the key's session", FIND)

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
            versions = [[record.version for record in await journal.read(name)] for name in ("s0", "s1")]
        same([list(range(1, 11))] * 2, versions, "no append is lost or doubled", APPEND)

    async def test_cancelled_append_is_whole_or_nothing(self, tmp_path: Path) -> None:
        """Cancelled before, or while it waits: all of its events are there or none."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            for number, seconds in enumerate((0.0, 0.0001, 0.001, 0.01)):
                with trio.move_on_after(seconds):
                    await journal.append(f"s{number}", 0, [started(), accepted(), accepted()], pending=True)
            counts = {len(await journal.read(f"s{number}")) for number in range(4)}
        promise(counts <= {0, 3}, "a cancelled append is whole or nothing", APPEND, counts)

    async def test_sessions_are_listed_by_last_use_and_owner(self, tmp_path: Path) -> None:
        """Last used first, page by page; an owner's list has nobody else's sessions."""
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            for number in range(6):
                event = started(HER if number % 2 else HIM, 1000.0 + number)
                await journal.append(f"s{number}", 0, [event], pending=number == 1)
            await journal.append("s0", 1, [accepted(at=2000.0)], pending=False)
            every, page = list(await journal.sessions()), list(await journal.sessions(limit=2))
            older = await journal.sessions(before=page[-1].updated)
            hers = await journal.sessions(owner=HER)
        same(["s0", "s5", "s4", "s3", "s2", "s1"], [info.id for info in every], "last used first", SESSIONS)
        same(every[:2], page, "`limit` is kept", SESSIONS)
        promise(not {*page} & {*older}, "`before` gives what is older", SESSIONS, older)
        same(["s5", "s3", "s1"], [info.id for info in hers], "an owner sees their own", SESSIONS)
        told = [(info.version, info.pending, info.owner) for info in (every[0], every[-1])]
        same([(2, False, HIM), (1, True, HER)], told, "version, pending and owner are told", SESSIONS)

    async def test_restart_loses_nothing(self, tmp_path: Path) -> None:
        """The next process goes on with what was appended, and takes over what was pending, once."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                await journal.append("busy", 0, [started(), accepted("k")], pending=True)
                await journal.append("done", 0, [started(), accepted()], pending=False)
                before = list(await journal.read("busy")) if self.durable else []
                same([], list(await journal.claim()), "a session is not taken from its living owner", CLAIM)
            async with self.worker(tmp_path) as memory:
                journal = self.journal(memory)
                same(before, list(await journal.read("busy")), "a restart loses nothing", APPEND)
                wanted = ["busy"] if self.durable else []
                same(wanted, list(await journal.claim()), "what was pending is taken over", CLAIM)
                same([], list(await journal.claim()), "nobody gets the same one again", CLAIM)
                version = await journal.append("busy", len(before), [accepted("new")], pending=False)
                same(len(before) + 1, version, "a session goes on after a restart", APPEND)
                if self.durable:
                    await self.is_refused(journal, "busy", version, accepted("k"))

    async def test_erased_session_is_gone_and_its_keys_stay_known(self, tmp_path: Path) -> None:
        """Its words are in no file any more; a message that was erased is not taken for a new one."""
        word = "xylophonequartz"
        async with self.opened(tmp_path) as memory:
            journal = self.journal(memory)
            await journal.append("s", 0, [started(), accepted("k", word)], pending=True)
            await journal.append("kept", 0, [started()], pending=False)
            answers = [await journal.erase(name) for name in ("s", "s", "nobody")]
            same([True, False, False], answers, "erase says whether there was one", ERASE)
            same([], list(await journal.read("s")), "an erased session is gone", ERASE)
            same(["kept"], [info.id for info in await journal.sessions()], "no other is", ERASE)
            await self.is_refused(journal, "other", 0, started(), accepted("k"))
            holds = [path.name for path in files_below(tmp_path) if word.encode() in content(path)]
        same([], holds, "its words are in no file", ERASE)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


class RecallConformance(WorkerConformance[Memory]):
    """For a memory that offers recall. Subclass it and override `make_worker`."""

    lasting = True
    """False for a recall that forgets when it is closed."""

    def recall(self, memory: Memory) -> Recall:
        assert memory.recall is not None, "open() sets the facet"
        return memory.recall

    async def found(self, recall: Recall, query: str, scope: str = HER) -> list[str]:
        return [note.text for note in await recall.search(scope, query, 50)]

    async def test_note_is_found_by_its_words(self, tmp_path: Path) -> None:
        """Best first, at most `limit`, with everything that was given; an empty query gives the newest."""
        tea = Note("Alice drinks green tea at four", HER, "n1", 1000.0, ("drink",))
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            same(tea, evolve(await recall.add(tea), score=0.0), "add gives the note as it is kept", ADD)
            for number in (7, 8, 1, 2, 3):
                await recall.add(Note(f"the garden has {number} trees", HER, f"t{number}", 1001.0 + number))
            nearest = (await recall.search(HER, "green tea"))[0]
            some, newest = await recall.search(HER, "trees", 3), await recall.search(HER, "", 2)
        same(tea, evolve(nearest, score=0.0), "the nearest note comes first", SEARCH)
        same(3, len(some), "`limit` is kept", SEARCH)
        same(["t8", "t7"], [note.id for note in newest], "an empty query gives the newest", SEARCH)

    async def test_scopes_never_see_each_other(self, tmp_path: Path) -> None:
        """Neither by search, nor by an id that both use, nor by erasing."""
        scopes = (HER, HIM, "kit:alic", "kit:%", "")
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for scope in scopes:
                await recall.add(Note(f"the password of {scope} is tulip", scope, "same"))
            for scope in (*scopes, "nobody"):
                for query in ("tulip", "password", "", scope):
                    seen = {note.scope for note in await recall.search(scope, query, 50)}
                    promise(seen <= {scope}, "a search never leaves its scope", SEARCH, (scope, query, seen))
            same(0, await recall.erase("nobody", "same") + await recall.erase("nobody"), "erasing neither", FORGET)
            hers = await self.found(recall, "tulip")
        same([f"the password of {HER} is tulip"], hers, "an id in another scope replaces nothing", ADD)

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
                await recall.add(Note(text, HER, f"n{number}"))
            for query in (*queries, *HOSTILE_TEXTS):
                await self.found(recall, query)
            same(sorted(HOSTILE_TEXTS), sorted(await self.found(recall, "")), "any text is kept unchanged", ADD)

    async def test_note_is_replaced_and_erased(self, tmp_path: Path) -> None:
        """The same id replaces; erasing one note, or all of the scope, gives the number removed."""
        async with self.opened(tmp_path) as memory:
            recall = self.recall(memory)
            for name, text in (("one", "likes coffee"), ("one", "likes tea"), ("two", "likes tea too"), ("three", "x")):
                await recall.add(Note(text, HER, name))
            same(["likes tea", "likes tea too", "x"], sorted(await self.found(recall, "")), "an id replaces", ADD)
            promise("likes coffee" not in await self.found(recall, "coffee"), "old words are not found", ADD)
            counts = [await recall.erase(HER, "one"), await recall.erase(HER, "one")]
            same(["likes tea too"], await self.found(recall, "likes"), "what is erased is not found", FORGET)
            counts += [await recall.erase(HER), await recall.erase(HER)]
            same([1, 0, 2, 0], counts, "erase gives the number removed", FORGET)
            same([], await self.found(recall, "likes"), "what is erased is not found", FORGET)

    async def test_notes_survive_a_restart(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time; what it took is durable."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as memory, trio.open_nursery() as nursery:
                for number in range(20):
                    note = Note(f"note number {number}", (HER, HIM)[number % 2], f"n{number}")
                    nursery.start_soon(self.recall(memory).add, note)
            async with self.worker(tmp_path) as memory:
                counts = [len(await self.found(self.recall(memory), "", scope)) for scope in (HER, HIM)]
        same([10, 10] if self.lasting else [0, 0], counts, "a note is durable", ADD)


class MemoryConformance(JournalConformance, RecallConformance):
    """For a memory that offers both facets."""
