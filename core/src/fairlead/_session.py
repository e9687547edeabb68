"""A session in this process: the one place that appends to it, and the sessions that are at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from fairlead import _events as ev
from fairlead._fold import SessionState, apply, fold
from fairlead.errors import DuplicateKey, VersionConflict

if TYPE_CHECKING:
    from fairlead._contracts import Journal
    from fairlead._outage import Outage

__all__ = ["RESERVED", "Running", "Session", "Sessions"]

RESERVED = "!"
"""Begins the names of the core's own sessions, which nobody sees; no conversation's name can begin so."""


class Running:
    """What a turn that runs shows to whoever wants to end it, or to know whether it goes on."""

    messages: tuple[str, ...]
    scope: trio.CancelScope
    why = ""
    """The word for what ended it from outside: ``cancelled``, ``interrupted``, ``stalled``."""
    moves = 0
    """Counts what is shown of it: pieces of answers, and what tools say of themselves."""
    patient = False
    """It waits for a person, which is no stall."""

    def stop(self, why: str) -> None:
        """Cancel it. The first reason counts."""
        self.why = self.why or why
        self.scope.cancel()


class Session:
    """A session in this process. All its appends pass here, one at a time and in order."""

    __slots__ = (
        "_busy",
        "_journal",
        "_lot",
        "_noted",
        "_publish",
        "cancel_next",
        "resend",
        "running",
        "stale",
        "state",
        "users",
    )

    def __init__(
        self, state: SessionState, journal: Journal | Outage, publish: Callable[[ev.Record], None] | None
    ) -> None:
        self.state, self._journal, self._publish = state, journal, publish
        self._noted: list[ev.Event] = []
        self._busy = False
        self._lot: trio.lowlevel.ParkingLot | None = None
        self.stale = False
        """The state may differ from the journal: it must be read again before the next use."""
        self.running: Running | None = None
        self.cancel_next = ""
        """The id of a message whose turn is not wanted any more, though it has not begun."""
        self.users = 0
        """Tasks that hold it; only an unused one may leave the cache."""
        self.resend = 0.0
        """Seconds until its answers are sent again; below zero once a task waits for that."""

    @property
    def waiting(self) -> list[ev.MessageAccepted]:
        """Messages that no turn has taken up, in the order of coming."""
        begun = (self.state.turn.messages if self.state.turn else ()) + (self.running.messages if self.running else ())
        return [accepted for name, accepted in self.state.queue.items() if name not in begun]

    @property
    def writing(self) -> bool:
        """An append or a reading is under way."""
        return self._busy

    def note(self, event: ev.Event) -> None:
        """Take in an event that need not be durable by itself: it is written with the next append."""
        apply(self.state, event)
        self._noted.append(event)

    async def append(self, *events: ev.Event, first: Callable[[], Sequence[ev.Event]] | None = None) -> None:
        """Make what was noted and these events durable. After any error but `DuplicateKey` the session is stale.

        `first` is asked for events to write before them, when nothing can change any more what it decides by.

        `VersionConflict`, also where the session was read again while this waited, or must be: what was noted is gone
        then, and what the caller knew of the session is old. To write on would leave a turn that never began.
        """
        state = self.state
        if self._busy:
            await self._wait()
        self._busy = True
        before = state.version
        if self.stale or self.state is not state:
            self._leave()
            raise VersionConflict("it was read again meanwhile", session=state.id, expected=before)
        try:
            if first is not None:
                events = (*first(), *events)
            for event in events:
                apply(state, event)
            noted, self._noted = self._noted, []
            written = (*noted, *events)
            state.version = await self._journal.append(state.id, before, written, pending=state.pending)
        except DuplicateKey:
            self._take_back(events, noted)
            raise
        except BaseException:
            self.stale = True  # it has taken in what may never have been written
            raise
        finally:
            self._leave()
        if self._publish is not None:
            for step, event in enumerate(written, before + 1):
                self._publish(ev.Record(state.id, step, event))

    def _take_back(self, events: Sequence[ev.Event], noted: list[ev.Event]) -> None:
        """A message came twice and was not written. A turn that runs here must not feel it."""
        self._noted[:0] = noted
        for event in events:
            if isinstance(event, ev.MessageAccepted):
                del self.state.queue[event.message.id]
            elif isinstance(event, ev.TurnEnded):  # who made room for it waits on, where the journal has them
                self.stale = True
        self.stale = self.stale or self.state.version == 0

    async def reload(self, *, look: bool = False) -> None:
        """Fold the journal again where the session is stale. No append is under way meanwhile.

        `look`: first see whether other processes have written, and it is.

        Else a message that is journalled between the reading and the folding would be in the journal and in no state,
        and nobody would answer it. A turn that runs here finds what it noted gone, and begins again.
        """
        if self._busy:
            await self._wait()
        self._busy = True
        try:
            if look and not self.stale:
                self.stale = bool(await self._journal.read(self.state.id, self.state.version))
            if self.stale:  # else somebody has read it while this one waited
                self.stale = False  # before the reading: what makes it stale meanwhile counts
                try:
                    state = fold(self.state.id, await self._journal.read(self.state.id))
                except BaseException:
                    self.stale = True
                    raise
                self._noted.clear()
                self.state = state
        finally:
            self._leave()

    async def _wait(self) -> None:
        """Until it is this task's turn to read or write; in the order of coming."""
        if self._lot is None:
            self._lot = trio.lowlevel.ParkingLot()
        await self._lot.park()

    def _leave(self) -> None:
        """Hand over to the one that waits longest, before anybody else can come in between."""
        if self._lot:
            self._lot.unpark()
        else:
            self._busy = False


class Sessions:
    """The sessions that this process has folded; the least recently used idle ones are forgotten."""

    def __init__(
        self, journal: Journal | Outage, publish: Callable[[ev.Record], None] | None = None, capacity: int = 20_000
    ) -> None:
        self._journal, self._publish, self._capacity = journal, publish, capacity
        self._cached: OrderedDict[str, Session] = OrderedDict()

    async def get(self, name: str) -> Session:
        """The session of that name, empty where the journal has none."""
        session = self._cached.get(name)
        if session is None:
            records = await self._journal.read(name)
            session = self._cached.get(name)  # another task may have been faster
            if session is None:
                session = self._cached[name] = Session(fold(name, records), self._journal, self._publish)
                if len(self._cached) > self._capacity:
                    self._forget()
                return session
        self._cached.move_to_end(name)
        if session.stale:
            await session.reload()
        return session

    def peek(self, name: str) -> Session | None:
        return self._cached.get(name)

    def drop(self, name: str) -> None:
        """Forget a session that was erased; who still holds it must read it again."""
        session = self._cached.pop(name, None)
        if session is not None:
            session.stale = True

    def _forget(self) -> None:
        for name in list(self._cached)[: self._capacity // 10 + 1]:
            session = self._cached[name]
            if session.users == 0 and not session.state.pending:
                del self._cached[name]
