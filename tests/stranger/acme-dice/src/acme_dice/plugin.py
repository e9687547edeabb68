"""The entry point."""

from __future__ import annotations

import random
from collections.abc import Sequence

from fairlead import Settings, Tool, ToolCall, ToolContext, ToolSpec
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_tools"]


class Dice(Tool):
    """The tool `roll`."""

    def __init__(self, sides: int) -> None:
        self._sides = sides
        number = {"type": "integer", "minimum": 1}
        self._spec = ToolSpec(
            "roll",
            "Rolls dice and gives each of them and their sum.",
            {
                "type": "object",
                "properties": {
                    "count": {**number, "maximum": 100, "description": "How many dice."},
                    "sides": {**number, "minimum": 2, "maximum": 1000, "description": f"Of each; {sides} if left out."},
                    "seed": {"type": "integer", "description": "The same seed gives the same dice."},
                },
                "required": ["count", "seed"],
                "additionalProperties": False,
                "examples": [{"count": 3, "seed": 7}],
            },
            effect="read",
            isolation="host",
        )

    def specs(self) -> Sequence[ToolSpec]:
        """One tool."""
        return (self._spec,)

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """Roll. The arguments match the schema."""
        count, sides = int(call.arguments["count"]), int(call.arguments.get("sides", self._sides))
        await context.progress(f"rolling {count} dice")
        chance = random.Random(int(call.arguments["seed"]))  # noqa: S311  # dice, not keys
        dice = [chance.randint(1, sides) for _ in range(count)]
        return f"{' + '.join(map(str, dice))} = {sum(dice)}"


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    """One set of dice for each table."""
    return [Dice(settings.options.get("sides", 6))]
