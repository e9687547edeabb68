"""How a thread wakes tasks of trio.

A pipe that one task listens to, and not `TrioToken.run_sync_soon`: that goes through a lock, a socket and a task of
trio that reads it until it is empty, and a round trip to a thread costs some 30 us more (measured).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

__all__ = ["Bell"]

T = TypeVar("T")
MOST_BYTES = 4096
"""Of the pipe read at a time."""


class Bell(Generic[T]):
    """One thread rings with a value, one task of trio answers. Neither needs the other to be alive still."""

    def __init__(self, answer: Callable[[T], object]) -> None:
        """Called in trio. `OSError`: there are no more file descriptors."""
        self._answer = answer
        self._values: deque[T | None] = deque()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._users = 2
        self._lock = threading.Lock()
        trio.lowlevel.spawn_system_task(self._listen)

    def ring(self, value: T) -> None:
        """In the thread: have `answer` called with the value, soon and in order, unless the loop has ended."""
        self._ring(value)

    def leave(self) -> None:
        """In the thread: the last call, once."""
        self._ring(None)
        self._close()

    def _ring(self, value: T | None) -> None:
        self._values.append(value)
        # A pipe that is full of bytes nobody has read yet wakes the listener just as well.
        with suppress(BlockingIOError):
            os.write(self._writing, b"!")

    async def _listen(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._reading)
                os.read(self._reading, MOST_BYTES)
                while self._values:
                    value = self._values.popleft()
                    if value is None:
                        return
                    self._answer(value)
        finally:
            self._close()

    def _close(self) -> None:
        """Whoever leaves last closes the pipe: a number that is closed too early may be another file's already."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        os.close(self._reading)
        os.close(self._writing)
