"""Which processes use a ledger: each locks one byte of a file, and the kernel lets go of it when the process dies.

The locks belong to the open file (fcntl_locking(2), "open file description locks"), so two ledgers that are open in one
process are two.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

__all__ = ["Presence"]

_LOCK = "hhqqi"
"""``struct flock`` on Linux: type, whence, start, length, pid."""
_SHARED = hasattr(fcntl, "F_OFD_SETLK")
"""Elsewhere nobody is told from the dead: one process at a time must use a ledger."""
_BITS = 62


class Presence:
    """That of one open ledger."""

    def __init__(self, path: Path) -> None:
        """`path`: the file of the locks; it stays empty."""
        self._path = path
        self._fd = -1
        self.process = 0
        """The number of this process; 0 before `open`."""

    def open(self) -> None:
        """Take a number that nobody has. `OSError`: the file cannot be made."""
        self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        while not self.process:
            number = int.from_bytes(os.urandom(8), "big") >> (64 - _BITS)
            if number and self._take(number):
                self.process = number

    def close(self) -> None:
        """Whatever this process still held is then one that died. Safe twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd, self.process = -1, 0

    def is_dead(self, process: int) -> bool:
        """Whether nobody has that number any more."""
        if process == self.process or not self._take(process):
            return False
        self._set(fcntl.F_UNLCK, process)
        return True

    def _take(self, process: int) -> bool:
        try:
            self._set(fcntl.F_WRLCK, process)
        except BlockingIOError:
            return False
        return True

    def _set(self, kind: int, process: int) -> None:
        if _SHARED:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, struct.pack(_LOCK, kind, os.SEEK_SET, process, 1, 0))
