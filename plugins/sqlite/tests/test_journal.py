"""The journal in one process: group commit, refusals, cancellation, reading, claiming."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from fairlead.errors import DuplicateKey, JournalUnavailable, VersionConflict
from fairlead.events import ApprovalRequested
from fairlead_sqlite._clerk import Request

from .opened import OpenMemory, grouped, opened, said, started, texts


async def count_commits(memory: OpenMemory) -> list[int]:
    commits: list[int] = []

    def committed() -> bool:
        commits.append(1)
        return False

    await memory.writer.do(lambda connection: connection.set_commit_hook(committed))
    return commits


async def test_appends_that_wait_share_one_commit(tmp_path: Path) -> None:
    """While one waits for the disk the others gather; then they are written together."""
    async with opened(tmp_path) as memory:
        commits = await count_commits(memory)
        async with grouped(memory) as nursery:
            for number in range(100):
                append = partial(memory.journal.append, f"s{number}", 0, [started(), said()], pending=True)
                nursery.start_soon(append)
        assert 100 == len(await memory.journal.sessions(limit=200))
    assert 1 == len(commits)


async def test_session_is_found_by_its_approval(tmp_path: Path) -> None:
    """Whoever decides has nothing but the id; an erased session's is gone."""
    async with opened(tmp_path) as memory:
        request = ApprovalRequested(turn="t", id="abc", call="c", tool="act", arguments={}, key="approval\nabc")
        await memory.journal.append("s", 0, [started(), said(), request], pending=True)
        assert ("s", None) == (
            await memory.journal.find("approval\nabc"),
            await memory.journal.find("approval\nabd"),
        )
        await memory.journal.erase("s")
        assert None is await memory.journal.find("approval\nabc")


async def test_refused_append_fails_alone(tmp_path: Path) -> None:
    """A conflict and a known key do not harm the others of their group."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [started(), said(key="k")], pending=False)
        outcomes: dict[str, object] = {}

        async def append(session: str, version: int, key: str = "") -> None:
            try:
                outcomes[session] = await memory.journal.append(session, version, [said(key=key)], pending=False)
            except (VersionConflict, DuplicateKey) as refusal:
                outcomes[session] = type(refusal)

        async with grouped(memory) as nursery:
            for number in range(10):
                nursery.start_soon(append, f"good{number}", 0)
            nursery.start_soon(append, "s", 1)
            nursery.start_soon(append, "known", 0, "k")
            nursery.start_soon(append, "good10", 0)
        assert [1] * 11 == [outcomes.pop(f"good{number}") for number in range(11)]
        assert {"s": VersionConflict, "known": DuplicateKey} == outcomes
        assert 12 == len(await memory.journal.sessions())


async def test_same_session_and_key_in_one_group_is_taken_once(tmp_path: Path) -> None:
    """Of several that race, one wins, whether they meet in one transaction or not."""
    async with opened(tmp_path) as memory:
        outcomes: list[object] = []

        async def append(session: str, key: str) -> None:
            try:
                outcomes.append(await memory.journal.append(session, 0, [said(key=key)], pending=False))
            except (VersionConflict, DuplicateKey) as refusal:
                outcomes.append(type(refusal))

        async with grouped(memory) as nursery:
            for number in range(5):
                nursery.start_soon(append, "s", f"key{number}")
                nursery.start_soon(append, f"other{number}", "one")
        assert 2 == outcomes.count(1)
        assert 4 == outcomes.count(VersionConflict)
        assert 4 == outcomes.count(DuplicateKey)


async def test_long_append_is_whole_or_nothing(tmp_path: Path) -> None:
    """A fork brings a whole session at once; a key that is known at its end undoes all of it, and nothing else."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said(key="k")], pending=False)
        many = [said(str(number)) for number in range(700)]
        with pytest.raises(DuplicateKey):
            await memory.journal.append("long", 0, [*many, said(key="k")], pending=False)
        assert [] == await memory.journal.read("long")
        assert 700 == await memory.journal.append("long", 0, many, pending=False)
        assert [str(number) for number in range(700)] == await texts(memory.journal, "long")
        assert ["698", "699"] == (await texts(memory.journal, "long"))[698:]
        assert [700] == [record.version for record in await memory.journal.read("long", after=699)]


async def test_key_twice_in_one_append_is_refused(tmp_path: Path) -> None:
    """A key is unique also within what is written together."""
    async with opened(tmp_path) as memory:
        with pytest.raises(DuplicateKey, match="twice"):
            await memory.journal.append("s", 0, [said(key="k"), said(key="k")], pending=False)


async def test_text_that_is_no_unicode_harms_nobody_else(tmp_path: Path) -> None:
    """It is refused as the caller's mistake, and the others of its group are written."""
    async with opened(tmp_path) as memory:
        async with grouped(memory) as nursery:
            nursery.start_soon(partial(memory.journal.append, "s", 0, [said()], pending=False))
            for session, words in (("\ud800", "hello"), ("t", "\ud800")):
                with pytest.raises(ValueError, match="surrogate"):
                    await memory.journal.append(session, 0, [said(words)], pending=False)
        assert ["s"] == [info.id for info in await memory.journal.sessions()]


