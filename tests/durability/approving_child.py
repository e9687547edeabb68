"""A process whose one tool is asked about, and whose operator says yes. It kills itself at an append of its journal."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

import fairlead
from fairlead import App, Capabilities, ModelRequest, Principal, Settings, ToolResult, Verdict, events
from fairlead.config import Config
from fairlead.errors import ApprovalRefused
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, calls
from fairlead_sqlite import SqliteMemory

SESSION = "main/captured//room"
OPERATOR = Principal("cli:operator")


class Dying(SqliteMemory):
    """Dies at one of its appends, before it is written or after."""

    def __init__(self, directory: Path, number: int, *, after: bool) -> None:
        super().__init__(Settings("sqlite", {}, directory))
        self.name, self._left, self._after = "sqlite", number, after

    async def open(self) -> None:
        await super().open()
        journal: Any = self.journal
        write = journal.append

        async def append(*args: Any, **options: Any) -> int:
            self._left -= 1
            if self._left == 0 and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            version: int = await write(*args, **options)
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return version

        journal.append = append


async def approve(app: App) -> None:
    while True:
        for record in await app.approvals():
            assert isinstance(record.event, events.ApprovalRequested)
            try:
                await app.decide(record.event.id, allow=True, by=OPERATOR)
            except ApprovalRefused:
                await trio.lowlevel.checkpoint()
        await trio.sleep(0.02)  # real time: the process is a real one


async def main(directory: Path, number: int, when: str, effect: Any) -> None:
    def act(_: object) -> str:
        with (directory / "effects").open("a") as file:
            file.write("x")
            file.flush()
            os.fsync(file.fileno())
        return "done"

    def answer(request: ModelRequest) -> Any:
        last = request.history[-1]
        return f"{last.error}: {last.text}" if isinstance(last, ToolResult) else calls(("act", {"to": "Ann"}))

    tool = CountingTool("act", act, effect=effect, parameters={"type": "object"})
    channel = CapturingChannel(capabilities=Capabilities())
    policy = FakePolicy(lambda _: Verdict("ask", "careful"), ["tool_call"])
    async with fairlead.open(
        Config(data_dir=directory),
        providers=[ScriptedProvider([answer], repeat=True)],
        memories=[Dying(directory, number, after=when == "after")],
        tools=[tool],
        channels=[channel],
        policies=[policy],
    ) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.serve)
            nursery.start_soon(approve, app)
            await channel.say("go", external_id="e1")
            while not await over(app):  # noqa: ASYNC110  # the journal has no event for it
                await trio.sleep(0.02)  # real time: as above
            app.stop()
            nursery.cancel_scope.cancel()
        records = [record.event for record in await app.sessions.records(SESSION)]
    told = {
        "used": [event.id for event in records if isinstance(event, events.ApprovalUsed)],
        "ended": sum(isinstance(event, events.TurnEnded) for event in records),
        "results": [event.result.error for event in records if isinstance(event, events.ToolReturned)],
    }
    sys.stdout.write(json.dumps(told) + "\n")


async def over(app: App) -> bool:
    records = [record.event for record in await app.sessions.records(SESSION)]
    ended = [event.turn for event in records if isinstance(event, events.TurnEnded)]
    return any(isinstance(event, events.AnswerDelivered) and event.turn in ended for event in records)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
