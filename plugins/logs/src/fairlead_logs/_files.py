"""Where lines go: a stream, or a file that is turned over before it grows too large."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["File", "Stream", "Target"]


class Target(Protocol):
    """Takes lines. Every method may wait for a disk or a reader, and is called in one thread."""

    def write(self, lines: Sequence[str]) -> None:
        """All of them, each with its line break. `OSError`: none of those that are missing is tried again."""

    def close(self) -> None:
        """Nothing is written any more."""


class Stream:
    """Standard error, as it is when something is written: whoever started the program may change it."""

    def write(self, lines: Sequence[str]) -> None:
        sys.stderr.write("".join(lines))
        sys.stderr.flush()

    def close(self) -> None:
        """It is not ours."""


class File:
    """Only its owner reads it. It is kept open; one that was moved away meanwhile is made anew."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        """Nothing is made yet. `keep`: how many that were turned over, as ``PATH.1`` (the last one) and so on."""
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._fd = -1

    def open(self) -> None:
        """`OSError`: it cannot be written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)

    def write(self, lines: Sequence[str]) -> None:
        for line in lines:
            data = line.encode("utf-8", "replace")
            if not self._is_there():
                self.close()
                self.open()
            size = os.fstat(self._fd).st_size
            if size and size + len(data) > self._max_bytes:
                self._turn_over()
            while data:
                data = data[os.write(self._fd, data) :]

    def _is_there(self) -> bool:
        try:
            return self._fd >= 0 and os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return False

    def _turn_over(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            newer = self._path if number == 1 else self._numbered(number - 1)
            if newer.exists():
                newer.replace(self._numbered(number))
        self.open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
