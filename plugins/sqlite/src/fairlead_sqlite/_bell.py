"""How a thread wakes tasks of trio, and is woken by them.

Pipes, and not `TrioToken.run_sync_soon`: that goes through a lock, a socket and a task of trio that reads it until it
is empty, and a round trip to a thread costs some 30 us more; a task that waits at a pipe by itself, and not for another
task that wakes it, saves 10 us more (measured).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import trio

__all__ = ["Bell", "Door"]

T = TypeVar("T")
MOST_BYTES = 4096
"""Of a pipe read at a time."""


class Pipe:
    """Wakes one task of trio at a time, at once and perhaps for nothing."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)

    def write(self) -> None:
        # One that is full of bytes nobody has read yet wakes the task just as well.
        with suppress(BlockingIOError):
            os.write(self._writing, b"!")

    async def wait(self) -> None:
        await trio.lowlevel.wait_readable(self._reading)
        os.read(self._reading, MOST_BYTES)

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


class Door(Generic[T]):
    """Tasks of trio leave values there; one thread takes them, and sleeps while there are none."""

    def __init__(self) -> None:
        """`OSError`: there are no more file descriptors."""
        self._values: deque[T] = deque()
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._sleeping = False

    def leave(self, value: T) -> None:
        self._values.append(value)
        # Either it is seen here that the thread sleeps, or the thread sees the value before it does.
        if self._sleeping:
            with suppress(BlockingIOError):
                os.write(self._writing, b"!")

    def take(self) -> T:
        """In the thread: the next value; waits for it."""
        while not self._values:
            self._sleeping = True
            if not self._values:
                os.read(self._reading, MOST_BYTES)
            self._sleeping = False
        return self._values.popleft()

    @property
    def empty(self) -> bool:
        return not self._values

    def close(self) -> None:
        """In the thread: the last call; nobody leaves anything any more."""
        os.close(self._reading)
        os.close(self._writing)


class Bell(Generic[T]):
    """One thread rings. One task of trio answers to values; another may wait by itself. None needs the others alive."""

    def __init__(self, answer: Callable[[T], object]) -> None:
        """Called in trio. `OSError`: there are no more file descriptors."""
        self._answer = answer
        self._values: deque[T | None] = deque()
        self._shared, self._direct = Pipe(), Pipe()
        self._users = 2
        self._lock = threading.Lock()
        self.taken = False
        """Somebody waits by himself."""
        trio.lowlevel.spawn_system_task(self._listen)

    def ring(self, value: T) -> None:
        """In the thread: have `answer` called with the value, soon and in order, unless the loop has ended."""
        self._ring(value)

    def ring_direct(self) -> None:
        """In the thread: wake the task that waits by itself, if it still does."""
        self._direct.write()

    def leave(self) -> None:
        """In the thread: the last call, once."""
        self._ring(None)
        self._close()

    async def wait_until(self, done: Callable[[], bool]) -> None:
        """In a task, by itself: until it is done and `ring_direct` was called. Only where the bell is not `taken`."""
        self.taken = True
        with self._lock:
            self._users += 1
        try:
            while True:
                await self._direct.wait()
                if done():  # else it rang for somebody who was cancelled
                    return
        finally:
            self.taken = False
            self._close()

    def _ring(self, value: T | None) -> None:
        self._values.append(value)
        self._shared.write()

    async def _listen(self) -> None:
        try:
            while True:
                await self._shared.wait()
                while self._values:
                    value = self._values.popleft()
                    if value is None:
                        return
                    self._answer(value)
        finally:
            self._close()

    def _close(self) -> None:
        """Whoever leaves last closes the pipes: a number that is closed too early may be another file's already."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
        self._shared.close()
        self._direct.close()
