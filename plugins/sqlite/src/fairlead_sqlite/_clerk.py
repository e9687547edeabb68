"""A thread with a connection of its own, which works off what trio tasks ask of it, in the order of asking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw
import trio
from attrs import define

from fairlead.errors import JournalUnavailable
from fairlead_sqlite._bell import Bell, Door
from fairlead_sqlite._file import explain

__all__ = ["Clerk", "Request"]

T = TypeVar("T")
MOST_AT_ONCE = 256
"""Requests taken from the queue at a time."""


@define(eq=False)
class Request(Generic[T]):
    """Something to do, the task that waits for it, and what came of it."""

    work: Callable[[apsw.Connection], T]
    task: trio.lowlevel.Task | None = None
    """Whom to reschedule; None once nobody waits any more. Only the thread of trio reads and writes it."""
    direct: bool = False
    """The task waits at the bell by itself."""
    lock: threading.Lock | None = None
    """Held until it is done, while the thread of trio itself waits for it; None where the task waits for a ring."""
    done: bool = False
    result: T | None = None
    error: Exception | None = None


class Clerk:
    """Asked in trio, working in its own thread; those who wait for what was done together are woken together."""

    def __init__(self, path: Path, busy_seconds: float, connect: Callable[[Path, float], apsw.Connection]) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._connect = connect
        self._connection: apsw.Connection | None = None
        self._door: Door[Request[Any] | None]
        self._bell: Bell[Sequence[Request[Any]]]
        self._thread = threading.Thread(target=self._serve, name=f"fairlead-sqlite {path.name}", daemon=True)
        self._closed = False
        self._asking = 0
        """Tasks that wait."""
        self._left: list[Request[Any]] = []

    async def start(self) -> None:
        """Open the connection. `JournalUnavailable`: it cannot be opened."""
        self._bell = Bell(self._reschedule)
        self._door = Door()
        self._thread.start()
        await self.do(lambda _: None)

    async def close(self) -> None:
        """Do what was asked before, then close the connection and end the thread. Cancelled: that happens by itself."""
        if self._closed or not self._thread.is_alive():
            return
        self._closed = True
        self._door.leave(None)
        await trio.to_thread.run_sync(self._thread.join, abandon_on_cancel=True)

    async def do(self, work: Callable[[apsw.Connection], T]) -> T:
        """The result of `work`, which is called in the thread. Cancelled: it is done nevertheless."""
        request = Request(work)
        await self.ask(request)
        return request.result  # type: ignore[return-value]  # `ask` raises where there is no result

    async def ask(self, request: Request[T], patience: float = 0.0) -> None:
        """Wait until the request is done; raises its error. `JournalUnavailable`: SQLite failed, or this is closed.

        Where nobody else asks, the loop itself stands still for it, at most `patience` seconds.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closed:
            raise JournalUnavailable(f"{str(self._path)!r} was closed", next_step="open the app again")

        self._asking += 1
        try:
            if not patience or self._asking > 1:
                self._expect_ring(request)
                self._door.leave(request)
                await self._wait(request)
            elif not await self._stand(request, patience):
                await self._wait(request)
        except BaseException:
            request.task = None
            self._left.append(request)
            raise
        finally:
            self._asking -= 1
        if request.error is not None:
            raise request.error

    async def _stand(self, request: Request[T], patience: float) -> bool:
        """Whether it was done soon. To be rung for, and to find back from the loop to the task, costs 15 us more."""
        lock = request.lock = threading.Lock()
        lock.acquire()
        self._door.leave(request)
        # While the thread begins, the other tasks have their turn. Where one of them asks as well, the loop goes on.
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self._asking == 1 and lock.acquire(timeout=patience):
            return True
        self._expect_ring(request)
        # The last of all, for the thread says that it is done before it looks at the lock: so either it is seen here
        # that it is done, or it is seen there that somebody waits for a ring.
        request.lock = None
        if request.done:
            request.task = None
        return request.done

    def _expect_ring(self, request: Request[T]) -> None:
        request.direct = not self._bell.taken
        request.task = None if request.direct else trio.lowlevel.current_task()

    async def _wait(self, request: Request[T]) -> None:
        if request.direct:
            await self._bell.wait_until(lambda: request.done)
        else:

            def leave(_: object) -> trio.lowlevel.Abort:
                request.task = None  # at once: the bell may be answered before the task comes to its `except`
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(leave)

    @property
    def abandoned(self) -> bool:
        """Whether there are requests that nobody waits for and that may still be done."""
        if self._left:
            self._left = [request for request in self._left if not request.done]
        return bool(self._left)

    # -- in the thread

    def _serve(self) -> None:
        while True:
            batch: list[Request[object]] = []
            request = self._door.take()
            while request is not None:
                batch.append(request)
                if len(batch) == MOST_AT_ONCE or self._door.empty:
                    break
                request = self._door.take()
            self.work_off(batch)
            if request is None:
                self._forget_connection()
                self._door.close()
                self._bell.leave()
                return

    def work_off(self, batch: Sequence[Request[object]]) -> None:
        """Do all requests of a batch, in order, and wake who waits for them."""
        for request in batch:
            self.perform(request)
            self.wake([request])

    def perform(self, request: Request[T]) -> None:
        """Do one request; its error is kept in it."""
        try:
            request.result = request.work(self.connection())
        except Exception as error:  # noqa: BLE001  # it is raised in the task that waits
            self.fail([request], error)

    def connection(self) -> apsw.Connection:
        """The open connection, opened anew after a failure: what it said before that must not be relied on."""
        if self._connection is None:
            self._connection = self._connect(self._path, self._busy_seconds)
        return self._connection

    def fail(self, requests: Sequence[Request[T]], error: Exception) -> None:
        """Give each request an error of its own, and leave a connection that failed."""
        for request in requests:
            request.error = error
            if isinstance(error, apsw.Error):
                request.error = explain(error, self._path, self._busy_seconds)
                request.error.__cause__ = error
            elif len(requests) > 1 and isinstance(error, JournalUnavailable):
                request.error = JournalUnavailable(error.problem, next_step=error.next_step)
        if isinstance(error, apsw.Error) and not isinstance(error, apsw.BusyError | apsw.ConstraintError):
            self._forget_connection()

    def wake(self, done: Sequence[Request[Any]]) -> None:
        """Let the waiting tasks go on."""
        direct = 0
        shared: list[Request[Any]] = []
        for request in done:
            request.done = True  # before the look at the lock, see `_stand`
            lock = request.lock
            if lock is not None:
                lock.release()
            elif request.direct:
                direct += 1
            else:
                shared.append(request)
        if direct:
            self._bell.ring_direct()
        if shared:
            self._bell.ring(shared)

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(apsw.Error):
                connection.close(True)

    # -- in trio again

    def _reschedule(self, done: Sequence[Request[Any]]) -> None:
        for request in done:
            if request.task is not None:
                trio.lowlevel.reschedule(request.task)
