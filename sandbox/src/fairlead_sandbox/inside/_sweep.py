"""Cleaning after a call: its processes, its files outside of the workspace, its objects in the kernel.

It never forks: a cleaner that forks dies under a fork bomb. ``kill(-1)`` holds the kernel's list of processes while it
goes through it, and a process with a pending SIGKILL cannot fork any more, so that one pass takes all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ._kernel import Identities, as_call

__all__ = ["Ipc", "Orphans", "Scheduling", "others", "reap", "sweep_files", "sweep_processes", "writable_mounts"]

MAX_ENTRIES = 200_000
"""Files in one sweep; a tmpfs with more of them is no sandbox of ours."""
MAX_DEPTH = 512
_IPC = ("/proc/sysvipc/shm", "/proc/sysvipc/msg", "/proc/sysvipc/sem")
_QUEUES = "/dev/mqueue"
_INFO = (("shmctl", (0, 14), 0), ("semctl", (0, 0, 19), 7), ("msgctl", (0, 12), 0))
"""SHM_INFO, SEM_INFO and MSG_INFO, and where in their answers the number of objects stands (shmctl(2) and so on)."""


class Orphans(NamedTuple):
    """What processes used whose parents died before them."""

    cpu_seconds: float = 0.0
    peak_bytes: int = 0


def others(ours: Sequence[int], dead: int = 0) -> list[int]:
    """Every process that is none of `ours`; `dead` is none where it is only not buried yet."""
    found = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in ours]  # noqa: PTH208  # by descriptor, or a name and nothing more
    return [pid for pid in found if pid != dead or not _is_dead(pid)]


def _is_dead(pid: int) -> bool:
    """Its number may be another's by now, who is not (proc(5), stat)."""
    try:
        handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):  # buried meanwhile: ENOENT, or ESRCH from the look at permissions
        return True
    try:
        return os.read(handle, 4096).rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def reap(so_far: Orphans) -> Orphans:
    """Bury whoever died as a child of PID 1."""
    while True:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return so_far
        if pid == 0:
            return so_far
        cpu = usage.ru_utime + usage.ru_stime
        so_far = Orphans(so_far.cpu_seconds + cpu, max(so_far.peak_bytes, usage.ru_maxrss * 1024))


def sweep_processes(who: Identities, ours: Sequence[int], seconds: float, orphans: Orphans) -> tuple[bool, Orphans]:
    """Kill all processes of calls until none is left; False where some still are after `seconds`."""
    until = time.monotonic() + seconds
    pause = 0.0002
    while left := others(ours):
        _kill(who, left)
        orphans = reap(orphans)
        if time.monotonic() > until:
            return not others(ours), orphans
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
    return True, orphans


def _kill(who: Identities, pids: Sequence[int]) -> None:
    if who.separate:
        with as_call(who), contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        return
    for pid in pids:  # one identity for all: ``kill(-1)`` would take the zygote too
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


class Scheduling(NamedTuple):
    """How the kernel runs a process. A call may change that of the zygote: their effective users are the same."""

    nice: int
    policy: int
    processors: frozenset[int]

    @classmethod
    def of(cls, pid: int) -> Scheduling:
        return cls(
            os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), frozenset(os.sched_getaffinity(pid))
        )


# -- files


def sweep_files(directories: Sequence[str], who: Identities) -> str:
    """Empty the directories, as the call's user; empty text, or what could not be removed."""
    if all(not os.listdir(directory) for directory in directories):  # noqa: PTH208  # by descriptor, or a name and nothing more
        return ""
    with as_call(who):
        for directory in directories:
            try:
                top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    _empty(top, [MAX_ENTRIES], 0)
                finally:
                    os.close(top)
            except OSError as error:
                return f"{directory}: {error}".encode("utf-8", "replace").decode("utf-8")
    left = [directory for directory in directories if os.listdir(directory)]  # noqa: PTH208  # by descriptor, or a name and nothing more
    return f"files are left in {', '.join(left)}" if left else ""


def _empty(directory: int, budget: list[int], depth: int) -> None:
    """Remove all that is in an open directory, following no link."""
    if depth > MAX_DEPTH:
        raise OSError(f"more than {MAX_DEPTH} directories in each other")
    for name in os.listdir(directory):  # by descriptor, or a name and nothing more
        budget[0] -= 1
        if budget[0] < 0:
            raise OSError(f"more than {MAX_ENTRIES} files")
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            with contextlib.suppress(OSError):
                os.chmod(name, 0o700, dir_fd=directory)  # nobody is there to put a link in its place
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                _empty(inner, budget, depth + 1)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=directory)
        else:
            os.unlink(name, dir_fd=directory)


def writable_mounts(who: Identities) -> list[str]:
    """Every mounted directory in which a call may make files (proc(5), mountinfo), apart from the kernel's own."""
    kernel = {
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "devpts",
        "securityfs",
        "debugfs",
        "tracefs",
        "nsfs",
        "bpf",
        "mqueue",
    }
    found = []
    with as_call(who), contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
            words = line.split(" ")
            is_kernels = words[words.index("-") + 1] in kernel
            if not is_kernels and os.path.isdir(words[4]) and os.access(words[4], os.W_OK, effective_ids=True):  # noqa: PTH112  # a name
                found.append(words[4])
    return found


# -- objects in the kernel


class Ipc:
    """Segments, queues and semaphores, which outlive processes. None can be made where the limits are 0."""

    def __init__(self) -> None:
        self._tables: list[int] = []
        for path in _IPC:
            with contextlib.suppress(OSError):
                self._tables.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def count(self) -> int:
        """How many there are."""
        # Each table has one line of names at its top.
        count = sum(max(os.pread(table, 65536, 0).count(b"\n") - 1, 0) for table in self._tables)
        if not self._tables:
            count += _asked()
        with contextlib.suppress(OSError):
            count += len(os.listdir(_QUEUES))  # noqa: PTH208  # a name and nothing more
        return count


def _asked() -> int:
    """How many System V objects there are, where the kernel has no tables of them: gVisor's."""
    libc, count = ctypes.CDLL(None), 0
    for name, arguments, place in _INFO:
        answer = (ctypes.c_int * 64)()
        if getattr(libc, name)(*arguments, answer) >= 0:
            count += answer[place]
    return count
