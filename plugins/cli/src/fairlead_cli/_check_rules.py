"""The rules of the quality tiers, as they are published, and what tier the outcomes make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

__all__ = ["LOAD_SECONDS", "OWN_TESTS", "RULES", "TIERS", "Outcome", "Rule", "missing", "tier_of"]

TIERS = ("bronze", "silver", "gold", "platinum")
"""Weakest first. Each has the rules of those before it."""
LOAD_SECONDS = 0.3
OWN_TESTS = 3
APPLIES = 2
"""One in so many checks may not apply."""


@frozen
class Rule:
    """One thing that a plugin of a tier has."""

    name: str
    tier: str
    promise: str


@frozen
class Outcome:
    """What became of one rule."""

    rule: str
    ok: bool
    seen: str = ""
    """What was found; where it is not ok, what is wrong."""
    next_step: str = ""


_TABLE = {
    "bronze": {
        "entry-point": "It has an entry point in a group of the five kinds, which names a module of its own.",
        "manifest": "Each entry point has a `fairlead-plugin.json` that matches the schema `plugin-manifest`.",
        "api": "The versions of the plugin API that its manifest names have the one of this core.",
        "settings": "Its settings are a JSON Schema of an object that has every secret and every required key.",
        "metadata": "The wheel has a summary, a README, a licence with its text, and the versions of Python.",
        "public-names": "It imports the public names of the core only.",
        "loads": "In a process of its own it imports, and has the hook of its kind or that of observers, and none that"
        " does not exist.",
    },
    "silver": {
        "kit": "Its tests subclass the conformance class of each kind of worker that it makes, and break no promise;"
        " observers have none.",
        "tests": "Its other tests pass too.",
        "typed": "It has `py.typed`, and every function says the types of what it takes and gives.",
        "thin": f"Importing it takes {LOAD_SECONDS} s of processor time at most: what is heavy waits for `open`.",
        "loop": "It imports no event loop but that of its runtime, save in a module that starts a thread for it; and no"
        " async function calls what blocks.",
        "described": "Every setting has a description, and a default that matches its own schema.",
    },
    "gold": {
        "stable": "Its stage is `stable`.",
        "floor": "Its manifest says how strongly it must be isolated at least.",
        "reach": "Where it imports a library of the network, it names `hosts`, or has a setting for one.",
        "readme": "The README names every setting.",
        "own-tests": f"It has {OWN_TESTS} tests of its own at least, beside the kit, and skips none.",
        "strict": "`mypy --strict` finds nothing in it.",
    },
    "platinum": {
        "released": "Its version is 1.0 or later.",
        "far-side": f"At most one in {APPLIES} checks of the kit does not apply: the far side is played in full.",
        "exact-hosts": "It asks for whole names of hosts, and for no pattern.",
        "repeatable": "All tests pass again in the reverse order, in Python's development mode.",
    },
}
RULES = tuple(Rule(name, tier, promise) for tier, rules in _TABLE.items() for name, promise in rules.items())
"""In the order in which they are shown."""


def tier_of(outcomes: Iterable[Outcome]) -> str:
    """The highest tier all of whose rules are kept, with those of the tiers below; empty for none."""
    kept = {outcome.rule for outcome in outcomes if outcome.ok}
    reached = ""
    for tier in TIERS:
        if not {rule.name for rule in RULES if rule.tier == tier} <= kept:
            break
        reached = tier
    return reached


def missing(outcomes: Sequence[Outcome], tier: str) -> Sequence[Outcome]:
    """What is not kept of the rules of the tier after this one."""
    place = TIERS.index(tier) + 1 if tier else 0
    names: Mapping[str, str] = {rule.name: rule.tier for rule in RULES}
    wanted = TIERS[place : place + 1]
    return [outcome for outcome in outcomes if not outcome.ok and names[outcome.rule] in wanted]
