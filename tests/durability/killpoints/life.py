"""One life of a process: it opens the app on the files that the last one left, and serves until all is at rest."""

from __future__ import annotations

import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import trio
from trio.testing import MockClock

import fairlead
from fairlead import App, Settings
from fairlead.config import Config
from fairlead.testing import ScriptedProvider, WallClock
from fairlead.wire import unstructure
from fairlead_cli._audit import audit
from fairlead_sqlite import SqliteMemory, _log

from .trap import Trap, TrappedDisk
from .waits import WORKLOADS
from .workloads import Play
from .world import FarChannel, World

__all__ = ["live", "warm_up"]

REST_SECONDS = 15.0
"""For work of milliseconds, on a busy machine."""
LEAPING_SECONDS = 36_000.0
"""The same where time leaps."""
LOOK_SECONDS = 0.001


def live(name: str, world: World, files: Path) -> None:
    """To its natural end, if nothing kills it before."""
    trap = world.trap
    trap.under = str(files)
    trap.patch()
    disk = TrappedDisk(trap)
    try:
        play = WORKLOADS[name](world)
        if play.checkpoint_pages:
            _log.CHECKPOINT_PAGES = play.checkpoint_pages
        trio.run(_live, play, world, files, clock=MockClock(rate=1.0) if play.leaps else None)
        world.report("acts", len(trap.acts), [[act.kind, act.on, act.unsynced] for act in trap.acts])
    finally:
        disk.unregister()


async def _live(play: Play, world: World, files: Path) -> None:
    channel = FarChannel(world, play.says, play.capabilities, outcomes=play.outcomes)
    channel.one_by_one, channel.again, channel.slow = not play.together, play.again, play.slow
    channel.choices = play.choices
    config = Config(data_dir=files, limits=play.limits, **play.config)
    memory = SqliteMemory(Settings("sqlite", {}, files))
    providers = play.providers or (ScriptedProvider([play.model], repeat=True),)
    with trio.fail_after(LEAPING_SECONDS if play.leaps else REST_SECONDS):
        async with (
            fairlead.open(
                config,
                channels=[channel],
                providers=providers,
                memories=[memory],
                tools=list(play.tools),
                policies=[*play.policies, *play.keeping(files)],
                clock=WallClock(time.time() + world.leapt) if play.leaps else time.time,
            ) as app,
            trio.open_nursery() as nursery,
        ):
            if play.patient:
                channel.between = partial(_rest, app)
            elif play.between is not None:
                channel.between = partial(play.between, app)
            nursery.start_soon(app.serve)
            if play.meanwhile is not None:
                nursery.start_soon(play.meanwhile, app, world)
            await channel.delivered.wait()
            await _rest(app)
            if play.afterwards is not None:
                await play.afterwards(app, world)
                await _rest(app)
            if world.life > 1:
                await _tell_state(app, world, memory.path, events=play.tells_events)
            app.stop()
            nursery.cancel_scope.cancel()


async def _rest(app: App) -> None:
    """Until no session has work that is not finished; the dead one's sessions are claimed when the app begins."""
    while await _is_busy(app):  # noqa: ASYNC110  # nobody tells when the journal is at rest
        await trio.sleep(LOOK_SECONDS)  # real time: of the threads of the journal


async def _is_busy(app: App) -> bool:
    if app._desk.busy:  # noqa: SLF001  # no public way tells
        return True
    return any(info.pending for info in await app.sessions.list(limit=1000))


async def _tell_state(app: App, world: World, file: Path, *, events: bool) -> None:
    for info in await app.sessions.list(limit=1000):
        records = await app.sessions.records(info.id)
        account = audit(info.id, records)
        state: dict[str, Any] = {
            "version": info.version,
            "records": [record.version for record in records],
            "items": len(await app.sessions.history(info.id)),
            "faults": account.faults,
            "waiting": account.waiting,
            "unknown_calls": account.unknown_calls,
            "accepted": [_accepted(record.event) for record in records if record.event.kind == "message_accepted"],
            "ended": [_ended(record.event) for record in records if record.event.kind == "turn_ended"],
            "delivered": [_delivered(record.event) for record in records if record.event.kind == "answer_delivered"],
            "fork": any(record.event.kind == "session_forked" for record in records),
            "events": [[record.event.kind, unstructure(record.event)] for record in records] if events else [],
        }
        world.report("session", info.id, state)
    connection = apsw.Connection(str(file), vfs="unix", flags=apsw.SQLITE_OPEN_READONLY)
    world.report("whole", [text for (text,) in connection.execute("PRAGMA integrity_check")])
    connection.close()


def _accepted(event: Any) -> list[str]:
    return [event.message.id, event.external_id]


def _ended(event: Any) -> list[Any]:
    return [event.turn, list(event.messages), event.outcome]


def _delivered(event: Any) -> list[str]:
    return [event.turn, event.status]


def warm_up(directory: Path, pipe: int) -> None:
    """Import and run once all that a life needs, so that the ones that are forked from here need not."""
    for name in ("chat", "tools_at_once", "notes"):
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "world").mkdir(parents=True)
        world = World(pipe, Trap(under=str(directory)), directory / "world")
        trio.run(_live, WORKLOADS[name](world), world, directory / "files")
