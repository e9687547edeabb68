"""The promises of a journal about sessions: lists, who works at them, what is erased, and what a restart keeps."""

from __future__ import annotations

from pathlib import Path

import trio

from fairlead._contracts import Journal
from fairlead.testing._applies import applies
from fairlead.testing._memory_base import (
    APPEND,
    CLAIM,
    ERASE,
    EVERY,
    FIND,
    HER,
    HIM,
    READ,
    SESSIONS,
    JournalKit,
    accepted,
    holding,
    started,
)
from fairlead.testing._worker_kit import promise, same, within

__all__ = ["JournalSessions"]

WORD, KEY = "xylophonequartz", "vexingjackdawkey"
"""Words that stand in no program by chance."""
FORGETS = "the journal forgets when it is closed: `durable` is False"
ALONE = "one worker has the files for itself: `shared` is False"


async def fill(journal: Journal) -> None:
    """Six sessions, of two people, the first one used last."""
    for number in range(6):
        event = started(HER if number % 2 else HIM, 1000.0 + number)
        await journal.append(f"s{number}", 0, [event], pending=number == 1)
    await journal.append("s0", 1, [accepted(at=2000.0)], pending=False)


class JournalSessions(JournalKit):
    """`sessions`, `claim`, `erase`, and reopening."""

    async def test_sessions_are_listed_last_used_first(self, tmp_path: Path) -> None:
        """Writing to one brings it to the front."""
        async with self.journals(tmp_path) as journal:
            same([], list(await journal.sessions()), "an empty journal lists nothing", SESSIONS)
            await fill(journal)
            names = [info.id for info in await journal.sessions()]
        same(["s0", "s5", "s4", "s3", "s2", "s1"], names, "last used first", SESSIONS)

    async def test_list_has_no_more_than_its_limit(self, tmp_path: Path) -> None:
        """The first of them."""
        async with self.journals(tmp_path) as journal:
            await fill(journal)
            every = list(await journal.sessions())
            for limit in (1, 2, 6, 100):
                same(every[:limit], list(await journal.sessions(limit=limit)), "`limit` is kept", SESSIONS)

    async def test_list_can_be_read_in_pages(self, tmp_path: Path) -> None:
        """`before` gives what is older than the last one that was seen: nothing twice, nothing left out."""
        async with self.journals(tmp_path) as journal:
            await fill(journal)
            every = [info.id for info in await journal.sessions()]
            pages: list[str] = []
            before: float | None = None
            while page := list(await journal.sessions(limit=2, before=before)):
                pages += [info.id for info in page]
                before = page[-1].updated
                promise(len(pages) <= len(every), "`before` gives what is older", SESSIONS, pages)
        same(every, pages, "`before` gives what is older", SESSIONS)

    async def test_owner_sees_their_own_sessions(self, tmp_path: Path) -> None:
        """And nobody else's, also of names that begin alike."""
        async with self.journals(tmp_path) as journal:
            await fill(journal)
            hers = [info.id for info in await journal.sessions(owner=HER)]
            his = [info.id for info in await journal.sessions(owner=HIM)]
            none = [list(await journal.sessions(owner=name)) for name in ("kit:alic", "kit:%", "kit", "KIT:ALICE")]
        same(["s5", "s3", "s1"], hers, "an owner sees their own", SESSIONS)
        same(["s0", "s4", "s2"], his, "an owner sees their own", SESSIONS)
        same([[]] * 4, none, "nobody sees what is another's", SESSIONS)

    async def test_list_tells_version_owner_and_times(self, tmp_path: Path) -> None:
        """As they are now."""
        async with self.journals(tmp_path) as journal:
            await fill(journal)
            infos = {info.id: info for info in await journal.sessions()}
        told = [(infos[name].version, infos[name].owner) for name in ("s0", "s1")]
        same([(2, HIM), (1, HER)], told, "version and owner are told", SESSIONS)
        for info in infos.values():
            promise(info.created <= info.updated, "a session was made before it was used", SESSIONS, info)

    async def test_list_tells_what_is_pending(self, tmp_path: Path) -> None:
        """By the last append."""
        async with self.journals(tmp_path) as journal:
            seen = []
            for version, pending in enumerate((True, False, False, True)):
                await journal.append("s", version, [accepted()], pending=pending)
                seen += [info.pending for info in await journal.sessions()]
        same([True, False, False, True], seen, "unfinished work is told", SESSIONS)

    # -- who works at them

    async def test_session_is_not_taken_from_its_living_owner(self, tmp_path: Path) -> None:
        """Its own process has it already."""
        async with self.journals(tmp_path) as journal:
            await journal.append("busy", 0, [started(), accepted()], pending=True)
            same([], list(await journal.claim()), "a session is not taken from its living owner", CLAIM)

    async def test_pending_session_is_taken_over_once(self, tmp_path: Path) -> None:
        """After a restart: what is unfinished, and nothing else."""
        applies(self.durable, FORGETS)
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                for name, pending in (("busy", True), ("done", False), ("busy too", True)):
                    await journal.append(name, 0, [started(), accepted()], pending=pending)
            async with self.another(tmp_path) as journal:
                taken = sorted(await journal.claim())
                same(["busy", "busy too"], taken, "what is pending is taken over", CLAIM)
                same([], list(await journal.claim()), "nobody gets the same one again", CLAIM)
                await journal.append("busy", 2, [accepted()], pending=False)
            async with self.another(tmp_path) as journal:
                same(["busy too"], list(await journal.claim()), "what is finished is not taken over", CLAIM)

    async def test_two_workers_do_not_take_from_each_other(self, tmp_path: Path) -> None:
        """While both live."""
        applies(self.durable, FORGETS)
        applies(self.shared, ALONE)
        async with self.far_side(tmp_path), self.another(tmp_path) as one, self.another(tmp_path) as other:
            await one.append("one", 0, [started(), accepted()], pending=True)
            await other.append("other", 0, [started(), accepted()], pending=True)
            taken = [list(await journal.claim()) for journal in (one, other)]
            same([[], []], taken, "a session is not taken from its living owner", CLAIM)
            read = [len(await journal.read(name)) for journal in (one, other) for name in ("one", "other")]
            same([2] * 4, read, "two workers of one file see the same", READ)

    async def test_two_workers_claim_nothing_both(self, tmp_path: Path) -> None:
        """Both ask at the same time for what a dead one left."""
        applies(self.durable, FORGETS)
        applies(self.shared, ALONE)
        names = [f"busy{number}" for number in range(10)]
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                for name in names:
                    await journal.append(name, 0, [started()], pending=True)
            taken: list[str] = []

            async def take(journal: Journal) -> None:
                taken.extend(await journal.claim())

            async with (
                self.another(tmp_path) as one,
                self.another(tmp_path) as other,
                trio.open_nursery() as nursery,
            ):
                for journal in (one, other, one, other):
                    nursery.start_soon(take, journal)
        same(names, sorted(taken), "no two get the same session, and each is taken", CLAIM)

    async def test_two_workers_append_in_one_order(self, tmp_path: Path) -> None:
        """The slower one sees a conflict."""
        applies(self.durable, FORGETS)
        applies(self.shared, ALONE)
        async with self.far_side(tmp_path), self.another(tmp_path) as one, self.another(tmp_path) as other:
            await one.append("s", 0, [started(), accepted("k")], pending=False)
            await self.is_refused(other, "s", 0, started())
            await self.is_refused(other, "t", 0, accepted("k"))
            await other.append("s", 2, [accepted()], pending=False)
            same(3, len(await one.read("s")), "two workers of one file see the same", READ)

    # -- a restart

    async def test_restart_loses_nothing(self, tmp_path: Path) -> None:
        """The next worker reads what was appended, each event equal; or nothing at all, where nothing is durable."""
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                await journal.append("s", 0, EVERY, pending=False)
                await journal.append("t", 0, [started(), accepted("k")], pending=True)
                before = [list(await journal.read(name)) for name in ("s", "t")] if self.durable else [[], []]
                listed = [info.id for info in await journal.sessions()] if self.durable else []
            async with self.another(tmp_path) as journal:
                same(before, [list(await journal.read(name)) for name in ("s", "t")], "a restart loses nothing", APPEND)
                same(listed, [info.id for info in await journal.sessions()], "a restart loses no session", SESSIONS)

    async def test_session_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        """At its version, with its keys known."""
        applies(self.durable, FORGETS)
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                await journal.append("s", 0, [started(), accepted("k")], pending=True)
            async with self.another(tmp_path) as journal:
                same(3, await journal.append("s", 2, [accepted("new")], pending=False), "a session goes on", APPEND)
                same(["s", "s"], [await journal.find(key) for key in ("k", "new")], "keys stay known", FIND)
                await self.is_refused(journal, "s", 3, accepted("k"))

    async def test_opening_a_large_journal_takes_little_time(self, tmp_path: Path) -> None:
        """Ten thousand events, in a hundred sessions."""
        applies(self.durable, FORGETS)
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                for number in range(100):
                    events = [accepted(f"k{number}-{each}") for each in range(100)]
                    await journal.append(f"s{number}", 0, events, pending=False)
            with within(self.open_seconds, "a journal of 10,000 events opens", "fairlead._contracts.Worker.open"):
                memory = await self.make_worker(tmp_path)
                memory.name = memory.name or "kit"
                await memory.open()
            with within(self.open_seconds, "a large journal is closed", "fairlead._contracts.Worker.close"):
                count = len(await self.journal(memory).read("s50"))
                await memory.close()
        same(100, count, "a restart loses nothing", APPEND)

    # -- erasing

    async def test_erased_session_is_gone(self, tmp_path: Path) -> None:
        """From reading, lists and claims; no other one is."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted("k")], pending=True)
            await journal.append("kept", 0, [started(), accepted()], pending=False)
            await journal.erase("s")
            same([], list(await journal.read("s")), "an erased session is gone", ERASE)
            same(["kept"], [info.id for info in await journal.sessions()], "no other is", ERASE)
            same([], list(await journal.claim()), "an erased session is taken over by nobody", ERASE)
            same(2, len(await journal.read("kept")), "no other is", ERASE)

    async def test_erasing_says_whether_there_was_one(self, tmp_path: Path) -> None:
        """Once."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started()], pending=False)
            answers = [await journal.erase(name) for name in ("s", "s", "nobody")]
        same([True, False, False], answers, "erase says whether there was one", ERASE)

    async def test_keys_of_an_erased_session_stay_known(self, tmp_path: Path) -> None:
        """A message that was erased is not taken for a new one, also after a restart."""
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                await journal.append("s", 0, [started(), accepted("k")], pending=True)
                await journal.erase("s")
                await self.is_refused(journal, "other", 0, started(), accepted("k"))
            if self.durable:
                async with self.another(tmp_path) as journal:
                    await self.is_refused(journal, "other", 0, started(), accepted("k"))
                    same([], list(await journal.read("s")), "an erased session stays gone", ERASE)

    async def test_name_of_an_erased_session_can_be_used_again(self, tmp_path: Path) -> None:
        """From version 0, with nothing of the old one."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(HER), accepted(text=WORD)], pending=True)
            await journal.erase("s")
            same(1, await journal.append("s", 0, [started(HIM)], pending=False), "a name can be used again", ERASE)
            events = [record.event for record in await journal.read("s")]
            owners = [info.owner for info in await journal.sessions()]
        same(([started(HIM)], [HIM]), (events, owners), "nothing of the old one is left", ERASE)

    async def test_words_of_an_erased_session_are_in_no_file(self, tmp_path: Path) -> None:
        """Nor do they come back with the next writing, or by closing."""
        async with self.far_side(tmp_path):
            async with self.another(tmp_path) as journal:
                events = [accepted(text=f"{WORD} {number} " * 50) for number in range(50)]
                await journal.append("s", 0, [started(), *events], pending=True)
                await journal.append("kept", 0, [started()], pending=False)
                await journal.erase("s")
                same([], holding(await self.files(tmp_path), WORD), "its words are in no file", ERASE)
                await journal.append("kept", 1, [accepted()], pending=False)
            same([], holding(await self.files(tmp_path), WORD), "its words are in no file", ERASE)

    async def test_keys_of_an_erased_session_are_kept_as_hashes(self, tmp_path: Path) -> None:
        """They name channels and rooms, and so people."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted(KEY)], pending=True)
            await journal.erase("s")
            same([], holding(await self.files(tmp_path), KEY), "its keys are kept as hashes", ERASE)

    async def test_erasing_beside_writing_harms_nobody(self, tmp_path: Path) -> None:
        """Sessions are erased while others are written."""
        async with self.journals(tmp_path) as journal:
            for number in range(10):
                await journal.append(f"old{number}", 0, [started()], pending=False)
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(journal.erase, f"old{number}")
                    nursery.start_soon(append_one, journal, f"new{number}")
            names = sorted(info.id for info in await journal.sessions())
        same([f"new{number}" for number in range(10)], names, "erasing touches no other session", ERASE)


async def append_one(journal: Journal, session: str) -> None:
    await journal.append(session, 0, [started()], pending=False)
