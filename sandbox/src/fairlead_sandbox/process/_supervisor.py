"""Keeps one plugin's process running: starts it when it is needed, again when it crashed, and gives up in time.

    stopped ── needed ──> starting ── prepared ──> ready
                              ^ │ failed             │ ended
                        delay │ v                    v
                          backing-off <───────────── fewer than `Restarts.crashes` in the window
                                                     │ otherwise
    stopped <── revived ── quarantined <─────────────┘ also kept on disk

It knows processes and containers only as `Running`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import trio
from attrs import define, field, frozen

from fairlead.errors import FairleadError
from fairlead_sandbox.boundary import Peer, Serve
from fairlead_sandbox.errors import PluginQuarantined, SandboxLost
from fairlead_sandbox.process._life import Ending, Life, Pulse
from fairlead_sandbox.process._record import Crash, Record, Status, read_record, write_record
from fairlead_sandbox.process._running import Running

__all__ = ["Notice", "Restarts", "State", "Supervisor"]

Notice = Callable[[str, str, str], None]
"""Takes a subject, a detail, and a level: ``info``, ``warning``, ``error``."""
POLL_SECONDS = 2.0
"""Between two looks at the state file of a plugin in quarantine."""
SHOWN = 300
"""Characters of last words in a notice."""
LEVELS: Mapping[Status, str] = {
    "backing-off": "warning",
    "quarantined": "error",
    "ready": "info",
    "starting": "info",
    "stopped": "info",
}


@frozen
class Restarts:
    """When a process that crashed is started again, and when not any more."""

    crashes: int = 3
    """So many in the window, and it goes into quarantine."""
    window: float = 600.0
    """Seconds."""
    first: float = 1.0
    """Seconds: the longest delay after the first crash; it doubles with each further one."""
    most: float = 60.0
    """Seconds: no delay is longer."""
    start_seconds: float = 30.0
    """In which it must be prepared; reading a plugin's code may take a while."""

    def delay(self, crashes: int, chance: float) -> float:
        """Seconds before the next start: full jitter, so that plugins that fell together do not rise together.

        M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
        """
        return chance * min(self.most, self.first * 2.0 ** max(0, crashes - 1))


@frozen
class State:
    """How a plugin is, for screens."""

    name: str
    status: Status
    since: float
    """Unix seconds."""
    restarts: int
    crashes: tuple[Crash, ...]
    last_words: str
    """Of the last crash. Written by the plugin: not to be trusted."""
    next_start: float | None
    """Unix seconds; None where none is planned."""
    figures: Mapping[str, float]
    evidence: Mapping[str, Any]


@define(eq=False)
class _Attempt:
    """A start that somebody may wait for."""

    done: trio.Event = field(factory=trio.Event)
    over: trio.Event = field(factory=trio.Event)
    """Another attempt has taken its place."""
    peer: Peer | None = None
    error: FairleadError | None = None


