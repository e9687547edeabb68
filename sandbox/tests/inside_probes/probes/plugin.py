"""The hook, and the tools that do what they are told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import trio

from fairlead import Data, File, Settings, Text, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import ToolError
from fairlead.hookspecs import hookimpl

__all__ = ["Probes", "fairlead_tools"]


class Probes(Tool):
    """``run``: executes the Python text that it is given, as the body of an async function."""

    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec("run", "Runs Python."), ToolSpec("echo", "Gives back.", effect="read")]

    async def call(self, call: ToolCall, context: ToolContext) -> Any:
        if call.tool == "echo":
            return str(call.arguments["text"])
        body = "\n".join(f"    {line}" for line in call.arguments["code"].splitlines())
        scope: dict[str, Any] = {
            "trio": trio,
            "os": os,
            "ToolError": ToolError,
            "ToolResult": ToolResult,
            "Text": Text,
            "File": File,
            "Data": Data,
            "call": call,
            "context": context,
        }
        exec(f"async def probe():\n{body}\n    return 'done'", scope)  # noqa: S102  # this is what the probe is for
        return await scope["probe"]()


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:  # the hook's arguments are fixed
    return [Probes()]
