"""What the kernel counts for the whole sandbox, in either version of cgroups."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cgroup", "Counts"]


class Counts(NamedTuple):
    """Numbers that only grow. None where the kernel does not tell."""

    oom_kills: int | None
    pid_refusals: int | None
    """How often a process could not be made."""
    cpu_seconds: float | None
    peak_bytes: int | None


class Cgroup:
    """The files of the sandbox's own cgroup, kept open: reading them again costs one call of the kernel each.

    Version 2: ``memory.events``, ``pids.events``, ``cpu.stat``, ``memory.peak``. Version 1, each in the directory of
    its controller: ``memory.oom_control``, ``pids.events``, ``cpuacct.usage``, ``memory.max_usage_in_bytes``.
    """

    def __init__(self, root: str | None) -> None:
        """`root`: where the cgroup is mounted; None for none, and then nothing is known."""
        top = Path(root) if root else None
        self._oom = _open(top, "memory.events", "memory/memory.oom_control")
        self._pids = _open(top, "pids.events", "pids/pids.events")
        self._cpu = _open(top, "cpu.stat", "cpuacct/cpuacct.usage")
        self._peak = _open(top, "memory.peak", "memory/memory.max_usage_in_bytes")

    def read(self) -> Counts:
        cpu = _text(self._cpu)
        microseconds = _value(cpu, "usage_usec")
        nanoseconds = _number(cpu)
        seconds = (
            microseconds / 1e6 if microseconds is not None else nanoseconds / 1e9 if nanoseconds is not None else None
        )
        return Counts(
            _value(_text(self._oom), "oom_kill"), _value(_text(self._pids), "max"), seconds, _number(_text(self._peak))
        )

    def close(self) -> None:
        for fd in (self._oom, self._pids, self._cpu, self._peak):
            if fd is not None:
                os.close(fd)


def _open(top: Path | None, *names: str) -> int | None:
    for name in names if top is not None else ():
        try:
            return os.open(Path(top or "/") / name, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
    return None


def _text(fd: int | None) -> str:
    try:
        return os.pread(fd, 4096, 0).decode("ascii", "replace") if fd is not None else ""
    except OSError:
        return ""


def _value(text: str, key: str) -> int | None:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return _number(value)
    return None


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() else None
