"""What a turn costs, beside a loop written by hand: one table of ratios from one run.

    uv run python tests/benchmarks/turns.py [--rounds 3] [--directory DIR]

Every figure is a process of its own; the contestants take turns, and the medians of the rounds are compared. CPU time
where nothing waits, wall time where the disk or a model is waited for. Ratios are what counts: the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
RUNS = [
    ("floor", "turn"),
    ("fairlead", "turn"),
    ("policy", "turn"),
    ("floor", "tool"),
    ("fairlead", "tool"),
    ("policy", "tool"),
    ("durable", "turn"),
    ("durable", "tool"),
    ("fairlead", "grow"),
    ("durable", "grow"),
    ("floor", "sessions"),
    ("policy", "sessions"),
    ("durable", "sessions"),
]
Figures = dict[tuple[str, str], dict[str, float]]


def measure(contestant: str, scenario: str, directory: str | None) -> dict[str, float]:
    command = [sys.executable, str(HERE / "contestants.py"), contestant, scenario]
    if directory:
        command += ["--directory", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contestant} {scenario} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def all_rounds(rounds: int, directory: str | None) -> Figures:
    kept: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for contestant, scenario in RUNS:
            for name, value in measure(contestant, scenario, directory).items():
                kept[contestant, scenario][name].append(value)
            print(f"round {number + 1}: {contestant} {scenario}", file=sys.stderr, flush=True)
    return {run: {name: statistics.median(values) for name, values in found.items()} for run, found in kept.items()}


def row(what: str, value: float, unit: str, ratio: float, goal: str) -> None:
    print(f"{what:<48} {value:>10.1f} {unit:<3} {ratio:>7.2f}x  {goal}")


def print_table(figures: Figures) -> None:
    floor_turn, floor_tool = figures["floor", "turn"]["cpu_us"], figures["floor", "tool"]["cpu_us"]
    print(f"{'CPU time of a turn, against the floor':<48} {'':>14} {'ratio':>8}  goal")
    for contestant, goal in (("floor", ""), ("fairlead", "<= 2.4x"), ("policy", "")):
        value = figures[contestant, "turn"]["cpu_us"]
        row(f"turn, {contestant}", value, "us", value / floor_turn, goal)
    for contestant, goal in (("floor", ""), ("fairlead", ""), ("policy", "<= 2x")):
        value = figures[contestant, "tool"]["cpu_us"]
        row(f"turn with a tool, {contestant}", value, "us", value / floor_tool, goal)
    print("\nwall time of a durable turn, against one wait for the disk, measured between the turns")
    grown = figures["durable", "grow"]
    row(
        "one wait in a thread, which stalls nobody", grown["beside_us"], "us", grown["beside_us"] / grown["disk_us"], ""
    )
    for what, found, wall, waits in (
        ("one session", grown, grown["wall_us"], 2),
        ("a new session each", figures["durable", "turn"], figures["durable", "turn"]["wall_us"], 2),
        ("with a tool", figures["durable", "tool"], figures["durable", "tool"]["wall_us"], 4),
    ):
        beyond, beside = wall - waits * found["disk_us"], wall - waits * found["beside_us"]
        goal = "<= 300 us beyond 2 waits" if what == "one session" else ""
        label = f"{what}: {waits} waits + {beyond:.0f} us (in threads + {beside:.0f})"
        row(label, wall, "us", wall / found["disk_us"], goal)
    print("\ngrowth of one session, against its turn 100")
    for contestant in ("fairlead", "durable"):
        found = figures[contestant, "grow"]
        for mark in (100, 1_000, 3_000):
            value = found[f"wall_us_{mark}"]
            row(
                f"turn {mark:,}, {contestant}",
                value,
                "us",
                value / found["wall_us_100"],
                "flat" if mark == 3_000 else "",
            )
    print("\n1,000 sessions x 3 turns x 1 tool, a model of 50 ms, against the floor")
    floor = figures["floor", "sessions"]
    for contestant, goal in (("floor", ""), ("policy", "<= 1.7x"), ("durable", "")):
        found = figures[contestant, "sessions"]
        row(
            f"wall, {contestant} ({found['peak_mb']:.0f} MB)",
            found["wall_s"],
            "s",
            found["wall_s"] / floor["wall_s"],
            goal,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    given = parser.parse_args()
    print_table(all_rounds(given.rounds, given.directory))


if __name__ == "__main__":
    main()
