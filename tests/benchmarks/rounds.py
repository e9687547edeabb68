"""Programs that are run in turn, round by round, each a process of its own; what they print is kept by round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

__all__ = ["Failed", "Job", "Kept", "contestant", "in_rounds", "run"]

HERE = Path(__file__).parent
SLOWEST = 900.0
"""Seconds for one program."""

Kept = dict[str, dict[str, list[float]]]
"""By the name of the job and of the figure: one value for each round."""


class Failed(Exception):
    """A program did not print its figures; the words are the last that it said."""

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        """With which it ended; None where it was stopped."""


@frozen
class Job:
    """One program of a round."""

    name: str
    command: tuple[str, ...]
    every: int = 1
    """It is run in each round that this divides, the first among them."""
    facts: dict[str, Any] = field(factory=dict, eq=False)
    """What it prints beside its figures, kept from its last run."""


def contestant(name: str, scenario: str, *, count: int = 0, directory: str | None = None, **more: bool) -> Job:
    """One of `contestants.py`, called `NAME SCENARIO`."""
    command = [sys.executable, str(HERE / "contestants.py"), name, scenario]
    command += ["--count", str(count)] if count else []
    command += ["--directory", directory] if directory else []
    command += [f"--{word}" for word, given in more.items() if given]
    return Job(f"{name} {scenario}", tuple(command))


def run(command: Sequence[str], seconds: float = SLOWEST) -> dict[str, Any]:
    """The JSON object that a program prints last. `Failed`."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would make every import a compilation
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {seconds:g} s") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        said = done.stderr.strip().splitlines()
        raise Failed(said[-1][-300:] if said else f"ended with status {done.returncode}", done.returncode)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def in_rounds(jobs: Sequence[Job], rounds: int, failed: dict[str, str] | None = None) -> Kept:
    """Every job in turn, so that a slow moment of the machine meets all of them.

    One that fails ends the program, or where a place is given for it, is named there and left out from then on.
    """
    kept: Kept = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for job in jobs:
            if number % job.every or (failed is not None and job.name in failed):
                continue
            print(f"round {number + 1} of {rounds}: {job.name}", file=sys.stderr, flush=True)
            try:
                found = run(job.command)
            except Failed as failure:
                if failed is None:
                    raise SystemExit(f"{job.name} failed: {failure}") from None
                failed[job.name] = str(failure)
                print(f"{job.name} failed: {failure}", file=sys.stderr, flush=True)
                continue
            for name, value in found.items():
                if isinstance(value, float | int):
                    kept[job.name][name].append(float(value))
                else:
                    job.facts[name] = value
    return kept


def values(kept: Mapping[str, Mapping[str, Sequence[float]]], job: str, figure: str) -> tuple[float, ...]:
    """One figure of one job, by round."""
    return tuple(kept.get(job, {}).get(figure, ()))
