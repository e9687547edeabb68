"""The entry point, and the tool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fairlead import Settings, Tool, ToolCall, ToolContext, ToolSpec
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_tools"]


class Backwards(Tool):
    """Turns words round, in a thread of asyncio."""

    def specs(self) -> Sequence[ToolSpec]:
        """The one tool."""
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return [ToolSpec("backwards", "Turn a text round.", schema, effect="read", isolation="process")]

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """Turn it round."""
        await context.progress("turning")
        turned = await asyncio.to_thread(reversed, call.arguments["text"])
        return "".join(turned)


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    """One tool for each table."""
    return [Backwards()]
