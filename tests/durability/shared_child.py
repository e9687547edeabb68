"""A process that asks in the session ``shared``: its tool says that it began, and waits for a line on its input."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

import fairlead
from fairlead import Settings
from fairlead.config import Config
from fairlead.errors import FairleadError
from fairlead.testing import CountingTool, ScriptedProvider, calls
from fairlead_sqlite import SqliteMemory


async def hold(_: object) -> str:
    sys.stdout.write("began\n")
    sys.stdout.flush()
    await trio.to_thread.run_sync(sys.stdin.readline)
    return "done"


async def main(directory: Path) -> None:
    tool = CountingTool("slow", hold, effect="once")
    memory = SqliteMemory(Settings("sqlite", {}, directory))
    provider = ScriptedProvider([calls(("slow", {})), "the first answer", "once more"])
    async with fairlead.open(Config(data_dir=directory), providers=[provider], memories=[memory], tools=[tool]) as app:
        try:
            reply = await app.ask("first", session="shared")
        except FairleadError as error:
            sys.stdout.write(f"{type(error).__name__}\n")
        else:
            sys.stdout.write(f"{reply.text}\n")


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
