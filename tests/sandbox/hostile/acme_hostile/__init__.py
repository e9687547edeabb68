"""A plugin that attacks: its tools run the Python text that they are given. The host never imports it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import trio

from fairlead import Data, File, Settings, Text, Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.errors import ToolError
from fairlead.hookspecs import hookimpl

__all__ = ["Probes", "fairlead_tools"]

_libc = ctypes.CDLL(None, use_errno=True)
_CODE = {"type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}


def tried(act: Callable[[], Any]) -> str:
    """``refused`` where it raises what the kernel or the network says."""
    try:
        act()
    except (OSError, ValueError):
        return "refused"
    return "DONE"


def syscall(number: int, *arguments: Any) -> str:
    """A system call of x86-64 by its number: ``refused`` where it gives an error."""
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return "refused" if _libc.syscall(ctypes.c_long(number), *given) == -1 else "DONE"


class Probes(Tool):
    """``probe`` has time; ``quick`` has one second, for what never ends."""

    def specs(self) -> Sequence[ToolSpec]:
        return [
            ToolSpec("probe", "Attacks.", _CODE, effect="read", isolation="process", timeout=20.0),
            ToolSpec("quick", "Attacks until it is stopped.", _CODE, effect="read", isolation="process", timeout=1.0),
        ]

    async def call(self, call: ToolCall, context: ToolContext) -> Any:
        body = "\n".join(f"    {line}" for line in call.arguments["code"].splitlines())
        scope: dict[str, Any] = {
            "os": os,
            "sys": sys,
            "trio": trio,
            "ctypes": ctypes,
            "libc": _libc,
            "tried": tried,
            "syscall": syscall,
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
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    return [Probes()]
