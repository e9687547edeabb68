"""Many sessions at once: three turns each, a tool in each turn, a model that takes 50 ms; 0.3 s were ideal.

    uv run python tests/benchmarks/crowd.py [--rounds 3] [--sessions 1000,10000] [--directory DIR]

With 100 rules, the origins of all words and an observer on, in memory and durable, beside the loop by hand: wall and
CPU time, memory at the peak and of a session that waits, and how long a turn took whom it took longest.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence

from attrs import evolve
from figures import Grid, Part, Row, Section, print_parts, shown
from rounds import Job, Kept, contestant, in_rounds, values
from scenarios import MODEL_SECONDS, TURNS_IN_A_CROWD

SIZES = (1_000, 10_000)
GOAL, GOAL_SIZE = 1.7, 1_000
IDEAL = TURNS_IN_A_CROWD * 2 * MODEL_SECONDS
NAMES = {"floor": "the loop by hand", "policy": "in memory", "durable": "durable"}


def jobs(size: int, directory: str | None) -> list[Job]:
    made = [contestant(name, "crowd", count=size, directory=directory) for name in NAMES]
    return [evolve(job, name=f"{job.name} {size}") for job in made]


COLUMNS = {
    "wall_s": ("wall", "s"),
    "cpu_s": ("CPU", "s"),
    "peak_mb": ("memory at the peak", "MB"),
    "idle_kb": ("of a session that waits", "kB"),
    "p50_ms": ("a turn, median", "ms"),
    "p99_ms": ("a turn, p99", "ms"),
}


def parts(kept: Kept, crowds: Sequence[int]) -> Iterator[Part]:
    for size in crowds:
        title = f"{size:,} sessions at once, and ratios to the loop by hand; {IDEAL:g} s were ideal"
        yield Grid(title, ("", *(head for head, _ in COLUMNS.values())), tuple(_lines(kept, size)))
    for size in crowds:
        goal = GOAL if size == GOAL_SIZE else None
        alone = f"{size:,} sessions, 3 turns each, a tool in each, a model of 50 ms, 100 rules and an observer on"
        rows = [
            Row(f"wall, {NAMES[name]}", _of(kept, name, size), "s", _of(kept, "floor", size), limit, alone=alone)
            for name, limit in (("policy", goal), ("durable", None))
        ]
        yield Section(f"{size:,} sessions at once", tuple(rows), "the loop by hand in the same round")


def _of(kept: Kept, name: str, size: int, figure: str = "wall_s") -> tuple[float, ...]:
    return values(kept, f"{name} crowd {size}", figure)


def _lines(kept: Kept, size: int) -> Iterator[tuple[str, ...]]:
    for name, words in NAMES.items():
        cells = []
        for figure, (_, unit) in COLUMNS.items():
            found, base = (statistics.median(_of(kept, who, size, figure)) for who in (name, "floor"))
            cells.append(shown(found, unit) + (f" ({found / base:.1f}x)" if name != "floor" else ""))
        yield words, *cells


def sizes(text: str) -> list[int]:
    """As they are given: ``1000,10000``."""
    return [int(size) for size in text.split(",")]


def measure(crowds: Sequence[int], rounds: int, directory: str | None) -> Kept:
    """The larger a crowd, the fewer its rounds: it is its own average."""
    kept: Kept = {}
    for size in crowds:
        kept |= in_rounds(jobs(size, directory), max(1, min(rounds, rounds * GOAL_SIZE // size)))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=sizes, default=list(SIZES))
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    given = parser.parse_args()
    kept = measure(given.sessions, given.rounds, given.directory)
    print_parts(parts(kept, given.sessions))


if __name__ == "__main__":
    main()
