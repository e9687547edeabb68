"""The policy of the rules in one table of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fairlead import Finding, Policy, Review, Settings, Verdict
from fairlead_rules._index import Index
from fairlead_rules._options import parse_rules

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Rules"]


def _tool(review: Review) -> str:
    return review.subject.tool  # type: ignore[union-attr]  # the boundary says that it is a call or a result


def _model(review: Review) -> str:
    return review.subject.model  # type: ignore[union-attr]  # the boundary says that it is a request


def _agent(review: Review) -> str:
    return review.agent


RESOURCES: dict[str, Callable[[Review], str]] = {
    "message_in": _agent,
    "model_request": _model,
    "tool_call": _tool,
    "tool_result": _tool,
    "message_out": _agent,
}
"""What the resources of a rule are at each boundary."""


class Rules(Policy):
    """Answers with at most one verdict a layer: the highest priority that applies, then deny, ask, revise, allow."""

    immediate: ClassVar[bool] = True
    names_itself: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        """`ConfigError`: a rule is wrong; which, where and how."""
        self.name = settings.name
        rules = parse_rules(settings.options.get("rules", ()), settings.name)
        self.boundaries = frozenset(action for rule in rules for action in rule.actions)
        self._count = len(rules)
        self._at = {
            boundary: (
                RESOURCES[boundary],
                Index(boundary, [rule for rule in rules if boundary in rule.actions], settings.name),
            )
            for boundary in self.boundaries
        }

    async def review(self, review: Review) -> Sequence[Verdict]:
        """The verdicts of the rules; without effects and without waiting."""
        found = self._at.get(review.boundary)
        if found is None:
            return ()
        resource, index = found
        return index.decide(resource(review), review)

    async def check(self) -> Sequence[Finding]:
        """How many rules there are, and where they speak."""
        where = ", ".join(sorted(self.boundaries)) or "nowhere"
        rules = "1 rule" if self._count == 1 else f"{self._count} rules"
        return (Finding(self.name, ok=True, detail=f"{rules}, at {where}"),)
