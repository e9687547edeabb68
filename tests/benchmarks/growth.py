"""One session that grows to turn 10,000: what its turns cost, what they keep in memory, and what reopening it costs.

    uv run python tests/benchmarks/growth.py [--rounds 3] [--count 10000] [--directory DIR]

With 100 rules, the origins of all words and an observer on, in memory and durable. Every fifth turn is followed by one
of a young session in the same process: the ratio to its neighbour tells growth from a machine that slows down. The
loop by hand runs beside them. `peers.py` does the same with other frameworks.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator

from figures import Grid, Part, Row, Section, print_parts, shown
from rounds import Job, Kept, contestant, in_rounds, values
from scenarios import LATE, MARKS

FLAT = 1.15
"""Against turns of a young session at the same time."""
NAMES = {
    "floor": "the loop by hand",
    "policy": "in memory",
    "durable": "durable",
}


def jobs(count: int, directory: str) -> list[Job]:
    """`directory`: of this run alone; the session that grew there is opened again."""
    kept = [
        contestant("durable", scenario, count=count, directory=directory, keep=True) for scenario in ("grow", "reopen")
    ]
    return [*(contestant(name, "grow", count=count) for name in ("floor", "policy")), *kept]


def parts(kept: Kept) -> Iterator[Part]:
    """Turns as they come; whether the last is still what a young session's turn costs; and opening it again."""
    heads = ("", *(f"turn {turn}" for _, turn in marks(kept)), "a turn keeps in memory")
    yield Grid("A session that grows, CPU us of a turn", heads, tuple(_turns(kept)))
    yield Section("Its last turns", tuple(_last(kept)), "a young session's turns at the same time")
    yield Section("Opening it again, in another process", tuple(_reopened(kept)))


def marks(kept: Kept) -> list[tuple[str, str]]:
    """What the figures of a mark are called, and which turn it is."""
    last = int(min(values(kept, "policy grow", "reached")))
    return [*((str(mark), f"{mark:,}") for mark in MARKS if mark < last), ("last", f"{last:,}")]


def _turns(kept: Kept) -> Iterator[tuple[str, ...]]:
    for name, words in NAMES.items():
        cells = []
        for mark, _ in marks(kept):
            found, base = (statistics.median(values(kept, f"{who} grow", f"cpu_us_{mark}")) for who in (name, "floor"))
            cells.append(shown(found, "") + (f" ({found / base:.1f}x)" if name != "floor" else ""))
        yield words, *cells, shown(statistics.median(values(kept, f"{name} grow", "bytes_per_turn")), "bytes")


def _last(kept: Kept) -> Iterator[Row]:
    mark, turn = marks(kept)[-1]
    for name, words in NAMES.items():
        found = values(kept, f"{name} grow", f"cpu_us_{mark}")
        ratios = values(kept, f"{name} grow", f"cpu_ratio_{mark}")
        base = tuple(value / ratio for value, ratio in zip(found, ratios, strict=False))  # none of the first turns
        alone = f"turn {turn} of a session against a young session's, {words}"
        yield Row(f"turn {turn}, {words}", found, "us", base, FLAT if name != "floor" else None, alone=alone)
    for name, words in NAMES.items():
        late = values(kept, f"{name} grow", "cpu_ratio_late")
        if late:
            yield Row(f"all from turn {LATE:,} on, with garbage collection, {words}", late, "x")


def _reopened(kept: Kept) -> Iterator[Row]:
    whats = {
        "open_ms": ("until the app is open", "ms"),
        "first_ms": ("the first turn, which reads the whole session", "ms"),
        "first_cpu_ms": ("its CPU time", "ms"),
        "grown_mb": ("memory of the session", "MB"),
        "cpu_us": ("CPU time of each turn after it", "us"),
    }
    for figure, (what, unit) in whats.items():
        yield Row(what, values(kept, "durable reopen", figure), unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000, help="turns")
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    given = parser.parse_args()
    print_parts(parts(measure(given.count, given.rounds, given.directory)))


def measure(count: int, rounds: int, directory: str | None) -> Kept:
    """Each round has a journal of its own, or the second would begin at turn 10,001."""
    kept: Kept = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=directory) as place:
            for job, found in in_rounds(jobs(count, place), 1).items():
                for figure, each in found.items():
                    kept.setdefault(job, {}).setdefault(figure, []).extend(each)
    return kept


if __name__ == "__main__":
    main()
