"""How much of the host's disk a plugin process holds: files in its directory, and files without a name."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from attrs import frozen

__all__ = ["MAX_FILES", "DiskUse", "measure_disk"]

BLOCK = 512
"""The unit of `st_blocks` (stat(2))."""
MAX_FILES = 20_000
"""Files and directories that a plugin may have: empty ones take no bytes, and still fill a disk."""
UNLINKED = re.compile(
    r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ (\S+) ([1-9][0-9]*) +(?!/memfd:|/dev/zero |/SYSV).* \(deleted\)"
)
"""Of /proc/PID/maps (proc(5)): first and last address, device and inode of a file that has no name any more. Memory
that only looks like a file is not of the disk."""


@frozen
class DiskUse:
    """What was found; counting ends where there are too many."""

    used: int = 0
    """Bytes that are really taken, not the lengths of sparse files."""
    files: int = 0
    hidden: str = ""
    """A directory that cannot be looked into, as text: its path is too long for the kernel, or it is closed to us."""


def measure_disk(directory: Path, pids: Iterable[int]) -> DiskUse:
    """Blocks for as long as `MAX_FILES` take, some 50 ms. What vanishes meanwhile counts nothing."""
    used = files = 0
    hidden = ""
    places = [os.fspath(directory)]
    while places and files <= MAX_FILES:
        place = places.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
                    used += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                    if files > MAX_FILES:
                        break
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            hidden = hidden or f"...{place[-60:]!r}: {error.strerror}"
    nameless: dict[tuple[str, int], int] = {}
    for pid in pids:
        for file, size in (*_open_ones(pid), *_mapped_ones(pid)):
            nameless[file] = max(size, nameless.get(file, 0))
    return DiskUse(used + sum(nameless.values()), files, hidden)


def _open_ones(pid: int) -> Iterator[tuple[tuple[str, int], int]]:
    """The open files of a process that are in no directory any more, each with its bytes on the disk."""
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = entry.stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
                yield (device, found.st_ino), found.st_blocks * BLOCK
    except OSError:
        return


def _mapped_ones(pid: int) -> Iterator[tuple[tuple[str, int], int]]:
    """The same of what it has mapped and closed; only root is told how large it is, others see what is mapped of it."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        if (found := UNLINKED.fullmatch(line)) is not None:
            first, last, device, inode = found.groups()
            size = int(last, 16) - int(first, 16)
            with suppress(OSError):
                size = Path(f"/proc/{pid}/map_files/{first}-{last}").stat().st_blocks * BLOCK
            yield (device, int(inode)), size
