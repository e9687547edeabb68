"""Stuck work is seen: one task of an app looks at the turns that run, now and then, and they pay nothing for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from fairlead._config import Limits
    from fairlead._lanes import Lanes
    from fairlead._session import Session, Sessions

__all__ = ["Watch"]


@define
class _Seen:
    """A turn as it was when something of it last changed."""

    mark: tuple[Any, ...]
    since: float
    told: bool = False


class Watch:
    """Warns of turns without progress, and ends those that make none for too long."""

    def __init__(self, lanes: Lanes, sessions: Sessions, limits: Limits, notice: Callable[..., None]) -> None:
        self._lanes, self._sessions, self._limits, self._notice = lanes, sessions, limits, notice
        self._period = min(limits.warn_seconds, limits.stall_seconds, _LONGEST) / 8
        """Seconds between two looks: what is late is seen late by so much at most."""

    async def run(self) -> None:
        seen: dict[str, _Seen] = {}
        while True:
            await self._lanes.wait_busy()
            await trio.sleep(self._period)
            sessions = [self._sessions.peek(name) for name in self._lanes.at_work()]
            running = [session for session in sessions if session is not None and session.running is not None]
            seen = {session.state.id: self._look(session, seen.get(session.state.id)) for session in running}

    def _look(self, session: Session, before: _Seen | None) -> _Seen:
        running, now = session.running, trio.current_time()
        mark = (running, running and running.moves, running and running.why, session.state.version)
        if before is None or before.mark != mark or running is None or running.patient:
            return _Seen(mark, now)
        quiet, name = now - before.since, session.state.id
        if running.why:
            if quiet >= _LATE and not before.told:
                text = f"a turn of session {name!r} was stopped and goes on: its lane is held until it ends"
                self._notice("lanes", f"{text}; it waits for {_awaited(session)}", level="error", session=name)
                before.told = True
            return before
        text = f"session {name!r} has made no progress for {quiet:.0f} s; {_awaited(session)} is waited for"
        if quiet >= self._limits.stall_seconds and not session.writing:  # its end would wait for the journal too
            self._notice("lanes", f"{text}; its turn is ended", session=name)
            running.stop("stalled")
        elif quiet >= self._limits.warn_seconds and not before.told:
            self._notice("lanes", text, session=name)
            before.told = True
        return before


def _awaited(session: Session) -> str:
    """What a turn waits for, with its id."""
    turn = session.state.turn
    if turn is None:
        return "a policy"
    calls = [f"tool {call.tool!r} (call {call.id})" for call in turn.calls.values()]
    return f"{', '.join(calls) or 'the model'} in turn {turn.id}"


_LONGEST = 480.0
_LATE = 5.0
"""Seconds in which whatever is isolated has ended after a cancel; what has not is of this process."""
