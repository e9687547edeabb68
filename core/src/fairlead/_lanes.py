"""Lanes: one turn at a time in a session, first come first served; limits for each class of work and for all.

Sessions that wait for a place get it by class, priority and time of coming. Priority is strict: work of a higher one
that never ends keeps lower work of its own class waiting, and never that of another class. A message does not lend its
priority to those before it in its session.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from fairlead.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fairlead._config import LaneLimits
    from fairlead._work import WorkClass

__all__ = ["Lanes", "Ticket"]


class Ticket:
    """A place in the line of a session."""

    __slots__ = ("_event", "granted", "priority", "session", "work_class")

    def __init__(self, session: str, work_class: WorkClass, priority: int) -> None:
        self.session, self.work_class, self.priority = session, work_class, priority
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
        """`ConfigError`: nothing would be left for work that nobody waits for."""
        self._limits = {"interactive": limits.interactive, "background": limits.background, "subagent": limits.subagent}
        self._total = limits.total
        reserved = limits.total // 4 if limits.reserved_interactive is None else limits.reserved_interactive
        self._others = limits.total - reserved
        """Places that all classes but the interactive may take together."""
        if self._others < 1:
            problem = f"expected fewer than lanes.total = {limits.total}, found {reserved}"
            raise ConfigError(problem, path="lanes.reserved_interactive", next_step="fairlead doctor")
        self._lines: dict[str, deque[Ticket]] = {}
        self._running = dict.fromkeys(self._limits, 0)
        self._ready: dict[str, deque[Ticket]] = {name: deque() for name in self._limits}
        self.running = 0
        self._busy: trio.Event | None = None

    async def wait_busy(self) -> None:
        """Until anybody has a place."""
        while not self.running:
            self._busy = trio.Event()
            await self._busy.wait()

    def __contains__(self, session: str) -> bool:
        """Whether anybody is in its line."""
        return session in self._lines

    def at_work(self) -> Iterator[str]:
        """The sessions that have a place now."""
        return (name for name, line in self._lines.items() if line[0].granted)

    def enter(self, session: str, work_class: WorkClass = "interactive", priority: int = 0) -> Ticket:
        """Take the next place in the session's line."""
        ticket = Ticket(session, work_class, priority)
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
            self._line_up(line[0])
        if first:
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
        running = self._running
        return (
            self.running < self._total
            and running[work_class] < self._limits[work_class]
            and (work_class == "interactive" or self.running - running["interactive"] < self._others)
        )

    def _admit(self, ticket: Ticket) -> None:
        if self._ready[ticket.work_class] or not self._has_room(ticket.work_class):
            self._line_up(ticket)
        else:
            self._start(ticket)

    def _line_up(self, ticket: Ticket) -> None:
        ready = self._ready[ticket.work_class]
        place = len(ready)
        while place and ready[place - 1].priority < ticket.priority:
            place -= 1
        ready.insert(place, ticket)

    def _start(self, ticket: Ticket) -> None:
        self.running += 1
        self._running[ticket.work_class] += 1
        ticket.grant()
        if self._busy is not None:
            self._busy.set()
            self._busy = None

    def _fill(self) -> None:
        for work_class, ready in self._ready.items():
            while ready and self._has_room(work_class):
                self._start(ready.popleft())
