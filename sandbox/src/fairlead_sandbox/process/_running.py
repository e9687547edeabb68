"""A plugin process that runs: its stream, its last words, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import anyio
import anyio.abc
import trio
from attrs import define, field

from fairlead_sandbox.process._cgroup import Cgroup
from fairlead_sandbox.process._disk import MAX_FILES, measure_disk
from fairlead_sandbox.process._spec import ProcessSpec
from fairlead_sandbox.process._tree import Figures, descendants, kill_session, measure

__all__ = ["PluginProcess", "Running", "Stdio"]

LAST_WORDS = 8192
"""Bytes of standard error that are kept."""
STDERR_RATE = 1 << 20
"""Bytes of it that are read in a second: a process that writes more waits for us, and costs the host little."""
PIECE = 65536
PATIENCE = 2.0
"""Seconds in which what was killed must be gone."""
DISK_SECONDS = 2.0
"""Between two looks at the disk, or fifty times as long as one look takes."""
AGAIN = 0.005
"""Seconds between two looks at what was killed."""


@runtime_checkable
class Running(Protocol):
    """Code outside of the host that runs: a process of its own, or a container."""

    @property
    def stream(self) -> anyio.abc.ByteStream:
        """Its standard input and output. Whoever reads it closes it, also when the process has ended."""

    @property
    def evidence(self) -> Mapping[str, Any]:
        """What really isolates it, read back from the kernel or the engine."""

    async def kill(self) -> None:
        """End it at once, and everything that it started. Idempotent; gone within 2 s."""

    async def wait(self) -> str:
        """Until it ended; its last words: how it ended, and the end of what it wrote to standard error."""

    def figures(self) -> Mapping[str, float]:
        """``cpu_seconds`` and ``memory_bytes``, resident, of all its processes together."""


class Stdio(anyio.abc.ByteStream):
    """The two pipes of a process as one stream. An error of ours says anyio's word for it, as `ByteStream` wants."""

    def __init__(self, receiving: int, sending: int) -> None:
        self._receiving = trio.lowlevel.FdStream(receiving)
        self._sending = trio.lowlevel.FdStream(sending)

    async def receive(self, max_bytes: int = PIECE) -> bytes:
        try:
            data = await self._receiving.receive_some(max_bytes)
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except (trio.BrokenResourceError, OSError) as error:
            raise anyio.BrokenResourceError from error
        if not data:
            raise anyio.EndOfStream
        return bytes(data)

    async def send(self, item: bytes) -> None:
        try:
            await self._sending.send_all(item)
        except trio.ClosedResourceError as error:
            raise anyio.ClosedResourceError from error
        except (trio.BrokenResourceError, OSError) as error:
            raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Tell the process that nothing more will come: a well-behaved one ends."""
        await self._sending.aclose()

    async def aclose(self) -> None:
        await self._sending.aclose()
        await self._receiving.aclose()


@define(eq=False)
class PluginProcess:
    """A `Running` of this machine's own processes."""

    stream: Stdio
    _popen: subprocess.Popen[bytes]
    _stderr: int
    _handle: int | None
    """A pidfd, made before anybody could take note of its end; None where the system has none."""
    _cgroup: Cgroup | None = None
    evidence: Mapping[str, Any] = field(factory=dict)
    spec: ProcessSpec = field(kw_only=True)
    _top: int = 0
    """The pid, here, of the first process of its pid namespace; 0 where it has none."""
    _top_handle: int | None = None
    """A pidfd of it: a pid may be somebody else's by the time that we send a signal."""
    _tail: bytearray = field(factory=bytearray)
    _last: Figures = field(factory=Figures)
    _words: str = ""
    _ended: trio.Event = field(factory=trio.Event)
    _killing: bool = False
    _reason: str = ""
    """Why we killed it without being asked."""
    _starved: bool = False
    """The kernel killed in its cgroup for want of memory."""

    @property
    def pid(self) -> int:
        """Of the outermost process that we started."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status; negative: the signal that ended it; None while it runs."""
        return self._popen.returncode

    @property
    def top(self) -> int:
        """The first process of its pid namespace, as the host sees it; 0 where it has none."""
        return self._top

    def adopt(self, top: int) -> None:
        """Learn which process is the first of its pid namespace."""
        self._top = top
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(ProcessLookupError):
                self._top_handle = os.pidfd_open(top)

    async def attend(self) -> None:
        """Read its standard error, wait for its end, and clear away what it left. Cancelled: it is killed."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen)
                watching = trio.CancelScope()
                nursery.start_soon(self._watch_disk, watching)
                await self._wait_for_exit()
                watching.cancel()
                # What it left running may hold the pipe: what it said has arrived long ago.
                nursery.cancel_scope.deadline = trio.current_time() + 0.1
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one plugin, the nursery is everybody's
            self._reason = f"it could not be watched and was killed: {error!r}"
        finally:
            # The stream is left to its reader, who may still have to read the last of it.
            with trio.CancelScope(shield=True), contextlib.suppress(OSError):
                await self._clear()
            self._words = self._describe()
            for handle in (self._handle, self._top_handle):
                if handle is not None:
                    os.close(handle)
            self._handle = self._top_handle = None
            self._ended.set()

    async def kill(self) -> None:
        """See `Running.kill`. After 2 s it gives up waiting; what then still lives is held by the kernel."""
        self._killing = self._killing or self._popen.poll() is None
        with trio.CancelScope(shield=True), trio.move_on_after(PATIENCE):
            await self._slay()
            await self._ended.wait()

    async def wait(self) -> str:
        await self._ended.wait()
        return self._words

    def figures(self) -> Mapping[str, float]:
        if not self._ended.is_set():
            now = measure(descendants(self._popen.pid))
            # A process that ended without being waited for takes its time with it; the sum never falls.
            self._last = Figures(max(now.cpu_seconds, self._last.cpu_seconds), now.memory_bytes, now.processes)
        memory = 0 if self._ended.is_set() else self._last.memory_bytes
        return {"cpu_seconds": self._last.cpu_seconds, "memory_bytes": float(memory)}

    async def _listen(self) -> None:
        async with trio.lowlevel.FdStream(self._stderr) as stderr:
            with contextlib.suppress(trio.BrokenResourceError):
                while data := await stderr.receive_some(PIECE):
                    self._tail += data
                    del self._tail[:-LAST_WORDS]
                    if len(data) >= PIECE // 2:
                        await trio.sleep(len(data) / STDERR_RATE)

    async def _watch_disk(self, scope: trio.CancelScope) -> None:
        with scope:
            pause = DISK_SECONDS
            while not self._reason:
                await trio.sleep(pause)
                began = trio.current_time()
                self._reason = await trio.to_thread.run_sync(self._too_much_disk, abandon_on_cancel=True)
                pause = max(DISK_SECONDS, 50 * (trio.current_time() - began))
            await self._slay()

    def _too_much_disk(self) -> str:
        """Why it has to be killed; empty where it has not. Blocks."""
        limit = self.spec.limits.disk_bytes
        found = measure_disk(self.spec.work_dir, descendants(self._popen.pid))
        if found.used > limit:
            return f"it took {found.used} bytes of disk, at most {limit} are allowed, and was killed"
        if found.files > MAX_FILES:
            return f"it made more than {MAX_FILES} files, and was killed"
        if found.hidden:
            return f"nobody can see what it has on the disk ({found.hidden}), and it was killed"
        return ""

    async def _wait_for_exit(self) -> None:
        if self._handle is not None:
            while self._popen.poll() is None:
                await trio.lowlevel.wait_readable(self._handle)
        else:
            await trio.to_thread.run_sync(self._popen.wait, abandon_on_cancel=True)

    async def _slay(self) -> None:
        """Send the signals; over and over where only looking for them finds the processes."""
        if self._top_handle is not None:
            # The kernel ends a pid namespace with its first process; the outer one then tells how it ended.
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._top_handle, signal.SIGKILL)
        elif self._popen.poll() is None:
            kill_session(self._popen.pid)
        await _until(lambda: self._cgroup is None or not self._cgroup.kill())

    async def _clear(self) -> None:
        """Leave nothing of it, however it ended."""
        with trio.move_on_after(PATIENCE):
            await self._slay()
            if self._top_handle is not None:
                # Bubblewrap's outer process ends as soon as it knows how the inner ones will have ended.
                await trio.lowlevel.wait_readable(self._top_handle)
            await _until(lambda: self._popen.poll() is not None)
        if self._popen.poll() is None:
            self._popen.kill()
            self._popen.poll()
        self._starved = self._cgroup is not None and self._cgroup.out_of_memory()
        with trio.move_on_after(PATIENCE):
            await _until(lambda: not kill_session(self._popen.pid))
            await _until(lambda: self._cgroup is None or self._cgroup.remove() or not self._cgroup.kill())
            await _until(lambda: self._cgroup is None or self._cgroup.remove())

    def _describe(self) -> str:
        code = self._popen.returncode
        if code is None:
            how = "it did not end although it was killed"
        elif self._reason:
            how = self._reason
        elif self._killing:
            how = "it was killed by its host"
        else:
            how = _outcome(code)
        if self._starved:
            how += f", at its limit of memory ({self.spec.limits.memory_bytes / (1 << 20):g} MB)"
        said = self._tail.decode("utf-8", "replace").strip()
        return f"{how}: {said}" if said else how


async def _until(done: Callable[[], bool]) -> None:
    """The kernel has no word for the end of processes that are not our children: look again and again."""
    while not done():  # noqa: ASYNC110  # nobody could set an event
        await trio.sleep(AGAIN)


def _outcome(code: int) -> str:
    """Bubblewrap and our own parent tell of a signal as shells do: 128 and its number."""
    number = -code if code < 0 else code - 128
    if code < 0 or code > 128:  # noqa: PLR2004  # the shells' number
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(number).name}"
    return f"exit status {code}"
