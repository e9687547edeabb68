"""One contestant, one scenario, one process: prints one JSON object. `turns.py` and others run these and compare.

    python tests/benchmarks/contestants.py CONTESTANT SCENARIO [--count N] [--directory DIR]

Contestants: `floor` (a loop written by hand: what trio, attrs, pluggy and jsonschema cost by themselves), `fairlead`
(journal in memory), `policy` (with 100 rules on the path and an observer) and `durable` (as `policy`, with the journal
on SQLite). Where words come from is noted in all of ours. Scenarios: `turn` and `tool` (a new session each), `session`
(turns of one), `grow` (one session, 10,000 turns), `reopen` (the one that grew in the same directory) and `crowd`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import trio
from floor import Floor
from scenarios import (
    MODEL_SECONDS,
    Ask,
    Found,
    all_in_one_session,
    each_in_its_own_session,
    goes_on,
    many_at_once,
    one_that_grows,
)

import fairlead
from fairlead import ModelRequest, Observer, Settings, ToolCall, ToolResult
from fairlead.events import Record
from fairlead.testing import ScriptedProvider

CONTESTANTS = ("floor", "fairlead", "policy", "durable")
SCENARIOS = {"turn": 1_500, "tool": 1_500, "session": 1_500, "grow": 10_000, "reopen": 0, "crowd": 1_000}
"""And how many turns, or sessions, unless told otherwise."""
RULES = 100


def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


class Watching(Observer):
    """An observer that only counts."""

    name = "watching"
    seen = 0

    async def observe(self, record: Record) -> None:
        self.seen += record.version > 0


def answering(*, tool: bool) -> Callable[[ModelRequest], ToolCall | str]:
    """A model that answers at once, where asked to after one call of `add`."""

    def answer(request: ModelRequest) -> ToolCall | str:
        last = request.history[-1]
        if type(last) is ToolResult:
            return last.text
        return ToolCall("", "add", {"a": 1, "b": 2}) if tool else "done"

    return answer


def rules() -> dict[str, Any]:
    """An allow for the tool among rules for others."""
    others = [
        {"name": f"rule {n}", "effect": "deny", "actions": ["tool_call"], "resources": [f"tool_{n}"], "layer": "app"}
        for n in range(RULES - 1)
    ]
    allow = {"name": "sums", "effect": "allow", "actions": ["tool_call"], "resources": ["add"], "layer": "app"}
    return {"rules": [*others, allow]}


@asynccontextmanager
async def opened(contestant: str, directory: Path, *, tool: bool, delay: float) -> AsyncIterator[Ask]:
    """A contestant, ready to be asked."""
    if contestant == "floor":
        yield Floor(tool=tool, delay=delay).ask
        return
    workers: dict[str, Any] = {}
    if contestant in {"policy", "durable"}:
        from fairlead_rules import Rules  # noqa: PLC0415  # the plain contestant shall not import it

        workers = {"policies": [Rules(Settings("rules", rules()))], "observers": [Watching()]}
    if contestant == "durable":
        from fairlead_sqlite import SqliteMemory  # noqa: PLC0415  # as above

        workers["memories"] = [SqliteMemory(Settings("sqlite", data_dir=directory))]
    provider = ScriptedProvider([answering(tool=tool)], repeat=True, delay=delay)
    async with fairlead.open(providers=[provider], tools=[add], **workers) as app:

        async def ask(session: str, text: str) -> str:
            return (await app.ask(text, session=session)).text

        yield ask


class Disk:
    """Bare waits for the disk: one write and fdatasync, here and in a worker thread while the loop goes on.

    They are measured between the turns, as the journal's waits are met: back to back they are up to a third shorter.
    """

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / "probe", os.O_CREAT | os.O_RDWR, 0o600)
        os.pwrite(self._fd, bytes(4096), 0)
        os.fsync(self._fd)
        self._here: list[float] = []
        self._beside: list[float] = []

    def _write(self) -> None:
        os.pwrite(self._fd, os.urandom(4096), 0)
        os.fdatasync(self._fd)

    async def probe(self, turn: int) -> None:
        """After a turn: the one or the other."""
        started = time.perf_counter_ns()
        if turn % 2:
            self._write()
            self._here.append((time.perf_counter_ns() - started) / 1000)
        else:
            await trio.to_thread.run_sync(self._write)
            self._beside.append((time.perf_counter_ns() - started) / 1000)

    def close(self) -> Found:
        """The medians in microseconds, where there are any."""
        os.close(self._fd)
        waits = {"disk_us": self._here, "beside_us": self._beside}
        return {name: statistics.median(found) for name, found in waits.items() if found}


async def together(acts: Sequence[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for act in acts:
            nursery.start_soon(act)


async def run(contestant: str, scenario: str, count: int, directory: Path) -> Found:
    tool = scenario in {"tool", "crowd"}
    delay = MODEL_SECONDS if scenario == "crowd" else 0.0
    disk = Disk(directory) if contestant == "durable" and scenario in {"turn", "tool", "session"} else None
    after = disk.probe if disk is not None else None
    started = time.perf_counter()
    async with opened(contestant, directory, tool=tool, delay=delay) as ask:
        if scenario == "crowd":
            return await many_at_once(ask, count, together)
        if scenario == "grow":
            return await one_that_grows(ask, count)
        if scenario == "reopen":
            return await goes_on(ask, time.perf_counter() - started)
        measured = all_in_one_session if scenario == "session" else each_in_its_own_session
        found = await measured(ask, count, tool=tool, after=after)
    return {**found, **disk.close()} if disk is not None else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--count", type=int, default=0, help="turns, or sessions")
    parser.add_argument("--directory", help="where the durable contestant keeps its journal")
    parser.add_argument("--keep", action="store_true", help="in that directory itself, and leave it there")
    given = parser.parse_args()
    place = nullcontext(given.directory) if given.keep else tempfile.TemporaryDirectory(dir=given.directory)
    with place as directory:
        count = given.count or SCENARIOS[given.scenario]
        found = trio.run(run, given.contestant, given.scenario, count, Path(directory))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
