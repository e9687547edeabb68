"""The tool around the parser."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Tool, ToolCall, ToolContext, ToolSpec
from fairlead_calculator._parser import calculate
from fairlead_calculator._tokens import MAX_CHARS

__all__ = ["Calculator"]

CALCULATE = ToolSpec(
    name="calculate",
    description=(
        "Compute an arithmetic expression, exactly where possible. Operators: + - * / // % ^ ! and parentheses; 15% of"
        " 80 is percent, 17 % 5 is modulo. Functions: sqrt abs min max round floor ceil log ln log2 log10 exp sin cos"
        " tan factorial; constants pi and e; angles in radians. Write 1000, not 1,000."
    ),
    parameters={
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "description": "For example: (17 * 23 + 4) / 2",
                "minLength": 1,
                "maxLength": MAX_CHARS,
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    effect="read",
    isolation="host",
    timeout=5.0,
)


class Calculator(Tool):
    """Offers `calculate(expression)`."""

    def specs(self) -> Sequence[ToolSpec]:
        """One tool."""
        return (CALCULATE,)

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """The value as text, as `calculate` gives it. `ToolError`: what is wrong with the expression."""
        return calculate(call.arguments["expression"])
