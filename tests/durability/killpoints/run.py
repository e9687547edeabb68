"""Kills processes at every point of every workload: ``python -m tests.durability.killpoints.run --help``.

A process is forked for each life from one that has imported all it needs, on files of its own. The first life of a
point dies at the n-th act; the next one goes on with the files until all is at rest, and then it is looked at what
all lives together have done. Points of a second kind kill the second life as well, while it puts in order what the
first one has left.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from .checks import faults
from .life import live, warm_up
from .trap import MODES, Mode, Trap
from .waits import WORKLOADS
from .workloads import Report
from .world import World

__all__ = ["Point", "Tally", "look", "main"]

LIFE_SECONDS = 25.0
MOST_LIVES = 4
SLOW_SECONDS = 2.0
STATIONS = 4
"""Deaths of the first life, for each workload, behind which also the second one is killed, at each of its acts."""


@frozen
class Point:
    """Where lives end: the act of each, counted from 1, and how."""

    workload: str
    at: tuple[int, ...]
    mode: Mode = "kill"

    def __str__(self) -> str:
        return f"{self.workload} {self.mode} {'+'.join(map(str, self.at))}"


@define
class Life:
    """What one process said, and whether it was killed."""

    told: list[list[Any]]
    killed: bool
    code: int
    """As `waitpid` gives it: 0 for a natural end."""
    stuck: bool = False


@define
class Tally:
    """What a run amounts to."""

    points: int = 0
    """Distinct ones that killed a process."""
    missed: int = 0
    """Acts that did not come this time."""
    faults: list[str] = field(factory=list)
    by_workload: dict[str, int] = field(factory=dict)
    by_mode: dict[str, int] = field(factory=dict)

    def add(self, other: dict[str, Any]) -> None:
        self.points += other["points"]
        self.missed += other["missed"]
        self.faults += other["faults"]
        for mine, theirs in ((self.by_workload, other["by_workload"]), (self.by_mode, other["by_mode"])):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count

    def count(self, point: Point) -> None:
        self.points += 1
        self.by_workload[point.workload] = self.by_workload.get(point.workload, 0) + 1
        name = point.mode if len(point.at) == 1 else "again"
        self.by_mode[name] = self.by_mode.get(name, 0) + 1


def run_life(workload: str, directory: Path, trap: Trap, acknowledged: frozenset[str], life: int) -> Life:
    """Fork a process, let it live, and read what it said, also with its last breath."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            world = World(writing, trap, directory / "world", acknowledged, life)
            trap.on_death = lambda act: world.report("died", act.kind, act.on, act.unsynced)
            live(workload, world, directory / "files")
            code = 0
        except BaseException:  # noqa: BLE001  # whatever it is belongs into the report
            os.write(writing, json.dumps(["broke", traceback.format_exc()[-3000:]]).encode() + b"\n")
        finally:
            os._exit(code)
    os.close(writing)
    data, stuck = _read(reading, child)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    told = [json.loads(line) for line in data.splitlines()]
    killed = os.WIFSIGNALED(status) and any(words[0] == "died" for words in told)
    return Life(told, killed, status, stuck)


def _read(pipe: int, child: int) -> tuple[bytes, bool]:
    data, deadline = b"", time.monotonic() + LIFE_SECONDS
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            return data, True
        found = os.read(pipe, 1 << 16)
        if not found:
            return data, False
        data += found


def run_point(point: Point, base: Path) -> tuple[bool, list[str]]:
    """Whether a process was killed at the last act of the point, and what is wrong then."""
    directory = base / "point"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "world").mkdir(parents=True)
    told: list[list[Any]] = []
    reached = False
    for life in range(1, MOST_LIVES + 1):
        at = point.at[life - 1] if life <= len(point.at) else 0
        acknowledged = frozenset(words[1] for words in told if words[0] == "acknowledged")
        lived = run_life(point.workload, directory, Trap(at, point.mode), acknowledged, life)
        told += lived.told
        if lived.stuck or not (lived.killed or lived.code == 0):
            said = next((words[1] for words in lived.told if words[0] == "broke"), f"status {lived.code}")
            return reached, [f"{point}: life {life} {'is stuck' if lived.stuck else 'broke'}: {said}"]
        if life == len(point.at):
            reached = lived.killed
        if not lived.killed and life > 1:
            break
    return reached, [f"{point}: {fault}" for fault in look(point, directory, told, lived.told)]


def look(point: Point, directory: Path, told: list[list[Any]], last: list[list[Any]]) -> Iterator[str]:
    """What is wrong after all lives, of which `last` is what the last one said."""
    sessions = {words[1]: words[2] for words in last if words[0] == "session"}
    files = b"".join(path.read_bytes() for path in (directory / "files").rglob("*") if path.is_file())
    play = WORKLOADS[point.workload](World(-1, Trap(), directory / "world"))
    found = list(faults(play, Report(told, sessions, files)))
    if found:
        deaths = [words[1:] for words in told if words[0] == "died"]
        yield from (f"{fault} (died before {deaths})" for fault in found)


