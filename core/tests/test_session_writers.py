"""One session, read and written by several tasks of one process while another process writes too."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

from fairlead import Message, Text, events
from fairlead._fold import fold
from fairlead._journal import VolatileJournal
from fairlead._session import Session, Sessions
from fairlead.errors import DuplicateKey, JournalUnavailable, VersionConflict


def accepted(name: str, key: str = "") -> events.MessageAccepted:
    return events.MessageAccepted(message=Message("user", (Text(name),), id=name), key=key)


async def insist(session: Session, event: events.MessageAccepted) -> None:
    """Append as the inbox does: again, where the session was read in between."""
    try:
        await session.append(event)
    except VersionConflict:
        await session.append(event)


class Gated(VolatileJournal):
    """A journal whose readings wait at a gate, with what they have read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.gate = trio.Event(), trio.Event()

    async def read(self, session: str, after: int = 0) -> Any:
        found = await super().read(session, after)
        self.reading.set()
        await self.gate.wait()
        return found


async def gated() -> tuple[Gated, Session]:
    """A journal, and a stale session of one message in it."""
    journal = Gated()
    await journal.append("s", 0, [accepted("m1", "k1")], pending=True)
    session = Session(fold("s", ()), journal, None)
    session.stale = True
    return journal, session


async def test_message_that_comes_while_the_session_is_read_is_in_its_state() -> None:
    """Nothing is written between the reading and the folding, so the next turn finds the message."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.reload)
        await journal.reading.wait()
        nursery.start_soon(insist, session, accepted("m2"))
        await trio.testing.wait_all_tasks_blocked()
        journal.gate.set()
    assert (["m1", "m2"], 2, False) == (list(session.state.queue), session.state.version, session.stale)


async def test_message_that_comes_again_while_the_session_is_read_is_a_duplicate() -> None:
    """And nothing else: a channel that hears of a fault of ours would stop."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.reload)
        await journal.reading.wait()

        async def again() -> None:
            with pytest.raises(DuplicateKey):
                await insist(session, accepted("m2", "k1"))

        nursery.start_soon(again)
        await trio.testing.wait_all_tasks_blocked()
        journal.gate.set()
    assert ["m1"] == list(session.state.queue)


async def test_session_is_read_once_for_all_who_wait() -> None:
    """Where one has read it, it is stale no more; and who waits behind is not forgotten."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(session.reload)
        await journal.reading.wait()
        nursery.start_soon(insist, session, accepted("m2"))
        await trio.testing.wait_all_tasks_blocked()
        journal.gate.set()
    assert ["m1", "m2"] == list(session.state.queue)


async def test_nobody_writes_on_what_was_read_anew_meanwhile() -> None:
    """What a turn noted is gone with the old state: it must find that out, and not go on without its beginning."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.reload)
        await journal.reading.wait()
        session.note(events.TurnStarted(turn="t1", messages=()))

        async def answer() -> None:
            with pytest.raises(VersionConflict):
                await session.append(events.TurnEnded(turn="t1", messages=(), outcome="cancelled"))

        nursery.start_soon(answer)
        await trio.testing.wait_all_tasks_blocked()
        journal.gate.set()
    assert (1, None) == (session.state.version, session.state.turn)


async def test_session_that_grows_stale_while_it_is_read_is_read_again() -> None:
    """What was read then may be older than what made it stale."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.reload)
        await journal.reading.wait()
        session.stale = True
        journal.gate.set()
    assert session.stale


async def test_cancelled_reader_leaves_the_session_stale_and_free() -> None:
    """The next one reads."""
    journal, session = await gated()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.reload)
        await journal.reading.wait()
        nursery.cancel_scope.cancel()
    assert session.stale
    journal.gate.set()
    await session.reload()
    assert ["m1"] == list(session.state.queue)


class Faulty(VolatileJournal):
    """A journal that takes its time, and that now and then fails before or after it has written."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    async def append(
        self, session: str, expected_version: int, events: Sequence[events.Event], *, pending: bool
    ) -> int:
        await trio.sleep(self._chance.random())
        if self._chance.random() < 0.1:
            raise JournalUnavailable("not written")
        version = await super().append(session, expected_version, events, pending=pending)
        if self._chance.random() < 0.1:
            raise JournalUnavailable("written, but nobody heard of it")
        await trio.sleep(self._chance.random())
        return version

    async def read(self, session: str, after: int = 0) -> Any:
        found = await super().read(session, after)
        await trio.sleep(self._chance.random())
        return found


@pytest.mark.parametrize("seed", range(40))
async def test_state_is_the_fold_of_the_journal_whatever_happens_at_once(seed: int, autojump_clock: object) -> None:
    """Tasks of two processes write, send twice, are cancelled, and meet a journal that fails."""
    chance = random.Random(seed)  # noqa: S311  # a test's own
    journal = Faulty(chance)
    here, there = await Sessions(journal).get("s"), await Sessions(journal).get("s")

    async def write(session: Session, name: str, key: str) -> None:
        await trio.sleep(chance.random() * 10)
        for _ in range(20):
            with trio.move_on_after(chance.random() * 20), suppress(JournalUnavailable):
                try:
                    await session.append(accepted(name, key))
                except VersionConflict:
                    await session.reload()
                except DuplicateKey:
                    return
                else:
                    return

    async with trio.open_nursery() as nursery:
        for number in range(15):
            for session in (here, there):
                nursery.start_soon(write, session, f"{number}", f"k{number}")
    for session in (here, there):
        session.stale = True
        await session.reload()
        assert fold("s", await VolatileJournal.read(journal, "s")) == session.state
    async with trio.open_nursery() as nursery:  # nothing is left behind that would hold anybody up
        for session in (here, there):
            nursery.start_soon(session.reload)
