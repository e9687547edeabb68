"""Where a process dies: exactly at the n-th of its acts that a disk, or the world outside, could notice.

An act is counted before it is done, and the one that is chosen kills the process with SIGKILL. SQLite's acts pass
`TrappedDisk`, which stands between it and the operating system; those of our own code pass functions that are put
before the ones of `os`. `test_killpoints.py` compares what is counted here with what strace sees.

How a process dies at an act:

- ``kill``: before the act is done. What was written before stays, since the cache of the kernel outlives a process.
- ``torn``: half of what was to be written is written. Only where the act is a write.
- ``power``: as when the current fails: whatever was written and not waited for (fsync) is not on the disk either.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NoReturn

import apsw
from attrs import define, field, frozen

__all__ = ["MODES", "Act", "Mode", "Trap", "TrappedDisk", "die"]

Mode = Literal["kill", "torn", "power"]
MODES: tuple[Mode, ...] = ("kill", "torn", "power")


@frozen
class Act:
    """What a process was about to do."""

    kind: str
    """``write``, ``sync``, ``truncate``, ``delete``, ``create``, or one of the world outside."""
    on: str
    """The name of a file, or what happened outside."""
    unsynced: int = 0
    """Writes that nobody has waited for yet, then."""


@define
class Before:
    """A part of a file as it was before a write that nobody has waited for."""

    path: str
    offset: int
    old: bytes
    size: int


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process went on")


@define
class Trap:
    """Counts the acts of this process and ends it at the one that was chosen."""

    at: int = 0
    """Counted from 1; 0 for never."""
    mode: Mode = "kill"
    under: str = ""
    """The directory whose files count."""
    acts: list[Act] = field(factory=list)
    on_death: Callable[[Act], None] | None = None
    """Told of the act, just before."""
    _unsynced: list[Before] = field(factory=list)

    def step(self, kind: str, on: str, tear: Callable[[], object] | None = None) -> None:
        """Before an act is done. `tear` does half of it."""
        act = Act(kind, os.path.basename(on), len(self._unsynced))  # noqa: PTH119  # a hundred times a second
        self.acts.append(act)
        if len(self.acts) != self.at:
            return
        if self.on_death is not None:
            self.on_death(act)
        if self.mode == "torn" and tear is not None:
            tear()
        elif self.mode == "power":
            self._lose()
        die()

    def write(self, path: str, data: bytes, offset: int, tear: Callable[[], object]) -> None:
        """Before a write, which then may be lost until `sync`."""
        self.step("write", path, tear)
        if self.mode == "power" and self.at:
            with open(path, "rb") as file:  # noqa: PTH123  # SQLite's locks on it are not those of this process
                size = file.seek(0, os.SEEK_END)
                file.seek(offset)
                self._unsynced.append(Before(path, offset, file.read(len(data)), size))
        else:
            self._unsynced.append(Before(path, offset, b"", 0))

    def sync(self, path: str) -> None:
        self.step("sync", path)
        self._unsynced = [before for before in self._unsynced if before.path != path]

    def _lose(self) -> None:
        for before in reversed(self._unsynced):
            if not os.path.exists(before.path):  # noqa: PTH110  # as above
                continue
            fd = os.open(before.path, os.O_WRONLY)
            os.pwrite(fd, before.old, before.offset)
            os.ftruncate(fd, before.size)
            os.close(fd)

    # -- our own code

    def patch(self) -> None:
        """Have the calls of `os` that change files counted, for the rest of this process."""
        self._patch_writing()
        real_open, real_unlink, real_replace = os.open, os.unlink, os.replace

        def open_(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & os.O_CREAT and self._counts(path) and not os.path.exists(path):  # noqa: PTH110  # as above
                self.step("create", str(path))
            return real_open(path, flags, *rest, **options)

        def unlink(path: Any, **options: Any) -> None:
            if self._counts(path):
                self.step("delete", str(path))
            real_unlink(path, **options)

        def replace(source: Any, target: Any, **options: Any) -> None:
            if self._counts(target):
                self.step("rename", str(target))
            real_replace(source, target, **options)

        os.open, os.unlink, os.replace = open_, unlink, replace  # type: ignore[assignment]  # this process ends soon

    def _patch_writing(self) -> None:
        real_pwrite, real_fdatasync, real_fsync = os.pwrite, os.fdatasync, os.fsync

        def pwrite(fd: int, data: Any, offset: int) -> int:
            path = _path_of(fd)
            if self._counts(path):
                self.write(path, data, offset, lambda: real_pwrite(fd, data[: len(data) // 2], offset))
            return real_pwrite(fd, data, offset)

        def fdatasync(fd: int) -> None:
            if self._counts(_path_of(fd)):
                self.sync(_path_of(fd))
            real_fdatasync(fd)

        def fsync(fd: int) -> None:
            if self._counts(_path_of(fd)):
                self.sync(_path_of(fd))
            real_fsync(fd)

        os.pwrite, os.fdatasync, os.fsync = pwrite, fdatasync, fsync  # type: ignore[assignment]  # as below

    def _counts(self, path: Any) -> bool:
        return str(path).startswith(self.under)


def _path_of(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


class _TrappedFile(apsw.VFSFile):
    def __init__(self, trap: Trap, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._trap = trap
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        if flags[0] & apsw.SQLITE_OPEN_CREATE and self._path and not os.path.exists(self._path):  # noqa: PTH110  # as above
            trap.step("create", self._path)
        super().__init__(_BASE, name or "", flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # apsw's name
        def tear() -> None:
            super(_TrappedFile, self).xWrite(data[: len(data) // 2], offset)

        self._trap.write(self._path, data, offset, tear)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  # apsw's name
        self._trap.sync(self._path)
        super().xSync(flags)

    def xLock(self, level: int) -> None:  # noqa: N802  # apsw's name
        try:
            super().xLock(level)
        except apsw.IOError:  # a file that is open for reading has no such lock: SQLite goes on, apsw would raise it
            raise apsw.BusyError from None

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # apsw's name
        self._trap.step("truncate", self._path)
        super().xTruncate(newsize)


class TrappedDisk(apsw.VFS):
    """SQLite's way to its files, in this process, from now on."""

    def __init__(self, trap: Trap) -> None:
        self._trap = trap
        super().__init__("trapped", _BASE, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # apsw's name
        return _TrappedFile(self._trap, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802  # apsw's form
        self._trap.step("delete", filename)
        super().xDelete(filename, syncdir)


_BASE = "unix"
