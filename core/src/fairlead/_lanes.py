"""Lanes: one turn at a time in a session, first come first served; limits for each class of work and for all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from fairlead._config import LaneLimits
    from fairlead._work import WorkClass

__all__ = ["Lanes", "Ticket"]


class Ticket:
    """A place in the line of a session."""

    __slots__ = ("_event", "granted", "session", "work_class")

    def __init__(self, session: str, work_class: WorkClass) -> None:
        self.session, self.work_class = session, work_class
        self.granted = False
        self._event: trio.Event | None = None

    def grant(self) -> None:
        self.granted = True
        if self._event is not None:
            self._event.set()

    def take_back(self) -> None:
        """Another grant must come."""
        self.granted, self._event = False, None

    async def wait(self) -> None:
        """Until it is this ticket's turn. Cancelled: the place is still held; give it back with `Lanes.leave`."""
        if not self.granted:
            self._event = trio.Event()
            await self._event.wait()


class Lanes:
    """Who may run now. All methods are immediate; only a ticket waits."""

    def __init__(self, limits: LaneLimits) -> None:
        self._limits = {"interactive": limits.interactive, "background": limits.background, "subagent": limits.subagent}
        self._total = limits.total
        self._lines: dict[str, deque[Ticket]] = {}
        self._running = dict.fromkeys(self._limits, 0)
        self._ready: dict[str, deque[Ticket]] = {name: deque() for name in self._limits}
        self.running = 0

    def enter(self, session: str, work_class: WorkClass = "interactive") -> Ticket:
        """Take the next place in the session's line."""
        ticket = Ticket(session, work_class)
        line = self._lines.get(session)
        if line is None:
            self._lines[session] = deque((ticket,))
            self._admit(ticket)
        else:
            line.append(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give the place back, whether it was granted or not."""
        line = self._lines[ticket.session]
        first = line[0] is ticket
        line.remove(ticket)
        if ticket.granted:
            self.running -= 1
            self._running[ticket.work_class] -= 1
        elif first and ticket in self._ready[ticket.work_class]:  # else it was paused
            self._ready[ticket.work_class].remove(ticket)
        if not line:
            del self._lines[ticket.session]
        elif first:
            self._admit(line[0])
        if ticket.granted:
            self._fill()

    def pause(self, session: str) -> None:
        """Give back the place among all of the turn that runs in a session, which keeps its place in the line there."""
        ticket = self._lines[session][0]
        ticket.take_back()
        self.running -= 1
        self._running[ticket.work_class] -= 1
        self._fill()

    def unpause(self, session: str) -> Ticket:
        """Ask for a place again: the ticket has it once it is granted."""
        ticket = self._lines[session][0]
        self._admit(ticket)
        return ticket

    def _has_room(self, work_class: str) -> bool:
        return self.running < self._total and self._running[work_class] < self._limits[work_class]

    def _admit(self, ticket: Ticket) -> None:
        ready = self._ready[ticket.work_class]
        if ready or not self._has_room(ticket.work_class):
            ready.append(ticket)
        else:
            self._start(ticket)

    def _start(self, ticket: Ticket) -> None:
        self.running += 1
        self._running[ticket.work_class] += 1
        ticket.grant()

    def _fill(self) -> None:
        for work_class, ready in self._ready.items():
            while ready and self._has_room(work_class):
                self._start(ready.popleft())