class Supervisor:
    """Of one plugin. Run `run` in a task; the other methods are called from any task."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Awaitable[Running]],
        prepare: Callable[[Peer], Awaitable[None]],
        *,
        serve: Serve | None = None,
        notice: Notice = lambda _subject, _detail, _level: None,
        state_file: Path | None = None,
        restarts: Restarts | None = None,
        pulse: Pulse | None = None,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`launch`: starts a process or container; `prepare`: makes a fresh one ready, before anybody gets its peer.

        `serve`: answers what it asks outside of a call. `state_file`: where the state is kept for other programs, and
        for the next start of this one. `now`: Unix seconds. `chance`: between 0 and 1, for the delays.
        """
        self.name = name
        self._launch = launch
        self._prepare = prepare
        self._serve = serve
        self._notice = notice
        self._file = state_file
        self._restarts = restarts or Restarts()
        self._pulse = pulse
        self._now = now
        self._chance = chance
        self._record = self._recall()
        self._next_start: float | None = None
        self._life: Life | None = None
        self._scope = trio.CancelScope()
        self._attempt = _Attempt()
        self._wanted = trio.Event()
        self._revived = trio.Event()
        self._stopping = trio.Event()
        self._stopped: trio.Event | None = None

    # -- what others ask

    @property
    def state(self) -> State:
        record = self._record
        running = self._life.running if self._life is not None else None
        return State(
            name=self.name,
            status=record.status,
            since=record.since,
            restarts=record.restarts,
            crashes=tuple(record.crashes),
            last_words=record.crashes[-1].words if record.crashes else "",
            next_start=self._next_start,
            figures=running.figures() if running is not None else {"cpu_seconds": 0.0, "memory_bytes": 0.0},
            evidence=running.evidence if running is not None else {},
        )

    def start(self) -> None:
        """Start it without waiting, as `peer` does with waiting."""
        self._wanted.set()

    async def peer(self) -> Peer:
        """The peer of the prepared process; starts one where none runs, and waits for it, also through a delay.

        `PluginQuarantined`: it crashed too often. `IsolationUnavailable`: the machine cannot isolate it. `SandboxLost`:
        this start failed, or it was stopped. What `prepare` raised on purpose is raised as it is.
        """
        while True:
            if self._record.status == "quarantined" and not self._is_revived():
                raise self._quarantined()
            if self._stopping.is_set():
                raise self._gone()
            self._wanted.set()
            attempt = self._attempt
            await attempt.done.wait()
            if attempt.error is not None:
                # Without the traceback of the one who was told first.
                raise attempt.error.with_traceback(None)
            assert attempt.peer is not None
            if attempt.peer.ended is None:
                return attempt.peer
            await attempt.over.wait()

    def revive(self) -> bool:
        """End the quarantine: it is started again when it is needed. False where it is in none."""
        if self._record.status != "quarantined":
            return False
        self._become("stopped", "revived: it is started again when it is needed", crashes=())
        self._revived.set()
        return True

    async def stop(self) -> None:
        """End it for good: end of its input first, 2 s later a kill. Returns when `run` has ended. Idempotent.

        Its workers were closed before, by whoever opened them. Without `run` it only takes note.
        """
        self._stopping.set()
        with trio.CancelScope(shield=True):
            if self._life is not None:
                await self._life.stop()
            self._scope.cancel()
            if self._stopped is not None:
                await self._stopped.wait()

    # -- the states

    async def run(self) -> None:
        """Start, watch, start again, until `stop`. Cancelled: the process is killed. Run it once."""
        self._stopped = trio.Event()
        try:
            with self._scope:
                while not self._stopping.is_set():
                    if self._record.status == "quarantined":
                        await self._lie_low()
                    else:
                        await self._wanted.wait()
                        await self._live_once()
        finally:
            self._stopping.set()
            if self._record.status not in ("quarantined", "stopped"):
                self._become("stopped", "stopped")
            self._end_attempt(self._gone())
            self._stopped.set()

    async def _live_once(self) -> None:
        self._become("starting", "starts")
        self._life = Life(self._launch, self._prepare, self._serve, self._pulse, self._restarts.start_seconds)
        try:
            ending = await self._life.live(self._ready)
        finally:
            self._life = None
        if self._stopping.is_set():
            return
        if ending.crashed:
            await self._crashed(ending)
        else:
            # No fault of the plugin's, and time does not mend it: whoever needs it next tries again.
            self._wanted = trio.Event()
            self._become("stopped", f"cannot run here: {ending.error}", level="error")
            self._end_attempt(ending.error)

    def _ready(self, peer: Peer) -> None:
        self._become("ready", "ready")
        self._attempt.peer = peer
        self._attempt.done.set()

    async def _crashed(self, ending: Ending) -> None:
        now = self._now()
        recent = [crash for crash in self._record.crashes if now - crash.at < self._restarts.window]
        crashes = (*recent, Crash(now, ending.words))
        shown = f"crashed: {ending.words[-SHOWN:]}"
        if len(crashes) >= self._restarts.crashes:
            self._revived = trio.Event()
            times = f"{len(crashes)} times in {self._restarts.window:g} s"
            told = f"{shown}; this was {times}: it is left alone until: fairlead plugins revive {self.name}"
            self._become("quarantined", told, crashes=crashes)
            self._end_attempt(self._quarantined())
            return
        delay = self._restarts.delay(len(crashes), self._chance())
        self._next_start = now + delay
        self._become(
            "backing-off",
            f"{shown}; starts again in {delay:.1f} s",
            crashes=crashes,
            restarts=self._record.restarts + 1,
        )
        self._end_attempt(ending.error)
        with trio.move_on_after(delay):
            await self._stopping.wait()
        self._next_start = None

    async def _lie_low(self) -> None:
        with trio.move_on_after(POLL_SECONDS):
            await self._revived.wait()
        self._is_revived()

    def _is_revived(self) -> bool:
        """Another program may have ended the quarantine: the state file says so."""
        if self._record.status == "quarantined" and self._file is not None:
            kept = read_record(self._file)
            if kept is None or kept.status != "quarantined":
                self.revive()
        return self._record.status != "quarantined"

    # -- what is told and kept

    def _recall(self) -> Record:
        """A quarantine outlives the host; so do the crashes that still count."""
        kept = read_record(self._file) if self._file is not None else None
        now = self._now()
        if kept is None:
            return Record(self.name, "stopped", now)
        if kept.status == "quarantined":
            return attrs.evolve(kept, name=self.name)
        crashes = [crash for crash in kept.crashes if now - crash.at < self._restarts.window]
        return Record(self.name, "stopped", now, crashes)

    def _become(self, status: Status, detail: str, *, level: str = "", **changes: Any) -> None:
        self._record = attrs.evolve(self._record, status=status, since=self._now(), host=os.getpid(), **changes)
        self._notice(f"plugins/{self.name}", detail, level or LEVELS[status])
        if self._file is not None:
            try:
                write_record(self._file, self._record)
            except OSError as error:
                problem = f"its state is not kept for other programs: {self._file}: {error}"
                self._notice(f"plugins/{self.name}", problem, "warning")

    def _end_attempt(self, error: FairleadError) -> None:
        """Tell those who wait, and have the next ones wait for the next start."""
        if not self._attempt.done.is_set():
            self._attempt.error = error
            self._attempt.done.set()
        self._attempt.over.set()
        self._attempt = _Attempt()

    def _gone(self) -> SandboxLost:
        return SandboxLost(f"the plugin {self.name!r} was stopped")

    def _quarantined(self) -> PluginQuarantined:
        crashes = self._record.crashes
        last = f"; the last one: {crashes[-1].words[-SHOWN:]}" if crashes else ""
        return PluginQuarantined(
            f"the plugin {self.name!r} crashed {len(crashes)} times and is left alone{last}",
            next_step=f"fairlead plugins revive {self.name}",
        )
