"""Observers: each has its own buffer and task, so that none can delay the path or another observer."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from fairlead._events import Event, NoticeRaised, Record
from fairlead._leaf import own_fault, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fairlead._contracts import Observer

__all__ = ["Observers"]

LAST_SECONDS = 1.0
BUFFER = 1000
"""Records that an observer may lag behind before it is dropped."""


class Observers:
    """Hands every record to every observer, without waiting."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._early: list[Record] | None = []
        """What is shown before anybody can be attached: plugins say where they are reached while they are loaded."""
        self._sends: dict[Observer, trio.MemorySendChannel[Record]] = {}

    @property
    def watching(self) -> bool:
        return bool(self._sends)

    def subscribe(self, observer: Observer) -> trio.MemoryReceiveChannel[Record]:
        """From now on its records are kept for it; give what is returned to `run`."""
        send, receive = trio.open_memory_channel[Record](BUFFER)
        self._sends[observer] = send
        return receive

    async def run(self, observer: Observer, receive: trio.MemoryReceiveChannel[Record]) -> None:
        """Feed one observer until it is dropped or cancelled. One that fails 3 times is dropped."""
        failures = 0
        try:
            async for record in receive:
                try:
                    await observer.observe(record)
                except BaseException as error:  # noqa: BLE001  # whatever an observer raises concerns only itself
                    fault = await own_fault(error)
                    failures += 1
                    if failures >= _PATIENCE:
                        self._drop(observer, f"failed {failures} times, last with {said(fault)}")
        finally:
            self._sends.pop(observer, None)

    @asynccontextmanager
    async def ending(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        """Observers run in there; what waits for them in the end they still see, for a second at most."""
        yield
        for send in tuple(self._sends.values()):
            send.close()
        self._sends.clear()
        nursery.cancel_scope.deadline = trio.current_time() + LAST_SECONDS

    def publish(self, record: Record) -> None:
        """Give a record to all. Never waits."""
        for observer, send in tuple(self._sends.items()):
            try:
                send.send_nowait(record)
            except trio.WouldBlock:
                self._drop(observer, f"lagged by {BUFFER} events")

    def show(self, session: str, event: Event) -> None:
        """Publish an event that is not kept."""
        record = Record(session, 0, event)
        if self._early is None:
            self.publish(record)
        elif len(self._early) < BUFFER:
            self._early.append(record)

    def begin(self) -> None:
        """All observers are attached."""
        early, self._early = self._early or [], None
        for record in early:
            self.publish(record)

    def raise_notice(self, subject: str, detail: str, *, level: str = "warning", session: str = "") -> None:
        """Tell the operator."""
        if self._sends or self._early is not None:
            self.show(session, NoticeRaised(at=self._clock(), subject=subject, detail=detail, level=level))  # type: ignore[arg-type]  # callers pass literals

    def _drop(self, observer: Observer, why: str) -> None:
        send = self._sends.pop(observer, None)
        if send is not None:
            send.close()
            self.raise_notice(f"observers/{observer.name}", f"dropped: it {why}")


_PATIENCE = 3
