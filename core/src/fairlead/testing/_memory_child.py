"""A memory in a process that is made to be killed: the program, and the side of the check.

The program reads one JSON document a line (an operation of a journal with its arguments), and answers each with one.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from fairlead._codec import decode_event, encode_event, structure, unstructure
from fairlead._contracts import Journal, Memory, SessionInfo
from fairlead._events import Event, Record
from fairlead._work import Settings
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.testing._memory_model import Driver

__all__ = ["Elsewhere"]

REFUSALS = {"VersionConflict": VersionConflict, "DuplicateKey": DuplicateKey}


class Elsewhere(Driver):
    """A journal in a process of its own."""

    def __init__(self, entry_point: str, options: Mapping[str, Any], data_dir: Path) -> None:
        self._given = json.dumps({"entry_point": entry_point, "options": dict(options), "data_dir": str(data_dir)})
        self._process: trio.Process | None = None
        self._buffered = b""

    async def start(self, stack: AsyncExitStack) -> Elsewhere:
        """Start the process, and wait until the memory is open."""
        command = [sys.executable, "-m", "fairlead.testing._memory_child", self._given]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        self._process = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, env=environment)
        self._buffered = b""
        stack.push_async_callback(self._stop, self._process)
        await self._answer()
        return self

    async def _stop(self, process: trio.Process) -> None:
        """Let it close its memory; one that was killed is dead already."""
        assert process.stdin is not None
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            with trio.move_on_after(10):
                await process.wait()
            process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()

    async def crash(self) -> None:
        """Kill it now."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def tell(self, op: str, **args: Any) -> None:
        """Send an operation, and do not wait for its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps({"op": op, **args}).encode() + b"\n")

    async def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        while b"\n" not in self._buffered:
            data = await self._process.stdout.receive_some()
            if not data:
                raise EOFError("the process of the memory is gone")
            self._buffered += data
        line, _, self._buffered = self._buffered.partition(b"\n")
        found = json.loads(line)
        if found["error"]:
            raise REFUSALS.get(found["error"], RuntimeError)(found["problem"])
        return found["result"]

    async def append_soon(self, session: str, events: Sequence[Event]) -> None:
        """Send an append to a new session, and do not wait for its answer."""
        written = [encode_event(event).decode() for event in events]
        await self.tell("append", session=session, version=0, events=written, pending=True)

    async def answer(self) -> Any:
        """The answer to the oldest operation that has none yet. `EOFError`: the process is gone."""
        return await self._answer()

    async def _do(self, op: str, **args: Any) -> Any:
        # An answer that is not read would be taken for the next one's.
        with trio.CancelScope(shield=True):
            await self.tell(op, **args)
            return await self._answer()

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        """As `Journal.append`; once begun it is not cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        written = [encode_event(event).decode() for event in events]
        found = await self._do("append", session=session, version=expected_version, events=written, pending=pending)
        return int(found)

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        """As `Journal.read`."""
        found = await self._do("read", session=session)
        return [Record(session, place, decode_event(text.encode())) for place, text in enumerate(found, 1)][after:]

    async def find(self, key: str) -> str | None:
        """As `Journal.find`."""
        found: str | None = await self._do("find", key=key)
        return found

    async def claim(self) -> Sequence[str]:
        """As `Journal.claim`."""
        return list(await self._do("claim"))

    async def sessions(self) -> Sequence[SessionInfo]:
        """As `Journal.sessions`."""
        return [structure(each, SessionInfo) for each in await self._do("sessions")]

    async def erase(self, session: str) -> bool:
        """As `Journal.erase`."""
        return bool(await self._do("erase", session=session))


async def _obey(journal: Journal, asked: dict[str, Any]) -> Any:
    op = asked["op"]
    if op == "append":
        events = [decode_event(text.encode()) for text in asked["events"]]
        return await journal.append(asked["session"], asked["version"], events, pending=asked["pending"])
    if op == "read":
        return [encode_event(record.event).decode() for record in await journal.read(asked["session"])]
    if op == "find":
        return await journal.find(asked["key"])
    if op == "sessions":
        return [unstructure(info) for info in await journal.sessions(limit=10_000)]
    return await (journal.erase(asked["session"]) if op == "erase" else journal.claim())


async def _serve(given: dict[str, Any]) -> None:
    module = importlib.import_module(given["entry_point"])
    settings = Settings("kit", given["options"], Path(given["data_dir"]))
    memory: Memory = module.fairlead_memories(settings)[0]
    memory.name = memory.name or "kit"
    await memory.open()
    assert memory.journal is not None
    say({"error": "", "result": "open"})
    try:
        while line := await trio.to_thread.run_sync(sys.stdin.readline):
            try:
                found = await _obey(memory.journal, json.loads(line))
                say({"error": "", "result": found if not isinstance(found, tuple) else list(found)})
            except (VersionConflict, DuplicateKey) as error:
                say({"error": type(error).__name__, "problem": error.problem})
    finally:
        await memory.close()


def say(value: dict[str, Any]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(_serve, json.loads(sys.argv[1]))
