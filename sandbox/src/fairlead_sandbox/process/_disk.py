"""How much of the host's disk a plugin process holds: files in its directory, and files without a name."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

__all__ = ["MAX_FILES", "DiskUse", "measure_disk"]

BLOCK = 512
"""The unit of `st_blocks` (stat(2))."""
MAX_FILES = 20_000
"""Files and directories that a plugin may have: empty ones take no bytes, and still fill a disk."""


@frozen
class DiskUse:
    """What was found; counting ends where there are too many."""

    used: int = 0
    """Bytes that are really taken, not the lengths of sparse files."""
    files: int = 0


def measure_disk(directory: Path, pids: Iterable[int]) -> DiskUse:
    """Blocks for as long as `MAX_FILES` take, some 50 ms. What vanishes meanwhile counts nothing."""
    used = files = 0
    places = [os.fspath(directory)]
    while places and files <= MAX_FILES:
        try:
            with os.scandir(places.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
                    used += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                    if files > MAX_FILES:
                        break
        except OSError:
            continue
    return DiskUse(used + sum(_nameless(pid) for pid in pids), files)


def _nameless(pid: int) -> int:
    """Bytes of the open files of a process that are in no directory any more."""
    used = 0
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = entry.stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                used += found.st_blocks * BLOCK
    except OSError:
        return used
    return used
