"""What a turn costs, beside a loop written by hand: ratios from one run.

    uv run python tests/benchmarks/turns.py [--rounds 5] [--count 1500] [--directory DIR]

Every figure is a process of its own; the contestants take turns, and the ratios of the rounds are compared. CPU time
where nothing waits, wall time where the disk is waited for. Ratios are what counts: the machine is shared. `growth.py`
measures a session that grows, `crowd.py` many at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from figures import Part, Row, Section, print_parts
from rounds import Job, Kept, contestant, in_rounds, values

RUNS = (
    *((name, scenario) for scenario in ("turn", "tool") for name in ("floor", "fairlead", "policy")),
    *(("durable", scenario) for scenario in ("session", "turn", "tool")),
)
WAITS = {"session": 2, "turn": 2, "tool": 4}
"""How often a turn waits for the disk."""


def jobs(count: int, directory: str | None) -> list[Job]:
    return [contestant(name, scenario, count=count, directory=directory) for name, scenario in RUNS]


def parts(kept: Kept) -> Iterator[Part]:
    yield Section("A turn, CPU time", tuple(_turns(kept)), "a minimal loop by hand in the same round")
    yield Section(
        "A durable turn, wall time", tuple(_durable(kept)), "one bare wait for the disk, met between the turns"
    )


def _turns(kept: Kept) -> Iterator[Row]:
    goals = {("fairlead", "turn"): 2.4, ("policy", "tool"): 2.0}
    names = {"floor": "the loop by hand", "fairlead": "fairlead", "policy": "fairlead, 100 rules and an observer on"}
    for scenario, what in (("turn", "a turn"), ("tool", "a turn with a tool")):
        base = values(kept, f"floor {scenario}", "cpu_us")
        for name, words in names.items():
            found = values(kept, f"{name} {scenario}", "cpu_us")
            alone = (
                f"{what}{', 100 rules and an observer on' if name == 'policy' else ''}, against a minimal loop by hand"
            )
            yield Row(f"{what}, {words}", found, "us", base, goals.get((name, scenario)), alone=alone)


def _durable(kept: Kept) -> Iterator[Row]:
    whats = {"session": "a turn of one session", "turn": "a turn in a new session", "tool": "a turn with a tool"}
    for scenario, what in whats.items():
        job, waits = f"durable {scenario}", WAITS[scenario]
        disk = values(kept, job, "disk_us")
        wall = values(kept, job, "wall_us")
        yield Row(f"{what}, which has {waits} waits", wall, "us", disk)
        beyond = tuple(one - waits * wait for one, wait in zip(wall, disk, strict=True))
        goal = 300.0 if scenario == "session" else None
        yield Row(
            "what lies beyond them", beyond, "us", goal=goal, alone="a durable turn, beyond its two waits for the disk"
        )
        yield Row("CPU time", values(kept, job, "cpu_us"), "us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=0, help="turns")
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    given = parser.parse_args()
    print_parts(parts(in_rounds(jobs(given.count, given.directory), given.rounds)))


if __name__ == "__main__":
    main()
