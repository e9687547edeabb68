"""The end of a log that a crash has left: where it breaks off is seen, told, and kept beside.

SQLite itself cuts the log there: it takes the frames up to the last whole transaction before the first bad one
(https://www.sqlite.org/fileformat2.html, 4.4), and says nothing.
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import time
from pathlib import Path

from attrs import frozen

__all__ = ["Tail", "find_tail", "keep_tail", "kept_tails"]

HEADER = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
MAGIC = (0x377F0682, 0x377F0683)
"""The last bit says in which order of bytes the sums are made."""
PAGE_BYTES = 4096
"""Of a page, where the log does not say."""
MOST_BYTES = 20_000_000
"""Of a log that is looked at, in about a second: longer ones are left to SQLite."""
MOST_KEPT = 3
"""Logs beside the file: the newest ones."""
MASK = 0xFFFFFFFF


@frozen
class Tail:
    """What a log has that SQLite will not read."""

    whole: int
    """Frames up to the first bad one."""
    behind: int
    """Frames of the same log behind it. Where there are any, its middle was damaged, and not just its end torn."""

    @property
    def words(self) -> str:
        if self.behind:
            return f"the log was damaged behind {self.whole} frames; {self.behind + 1} frames were left out"
        return f"the log broke off behind {self.whole} frames, in the middle of a write that nobody had heard of"


def keep_tail(path: Path) -> str:
    """Look at the log that the database at `path` has; what is to be told, empty for nothing.

    To be called before SQLite opens the database, and only where no other process has it open. A log that breaks off
    is copied beside.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        tail = find_tail(log.read_bytes()) if log.stat().st_size <= MOST_BYTES else None
        if tail is None:
            return ""
        copy = log.with_name(f"{log.name}.torn-{time.time_ns() // 1_000_000}")
        shutil.copyfile(log, copy)
        copy.chmod(0o600)
        for old in kept_tails(path)[:-MOST_KEPT]:
            old.unlink(missing_ok=True)
    except FileNotFoundError:
        return ""
    except OSError as error:  # no space for a copy: to start is worth more
        return f"{log.name}: its end cannot be kept: {os.strerror(error.errno or 0)}"
    return f"{tail.words}. It was copied to {str(copy)!r}"


def kept_tails(path: Path) -> list[Path]:
    """The copies beside the database, oldest first."""
    return sorted(path.parent.glob(f"{path.name}-wal.torn-*"))


def find_tail(log: bytes) -> Tail | None:
    """What comes behind the last good frame. None: nothing that belongs to this log."""
    if len(log) < HEADER.size:
        return None  # just begun
    magic, _, page, _, *salt, first, second = HEADER.unpack_from(log)
    order = ">" if magic & 1 else "<"
    sums = _sums(log[:24], order, (0, 0))
    if magic not in MAGIC or sums != (first, second):
        return Tail(0, len(log) // PAGE_BYTES) if any(log[: HEADER.size]) else None
    size = FRAME.size + page
    whole = 0
    starts = range(HEADER.size, len(log), size)
    for start in starts:
        if not _is_of(log, start, salt):
            return None  # zeros, or what an earlier log has left there
        if start + size > len(log):
            break
        sums = _sums(log[start : start + 8], order, sums)
        sums = _sums(log[start + FRAME.size : start + size], order, sums)
        if FRAME.unpack_from(log, start)[4:] != sums:
            break
        whole += 1
    else:
        return None
    return Tail(whole, sum(_is_of(log, start, salt) for start in starts[whole + 1 :]))


def _is_of(log: bytes, start: int, salt: list[int]) -> bool:
    return start + FRAME.size <= len(log) and list(FRAME.unpack_from(log, start)[2:4]) == salt


def _sums(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """The running sums over more of the log (https://www.sqlite.org/fileformat2.html, 4.2)."""
    first, second = sums
    words = memoryview(data).cast("I") if order == _NATIVE else struct.unpack(f"{order}{len(data) // 4}I", data)
    for place in range(0, len(words), 2):
        first = (first + words[place] + second) & MASK
        second = (second + words[place + 1] + first) & MASK
    return first, second


_NATIVE = "<" if sys.byteorder == "little" else ">"
