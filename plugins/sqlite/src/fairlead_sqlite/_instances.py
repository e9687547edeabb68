"""Who is alive: each open journal holds a lock on a file of its own, which the kernel lets go of when its process dies.

`flock` and not `fcntl`: its locks belong to the open file, so they neither clash with those of SQLite nor are dropped
when something else in the process closes a file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["Instance"]


class Instance:
    """This open journal, as others see it."""

    def __init__(self, directory: Path) -> None:
        self.id = secrets.token_hex(8)
        self.directory = directory
        self._fd = -1

    def appear(self) -> None:
        """Take the lock. Before the id is written anywhere."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(self.id)
        while True:
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Somebody who swept the directory between the two calls took the file for a dead one's and removed it.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(fd).st_ino:
                    self._fd = fd
                    return
            os.close(fd)

    def leave(self) -> None:
        """Let go: from now on others may claim the work."""
        if self._fd >= 0:
            self._path(self.id).unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def is_dead(self, other: str) -> bool:
        """Whether no process holds the lock of `other`; removes the file that a dead one has left."""
        if other == self.id:
            return False
        path = self._path(other)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(fd)

    def is_alone(self) -> bool:
        """Whether no other journal is open in the same directory."""
        return all(self.is_dead(path.stem) for path in self.directory.glob("*.lock"))

    def sweep(self) -> None:
        """Remove the files of the dead who have left no work."""
        for path in self.directory.glob("*.lock"):
            self.is_dead(path.stem)

    def _path(self, instance: str) -> Path:
        return self.directory / f"{instance}.lock"
