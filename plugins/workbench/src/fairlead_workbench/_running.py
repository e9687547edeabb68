"""Runs a program to its end, to its limit of time, or to its limit of output; nothing of it is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import trio
from attrs import field, frozen

from fairlead_workbench._faults import tool_error
from fairlead_workbench._output import Output
from fairlead_workbench._remnants import MARK, end_group, end_marked

__all__ = ["Program", "Ran", "interpreter", "run"]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "TZ")
"""Variables that a program may know: how it reaches the network where the configuration lets it."""
CHUNK = 1 << 16
PROGRESS_SECONDS = 1.0
"""Between two lines of progress."""
DRAIN_SECONDS = 0.25
"""For what is still in the pipe once the program has ended; longer only if somebody still holds its other end."""
REAP_SECONDS = 2.0


@frozen
class Program:
    """What to run, and how far it may go."""

    command: Sequence[str]
    directory: str
    seconds: float
    kept_bytes: int
    output_bytes: int
    stdin: bytes = b""


@frozen
class Ran:
    """How it went."""

    output: Output
    """Standard output and standard error in the order in which they were written."""
    status: int
    """The exit status; below zero the number of the signal that ended it."""
    stopped: Literal["", "time", "output"] = ""
    """Which limit it reached; it was then killed."""


def interpreter() -> str:
    """The Python that runs this, or the one on the path. `ToolError`: there is none."""
    found = sys.executable or shutil.which("python3", path=PATH)
    if not found:
        raise tool_error("there is no python3 here", "use the shell")
    return found


async def run(program: Program, tell: Callable[[str], Awaitable[None]] | None = None) -> Ran:
    """Run it. `tell` gets the last line of the output from time to time.

    `ToolError`: it could not be started. Cancelled: all its processes are killed.
    """
    mark = os.urandom(8).hex()
    process = await _start(program, mark)
    running = _Running(process, Output(program.kept_bytes), program.output_bytes)
    try:
        with trio.move_on_after(program.seconds) as scope:
            await running.go(program.stdin, tell)
    finally:
        end_group(process.pid)
        with trio.move_on_after(REAP_SECONDS, shield=True):
            await process.wait()
        end_marked(mark)
        await running.close()
    stopped: Literal["", "time", "output"] = "output" if running.flooded else "time" if scope.cancelled_caught else ""
    return Ran(running.output, process.returncode or 0, stopped)


async def _start(program: Program, mark: str) -> trio.Process:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PATH": PATH, "HOME": program.directory, "LANG": "C.UTF-8", "TERM": "dumb", MARK: mark}
    try:
        return await trio.lowlevel.open_process(
            list(program.command),
            cwd=program.directory,
            env=environment,
            stdin=subprocess.PIPE if program.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except BlockingIOError:  # one process more than the call may have: whoever set that limit says so
        raise
    except (OSError, ValueError) as error:
        raise tool_error(f"{program.command[0]} could not be started: {error}") from error


@frozen
class _Running:
    process: trio.Process
    output: Output
    max_bytes: int
    _read: trio.Event = field(factory=trio.Event)
    _flood: trio.Event = field(factory=trio.Event)

    @property
    def flooded(self) -> bool:
        return self._flood.is_set()

    async def go(self, stdin: bytes, tell: Callable[[str], Awaitable[None]] | None) -> None:
        """Until the program has ended, and its output has been read."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed, stdin)
            nursery.start_soon(self._take, nursery.cancel_scope)
            if tell is not None:
                nursery.start_soon(self._tell, tell)
            await _ended(self.process)
            # What it started and left behind ends with it. It would keep the pipe open, and the call waiting.
            end_group(self.process.pid)
            with trio.move_on_after(DRAIN_SECONDS):
                await self._read.wait()
            nursery.cancel_scope.cancel()

    async def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                await trio.aclose_forcefully(stream)

    async def _feed(self, data: bytes) -> None:
        if self.process.stdin is not None:
            try:
                await self.process.stdin.send_all(data)
                await self.process.stdin.aclose()
            except trio.BrokenResourceError:  # it has ended without reading
                return

    async def _take(self, scope: trio.CancelScope) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.receive_some(CHUNK):
            self.output.add(bytes(data))
            if self.output.total > self.max_bytes:
                self._flood.set()
                scope.cancel()
                return
        self._read.set()

    async def _tell(self, tell: Callable[[str], Awaitable[None]]) -> None:
        told = ""
        while True:
            await trio.sleep(PROGRESS_SECONDS)
            line = self.output.last_line()
            if line and line != told:
                told = line
                await tell(line)


async def _ended(process: trio.Process) -> None:
    """Until the program has ended, without taking its exit status: so its number stays its own, also as a group's."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:  # an old kernel, or a filter of system calls
        # Then by a thread, which goes away with the process.
        flags = os.WEXITED | os.WNOWAIT
        await trio.to_thread.run_sync(os.waitid, os.P_PID, process.pid, flags, abandon_on_cancel=True)
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)
