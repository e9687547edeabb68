"""How the figures of `sandbox.py` are taken, by turns, and how they are shown: a ratio, its goal, and the verdict."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from attrs import frozen

BUSY = 1.15
"""A loop that took this much longer than its own CPU time shared its core: then figures say little."""
CROWDED = 0.3
"""And so they do where this many others, on average, wanted to run while nothing was measured."""
LOOP_SECONDS = 0.01
WORDS = {True: "met", False: "MISSED", None: ""}
Figures = Mapping[str, Sequence[float]]


@frozen
class Act:
    """Something that is done once a round, or once in several."""

    name: str
    run: Callable[[], Awaitable[float]]
    """Gives the figure, in seconds unless the act says otherwise."""
    every: int = 1
    """Rounds."""


@frozen
class Row:
    """One line of the table."""

    what: str
    value: str
    ratio: str = ""
    goal: str = ""
    met: bool | None = None
    least: str = ""
    """The same where the least was in the way: the tenth of the rounds that was the quickest."""


async def take_turns(acts: Sequence[Act], rounds: int) -> dict[str, list[float]]:
    """Every act in turn, so that a slow moment of the machine meets all of them; the first figure of each is dropped.

    An act that fails is named, and left out from then on.
    """
    found: dict[str, list[float]] = {}
    failed: set[str] = set()
    for number in range(-1, rounds):
        for act in acts:
            if (number >= 0 and number % act.every) or act.name in failed:
                continue
            try:
                figure = await act.run()
            except Exception as error:  # noqa: BLE001  # one contestant's failure shall not take the others' figures
                failed.add(act.name)
                print(f"{act.name} failed: {error!r}", file=sys.stderr, flush=True)
                continue
            if number >= 0:
                found.setdefault(act.name, []).append(figure)
        if number % 10 == 9:
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return found


def median(figures: Figures, name: str) -> float | None:
    """None where the act gave nothing."""
    found = figures.get(name)
    return statistics.median(found) if found else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not pass."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.2f} ms"


class Probe:
    """Looks, between the acts, whether anybody else uses the machine."""

    def __init__(self) -> None:
        self._others: list[int] = []
        self._stretched: list[float] = []

    async def __call__(self) -> float:
        """How much longer than its own CPU time a short loop took: 1 where nobody else wanted this core."""
        running = Path("/proc/loadavg").read_text().split()[3].partition("/")[0]
        self._others.append(int(running) - 1)
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.thread_time() - cpu < LOOP_SECONDS:
            pass
        self._stretched.append((time.perf_counter() - wall) / (time.thread_time() - cpu))
        return self._stretched[-1]

    def print_trust(self, figures: Figures) -> None:
        """Whether the machine was quiet enough, and how many rounds the medians are of."""
        half, most = statistics.median(self._stretched), quantile(self._stretched, 0.9)
        others = statistics.fmean(self._others)
        print(
            f"between the acts a loop took {half:.2f} times its CPU time (p90 {most:.2f}), and {others:.1f} others ran;"
        )
        counts = [len(values) for values in figures.values()]
        print(f"load at the end {_load()}; medians of {min(counts)} to {max(counts)} rounds")
        if most > BUSY or others > CROWDED:
            print("THE MACHINE WAS BUSY with other things: do not trust this run, not even its ratios")


def _load() -> str:
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def print_machine(engine: str) -> None:
    """What the figures belong to."""
    print(f"engine {engine}, kernel {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"cgroup v{2 if Path('/sys/fs/cgroup/cgroup.controllers').exists() else 1}, load {_load()}\n")


def print_rows(title: str, rows: Sequence[Row]) -> None:
    print(title)
    for row in rows:
        verdict = f"{row.goal:<11} {WORDS[row.met]:<7} {row.least}"
        print(f"  {row.what:<58} {row.value:>13} {row.ratio:>20}   {verdict}".rstrip())
    print(flush=True)
