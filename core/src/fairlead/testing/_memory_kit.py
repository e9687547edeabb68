"""The promises of a memory: of its journal and of its recall."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import trio

from fairlead._contracts import Recall
from fairlead.testing._applies import applies
from fairlead.testing._memory_base import APPEND, CLAIM, JournalKit, accepted, started
from fairlead.testing._memory_child import Elsewhere
from fairlead.testing._memory_events import JournalEvents
from fairlead.testing._memory_model import (
    RECALLED,
    Driver,
    Journals,
    Operation,
    operations,
    play_journal,
    play_recall,
    try_all,
)
from fairlead.testing._memory_recall import RecallNotes
from fairlead.testing._memory_sessions import JournalSessions
from fairlead.testing._worker_kit import promise, same

__all__ = ["JournalConformance", "MemoryConformance", "RecallConformance"]

NO_PROCESS = "the checks start no process of this memory: `entry_point` is empty"
KILLS = 3
APPENDS = 40
CRASH = Operation("crash", "", 0, (), pending=False)
EACH = (started(), accepted(), accepted())


class _Here(Driver):
    """The worker of the test, in this process."""

    def __init__(self, kit: JournalKit, tmp_path: Path) -> None:
        self._kit, self._path = kit, tmp_path

    async def start(self, stack: AsyncExitStack) -> Journals:
        return await stack.enter_async_context(self._kit.another(self._path))


class JournalConformance(JournalEvents, JournalSessions):
    """For a memory that offers a journal. Subclass it and override `make_worker`.

    `entry_point` (the module with the hook) lets the checks run it in a process, and kill that.
    """

    async def test_journal_is_a_dictionary(self, tmp_path: Path) -> None:
        """Random appends, conflicts, known keys, forks, erasures, claims, cancellations and restarts, in any order."""
        count = 0
        async with self.far_side(tmp_path):

            async def play(steps: list[Operation]) -> None:
                nonlocal count
                count += 1
                (tmp_path / f"play{count}").mkdir()
                await play_journal(steps, _Here(self, tmp_path / f"play{count}"), durable=self.durable)

            await try_all(operations(), play, self.sequences, self.model_seconds)

    async def test_journal_is_a_dictionary_that_survives_kills(self, tmp_path: Path) -> None:
        """The same in a process of its own, which is killed between operations."""
        applies(self.entry_point, NO_PROCESS)
        applies(self.durable, "the journal forgets when it is closed: `durable` is False")
        count = 0

        async def play(steps: list[Operation]) -> None:
            nonlocal count
            count += 1
            (tmp_path / f"play{count}").mkdir()
            child = Elsewhere(self.entry_point, self.options, tmp_path / f"play{count}")
            await play_journal([*steps, CRASH], child, durable=True)

        async with self.far_side(tmp_path):
            await try_all(operations("crash", "crash"), play, max(2, self.sequences // 8), self.model_seconds)

    async def test_killed_process_has_kept_what_it_acknowledged(self, tmp_path: Path) -> None:
        """Killed in the middle of its appends: each that returned is there, and none is there by half."""
        applies(self.entry_point, NO_PROCESS)
        applies(self.durable, "the journal forgets when it is closed: `durable` is False")
        async with self.far_side(tmp_path):
            for round_ in range(KILLS):
                acknowledged = await self.killed(tmp_path, round_)
                async with self.another(tmp_path) as journal:
                    for number in range(APPENDS):
                        count = len(await journal.read(f"r{round_}-{number}"))
                        known = await journal.find(f"k{round_}-{number}") is not None
                        whole = count == len(EACH) or (not count and number >= acknowledged)
                        promise(whole, "what append() acknowledged survives", APPEND, (number, acknowledged, count))
                        same(bool(count), known, "a key is kept with its events", APPEND)

    async def killed(self, tmp_path: Path, round_: int) -> int:
        """Kill a process that appends, at another moment each round; how many appends it acknowledged."""
        child, acknowledged = Elsewhere(self.entry_point, self.options, tmp_path), 0
        async with AsyncExitStack() as stack:
            await child.start(stack)
            async with trio.open_nursery() as nursery:

                async def write() -> None:
                    for number in range(APPENDS):
                        events = [*EACH[:-1], accepted(f"k{round_}-{number}")]
                        await child.append_soon(f"r{round_}-{number}", events)

                nursery.start_soon(write)
                for _ in range(round_ * 7 + 1):
                    await child.answer()
                    acknowledged += 1
                nursery.cancel_scope.cancel()
            await child.crash()
        return acknowledged

    async def test_sessions_of_a_killed_process_are_taken_over(self, tmp_path: Path) -> None:
        """By the next one, once; those of a living process are not."""
        applies(self.entry_point, NO_PROCESS)
        applies(self.durable, "the journal forgets when it is closed: `durable` is False")
        async with self.far_side(tmp_path):
            child = Elsewhere(self.entry_point, self.options, tmp_path)
            async with AsyncExitStack() as stack:
                await child.start(stack)
                await child.append("busy", 0, [started(), accepted("k")], pending=True)
                await child.append("done", 0, [started()], pending=False)
                if self.shared:
                    async with self.another(tmp_path) as journal:
                        same([], list(await journal.claim()), "a session is not taken from a living process", CLAIM)
                await child.crash()
            async with self.another(tmp_path) as journal:
                same(["busy"], list(await journal.claim()), "what a dead process left is taken over", CLAIM)
                same([], list(await journal.claim()), "nobody gets the same one again", CLAIM)


class RecallConformance(RecallNotes):
    """For a memory that offers recall. Subclass it and override `make_worker`."""

    async def test_recall_is_a_dictionary(self, tmp_path: Path) -> None:
        """Random notes, replacements, erasures, searches and restarts, in any order."""
        count = 0
        async with self.far_side(tmp_path):

            async def play(steps: list[tuple[str, str, str, str]]) -> None:
                nonlocal count
                count += 1
                place = tmp_path / f"play{count}"
                place.mkdir()

                async def start(stack: AsyncExitStack) -> Recall:
                    return self.recall(await stack.enter_async_context(self.worker(place)))

                await play_recall(steps, start, lasting=self.lasting)

            await try_all(RECALLED, play, self.sequences, self.model_seconds)


class MemoryConformance(JournalConformance, RecallConformance):
    """For a memory that offers both facets."""
