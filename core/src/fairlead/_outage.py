"""An outage of the journal: the app is read-only until the disk takes events again."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING

import trio

from fairlead import _events as ev
from fairlead._contracts import Journal
from fairlead._leaf import own_fault, said
from fairlead._message import Text, new_id
from fairlead._work import Finding, Outbound
from fairlead.errors import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairlead._contracts import Channel
    from fairlead._message import Address
    from fairlead._observers import Observers
    from fairlead._work import Inbound

__all__ = ["Outage"]

_PAUSES = (1.0, 2.0, 5.0, 10.0)
"""Seconds between looks at the journal; the last one for ever."""
_SAME_SECONDS = 60.0
"""One that begins so soon after another is the same one: on a disk that is nearly full they come in rows."""
_TELL_SECONDS = 30.0
_NOTICE = (
    "Your message could not be kept, because the storage of this service takes nothing at the moment. It is answered "
    "if it arrives again once the storage works."
)


class Outage:
    """One per app. While `watch` runs, turns in flight wait here, and messages are refused so that they come again.

    For the sessions it stands before a journal that can say when it is well again (`Journal.probe`).
    """

    def __init__(
        self, journal: Journal, channels: Mapping[str, Channel], observers: Observers, tasks: trio.Nursery
    ) -> None:
        self._journal, self._channels, self._observers, self._tasks = journal, channels, observers, tasks
        self.journal = self if type(journal).probe is not Journal.probe else journal
        """Where sessions write."""
        self.read = journal.read
        self._error: JournalUnavailable | None = None
        """Of the journal; None while it takes events."""
        self._watched = False
        self._begun, self._over = trio.Event(), trio.Event()
        self._over.set()
        self._ended = float("-inf")
        self._told: set[Address] = set()

    async def watch(self) -> None:
        """Until cancelled: end each outage as soon as the journal writes again."""
        self._watched = True
        try:
            while True:
                await self._begun.wait()
                for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
                    await trio.sleep(pause)
                    try:
                        await self._journal.probe()
                        break
                    except BaseException as error:  # noqa: BLE001  # whatever it is, nothing is written yet
                        await own_fault(error)
                self._end()
        finally:
            self._watched = False
            self._over.set()

    async def append(self, session: str, expected_version: int, events: Sequence[ev.Event], *, pending: bool) -> int:
        """As `Journal.append`, which is tried again after an outage.

        But a message is not, which its channel delivers again, nor what a person wants of a session.
        """
        while True:
            try:
                return await self._journal.append(session, expected_version, events, pending=pending)
            except JournalUnavailable as error:
                if self._watched and self._error is None:
                    self._begin(error)
                if any(isinstance(event, ev.MessageAccepted | ev.RolledBack) for event in events):
                    raise
                await self._over.wait()
                if not self._watched:
                    raise

    def refuse(self) -> None:
        """`JournalUnavailable` during an outage."""
        if self._error is not None and self._watched:
            problem = f"the app is read-only: {self._error.problem}"
            raise JournalUnavailable(problem, next_step="deliver the message again later")

    def tell(self, inbound: Inbound) -> None:
        """Say to whoever wrote during an outage that the message was not kept, once in an outage."""
        channel = self._channels.get(inbound.address.channel)
        if self._error is None or channel is None or inbound.address in self._told:
            return
        self._told.add(inbound.address)
        outbound = Outbound(new_id(), inbound.address, (Text(_NOTICE),), inbound.external_id, "notice")
        self._tasks.start_soon(self._send, channel, outbound)

    def findings(self) -> tuple[Finding, ...]:
        """One during an outage."""
        if self._error is None:
            return ()
        detail = f"takes nothing, so the app is read-only: {self._error.problem}"
        return (Finding("journal", ok=False, detail=detail, next_step=self._error.next_step),)

    def _begin(self, error: JournalUnavailable) -> None:
        self._error, self._over = error, trio.Event()
        self._begun.set()
        if trio.current_time() - self._ended > _SAME_SECONDS:
            self._told.clear()
            self._observers.raise_notice("journal", f"the app is read-only now: {error.problem}", level="error")

    def _end(self) -> None:
        self._error, self._begun, self._ended = None, trio.Event(), trio.current_time()
        self._over.set()
        self._observers.raise_notice("journal", "takes events again; the app goes on", level="info")

    async def _send(self, channel: Channel, outbound: Outbound) -> None:
        try:
            with trio.move_on_after(_TELL_SECONDS):
                await channel.send(outbound)
        except BaseException as error:  # noqa: BLE001  # it was a courtesy
            self._observers.raise_notice(f"channels/{channel.name}", f"send raised {said(await own_fault(error))}")
