"""Decisions per second of the plugin `rules` at 10, 100 and 1,000 rules.

Run it with ``uv run python tests/benchmarks/policy.py``.

The rules are the same mix at each size: tools allowed by their exact name, families by a prefix, commands and paths by
conditions, denials of single people. The crossings are the same too, so that a column shows what more rules cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import trio
from figures import Part, Row, Section, print_parts

from fairlead import Address, Principal, Review, Settings, ToolCall, ToolSpec
from fairlead_rules import Rules

SIZES = (10, 100, 1_000)
ROUNDS = 5
DECISIONS = 20_000
GOAL = 100_000
"""Decisions per second at the largest size."""

Case = tuple[str, Review]


def make_rules(count: int) -> list[dict[str, Any]]:
    """Ten kinds of rule in turn; those of the first ten are the ones that the crossings meet."""
    return [_rule(place % 10, place // 10, place) for place in range(count)]


def _rule(kind: int, group: int, place: int) -> dict[str, Any]:
    tail = f"_{group}" if group else ""
    call = {"name": f"rule-{place}", "actions": ["tool_call"]}
    path = {"field": "arguments.path", "op": "under", "value": "/srv/files"}
    command = {"field": "arguments.command", "op": "command", "value": "git status"}
    kinds: list[dict[str, Any]] = [
        {"effect": "allow", "resources": [f"clock{tail}"]},
        {"effect": "allow", "resources": [f"search{tail}_*"]},
        {"effect": "deny", "resources": [f"delete{tail}"]},
        {"effect": "allow", "resources": [f"read_file{tail}"], "conditions": [path]},
        {"effect": "allow", "resources": [f"shell{tail}"], "conditions": [command]},
        {"effect": "ask", "resources": [f"pay{tail}"]},
        {"effect": "deny", "layer": "person", "resources": ["clock"], "scope": {"principal": f"kit:guest{tail}"}},
        {"effect": "allow", "resources": [f"notes{tail}"], "scope": {"role": f"staff{tail}"}},
        {"effect": "allow", "resources": [f"calculate{tail}", f"convert{tail}"]},
        {"effect": "deny", "resources": [f"admin{tail}_*"], "priority": 10},
    ]
    return {**call, **kinds[kind]}


def make_cases() -> list[Case]:
    """Crossings of the boundary ``tool_call``, by name."""
    where = Address("kit", "bot", "room")
    people = {"guest": Principal("kit:guest"), "staff": Principal("kit:alice", "Alice", ("staff",))}

    def call(tool: str, person: str = "staff", **arguments: Any) -> Review:
        spec = ToolSpec(tool, "A tool.", effect="read", isolation="host")
        return Review("tool_call", ToolCall("c1", tool, arguments), "s1", "main", people[person], where, spec)

    return [
        ("exact name", call("calculate")),
        ("prefix", call("search_web")),
        ("denied family", call("admin_reset")),
        ("unknown tool", call("unknown")),
        ("two layers, one person", call("clock", "guest")),
        ("role", call("notes")),
        ("path below a directory", call("read_file", path="/srv/files/a.txt")),
        ("shell command", call("shell", command="git status --short")),
    ]


async def rate(policy: Rules, reviews: Sequence[Review], decisions: int) -> float:
    """Decisions per second, the best of `ROUNDS`."""
    count = max(1, decisions // len(reviews))
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for review in [*reviews] * count:
            await policy.review(review)
        best = min(best, time.perf_counter() - began)
    return count * len(reviews) / best


async def measure(decisions: int = DECISIONS) -> dict[str, tuple[float, ...]]:
    """Decisions per second of each case, by the number of rules."""
    policies = [Rules(Settings("rules", {"rules": make_rules(size)})) for size in SIZES]
    cases = make_cases()
    named = [(name, [review]) for name, review in cases] + [("all of them", [review for _, review in cases])]
    return {name: tuple([await rate(policy, reviews, decisions) for policy in policies]) for name, reviews in named}


def parts(found: Mapping[str, tuple[float, ...]]) -> Iterator[Part]:
    rows = [Row(name, rates[-1:], "/s", rates[:1]) for name, rates in found.items()]
    slowest, alone = min(rates[-1] for rates in found.values()), f"decisions at {SIZES[-1]:,} rules, slowest kind"
    rows.append(Row("the slowest of them", (slowest,), "/s", goal=GOAL, least=True, alone=alone))
    yield Section(f"Decisions of the rules at {SIZES[-1]:,} rules", tuple(rows), f"the same at {SIZES[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print_parts(parts(trio.run(measure)))


if __name__ == "__main__":
    main()
