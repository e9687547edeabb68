"""One session that grows to turn 10,000: what its turns cost, what they keep in memory, and what reopening it costs.

    uv run python tests/benchmarks/growth.py [--rounds 3] [--count 10000] [--directory DIR]

With 100 rules, the origins of all words and an observer on, in memory and durable. Every fifth turn is followed by one
of a young session in the same process: the ratio to its neighbour tells growth from a machine that slows down. The
loop by hand runs beside them. `peers.py --only-growth` does the same with other frameworks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator

from figures import Part, Row, Section, print_parts
from rounds import Job, Kept, contestant, in_rounds, values
from scenarios import MARKS

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
    yield Section(
        "A session that grows, CPU time of a turn", tuple(_turns(kept)), "a young session's turns at the same time"
    )
    yield Section("The same turns", tuple(_beside_the_floor(kept)), "the loop by hand at the same turn")
    yield Section("Opening it again, in another process", tuple(_reopened(kept)))


def marks(kept: Kept) -> list[tuple[str, str]]:
    """What the figures of a mark are called, and which turn it is."""
    last = int(min(values(kept, "policy grow", "reached")))
    return [*((str(mark), f"{mark:,}") for mark in MARKS if mark < last), ("last", f"{last:,}")]


def _turns(kept: Kept) -> Iterator[Row]:
    for name, words in NAMES.items():
        for mark, turn in marks(kept):
            found = values(kept, f"{name} grow", f"cpu_us_{mark}")
            ratio = values(kept, f"{name} grow", f"cpu_ratio_{mark}")
            goal = FLAT if mark == "last" and name != "floor" else None
            yield Row(f"turn {turn}, {words}", found, "us", _base(found, ratio), goal)


def _base(found: tuple[float, ...], ratios: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(value / ratio for value, ratio in zip(found, ratios, strict=False))  # none of the first turns


def _beside_the_floor(kept: Kept) -> Iterator[Row]:
    for name in ("policy", "durable"):
        for mark, turn in marks(kept):
            if mark in {"100", "last"}:
                found, base = (values(kept, f"{who} grow", f"cpu_us_{mark}") for who in (name, "floor"))
                yield Row(f"turn {turn}, {NAMES[name]}", found, "us", base)
    for name, words in NAMES.items():
        yield Row(f"memory that a turn keeps, {words}", values(kept, f"{name} grow", "bytes_per_turn"), "bytes")


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
