"""One rule, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from attrs import field, frozen

from fairlead import Verdict
from fairlead.types import Boundary
from fairlead_rules._fields import Unevaluable

if TYPE_CHECKING:
    from fairlead import Review
    from fairlead_rules._revision import Revision

__all__ = ["ERROR", "LAYERS", "NO", "YES", "Layer", "Rule"]

Layer = Literal["app", "agent", "channel", "person"]
LAYERS: tuple[Layer, ...] = ("app", "agent", "channel", "person")
STRENGTH = {"deny": 0, "ask": 1, "revise": 2, "allow": 3}
"""Of one layer and priority the lower number decides."""
NO, YES, ERROR = 0, 1, 2


@frozen(eq=False)
class Rule:
    """What the configuration says, with its conditions as functions and its verdicts made."""

    name: str
    effect: Literal["allow", "revise", "ask", "deny"]
    layer: Layer
    priority: int
    actions: frozenset[Boundary]
    resources: tuple[str, ...]
    scope: Mapping[str, str]
    tests: tuple[Callable[[Review], bool], ...]
    verdict: Verdict
    broken: Verdict
    """A denial: given where the rule cannot be evaluated."""
    revision: Revision | None = None

    rank: tuple[int, int] = field(init=False)
    """Of one layer the lowest speaks first."""

    @rank.default
    def _rank(self) -> tuple[int, int]:
        return -self.priority, STRENGTH[self.effect]

    def state(self, review: Review) -> int:
        """`NO` where some condition does not hold; `ERROR` where none says no and one cannot be evaluated; else `YES`.

        So the order of the conditions does not matter, and ``exists`` guards the others. An allow rule that cannot be
        evaluated does not apply.
        """
        failed = False
        for test in self.tests:
            try:
                if not test(review):
                    return NO
            except Unevaluable:
                failed = True
        if not failed:
            return YES
        return NO if self.effect == "allow" else ERROR


def in_scope(key: str, wanted: str) -> Callable[[Review], bool]:
    """Whether the crossing is about that agent, channel, principal or role."""
    return {
        "agent": lambda review: review.agent == wanted,
        "channel": lambda review: review.address is not None and review.address.channel == wanted,
        "principal": lambda review: review.principal is not None and review.principal.id == wanted,
        "role": lambda review: review.principal is not None and wanted in review.principal.roles,
    }[key]
