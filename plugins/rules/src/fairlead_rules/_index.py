"""Which rules can speak at a crossing: found by boundary, resource and scope, so that the others cost nothing.

Rules of one resource that are each about one person (or role, agent, channel) lie in a table by that name. What is
left is asked one by one: the rules of this resource whose conditions differ.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from fairlead import Verdict
from fairlead_rules._fields import TOOLS, Unevaluable
from fairlead_rules._rule import ERROR, LAYERS, NO, YES, Rule

if TYPE_CHECKING:
    from fairlead import Review
    from fairlead_rules._revision import Revision, Subject

__all__ = ["Index"]

KNOWN_RESOURCES = 4_096
"""Plans that are kept; models can ask for any name, so they are dropped when there are more."""
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
Verdicts = tuple[Verdict, ...]
RANK = attrgetter("rank")


def _principal(review: Review) -> tuple[str, ...]:
    return () if review.principal is None else (review.principal.id,)


def _roles(review: Review) -> tuple[str, ...]:
    return () if review.principal is None else review.principal.roles


def _channel(review: Review) -> tuple[str, ...]:
    return () if review.address is None else (review.address.channel,)


SCOPES: dict[str, Callable[[Review], tuple[str, ...]]] = {
    "principal": _principal,
    "role": _roles,
    "agent": lambda review: (review.agent,),
    "channel": _channel,
}
"""From the narrowest to the widest: a rule lies in the table of the first that its scope names."""


@frozen(eq=False)
class _LayerPlan:
    """The rules of one layer for one resource, each sequence by rank."""

    general: tuple[Rule, ...]
    tables: tuple[tuple[Callable[[Review], tuple[str, ...]], dict[str, tuple[Rule, ...]]], ...]

    def decide(self, review: Review) -> Verdict | None:
        if not self.tables:
            return _decide(self.general, review)
        found = [table[name] for names, table in self.tables for name in set(names(review)) if name in table]
        if not found:
            return _decide(self.general, review)
        return _decide(heapq.merge(self.general, *found, key=RANK), review)


def _decide(rules: Iterable[Rule], review: Review) -> Verdict | None:
    """The verdict of the first rule by rank that applies.

    After it, rules of its priority are still asked: one that cannot be evaluated denies, and those that revise add up.
    """
    first: Rule | None = None
    revised = review.subject
    names: list[str] = []
    for rule in rules:
        if first is not None and (rule.priority < first.priority or rule.effect == "allow"):
            break
        state = rule.state(review)
        if state == YES and rule.revision is not None:
            state, revised = _revise(rule.revision, revised)
        if state == ERROR:
            return rule.broken
        if state == NO:
            continue
        if rule.effect in ("deny", "allow"):
            return rule.verdict
        names.append(rule.name)
        first = first or rule
    if first is None:
        return None
    if first.revision is None:
        return first.verdict
    return evolve(first.verdict, rule=", ".join(names), revised=revised)


def _revise(revision: Revision, subject: Subject) -> tuple[int, Subject]:
    """`NO` where there is nothing to change: what the rule wants is so already, and weaker rules may speak."""
    try:
        changed = revision.apply(subject)
    except Unevaluable:
        return ERROR, subject
    return (NO if changed is subject else YES), changed


@frozen(eq=False)
class _Plan:
    """What can be said about one resource at one boundary."""

    layers: tuple[_LayerPlan, ...]
    fixed: Verdicts | None = None
    """The verdicts, where they are the same for every crossing."""

    def decide(self, review: Review) -> Verdicts:
        if self.fixed is not None:
            return self.fixed
        return tuple(verdict for layer in self.layers if (verdict := layer.decide(review)) is not None)


class Index:
    """The rules of one boundary."""

    def __init__(self, boundary: str, rules: Sequence[Rule], policy: str) -> None:
        self._of_tools = boundary in TOOLS
        self._exact: dict[str, list[Rule]] = defaultdict(list)
        self._prefixes: dict[int, dict[str, list[Rule]]] = defaultdict(lambda: defaultdict(list))
        self._plans: dict[str, _Plan] = {}
        self._no_tool = _Plan(
            (),
            (Verdict("deny", "rules: no name of a tool", reason="no tool can have such a name", policy=policy),),
        )
        for rule in rules:
            for pattern in rule.resources:
                self._place(rule, pattern)

    def _place(self, rule: Rule, pattern: str) -> None:
        if pattern.endswith("*"):
            self._prefixes[len(pattern) - 1][pattern[:-1]].append(rule)
        else:
            self._exact[pattern].append(rule)

    def decide(self, resource: str, review: Review) -> Verdicts:
        """At most one verdict a layer, from the app down."""
        plan = self._plans.get(resource)
        if plan is None:
            plan = self._plan(resource)
        fixed = plan.fixed
        return plan.decide(review) if fixed is None else fixed

    @property
    def kept(self) -> int:
        """How many resources have a plan now."""
        return len(self._plans)

    def _plan(self, resource: str) -> _Plan:
        if len(self._plans) >= KNOWN_RESOURCES:
            self._plans.clear()
        # A name that only looks like a tool's would slip past the rules about that tool.
        suspicious = self._of_tools and TOOL_NAME.fullmatch(resource) is None
        plan = self._plans[resource] = self._no_tool if suspicious else _make_plan(self._about(resource))
        return plan

    def _about(self, resource: str) -> list[Rule]:
        found = dict.fromkeys(self._exact.get(resource, ()))
        for length, prefixes in self._prefixes.items():
            if length <= len(resource):
                found.update(dict.fromkeys(prefixes.get(resource[:length], ())))
        return sorted(found, key=RANK)


def _make_plan(rules: Sequence[Rule]) -> _Plan:
    by_layer = [[rule for rule in rules if rule.layer == layer] for layer in LAYERS]
    layers = tuple(_make_layer(own) for own in by_layer if own)
    fixed = [_fixed(layer) for layer in layers]
    verdicts = tuple(verdict for verdict in fixed if verdict is not None)
    return _Plan(layers, verdicts if len(verdicts) == len(layers) else None)


def _make_layer(rules: Sequence[Rule]) -> _LayerPlan:
    general: list[Rule] = []
    tables: dict[str, dict[str, list[Rule]]] = defaultdict(lambda: defaultdict(list))
    for rule in rules:
        key = next((key for key in SCOPES if key in rule.scope), None)
        (general if key is None else tables[key][rule.scope[key]]).append(rule)
    packed = tuple((SCOPES[key], {name: tuple(own) for name, own in table.items()}) for key, table in tables.items())
    return _LayerPlan(tuple(general), packed)


def _fixed(layer: _LayerPlan) -> Verdict | None:
    """The verdict that no crossing can change: the first rule has no condition, and no other one is asked after it."""
    if layer.tables or not layer.general:
        return None
    first = layer.general[0]
    return first.verdict if not first.tests and first.effect in ("deny", "allow") else None
