"""Tools that never await, so that their calls run without an event loop."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Sequence
from typing import Any

import fairlead
from fairlead import File, Settings, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import ToolError
from fairlead.hookspecs import hookimpl
from fairlead.memory import Note

__all__ = ["Prompt", "fairlead_tools"]


class Prompt(Tool):
    """``do``: what it is told."""

    immediate = True

    def specs(self) -> Sequence[ToolSpec]:
        checked = {"type": "object", "properties": {"what": {"type": "string", "pattern": "^[a-z]*$"}}}
        return [ToolSpec("do", "Does it.", checked)]

    async def call(self, call: ToolCall, context: ToolContext) -> Any:
        match call.arguments["what"]:
            case "modules":
                return ",".join(name for name in ("trio", "cattrs", "jsonschema") if name in sys.modules)
            case "fail":
                raise ToolError("as it was told", next_step="tell it something else")
            case "spin":
                await context.progress("spins")
                while True:
                    pass
            case "wait":
                await _Waits()
            case "recall":
                assert context.recall is not None
                kept = await context.recall.add(Note("a word", "ignored"))
                found = await context.recall.search("", "word")
                return f"{kept.text}: {[note.text for note in found]}"
            case "file":
                return ToolResult(call.id, call.tool, (File("a.txt", "text/plain", url="workspace:a.txt"),))
        return f"{os.getpid() != 1} {context.now() > 0}"


class _Waits:
    def __await__(self) -> Any:
        yield


@fairlead.tool(effect="read")
def double(number: int) -> int:
    """Twice as much."""
    return 2 * number


def hidden(function: Any) -> Any:
    """A decorator that does not say that what it makes has to be awaited."""

    @functools.wraps(function)
    def call(number: int) -> Any:
        return function(number)

    return call


@fairlead.tool(effect="read")
@hidden
async def triple(number: int) -> int:
    """Three times as much."""
    import trio  # noqa: PLC0415  # only where it is called: what else is here must not need it

    await trio.lowlevel.checkpoint()
    return 3 * number


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:  # the hook's arguments are fixed
    return [Prompt(), double, triple]
