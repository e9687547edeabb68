"""A process of its own for the tests: ``python child.py COMMAND DIRECTORY SESSION``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import trio

from fairlead import Message, Settings, Text
from fairlead.errors import VersionConflict
from fairlead.events import MessageAccepted
from fairlead.memory import Journal
from fairlead_sqlite import SqliteMemory


async def append(journal: Journal, session: str) -> NoReturn:
    """Append for ever; each version is printed once it is acknowledged."""
    version = len(await journal.read(session))
    while True:
        version = await journal.append(session, version, [said(f"{session}/{version}")], pending=True)
        say(version)


async def claim(journal: Journal, _: str) -> None:
    """Claim when told to, and hold it until the input ends."""
    await told()
    say(list(await journal.claim()))
    await told()


async def race(journal: Journal, session: str) -> None:
    """Try to be the one who writes each version; say which were won."""
    await told()
    won = []
    for version in range(30):
        try:
            won.append(await journal.append(session, version, [said()], pending=False))
        except VersionConflict:
            continue
    say(won)


def said(text: str = "hello") -> MessageAccepted:
    return MessageAccepted(message=Message("user", (Text(text),)))


def say(words: object) -> None:
    sys.stdout.write(f"{json.dumps(words)}\n")
    sys.stdout.flush()


async def told() -> None:
    say("ready")
    await trio.to_thread.run_sync(sys.stdin.readline)


async def main(command: str, directory: str, session: str) -> None:
    memory = SqliteMemory(Settings("sqlite", data_dir=Path(directory)))
    await memory.open()
    assert memory.journal is not None
    try:
        await {"append": append, "claim": claim, "race": race}[command](memory.journal, session)
    finally:
        await memory.close()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3])
