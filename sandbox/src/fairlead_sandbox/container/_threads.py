"""Calls that block, in worker threads, such that cancelling one leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import trio

__all__ = ["PATIENCE", "in_thread"]

T = TypeVar("T")
PATIENCE = 2.0
"""Seconds that a cancelled call may still take before its thread is left to end by itself."""


class _Job(Generic[T]):
    """One call. The lock decides whether its result went to the caller or must be undone."""

    def __init__(self, work: Callable[[], T], undo: Callable[[T], object] | None) -> None:
        self._work, self._undo = work, undo
        self._lock = threading.Lock()
        self._token = trio.lowlevel.current_trio_token()
        self.over = trio.Event()
        self._results: list[T] = []
        self._begun = False
        self._abandoned = False

    def run(self) -> T | None:
        """In the thread."""
        with self._lock:
            if self._abandoned:
                return None
            self._begun = True
        try:
            result = self._work()
            if self._keep(result) and self._undo:
                self._undo(result)
            return result
        finally:
            self._tell()

    def _keep(self, result: T) -> bool:
        """Whether it came too late."""
        with self._lock:
            self._results.append(result)
            return self._abandoned

    def _tell(self) -> None:
        try:
            self._token.run_sync_soon(self.over.set)
        except trio.RunFinishedError:
            return

    def leave(self, *, only_unbegun: bool) -> bool:
        """Whether nobody waits for it any more; what it gives later is undone by the thread."""
        with self._lock:
            if only_unbegun and self._begun:
                return False
            self._abandoned = True
            return True

    def undo(self) -> None:
        """In another thread, after `leave`: what it gave before that."""
        if self._undo:
            for result in self._results:
                self._undo(result)


async def in_thread(
    work: Callable[[], T],
    *,
    undo: Callable[[T], object] | None = None,
    limiter: trio.CapacityLimiter | None = None,
    patience: float = PATIENCE,
) -> T:
    """What `work` gives, or raises.

    Cancelled before it began, it does not begin. Cancelled later, it is waited for up to `patience` seconds; after
    them the thread is left to end by itself. In both cases what it made is handed to `undo`, in a thread.
    """
    job = _Job(work, undo)
    try:
        result = await trio.to_thread.run_sync(job.run, abandon_on_cancel=True, limiter=limiter)
    except trio.Cancelled:
        if not job.leave(only_unbegun=True):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + patience):
                await job.over.wait()
            job.leave(only_unbegun=False)
            if undo and job.over.is_set():
                with trio.CancelScope(shield=True, deadline=trio.current_time() + patience):
                    await trio.to_thread.run_sync(job.undo, abandon_on_cancel=True)
        raise
    # None only where it was left before it began, and then the line above has raised.
    return result  # type: ignore[return-value]  # see the comment
