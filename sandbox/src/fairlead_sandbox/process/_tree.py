"""Processes as /proc shows them: who belongs to whom, what they use, and how they are ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

__all__ = ["Figures", "children", "descendants", "kill_session", "measure", "namespaces", "status"]

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


@frozen
class Figures:
    """What processes use."""

    cpu_seconds: float = 0.0
    """Of those that live and of their children that were waited for."""
    memory_bytes: int = 0
    """Resident."""
    processes: int = 0


def children(pid: int) -> list[int]:
    """The pids of its children; none where it is gone."""
    try:
        tasks = [place.name for place in (PROC / str(pid) / "task").iterdir()]
        return [int(word) for task in tasks for word in _read(f"{pid}/task/{task}/children").split()]
    except FileNotFoundError:
        if not (PROC / str(pid)).exists() or (PROC / "self" / "task" / str(os.getpid()) / "children").exists():
            return []
    except OSError:
        return []
    # A kernel without CONFIG_PROC_CHILDREN.
    return [child for child in _pids() if (words := _stat(child)) and int(words[1]) == pid]


def descendants(pid: int) -> list[int]:
    """The process, its children, theirs, and so on."""
    found, rest = [], [pid]
    while rest:
        found.append(rest.pop())
        rest += children(found[-1])
    return found


def measure(pids: Sequence[int]) -> Figures:
    """What these use; those that are gone count nothing."""
    lines = [words for pid in pids if (words := _stat(pid))]
    ticks = sum(int(words[place]) for words in lines for place in (11, 12, 13, 14))
    return Figures(ticks / TICKS, sum(int(words[21]) for words in lines) * PAGE, len(lines))


def status(pid: int) -> Mapping[str, str]:
    """The lines of /proc/PID/status; nothing where it is gone."""
    try:
        lines = _read(f"{pid}/status").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def namespaces(pid: int) -> list[str]:
    """The namespaces in which it is not where this process is."""
    apart = []
    for name in NAMESPACES:
        try:
            if (PROC / f"{pid}/ns/{name}").readlink() != (PROC / f"self/ns/{name}").readlink():
                apart.append(name)
        except OSError:
            continue
    return apart


def kill_session(session: int) -> bool:
    """Kill a session. Stop them first, so that none forks while the next is killed; true if any was."""
    found = [pid for pid in _pids() if (words := _stat(pid)) and words[0] not in "ZX" and int(words[3]) == session]
    for word in (signal.SIGSTOP, signal.SIGKILL):
        for pid in found:
            try:
                os.kill(pid, word)
            except ProcessLookupError:
                continue
    return bool(found)


def _pids() -> Iterator[int]:
    return (int(place.name) for place in PROC.iterdir() if place.name.isdigit())


def _stat(pid: int) -> list[str]:
    """The words of /proc/PID/stat from the state on: the name before may have any character in it."""
    try:
        return _read(f"{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return []


def _read(name: str) -> str:
    return (PROC / name).read_text("utf-8", "replace")
