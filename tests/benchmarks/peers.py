"""The same beside other frameworks: their turns, their stores, their crowds, and how they behave; ratios from one run.

    uv run python tests/benchmarks/peers.py [--rounds 3] [--only agno,langgraph] [--seconds 30]

Each is installed with uv from PyPI, in the version that is pinned here, into an environment of its own below --cache,
and does with its public API what `contestants.py` does with ours (see `peer_harness.py`). One that cannot be installed
or fails is named. With ours, 100 rules and an observer are on. --seconds: of one session that grows, for each.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from figures import Part, print_parts
from peer_tables import OURS, PINS, STORES, parts
from rounds import HERE, Failed, Job, Kept, contestant, in_rounds, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fairlead-benchmarks"


@frozen
class Beside:
    """What is run: for each framework the Python of its environment."""

    pythons: Mapping[str, Path]
    failed: dict[str, str] = field(factory=dict)
    """What went wrong, by what was asked."""
    versions: dict[str, str] = field(factory=dict)
    """What each of them told of itself and what it stands on."""

    def job(self, name: str, scenario: str, *words: str, label: str = "") -> Job:
        command = (str(self.pythons[name]), "-W", "ignore", str(HERE / f"peer_{name}.py"), scenario, *words)
        return Job(f"{name} {label or scenario}", command)


def install(names: Sequence[str], cache: Path) -> Beside:
    """Make the environments that are not there."""
    beside = Beside({})
    pythons = {}
    for name in names:
        place = cache / "-".join(pin.replace("==", "-") for pin in PINS[name])
        python = place / "bin" / "python"
        try:
            if not (place / "ready").exists():
                print(f"installing {', '.join(PINS[name])}", file=sys.stderr, flush=True)
                _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(place))
                _uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *PINS[name])
                (place / "ready").touch()
            pythons[name] = python
        except (subprocess.CalledProcessError, OSError) as error:
            said = getattr(error, "stderr", "") or str(error)
            beside.failed[f"{name} install"] = said.strip().splitlines()[-1][-200:]
            print(f"{name} cannot be installed: {said}", file=sys.stderr, flush=True)
    return evolve(beside, pythons=pythons)


def _uv(*words: str) -> None:
    subprocess.run(["uv", *words], check=True, capture_output=True, text=True)


def measure(beside: Beside, given: argparse.Namespace) -> Kept:
    """By rounds what is short; once what is long."""
    jobs = [contestant("floor", scenario, count=given.count) for scenario in ("turn", "tool")]
    jobs += [contestant("policy", scenario, count=given.count) for scenario in ("turn", "tool")]
    jobs += [contestant("durable", "tool", count=given.count, directory=given.directory)]
    place: tuple[str, ...] = ("--directory", given.directory) if given.directory else ()
    count = ("--count", str(given.count)) if given.count else ()
    for name in beside.pythons:
        jobs += [beside.job(name, scenario, *count) for scenario in ("turn", "tool")]
        if name in STORES:
            jobs.append(beside.job(name, "tool", *count, *place, "--durable", "--seconds", "10", label="durable"))
    kept = in_rounds(jobs, given.rounds, beside.failed)
    crowd = [contestant(name, "crowd", count=given.sessions) for name in ("floor", "policy", "durable")]
    crowd += [beside.job(name, "crowd", "--count", str(given.sessions)) for name in beside.pythons]
    kept |= in_rounds(crowd, max(1, given.rounds // 3), beside.failed)
    grow = [contestant(name, "grow", count=given.turns, directory=given.directory) for name in ("floor", "durable")]
    limits: tuple[str, ...] = ("--count", str(given.turns), "--seconds", str(given.seconds), "--durable", *place)
    grow += [beside.job(name, "grow", *limits) for name in beside.pythons if name in STORES]
    kept |= in_rounds(grow, 1, beside.failed)
    for job in jobs:
        if told := job.facts.get("versions"):
            beside.versions[job.name.partition(" ")[0]] = ", ".join(f"{name} {number}" for name, number in told.items())
    return kept


# -- how they behave


def behaviours(beside: Beside, directory: str | None) -> dict[str, tuple[str, ...]]:
    """For each, ours first: two messages at once; killed inside a tool."""
    ours = (sys.executable, str(HERE / "behaviours.py"))
    found = {OURS: _behaviour(OURS, ours, beside.failed, directory, ())}
    for name, python in beside.pythons.items():
        command = (str(python), "-W", "ignore", str(HERE / f"peer_{name}.py"))
        words = ("--keep", *(() if name not in STORES else ("--durable",)))
        found[name] = _behaviour(name, command, beside.failed, directory, words)
    return found


def _behaviour(
    name: str, command: Sequence[str], failed: dict[str, str], directory: str | None, words: Sequence[str]
) -> tuple[str, ...]:
    def asked(scenario: str, place: str) -> dict[str, Any]:
        print(f"{name} {scenario}", file=sys.stderr, flush=True)
        return run([*command, scenario, *words, "--directory", place], 120.0)

    try:
        with tempfile.TemporaryDirectory(dir=directory) as place:
            raced = _race_words(asked("race", place))
        if name in PINS and name not in STORES:
            return raced, "lost: it ships no store", "lost"
        with tempfile.TemporaryDirectory(dir=directory) as place:
            try:
                asked("begin", place)
            except Failed as failure:
                if failure.status != -signal.SIGKILL:
                    raise
            after = asked("after", place)
        kept = "kept" if "second" in after["kept"] else "lost"
        if after["errors"]:
            kept = f"the session fails: {', '.join(after['errors'])}"
        if "caller" in STORES.get(name, ""):
            raced = f"{raced} (the caller keeps them)"
        return raced, kept, "goes on by itself" if after.get("resumed") else "nobody goes on with it"
    except Failed as failure:
        failed[f"{name} behaviour"] = str(failure)
        return "failed", "failed", "failed"


def _race_words(found: Mapping[str, Any]) -> str:
    lost = [name for name in ("second", "third") if name not in found["kept"]]
    if found["errors"]:
        return f"fails: {', '.join(found['errors'])}"
    return "one is lost, without a word" if lost else "both are kept"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    return parser.parse_args(words)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", type=lambda text: text.split(","), default=sorted(PINS), help="some of them")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where their environments are kept")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a session that grows, for each of them")
    parser.add_argument("--count", type=int, default=0, help="turns of a figure")
    parser.add_argument("--turns", type=int, default=10_000, help="of a session that grows")
    parser.add_argument("--sessions", type=int, default=1_000, help="at once")


def all_parts(given: argparse.Namespace) -> list[Part]:
    beside = install(given.only, given.cache)
    kept = measure(beside, given)
    behaviour = behaviours(beside, given.directory)
    return list(parts(kept, beside.versions, behaviour, beside.failed, given.sessions))


if __name__ == "__main__":
    print_parts(all_parts(arguments()))
