"""The journal without a disk: for hosts that need none, for tests, and as the shortest description of the contract."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import define, field

from fairlead._contracts import Journal, Memory, SessionInfo
from fairlead._events import ApprovalRequested, Event, MessageAccepted, Record, SessionStarted
from fairlead.errors import DuplicateKey, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["VolatileJournal", "VolatileMemory"]


@define
class _Kept:
    created: float
    updated: float
    owner: str = ""
    pending: bool = False
    events: list[Event] = field(factory=list)


class VolatileJournal(Journal):
    """Keeps the event objects of this process. Nothing survives it, so there is never anything to claim."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sessions: dict[str, _Kept] = {}
        self._keys: dict[str, str] = {}

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        kept = self._sessions.get(session)
        found = len(kept.events) if kept is not None else 0
        if found != expected_version:
            raise VersionConflict(
                f"session {session!r} is at version {found}, expected {expected_version}",
                session=session,
                expected=expected_version,
                found=found,
                next_step="read the session again",
            )
        keys = [event.key for event in events if isinstance(event, MessageAccepted | ApprovalRequested) and event.key]
        for place, key in enumerate(keys):
            if key in self._keys or key in keys[:place]:
                raise DuplicateKey(
                    f"key {key!r} is already in session {self._keys.get(key, session)!r}", session=session, key=key
                )
        now = self._clock()
        if kept is None:
            kept = self._sessions[session] = _Kept(now, now)
            kept.owner = next((event.owner for event in events if isinstance(event, SessionStarted)), "")
        kept.events.extend(events)
        kept.updated = now
        kept.pending = pending
        for key in keys:
            self._keys[key] = session
        return found + len(events)

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        kept = self._sessions.get(session)
        if kept is None:
            return ()
        return [Record(session, after + step, event) for step, event in enumerate(kept.events[after:], 1)]

    async def find(self, key: str) -> str | None:
        return self._keys.get(key)

    async def claim(self) -> Sequence[str]:
        return ()

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        found = [
            SessionInfo(name, len(kept.events), kept.pending, kept.created, kept.updated, kept.owner)
            for name, kept in self._sessions.items()
            if (owner is None or kept.owner == owner) and (before is None or kept.updated < before)
        ]
        return sorted(found, key=lambda info: info.updated, reverse=True)[:limit]

    async def erase(self, session: str) -> bool:
        return self._sessions.pop(session, None) is not None


class VolatileMemory(Memory):
    """The memory of an app that enables none."""

    name = "volatile"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.journal = VolatileJournal(clock)
