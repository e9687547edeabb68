"""The entry point."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fairlead import Policy, Review, Settings, ToolCall, Verdict
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_policies"]


class Curfew(Policy):
    """Who may speak, and how much a tool may do."""

    boundaries = frozenset({"message_in", "tool_call"})

    def __init__(self, people: Collection[str], tools: Collection[str], most: int) -> None:
        self._people = people
        self._tools = tools
        self._most = most

    async def review(self, review: Review) -> Sequence[Verdict]:
        """Deny those under curfew; allow the tools that are named, within their bound."""
        if isinstance(review.subject, ToolCall):
            return self._review_call(review.subject)
        if review.principal is not None and review.principal.id in self._people:
            return [Verdict("deny", "curfew", reason=f"{review.principal.name or 'you'} may not speak now")]
        return []

    def _review_call(self, call: ToolCall) -> Sequence[Verdict]:
        if call.tool not in self._tools:
            return []
        given = call.arguments.items() if isinstance(call.arguments, dict) else ()
        large = [name for name, value in given if name != "seed" and isinstance(value, int) and value > self._most]
        if large:
            return [Verdict("deny", "too-much", reason=f"{large[0]} may be {self._most} at most")]
        return [Verdict("allow", "named-tools")]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """One curfew for each table."""
    options = settings.options
    return [Curfew(options.get("people", ()), options.get("tools", ()), options.get("most", 100))]