def acts_of(workload: str, base: Path, at: int = 0) -> list[list[Any]]:
    """The acts of a life that is not killed; of the second one, where the first is killed at `at`."""
    directory = base / "dry"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "world").mkdir(parents=True)
    acknowledged: frozenset[str] = frozenset()
    lived = run_life(workload, directory, Trap(at), acknowledged, 1)
    if at:
        acknowledged = frozenset(words[1] for words in lived.told if words[0] == "acknowledged")
        lived = run_life(workload, directory, Trap(), acknowledged, 2)
    for words in lived.told:
        if words[0] == "acts":
            found: list[list[Any]] = words[2]
            return found
    raise AssertionError(f"{workload}: {lived.told[-1:]}")


def points_of(workload: str, base: Path, stations: int = STATIONS) -> list[Point]:
    """Every act, in each way in which it can go wrong; and those of second lives."""
    acts = acts_of(workload, base)
    points = []
    for place, (kind, _, unsynced) in enumerate(acts, 1):
        points.append(Point(workload, (place,)))
        if kind == "write":
            points.append(Point(workload, (place,), "torn"))
        if unsynced:
            points.append(Point(workload, (place,), "power"))
    for station in range(1, stations + 1):
        first = len(acts) * station // (stations + 1)
        second = len(acts_of(workload, base, first))
        points += [Point(workload, (first, place)) for place in range(1, second + 1)]
    return points


def sample(points: Sequence[Point], size: int, seed: int) -> list[Point]:
    """So many, the same number of each workload, at places that are drawn; those with a name are never left out."""
    chance = random.Random(seed)  # noqa: S311  # places, not secrets
    by_workload: dict[str, list[Point]] = {}
    for point in points:
        by_workload.setdefault(point.workload, []).append(point)
    each = max(1, size // len(by_workload))
    return [point for found in by_workload.values() for point in chance.sample(found, min(each, len(found)))]


def work(points: Sequence[Point], base: Path, told: int, until: float, *, verbose: bool) -> None:
    """One of the processes that share a run: writes its tally to `told`. It ends at `until`, wherever it is then."""
    tally = Tally()
    for number, point in enumerate(points, 1):
        began = time.monotonic()
        if began > until:
            break
        reached, found = run_point(point, base)
        if verbose and time.monotonic() - began > SLOW_SECONDS:
            sys.stderr.write(f"{point} took {time.monotonic() - began:.1f} s\n")
        if reached:
            tally.count(point)
        else:
            tally.missed += 1
        tally.faults += found
        if verbose and (found or number % 500 == 0):
            sys.stderr.write(f"{number}/{len(points)} {' '.join(found)[:500]}\n")
    with os.fdopen(told, "w") as file:
        json.dump(
            {
                "points": tally.points,
                "missed": tally.missed,
                "faults": tally.faults,
                "by_workload": tally.by_workload,
                "by_mode": tally.by_mode,
            },
            file,
        )


def share(points: Sequence[Point], base: Path, workers: int, until: float, *, verbose: bool) -> Tally:
    """Run all points in several processes."""
    children = []
    for number in range(workers):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(reading)
                mine = base / f"worker{number}"
                mine.mkdir()
                work(points[number::workers], mine, writing, until, verbose=verbose)
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        children.append((child, reading))
    tally = Tally()
    for child, reading in children:
        with os.fdopen(reading) as file:
            said = file.read()
        os.waitpid(child, 0)
        if said:
            tally.add(json.loads(said))
        else:
            tally.faults.append("a worker broke")
    return tally


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.durability.killpoints.run", description=__doc__)
    parser.add_argument("--points", default=os.environ.get("FAIRLEAD_KILL_POINTS", "150"), help="all, or how many")
    parser.add_argument("--workload", action="append", choices=sorted(WORKLOADS), help="only these")
    parser.add_argument("--at", help="one point: 17, or 17+4 for two lives")
    parser.add_argument("--mode", choices=MODES, default="kill")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so many, with what was done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    until = began + options.minutes * 60
    names = options.workload or list(WORKLOADS)
    shared = Path("/dev/shm")  # noqa: S108  # in memory: it shall not be the disk that is waited for
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as made:
        base = Path(made)
        null = os.open(os.devnull, os.O_WRONLY)
        warm_up(base / "warm", null)
        if options.at:
            points = [Point(names[0], tuple(int(place) for place in options.at.split("+")), options.mode)]
        else:
            whole = options.points == "all"
            points = [point for name in names for point in points_of(name, base, STATIONS if whole else 1)]
            # The plain death before each act first, so that a run which is ended early has these all.
            points.sort(key=lambda point: (len(point.at), MODES.index(point.mode)))
            if not whole:
                points = sample(points, int(options.points), options.seed)
        tally = share(points, base, min(options.workers, len(points)), until, verbose=options.verbose)
    for fault in tally.faults:
        say(f"fault: {fault}")
    for name, count in tally.by_workload.items():
        say(f"{name:24} {count:5}")
    modes = ", ".join(f"{count} {mode}" for mode, count in sorted(tally.by_mode.items()))
    say(
        f"{tally.points} kill points of {len(tally.by_workload)} workloads ({modes}; {tally.missed} did not come),"
        f" {len(tally.faults)} faults, {time.monotonic() - began:.0f} s"
    )
    return 1 if tally.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
