"""Who is at work in which session: a lock on one byte of a file for each, which the kernel lets go of at death.

The locks belong to the open file (fcntl_locking(2), "open file description locks"), so two journals in one process keep
each other out as two processes do. To take one and to let go are two calls of the kernel and leave nothing on the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from pathlib import Path

__all__ = ["Holds"]

_LOCK = "hhqqi"
"""``struct flock`` on Linux: type, whence, start, length, pid."""
SHARED = hasattr(fcntl, "F_OFD_SETLK")
"""Elsewhere nobody is kept out, and one process at a time must use a file."""


class Holds:
    """Those of one open journal."""

    def __init__(self, path: Path) -> None:
        """`path`: the file that stands for all sessions; it stays empty."""
        self._path = path
        self._fd = -1
        self._held: set[int] = set()

    def open(self) -> None:
        """`OSError`: the file cannot be made."""
        if SHARED:
            self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """All are let go of."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._held.clear()

    def take(self, session: str) -> bool:
        """Whether it is now held, and by nobody else. Immediate."""
        byte = _byte(session)
        try:
            self._set(fcntl.F_WRLCK, byte)
        except BlockingIOError:
            return False
        self._held.add(byte)
        return True

    def drop(self, session: str) -> None:
        """Immediate; of one that is not held, nothing."""
        byte = _byte(session)
        if byte in self._held:
            self._held.remove(byte)
            self._set(fcntl.F_UNLCK, byte)

    def _set(self, kind: int, byte: int) -> None:
        if self._fd >= 0:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, byte, 1, 0))


def _byte(session: str) -> int:
    """A place for each session: of 2**62, so that two of them never share one."""
    return int.from_bytes(hashlib.blake2b(session.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 2
