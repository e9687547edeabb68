"""Everything that is measured, by one command: ratios, goals, and whether they are met.

    uv run python -m tests.benchmarks [--quick] [--peers] [--write-docs] [--json FILE] [--strict]

--quick: fewer rounds, in three minutes. --peers: beside other frameworks too, each installed from PyPI into an
environment of its own below the user's cache. --write-docs: the tables into docs/explanation/performance.md and the
README. --strict: ends with 1 where a goal is missed in every round. Each part is a program of its own in this
directory; `sandbox.py`, which needs an engine for containers, is run by itself.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import trio

sys.path.insert(0, str(Path(__file__).parent))  # `-m` knows the checkout, the programs know their neighbours

import crowd
import gateway
import growth
import page
import peers
import policy
import startup
import turns
from figures import Part, machine, print_parts, sure_misses, with_goals, write_json
from rounds import in_rounds


def sections(given: argparse.Namespace) -> Mapping[str, Callable[[], Iterable[Part]]]:
    """What can be measured, by name, in the order of the tables."""
    quick, place = given.quick, given.directory
    rounds = given.rounds or (3 if quick else 9)
    few = max(1, rounds // 3)
    turn_jobs = turns.jobs(given.count or (600 if quick else 0), place)
    return {
        "turns": lambda: turns.parts(in_rounds(turn_jobs, rounds)),
        "growth": lambda: growth.parts(growth.measure(given.turns, few, place)),
        "crowd": lambda: crowd.parts(crowd.measure(given.crowds, rounds, place), given.crowds),
        "policy": lambda: policy.parts(trio.run(policy.measure, given.count or policy.DECISIONS)),
        "gateway": lambda: gateway.parts(gateway.run(place, given.conversations, given.messages), given.conversations),
        "startup": lambda: startup.parts(startup.measure(max(1, rounds * 5 // 3))),
        **({"peers": lambda: peers.all_parts(given)} if given.peers else {}),
    }


def main(words: Sequence[str] | None = None) -> int:
    given = arguments(words)
    facts = {"date": dt.datetime.now(tz=dt.UTC).date().isoformat(), **machine()}
    began, parts = time.monotonic(), list[Part]()
    for name, measured in sections(given).items():
        if given.parts and name not in given.parts:
            continue
        found = list(measured())
        parts += found
        print_parts(found)
        sys.stdout.flush()
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    print(f"\n{facts['machine']}; {facts['took']}; load before: {facts['load']}\n{facts['versions']}")
    tell_goals(parts)
    if given.json:
        write_json(given.json, parts, facts)
    if given.write_docs:
        page.write(parts, facts)
    return 1 if given.strict and sure_misses(parts) else 0


def tell_goals(parts: Iterable[Part]) -> None:
    """How many goals there are, and each that was not met."""
    rows = list(with_goals(parts))
    met = sum(row.verdict == "met" for row in rows)
    print(f"{met} of {len(rows)} goals are met")
    for row in rows:
        if row.verdict != "met":
            print(f"  {row.alone or row.what}: {' '.join(filter(None, row.cells))}")


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and less sure")
    parser.add_argument("--peers", action="store_true", help="beside other frameworks, from PyPI")
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), help="some of: turns,growth,crowd,policy,startup,peers"
    )
    parser.add_argument("--rounds", type=int, default=0, help="of what is short (default 9, quick 3)")
    parser.add_argument(
        "--crowds", type=lambda text: [int(size) for size in text.split(",")], default=list(crowd.SIZES)
    )
    parser.add_argument("--directory", help="where the journals are kept: name the disk that counts")
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--write-docs", action="store_true", help="write the tables into the documentation")
    parser.add_argument("--strict", action="store_true", help="end with 1 where a goal is surely missed")
    parser.add_argument("--conversations", type=int, default=200, help="of the gateway, at once")
    parser.add_argument("--messages", type=int, default=0, help="of each (default 25, quick 10)")
    peers.add_arguments(parser)
    given = parser.parse_args(words)
    given.messages = given.messages or (10 if given.quick else 25)
    given.rounds = given.rounds or (3 if given.quick else 9)
    return given


if __name__ == "__main__":
    sys.exit(main())
