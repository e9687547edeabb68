"""The promises of a journal about events: what is appended, in which order, all or nothing, and never lost."""

from __future__ import annotations

from pathlib import Path

import trio

from fairlead._contracts import Journal
from fairlead._events import Event, MessageAccepted
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.testing._memory_base import APPEND, EVERY, FIND, NAMES, READ, JournalKit, accepted, cancel_after, started
from fairlead.testing._worker_kit import HOSTILE_TEXTS, promise, same, within

__all__ = ["JournalEvents"]

STEPS = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55)
SECONDS = (0.0001, 0.001, 0.003, 0.01, 0.03)
"""When an append is cancelled: after so many passes of the scheduler, or so long."""
BIG = 5_000_000
MANY = 3000


class JournalEvents(JournalKit):
    """`append`, `read` and `find`."""

    async def test_events_come_back_equal(self, tmp_path: Path) -> None:
        """One of each kind, with all its fields."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, EVERY, pending=True)
            records = list(await journal.read("s"))
        for expected, record in zip(EVERY, records, strict=False):
            same(expected, record.event, "events come back equal", READ)
        same(len(EVERY), len(records), "no event is lost", READ)

    async def test_hostile_words_come_back_equal(self, tmp_path: Path) -> None:
        """All of Unicode, quotes, control characters, emptiness."""
        texts = (*HOSTILE_TEXTS, "", " ", "\x00\x01\x7f", "\u2028\u2029", "\ufeff", "\U0010ffff")
        events: list[Event] = [started(), *(accepted(text=text) for text in texts)]
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, events, pending=True)
            same(events, [record.event for record in await journal.read("s")], "events come back equal", READ)

    async def test_versions_have_no_gap(self, tmp_path: Path) -> None:
        """They count from 1, and each record names its session."""
        async with self.journals(tmp_path) as journal:
            for version in range(5):
                await journal.append("s", version, [accepted()], pending=True)
            places = [(record.session, record.version) for record in await journal.read("s")]
        same([("s", place) for place in range(1, 6)], places, "versions have no gap", READ)

    async def test_append_gives_the_new_version(self, tmp_path: Path) -> None:
        """One more for each event."""
        async with self.journals(tmp_path) as journal:
            first = await journal.append("s", 0, [started(), accepted(), accepted()], pending=True)
            second = await journal.append("s", 3, [accepted()], pending=False)
        same((3, 4), (first, second), "append gives the new version", APPEND)

    async def test_reading_goes_on_after_a_version(self, tmp_path: Path) -> None:
        """`after` leaves out what is known; at the end there is nothing."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, EVERY, pending=True)
            whole = list(await journal.read("s"))
            for after in (0, 1, 5, len(EVERY) - 1, len(EVERY), len(EVERY) + 10):
                rest = list(await journal.read("s", after=after))
                same(whole[after:], rest, "`after` leaves out what is known", READ)

    async def test_unknown_session_is_empty(self, tmp_path: Path) -> None:
        """Before anything was written, and beside another one."""
        async with self.journals(tmp_path) as journal:
            same([], list(await journal.read("nobody")), "an unknown session is empty", READ)
            await journal.append("s", 0, [started()], pending=True)
            same([], list(await journal.read("nobody")), "an unknown session is empty", READ)

    async def test_what_was_read_is_the_readers_own(self, tmp_path: Path) -> None:
        """Whoever changes the list changes nothing of the journal."""
        async with self.journals(tmp_path) as journal:
            events = [started(), accepted()]
            await journal.append("s", 0, events, pending=True)
            events.clear()
            seen = await journal.read("s")
            if isinstance(seen, list):
                seen.clear()
            same(2, len(await journal.read("s")), "what was read is the reader's own", READ)

    async def test_conflict_names_both_versions(self, tmp_path: Path) -> None:
        """Behind, ahead, and in a session that is not there."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted(), accepted(), accepted()], pending=True)
            for session, expected, found in (("s", 0, 4), ("s", 3, 4), ("s", 5, 4), ("nobody", 1, 0)):
                error = await self.is_refused(journal, session, expected, accepted("new"), accepted())
                seen = (type(error), getattr(error, "expected", None), getattr(error, "found", None))
                same((VersionConflict, expected, found), seen, "a conflict names both versions", APPEND)

    async def test_known_key_is_refused(self, tmp_path: Path) -> None:
        """In the same session, in another one, and twice in one append; the error names it."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted("k")], pending=True)
            for session, expected in (("s", 2), ("other", 0)):
                error = await self.is_refused(journal, session, expected, started(), accepted("new"), accepted("k"))
                same((DuplicateKey, "k"), (type(error), getattr(error, "key", None)), "it names the key", APPEND)
            error = await self.is_refused(journal, "other", 0, accepted("twice"), accepted("twice"))
            same(DuplicateKey, type(error), "a key that comes twice in an append is refused", APPEND)

    async def test_refused_append_leaves_nothing(self, tmp_path: Path) -> None:
        """No event, no session, and no key."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted("k")], pending=False)
            await self.is_refused(journal, "other", 0, started(), accepted("new"), accepted("k"))
            await self.is_refused(journal, "s", 1, accepted("new"))
            same(None, await journal.find("new"), "a refused append leaves no key", APPEND)
            names = [(info.id, info.pending) for info in await journal.sessions()]
            same([("s", False)], names, "a refused append leaves no session", APPEND)
            await journal.append("other", 0, [accepted("new")], pending=True)

    async def test_message_without_a_key_is_never_a_duplicate(self, tmp_path: Path) -> None:
        """The empty key is none."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [accepted(), accepted()], pending=True)
            await journal.append("other", 0, [accepted()], pending=True)
            same(None, await journal.find(""), "the empty key is none", FIND)

    async def test_key_leads_to_its_session(self, tmp_path: Path) -> None:
        """Any text is a key, and no two are taken for one another."""
        keys = (*NAMES, *HOSTILE_TEXTS)
        async with self.journals(tmp_path) as journal:
            for number, key in enumerate(keys):
                await journal.append(f"s{number}", 0, [accepted(key)], pending=False)
            found = [await journal.find(key) for key in keys]
            unknown = [await journal.find(key) for key in ("", "unknown", "A/B", "a%%")]
        same([f"s{number}" for number in range(len(keys))], found, "find gives the key's session", FIND)
        same([None] * 4, unknown, "an unknown key is nowhere", FIND)

    async def test_any_text_is_the_name_of_a_session(self, tmp_path: Path) -> None:
        """And no two are taken for one another."""
        async with self.journals(tmp_path) as journal:
            for name in NAMES:
                await journal.append(name, 0, [accepted(text=name)], pending=False)
            seen = {name: [record.event for record in await journal.read(name)] for name in NAMES}
            listed = {info.id for info in await journal.sessions()}
        for name, events in seen.items():
            texts = [event.message.text for event in events if isinstance(event, MessageAccepted)]
            same([name], texts, "any text is the name of a session", APPEND)
        same(set(NAMES), listed, "a session is listed by its name", "fairlead.memory.Journal.sessions")

    async def test_big_event_is_kept(self, tmp_path: Path) -> None:
        """Five million characters."""
        event = accepted(text="\u2603long " * (BIG // 6))
        async with self.journals(tmp_path) as journal:
            with within(20, "a big event is kept", APPEND):
                await journal.append("s", 0, [event], pending=True)
                seen = [record.event == event for record in await journal.read("s")]
        same([True], seen, "a big event comes back equal", READ)

    async def test_many_events_are_kept(self, tmp_path: Path) -> None:
        """Three thousand in one append."""
        events = [accepted(text=f"number {number}") for number in range(MANY)]
        async with self.journals(tmp_path) as journal:
            with within(20, "many events are kept", APPEND):
                await journal.append("s", 0, events, pending=True)
                seen = [record.event for record in await journal.read("s")]
        promise(events == seen, "many events come back, in order", READ, len(seen))

    async def test_appends_at_once_keep_one_order(self, tmp_path: Path) -> None:
        """Writers race: one wins, the others see a conflict and try again."""
        async with self.journals(tmp_path) as journal:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(contend, journal, f"s{number % 2}")
            versions = [[record.version for record in await journal.read(name)] for name in ("s0", "s1")]
        same([list(range(1, 11))] * 2, versions, "no append is lost or doubled", APPEND)

    async def test_same_key_at_once_is_taken_once(self, tmp_path: Path) -> None:
        """The platform delivers an event twice, and both arrive together."""
        outcomes: list[str] = []

        async def write(journal: Journal, number: int) -> None:
            try:
                await journal.append(f"s{number}", 0, [accepted("the same")], pending=True)
                outcomes.append("kept")
            except DuplicateKey:
                outcomes.append("known")

        async with self.journals(tmp_path) as journal:
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(write, journal, number)
            lengths = [len(await journal.read(f"s{number}")) for number in range(10)]
        same((1, 1), (outcomes.count("kept"), sum(lengths)), "a key that comes at once is taken once", APPEND)

    async def test_cancelled_append_is_whole_or_nothing(self, tmp_path: Path) -> None:
        """Cancelled before, or while it waits: all of its events are there or none, with their key."""
        async with self.journals(tmp_path) as journal:
            for number, moment in enumerate((*STEPS, *SECONDS)):
                events = [started(), accepted(f"k{number}"), accepted()]
                await cancelled(journal, f"s{number}", events, moment)
            for number in range(len(STEPS) + len(SECONDS)):
                count, held = len(await journal.read(f"s{number}")), await journal.find(f"k{number}")
                promise(count in (0, 3), "a cancelled append is whole or nothing", APPEND, count)
                same(f"s{number}" if count else None, held, "its key is kept with it", APPEND)

    async def test_append_after_a_cancelled_one_keeps_the_order(self, tmp_path: Path) -> None:
        """What was cancelled stands before it or nowhere, and never appears later."""
        async with self.journals(tmp_path) as journal:
            for number, moment in enumerate((*STEPS, *SECONDS)):
                name = f"s{number}"
                await cancelled(journal, name, [started(), accepted(text="first")], moment)
                version = len(await journal.read(name))
                await journal.append(name, version, [accepted(text="second")], pending=False)
                kept = [getattr(record.event, "message", None) for record in await journal.read(name)]
                texts = [message.text for message in kept if message is not None]
                promise(texts in (["first", "second"], ["second"]), "appends keep their order", APPEND, texts)

    async def test_session_can_be_copied(self, tmp_path: Path) -> None:
        """A fork begins with the events of another session, without their keys; both go on by themselves."""
        async with self.journals(tmp_path) as journal:
            await journal.append("s", 0, [started(), accepted(text="before")], pending=False)
            events = [record.event for record in await journal.read("s")]
            await journal.append("fork", 0, events, pending=False)
            await journal.append("s", 2, [accepted(text="here")], pending=False)
            await journal.append("fork", 2, [accepted(text="there")], pending=False)
            copied = [record.event for record in await journal.read("fork")]
            kept = [record.event for record in await journal.read("s")]
        same((events, 3, 3), (copied[:2], len(copied), len(kept)), "a copy is equal and goes on by itself", APPEND)


async def contend(journal: Journal, session: str) -> None:
    """Append one event, however often somebody else is first."""
    while True:
        try:
            await journal.append(session, len(await journal.read(session)), [accepted()], pending=True)
        except VersionConflict:
            continue
        return


async def cancelled(journal: Journal, session: str, events: list[Event], moment: float) -> None:
    """An append that is cancelled after so many steps, or, where it is no whole number, so many seconds."""
    async with trio.open_nursery() as nursery:
        if isinstance(moment, int):
            nursery.start_soon(cancel_after, moment, nursery.cancel_scope)
        else:
            nursery.cancel_scope.deadline = trio.current_time() + moment
        await journal.append(session, 0, events, pending=True)
        nursery.cancel_scope.cancel()
