"""The write-ahead log: brought into the main file, and given its place on the disk, while nobody waits for a commit."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import apsw

__all__ = ["CHECKPOINT_PAGES", "Log"]

CHECKPOINT_PAGES = 1000
"""From this length on the log is brought into the main file: as SQLite does by itself, but inside the commit."""
AHEAD_PAGES = 16
"""Place in the log below which more is taken: enough for an append or two."""
STEP_PAGES = 64
"""Place that is taken at a time: 264 kB, in about 1 ms."""
FRAME_HEADER_BYTES = 24
LOG_HEADER_BYTES = 32


class Log:
    """Of one connection that writes, in its thread.

    A commit that makes the log longer also waits for the directory of the disk (150 us more, measured), so the log is
    made longer in advance. Zeros after the last frame are no frames (https://www.sqlite.org/fileformat2.html, 4.1).
    """

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._path = path.with_name(f"{path.name}-wal")
        self._busy_seconds = busy_seconds
        self._pages = 0
        self._page_bytes = 0
        self._size = 0
        self._inode = 0

    def watch(self, connection: apsw.Connection) -> None:
        """Of a connection that was just opened: from now on it leaves the log to `tidy`."""
        self._page_bytes = connection.pragma("page_size") + FRAME_HEADER_BYTES
        with suppress(OSError):
            found = self._path.stat()
            self._inode, self._size = found.st_ino, found.st_size
        connection.set_wal_hook(self._committed)

    @property
    def is_untidy(self) -> bool:
        """Whether the last commits have left something to be done."""
        return self._pages >= CHECKPOINT_PAGES or self._is_short

    @property
    def _is_short(self) -> bool:
        return self._inode != 0 and (self._pages + AHEAD_PAGES) * self._page_bytes > self._size

    def tidy(self, connection: apsw.Connection) -> None:
        """Do it. `apsw.Error`: it failed; nothing that was written is lost."""
        if self._pages >= CHECKPOINT_PAGES:
            self._pages = 0
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        elif self._is_short:
            self._lengthen(connection)

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:  # it began anew, and may have been cut off
            with suppress(OSError):
                self._size = self._path.stat().st_size
        self._pages = pages
        return apsw.SQLITE_OK

    def _lengthen(self, connection: apsw.Connection) -> None:
        """Only while we have the right to write: else another process could be writing where we put the zeros."""
        connection.set_busy_timeout(0)
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._write_zeros()
            except OSError:  # no space, say: the next commit says so if it matters
                self._inode = 0
            finally:
                connection.execute("ROLLBACK")
        finally:
            connection.set_busy_timeout(int(self._busy_seconds * 1000))

    def _write_zeros(self) -> None:
        # SQLite has no locks on this file that closing it could drop, as it would those of the main file.
        fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(fd)
            if found.st_ino != self._inode:
                raise FileNotFoundError(self._path)
            end = LOG_HEADER_BYTES + (self._pages + AHEAD_PAGES + STEP_PAGES) * self._page_bytes
            if found.st_size < end:
                os.pwrite(fd, bytes(end - found.st_size), found.st_size)
                os.fdatasync(fd)
            self._size = max(end, found.st_size)
        finally:
            os.close(fd)
