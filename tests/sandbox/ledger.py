"""A plugin of somebody else whose tool must never run twice, and the program that is killed while it runs."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

import fairlead
from fairlead import Settings
from fairlead.config import PluginConfig
from fairlead.events import Event, ToolReturned
from fairlead.testing import ScriptedProvider
from fairlead_sqlite import SqliteMemory

from .hosted import configure, obey

__all__ = ["FILES", "NAME", "main"]

NAME = "acme-ledger"
SOURCE = """
import time

from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl


class Ledger(Tool):
    def specs(self):
        seconds = {"type": "object", "properties": {"seconds": {"type": "number"}}}
        return [
            ToolSpec("enter", "Writes a line.", seconds, effect="once", timeout=30.0),
            ToolSpec("entries", "Counts the lines.", {"type": "object"}, effect="read"),
        ]

    async def call(self, call, context):
        if call.tool == "entries":
            try:
                return str(len(open("ledger").readlines()))
            except FileNotFoundError:
                return "0"
        with open("ledger", "a") as file:
            file.write("entry\\n")
        print("entered", flush=True)
        time.sleep(call.arguments["seconds"])
        return "written"


@hookimpl
def fairlead_tools(settings):
    return [Ledger()]
"""
TOOLS = [
    {
        "name": "enter",
        "description": "Writes a line.",
        "parameters": {"type": "object", "properties": {"seconds": {"type": "number"}}},
        "effect": "once",
        "timeout": 30.0,
    },
    {"name": "entries", "description": "Counts the lines.", "parameters": {"type": "object"}, "effect": "read"},
]
FILES = {
    "acme_ledger/__init__.py": SOURCE,
    "acme_ledger/fairlead-plugin.json": json.dumps({"api": "1.0", "mounts": ["workspace"], "tools": TOOLS}),
}


class DyingMemory(SqliteMemory):
    """Kills its process in the moment in which the result of a tool would be written."""

    async def open(self) -> None:
        await super().open()
        journal = self.journal
        assert journal is not None
        append = journal.append

        async def append_or_die(session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
            if any(isinstance(event, ToolReturned) for event in events):
                os.kill(os.getpid(), signal.SIGKILL)
            return await append(session, expected_version, events, pending=pending)

        journal.append = append_or_die  # type: ignore[method-assign]  # this one object dies


async def main(data: Path, order: str, isolation: Mapping[str, Any], *, dies: bool) -> None:
    """Ask the model that does what it is told."""
    memory = (DyingMemory if dies else SqliteMemory)(Settings("sqlite", {}, data))
    config = configure(data, PluginConfig("tools", NAME), **isolation)
    providers = [ScriptedProvider([obey], repeat=True)]
    async with fairlead.open(config, providers=providers, memories=[memory]) as app:
        await app.ask(order, session="s")


if __name__ == "__main__":
    _, where, what, table, *options = sys.argv
    trio.run(lambda: main(Path(where), what, json.loads(table), dies=options == ["dies"]))