async def test_append_without_events_changes_only_what_is_pending(tmp_path: Path) -> None:
    """The version is checked and stays; an unknown session is not made."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=True)
        assert 1 == await memory.journal.append("s", 1, [], pending=False)
        assert 0 == await memory.journal.append("unknown", 0, [], pending=True)
        with pytest.raises(VersionConflict):
            await memory.journal.append("s", 0, [], pending=True)
        (info,) = await memory.journal.sessions()
        assert ("s", 1, False) == (info.id, info.version, info.pending)


async def test_cancelled_appends_keep_the_order_of_their_session(tmp_path: Path) -> None:
    """Wherever the waiter leaves, what was asked first is written first, and a later read sees all of it."""
    chance = random.Random(7)  # noqa: S311  # the same times in each run
    async with opened(tmp_path) as memory:
        version = 0
        for number in range(60):
            with trio.move_on_after(chance.choice((0, 0.0002, 0.0005, 0.001, 1))):
                await memory.journal.append("s", version, [said(f"{number}a"), said(f"{number}b")], pending=True)
            version = len(await memory.journal.read("s"))
        found = await texts(memory.journal, "s")
        assert version == await memory.journal.append("s", version, [], pending=False)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert [(f"{first[:-1]}a", f"{first[:-1]}b") for first, _ in pairs] == pairs
    assert sorted(pairs, key=lambda pair: int(pair[0][:-1])) == pairs
    assert pairs


async def test_waiter_is_not_woken_for_one_who_left(tmp_path: Path) -> None:
    """The thread comes to the end of what nobody waits for any more, while the next one waits in his place."""
    async with opened(tmp_path) as memory:
        first, second, begun = threading.Event(), threading.Event(), threading.Event()
        done: list[bool] = []

        def hold(_: object) -> bool:
            begun.set()
            return second.wait(10)

        async def wait_for_second() -> None:
            done.append(await memory.writer.do(hold))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.writer.do, lambda _: first.wait(10))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        abandoned = [memory.writer.abandoned]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_second)
            await trio.testing.wait_all_tasks_blocked()
            first.set()
            await trio.to_thread.run_sync(begun.wait)
            await trio.testing.wait_all_tasks_blocked()
            abandoned.append(memory.writer.abandoned)
            assert [] == done
            second.set()
        assert [True] == done
    assert [True, False] == abandoned


def wait_for(gate: threading.Event, _: object) -> bool:
    return gate.wait(10)


def announce(event: threading.Event, _: object) -> None:
    event.set()


async def test_waiter_may_leave_in_the_moment_in_which_it_is_done(tmp_path: Path) -> None:
    """It is cancelled and rung for in one pass of the loop, which comes to either first."""
    async with opened(tmp_path) as memory:
        for _ in range(20):  # the loop's order is by chance
            gate, rung = threading.Event(), threading.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(memory.writer.do, partial(wait_for, gate))
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(memory.writer.do, lambda _: None)
                nursery.start_soon(memory.writer.do, lambda _: None)
                await trio.testing.wait_all_tasks_blocked()
                memory.writer._door.leave(Request(partial(announce, rung)))  # noqa: SLF001  # nobody waits for it
                gate.set()
                assert rung.wait(10)
                nursery.cancel_scope.cancel()
        assert not memory.writer.abandoned


async def test_what_was_asked_before_close_is_written(tmp_path: Path) -> None:
    """Also where nobody waits for it any more; afterwards everything is refused in words."""
    async with opened(tmp_path) as memory:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(memory.journal.append, "s", 0, [said()], pending=True))
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await memory.close()
        with pytest.raises(JournalUnavailable, match="was closed"):
            await memory.journal.append("s", 1, [said()], pending=False)
    async with opened(tmp_path) as memory:
        assert ["hello"] == await texts(memory.journal, "s")


async def test_session_without_events_to_read_needs_no_thread(tmp_path: Path) -> None:
    """One that is new, and one of which all is known: answered while the reader is busy with something else."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=False)
        gate = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.reader.do, lambda _: gate.wait(10))
            await trio.testing.wait_all_tasks_blocked()
            assert [] == await memory.journal.read("new")
            assert [] == await memory.journal.read("s", after=1)
            assert not gate.is_set()
            gate.set()
        assert ["hello"] == await texts(memory.journal, "s")


async def test_look_that_fails_is_left_to_the_thread(tmp_path: Path) -> None:
    """The thread waits for locks, and has the words for faults."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said()], pending=False)
        memory.glance.close()
        assert memory.glance.version("s") is None
        assert ["hello"] == await texts(memory.journal, "s")
        assert [] == await memory.journal.read("new")


async def test_reading_a_long_session_lets_others_go_on(tmp_path: Path) -> None:
    """Thousands of events are decoded in small pieces."""
    async with opened(tmp_path) as memory:
        await memory.journal.append("s", 0, [said("x" * 1000)] * 2000, pending=False)
        steps = 0

        async def count() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            assert 2000 == len(await memory.journal.read("s"))
            nursery.cancel_scope.cancel()
    assert steps > 15


async def test_work_of_a_closed_journal_is_claimed_once(tmp_path: Path) -> None:
    """Who closes lets go of unfinished work; who is alive keeps it, also in the same process."""
    async with opened(tmp_path) as first:
        await first.journal.append("mine", 0, [said()], pending=True)
        async with opened(tmp_path) as second:
            await second.journal.append("theirs", 0, [said()], pending=True)
            await second.journal.append("finished", 0, [said()], pending=False)
            assert [] == list(await first.journal.claim())
            assert [] == list(await second.journal.claim())
        assert ["theirs"] == list(await first.journal.claim())
        assert [] == list(await first.journal.claim())
        await first.journal.append("theirs", 1, [said()], pending=False)
    async with opened(tmp_path) as third:
        assert ["mine"] == list(await third.journal.claim())
        assert [third._instance.id if third._instance else ""] == [  # noqa: SLF001  # its own lock is all that is left
            path.stem for path in (tmp_path / "sqlite" / "instances").iterdir()
        ]
