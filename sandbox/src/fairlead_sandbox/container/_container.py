"""A running container, as its user sees it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from attrs import frozen

from fairlead_sandbox.container._evidence import Evidence
from fairlead_sandbox.container._figures import cgroup_places, read_figures
from fairlead_sandbox.container._hijack import AttachedStream, PendingExit
from fairlead_sandbox.container._spec import UidRange

__all__ = ["Container", "Hold", "status_in_words"]

GRACE_SECONDS = 1.0
"""After the end of file, before it is killed."""
REMOVAL_SECONDS = 10.0
"""For the engine to kill and remove it."""
NEWS_SECONDS = 5.0
"""For the engine to tell that it has removed what we have killed ourselves."""
WORDS_SECONDS = 0.5
"""For the rest of its standard error, once it has ended."""
SIGNALS = 128
"""An exit status above is this and the number of a signal, as shells and engines write it."""


@frozen
class Hold:
    """What a container holds on the host's side, given back when it is gone."""

    uids: UidRange
    release: Callable[[], object]
    """Give the range back."""
    forget: Callable[[], object]
    remove: Callable[[], Awaitable[None]]


class Container:
    """Made by `Engine.start_container`; PID 1 runs, and nothing was said to it yet."""

    def __init__(
        self, name: str, evidence: Evidence, stream: AttachedStream, exit_: PendingExit, hold: Hold, pid: int
    ) -> None:
        self.id = name
        self.inspected = evidence
        """What isolates it, as it was read back."""
        self._evidence = evidence.as_json()
        self.stream = stream
        """Its standard input and output."""
        self._exit = exit_
        self._hold = hold
        self._released = False
        self._places = cgroup_places(pid, name)
        # A handle of the process itself: its number could be another's by the time that it must die.
        self._pidfd = _open_process(pid) if self._places else None
        if self._pidfd is not None and not cgroup_places(pid, name):
            os.close(self._pidfd)
            self._pidfd = None

    @property
    def evidence(self) -> Mapping[str, Any]:
        """`inspected` as JSON."""
        return self._evidence

    @property
    def uids(self) -> UidRange:
        return self._hold.uids

    @property
    def ended(self) -> bool:
        """Known to be gone, also where nobody has waited for its end. False is no promise that it lives."""
        return self._released or self._has_died() or self.stream.at_end

    def _has_died(self) -> bool:
        if self._pidfd is None:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    async def kill(self) -> None:
        """At once, the whole tree, and until the engine has removed it; again is fine.

        Not cancelled while it waits for the engine, which is `REMOVAL_SECONDS` at most.
        """
        if self._released:
            return
        self.stream.close()
        with trio.CancelScope(shield=True):
            killed = self._kill_process()
            with trio.move_on_after(NEWS_SECONDS if killed else REMOVAL_SECONDS):
                if not killed:
                    await self._hold.remove()
                await self._exit.wait()
            # Where the engine hangs, what was killed is dead all the same: it removes it by itself later.
            if not self._exit.done and not killed:
                await self._hold.remove()
        self._release()

    def _kill_process(self) -> bool:
        """Without the engine, where the kernel lets us: it also works where the engine hangs."""
        if self._pidfd is None:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return True

    async def aclose(self) -> None:
        """Say that nothing more comes, so that PID 1 ends by itself, and kill what is left after a second."""
        if self._released:
            return
        try:
            with trio.move_on_after(GRACE_SECONDS):
                await self.stream.send_eof()
                await self._exit.wait()
        finally:
            await self.kill()

    async def wait(self) -> str:
        """Until it is gone: its exit status or signal, and the end of what it wrote to standard error."""
        status = await self._exit.wait()
        with trio.move_on_after(WORDS_SECONDS):
            await self.stream.drain()
        self._release()
        said = self.stream.last_words.strip()
        return f"{status_in_words(status)}: {said}" if said else status_in_words(status)

    def figures(self) -> Mapping[str, float]:
        """``cpu_seconds``, ``memory_bytes``, ``oom_kills``; nothing where the engine's cgroups are not to be seen."""
        return read_figures(self._places)

    def _release(self) -> None:
        if self._released:
            return
        self._released = True
        self.stream.close()
        self._exit.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self._hold.release()
        self._hold.forget()


def _open_process(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.pidfd_open(pid)
    return None


def status_in_words(status: int | None) -> str:
    """A signal by its name; None where the engine did not say."""
    if status is None:
        return "it ended, and the engine did not say how"
    if status > SIGNALS:
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(status - SIGNALS).name}"
    return f"exit status {status}"
