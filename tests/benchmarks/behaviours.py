"""How sessions behave where it counts: two messages at once, and a process that is killed inside a tool.

    uv run python tests/benchmarks/behaviours.py race|begin|after --directory DIR

One scenario of ours in a process, as `peer_harness.py` has them for the others; `peers.py` runs all of them. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import trio
from peer_harness import FIRST, RACE_SECONDS, SECOND, SLOW_TOOL_SECONDS, THIRD, kept_in

import fairlead
from fairlead import App, Settings, ToolCall, ToolResult
from fairlead.testing import CapturingChannel, ScriptedProvider
from fairlead_sqlite import SqliteMemory

PATIENCE = 20.0
"""Seconds for a turn that goes on by itself."""


class Deadly:
    """A tool whose process does not survive its second call."""

    def __init__(self) -> None:
        self.calls = 0

    async def add(self, a: int, b: int) -> int:
        """Add two integers."""
        self.calls += 1
        if self.calls == 2:
            await trio.sleep(SLOW_TOOL_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)
        return a + b


class Model:
    """Answers *done*, after one call of the tool where asked to; knows what it was shown."""

    def __init__(self, *, tool: bool) -> None:
        self._tool, self.shown = tool, ""

    def __call__(self, request: fairlead.ModelRequest) -> ToolCall | str:
        self.shown = " ".join(item.text for item in request.history)
        returned = isinstance(request.history[-1], ToolResult)
        return ToolCall("", "add", {"a": 1, "b": 2}) if self._tool and not returned else "done"


async def race(app: App, model: Model) -> dict[str, Any]:
    """Two messages at once on one session."""
    errors: list[str] = []

    async def ask(text: str) -> None:
        try:
            await app.ask(text, session="one")
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what users get
            errors.append(type(error).__name__)

    await ask(FIRST)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, SECOND)
        nursery.start_soon(ask, THIRD)
    await ask("anything else?")
    return {"errors": errors, "kept": kept_in(model.shown)}


async def begin(app: App, model: Model) -> dict[str, Any]:
    """Killed inside the tool of the second turn."""
    await app.ask(FIRST, session="one")
    await app.ask(SECOND, session="one")
    raise SystemExit("the process was not killed")


async def after(app: App, model: Model) -> dict[str, Any]:
    """The next process: whether the turn goes on by itself, and what the next message finds."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.serve)  # which takes over what a dead process left
        with trio.move_on_after(PATIENCE) as scope:
            while any(info.pending for info in await app.sessions.list()):  # noqa: ASYNC110  # what another process left has no event
                await trio.sleep(0.05)
        await app.ask(THIRD, session="one")
        app.stop()
        nursery.cancel_scope.cancel()
    return {"errors": [], "kept": kept_in(model.shown), "resumed": not scope.cancelled_caught}


async def run(scenario: str, directory: Path) -> dict[str, Any]:
    model = Model(tool=scenario == "begin")
    provider = ScriptedProvider([model], repeat=True, delay=RACE_SECONDS if scenario == "race" else 0.0)
    memory = SqliteMemory(Settings("sqlite", data_dir=directory))
    parts: dict[str, Any] = {"providers": [provider], "memories": [memory], "channels": [CapturingChannel()]}
    async with fairlead.open(tools=[Deadly().add], **parts) as app:
        return await {"race": race, "begin": begin, "after": after}[scenario](app, model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=["race", "begin", "after"])
    parser.add_argument("--directory", type=Path, required=True)
    given = parser.parse_args()
    print(json.dumps(trio.run(run, given.scenario, given.directory)))


if __name__ == "__main__":
    main()
