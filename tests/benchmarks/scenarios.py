"""What is measured, the same for us and for the others: written against one function, `ask`, on any event loop.

Only the standard library, for it runs in the others' environments too. Every answer is checked. Times are medians in
microseconds unless a name says otherwise; CPU time is that of the whole process, with all its threads.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

MODEL_SECONDS = 0.05
"""How long the model takes to answer in a crowd."""
TURNS_IN_A_CROWD = 3
MARKS = (10, 100, 1_000, 3_000, 10_000)
"""Turns of a session at which its growth is looked at."""
LATE = 1_000
"""The turn after which the last decade begins."""
YOUNG = 100
"""Turns that a young session has at most."""
NEIGHBOUR = 5
"""After so many turns of a session that grows comes one of a young session."""

Ask = Callable[[str, str], Awaitable[str]]
"""Session and text: the answer's text."""
After = Callable[[int], Awaitable[None]]
"""Something to do after each turn, which is not measured."""
Together = Callable[[Sequence[Callable[[], Awaitable[None]]]], Awaitable[None]]
"""Run all of them at once, to the end."""
Found = dict[str, float]


def checked(answer: str, *, tool: bool) -> None:
    """The model was asked, and its tool was called."""
    if answer != ("3" if tool else "done"):
        raise SystemExit(f"the answer was {answer!r}")


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def settled_mb() -> float:
    """What is resident when all that is not needed has been given back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    return resident_mb()


class Watch:
    """CPU and wall time of each turn."""

    def __init__(self, ask: Ask, *, tool: bool) -> None:
        self._ask, self._tool = ask, tool
        self.cpu: list[float] = []
        self.wall: list[float] = []

    async def turn(self, session: str, text: str) -> None:
        before, started = time.process_time_ns(), time.perf_counter_ns()
        answer = await self._ask(session, text)
        self.wall.append((time.perf_counter_ns() - started) / 1000)
        self.cpu.append((time.process_time_ns() - before) / 1000)
        checked(answer, tool=self._tool)

    def medians(self, since: int = 0, until: int | None = None, name: str = "") -> Found:
        window = slice(since, until)
        end = f"_{name}" if name else ""
        return {
            f"cpu_us{end}": statistics.median(self.cpu[window]),
            f"wall_us{end}": statistics.median(self.wall[window]),
        }


async def each_in_its_own_session(
    ask: Ask, count: int, *, tool: bool, seconds: float = 60.0, after: After | None = None
) -> Found:
    """A turn in a fresh session. It ends early after so many seconds."""
    watch, warm = Watch(ask, tool=tool), max(1, min(200, count // 5))
    until = time.monotonic() + seconds
    for turn in range(warm + count):
        await watch.turn(f"t{turn}", "hello there")
        if after is not None:
            await after(turn)
        if turn > warm and time.monotonic() > until:
            break
    return {**watch.medians(warm), "turns": len(watch.cpu) - warm}


async def all_in_one_session(ask: Ask, count: int, *, tool: bool, after: After | None = None) -> Found:
    """A turn in a session that goes on."""
    watch, warm = Watch(ask, tool=tool), max(1, min(50, count // 5))
    for turn in range(warm + count):
        await watch.turn("one", f"message {turn}")
        if after is not None:
            await after(turn)
    return watch.medians(warm)


async def one_that_grows(ask: Ask, count: int, *, seconds: float = 600.0, beside: bool = True) -> Found:
    """One session: turns around 10, 100, 1,000 ..., and what it keeps of a turn in memory.

    `beside`: every fifth turn is followed by one of a session that is never older than `YOUNG` turns; what a turn costs
    against its neighbour there tells growth from a machine that slows down. It ends early after so many seconds;
    `reached` is its last turn.
    """
    old, young = Watch(ask, tool=False), Watch(ask, tool=False)
    for turn in range(min(50, count)):
        await ask("warm", f"message {turn}")
    until = time.monotonic() + seconds
    base = settled_mb()
    for turn in range(count):
        await old.turn("grow", f"message {turn}")
        if beside and turn % NEIGHBOUR == 0:
            await young.turn(f"young {turn // (YOUNG * NEIGHBOUR)}", f"message {turn}")
        if time.monotonic() > until:
            break
    reached = len(old.cpu)
    kept = (settled_mb() - base) * 2**20 / (reached + len(young.cpu))
    found = {"reached": float(reached), "bytes_per_turn": kept}
    for mark in {*(mark for mark in MARKS if mark <= reached), reached}:
        name, first = "last" if mark == reached else str(mark), max(0, mark - max(3, mark // 10))
        found |= old.medians(first, mark, name)
        if beside and mark >= YOUNG:
            there = young.medians(first // NEIGHBOUR, mark // NEIGHBOUR + 1)
            found[f"cpu_ratio_{name}"] = found[f"cpu_us_{name}"] / there["cpu_us"]
            found[f"wall_ratio_{name}"] = found[f"wall_us_{name}"] / there["wall_us"]
    if beside and reached > LATE:  # means, which have the pauses of garbage collection in them
        found["cpu_ratio_late"] = statistics.fmean(old.cpu[LATE:]) / statistics.fmean(young.cpu[LATE // NEIGHBOUR :])
    return found


async def goes_on(ask: Ask, opened_s: float) -> Found:
    """The session that grew, in a process that has just opened the journal: its first turn, and those after it."""
    first, rest = Watch(ask, tool=False), Watch(ask, tool=False)
    before = settled_mb()
    await first.turn("grow", "are you there?")
    after = settled_mb()
    for turn in range(20):
        await rest.turn("grow", f"message {turn}")
    return {
        "open_ms": opened_s * 1000,
        "first_ms": first.wall[0] / 1000,
        "first_cpu_ms": first.cpu[0] / 1000,
        "grown_mb": after - before,
        **rest.medians(),
    }


async def many_at_once(ask: Ask, sessions: int, together: Together) -> Found:
    """Sessions side by side, three turns each, one tool call in each turn, a model of 50 ms.

    `idle_kb`: what a session holds that waits for its next message. `p50_ms`, `p99_ms`: how long a turn took.
    """
    took: list[float] = []

    def talk(session: int) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            for turn in range(TURNS_IN_A_CROWD):
                started = time.perf_counter()
                answer = await ask(f"c{session}", f"message {turn}")
                took.append((time.perf_counter() - started) * 1000)
                checked(answer, tool=True)

        return act

    checked(await ask("warm", "hello"), tool=True)
    acts = [talk(session) for session in range(sessions)]
    base = settled_mb()
    started, before = time.perf_counter(), time.process_time()
    await together(acts)
    wall, cpu = time.perf_counter() - started, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cuts = statistics.quantiles(took, n=100)
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_mb": peak,
        "idle_kb": (settled_mb() - base) * 1024 / sessions,
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
    }
