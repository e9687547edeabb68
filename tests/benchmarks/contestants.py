"""One contestant, one scenario, one process: prints one JSON object. `turns.py` runs these in turn and compares.

    python tests/benchmarks/contestants.py CONTESTANT SCENARIO [--count N] [--directory DIR]

Contestants: `floor` (a loop written by hand: what trio, attrs, pluggy and jsonschema cost by themselves), `fairlead`
(journal in memory), `policy` (with 100 rules on the path and an observer) and `durable` (as `policy`, with the journal
on SQLite). The model answers at once, or after a delay where the scenario says so; every answer is checked.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from floor import Floor  # type: ignore[import-not-found]  # beside this program, which is no package

import fairlead
from fairlead import ModelRequest, Observer, Settings, ToolCall, ToolResult
from fairlead.events import Record
from fairlead.testing import ScriptedProvider

RULES = 100
MODEL_SECONDS = 0.05
WARM_UP = 200
Ask = Callable[[str, str], Awaitable[str]]


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


def checked(answer: str, *, tool: bool) -> None:
    if answer != ("3" if tool else "done"):
        raise SystemExit(f"the answer was {answer!r}")


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

    def close(self) -> dict[str, float]:
        """The medians in microseconds, where there are any."""
        os.close(self._fd)
        waits = {"disk_us": self._here, "beside_us": self._beside}
        return {name: statistics.median(found) for name, found in waits.items() if found}


async def each_in_its_own_session(ask: Ask, count: int, disk: Disk | None, *, tool: bool) -> dict[str, float]:
    """CPU and wall time of a turn in a fresh session, medians in microseconds."""
    cpu, wall = [], []
    for turn in range(WARM_UP + count):
        before, started = time.process_time_ns(), time.perf_counter_ns()
        answer = await ask(f"t{turn}", "hello there")
        wall.append((time.perf_counter_ns() - started) / 1000)
        cpu.append((time.process_time_ns() - before) / 1000)
        checked(answer, tool=tool)
        if disk is not None:
            await disk.probe(turn)
    return {"cpu_us": statistics.median(cpu[WARM_UP:]), "wall_us": statistics.median(wall[WARM_UP:])}


async def one_that_grows(ask: Ask, count: int, disk: Disk | None) -> dict[str, float]:
    """Wall and CPU time of turns around 10, 100, 1,000 ... of one session."""
    cpu, wall = [], []
    for turn in range(50):
        await ask("warm", f"message {turn}")
    for turn in range(count):
        before, started = time.process_time_ns(), time.perf_counter_ns()
        checked(await ask("grow", f"message {turn}"), tool=False)
        wall.append((time.perf_counter_ns() - started) / 1000)
        cpu.append((time.process_time_ns() - before) / 1000)
        if disk is not None:
            await disk.probe(turn)
    marks = [mark for mark in (10, 100, 1_000, 3_000, 10_000) if mark <= count]
    found = {"wall_us": statistics.median(wall)}
    for mark in marks:
        window = slice(max(0, mark - max(3, mark // 10)), mark)
        found[f"wall_us_{mark}"] = statistics.median(wall[window])
        found[f"cpu_us_{mark}"] = statistics.median(cpu[window])
    return found


async def many_at_once(ask: Ask, sessions: int) -> dict[str, float]:
    """Sessions side by side, three turns each, one tool call in each turn, a model of 50 ms."""

    async def talk(session: int) -> None:
        for turn in range(3):
            checked(await ask(f"c{session}", f"message {turn}"), tool=True)

    await ask("warm", "hello")
    gc.collect()
    started, before = time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for session in range(sessions):
            nursery.start_soon(talk, session)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - before, "peak_mb": peak}


async def run(contestant: str, scenario: str, count: int, directory: Path) -> dict[str, float]:
    tool = scenario in {"tool", "sessions"}
    delay = MODEL_SECONDS if scenario == "sessions" else 0.0
    disk = Disk(directory) if contestant == "durable" and scenario != "sessions" else None
    async with opened(contestant, directory, tool=tool, delay=delay) as ask:
        if scenario == "sessions":
            return await many_at_once(ask, count or 1000)
        if scenario == "grow":
            found = await one_that_grows(ask, count or 3000, disk)
        else:
            found = await each_in_its_own_session(ask, count or 1500, disk, tool=tool)
    return {**found, **disk.close()} if disk is not None else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=["floor", "fairlead", "policy", "durable"])
    parser.add_argument("scenario", choices=["turn", "tool", "grow", "sessions"])
    parser.add_argument("--count", type=int, default=0, help="turns, or sessions")
    parser.add_argument("--directory", help="where the durable contestant keeps its journal")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        found = trio.run(run, given.contestant, given.scenario, given.count, Path(directory))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
