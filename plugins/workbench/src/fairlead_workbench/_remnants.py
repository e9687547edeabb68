"""Ends what a program has started and left behind.

In a container its supervisor kills every process after each call, whatever it did; this here holds also where the tool
runs in something weaker, for all that does not hide on purpose.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["MARK", "end_group", "end_marked"]

MARK = "FAIRLEAD_CALL"
"""The variable that every process of a call inherits."""
ROUNDS = 20
"""Looks at the list of processes; one that forks faster than that is left to the container."""


def end_group(group: int) -> None:
    """Kill the program's process group. Its leader must not have been waited for: until then the number is its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_marked(mark: str) -> None:
    """Kill what has left the group, by the mark in its environment, until nobody is found."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(ROUNDS):
        found = [pid for pid in _processes() if wanted in _environment(pid).split(b"\0")]
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names alone, and fast
    except OSError:
        return []


def _environment(pid: int) -> bytes:
    """Empty for processes of others, and for those that have ended and wait to be waited for."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
