"""A disk that fails on command, below SQLite: it stands where the operating system does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

__all__ = ["FailingDisk", "failing_disk"]


class FailingFile(apsw.VFSFile):
    """One handle of a file."""

    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name or "(none)"
        self.file = Path(path).name
        self.failed = False
        super().__init__(disk.base, name or "", flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # apsw's name
        self._disk.note(self, "write")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802  # apsw's name
        self._disk.note(self, "sync")
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  # apsw's name
        self._disk.note(self, "truncate")
        super().xTruncate(newsize)


class FailingDisk(apsw.VFS):
    """Every file that SQLite opens meanwhile lies on it."""

    base = "unix"

    def __init__(self) -> None:
        self.syncs_fail_of = ""
        """The end of the names of files whose fsync fails."""
        self.done: list[tuple[FailingFile, str]] = []
        """What was tried, oldest first."""
        self.used_after_a_failure = False
        super().__init__("failing", self.base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802  # apsw's name
        return FailingFile(self, name, flags)

    def note(self, file: FailingFile, act: str) -> None:
        self.done.append((file, act))
        self.used_after_a_failure = self.used_after_a_failure or file.failed
        if act == "sync" and self.syncs_fail_of and file.file.endswith(self.syncs_fail_of):
            file.failed = True
            raise apsw.IOError("fsync failed")

    def acts(self, start: int = 0) -> list[tuple[str, str]]:
        return [(file.file, act) for file, act in self.done[start:]]


@contextmanager
def failing_disk() -> Iterator[FailingDisk]:
    disk = FailingDisk()
    try:
        yield disk
    finally:
        disk.unregister()
