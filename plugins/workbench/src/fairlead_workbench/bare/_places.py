"""Paths that stay in the workspace.

A path is walked name by name from a descriptor of the workspace, and no step follows a link by itself (``O_NOFOLLOW``):
a link is read and its target walked in the same way, so that nothing which is swapped meanwhile leads out. This is what
openat2's ``RESOLVE_BENEATH`` does in the kernel; gVisor and older kernels do not have it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ._names import show

__all__ = ["Place", "Refusal", "Workspace", "fault_of", "read_regular"]

MAX_PATH_BYTES = 4_000
MAX_NAME_BYTES = 255
MAX_PARTS = 100
MAX_LINKS = 20
BLOCK = 1 << 20
SHOWN_CHARS = 200
"""Of a path that is repeated in a refusal."""
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
FAULTS = {
    errno.ENOENT: "there is no {}",
    errno.ENOTDIR: "{} or something above it is no directory",
    errno.EISDIR: "{} is a directory",
    errno.EACCES: "{} may not be opened: permission denied",
    errno.EPERM: "{} may not be changed: not permitted",
    errno.ELOOP: "{} became a link while it was opened",
    errno.ENAMETOOLONG: "{} is too long a name",
    errno.ENOSPC: "there is no space left in the workspace for {}",
    errno.EDQUOT: "the quota of the workspace is used up; {} was not written",
    errno.EROFS: "{} lies on a read-only file system",
    errno.EMFILE: "too many files are open to open {}",
    errno.ENFILE: "too many files are open to open {}",
}


class Refusal(Exception):
    """A path or a file that is not taken; the fault of whoever named it."""

    def __init__(self, problem: str, next_step: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.next_step = next_step
        """What to try instead."""


@dataclass(frozen=True)
class Place:
    """Where a path leads: a name in an open directory. Nothing need be there."""

    parent: int
    """A descriptor of the directory, open as long as the place is held."""
    name: str
    """Empty: the path leads to the directory `parent` itself."""
    path: str
    """From the workspace, without links and dots."""

    @property
    def shown(self) -> str:
        return show(self.path or ".")


def fault_of(error: OSError, shown: str) -> Refusal:
    """What the system said, in words that name the file."""
    words = FAULTS.get(error.errno or 0, "{} cannot be used: " + (error.strerror or type(error).__name__))
    return Refusal(words.format(shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}..."))


class Workspace:
    """A directory, and what lies in it."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._roots = {self.root, os.path.normpath(root)}
        """How absolute paths may begin: as it is, and as it was named."""

    @contextmanager
    def locate(self, path: str, *, make: bool = False) -> Iterator[Place]:
        """Where a path leads, links followed inside. `make`: directories that are missing on the way are made.

        `Refusal`: it leads out of the workspace, through what is no directory, or is no path. Inside the block an
        `OSError` becomes a `Refusal` as well.
        """
        parts = self._parts(path)
        walk = _Walk(self, parts, make=make)
        try:
            yield walk.go()
        except OSError as error:
            raise fault_of(error, show(path)) from None
        finally:
            os.close(walk.fd)

    def _parts(self, path: str) -> list[str]:
        """The names of a path that somebody gave. An absolute one must begin with the workspace."""
        if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in path):  # noqa: PLR2004  # C0, DEL, surrogates
            raise Refusal(f"{path!r:.200} has a control character or half a character", "rename it with the shell")
        if len(path.encode()) > MAX_PATH_BYTES:
            raise Refusal(f"a path may have {MAX_PATH_BYTES:,} bytes, found {len(path.encode()):,}")
        parts = self.inside(path)
        if parts is None:
            raise Refusal(f"{show(path):.200} lies outside of the workspace", f"paths begin in it: {self.root}")
        if len(parts) > MAX_PARTS:
            raise Refusal(f"a path may have {MAX_PARTS} parts, found {len(parts)}", "go there with the shell")
        long = next((part for part in parts if len(part.encode()) > MAX_NAME_BYTES), None)
        if long is not None:
            raise Refusal(f"a name may have {MAX_NAME_BYTES} bytes, found {len(long.encode())} in {long[:40]}...")
        return parts

    def inside(self, path: str) -> list[str] | None:
        """The names, counted from the workspace; None where an absolute path does not begin with it."""
        if path.startswith("/"):
            root = next((one for one in self._roots if path == one or path.startswith(one.rstrip("/") + "/")), None)
            if root is None:
                return None
            path = path[len(root) :]
        return [part for part in path.split("/") if part not in ("", ".")]

    def open_root(self) -> int:
        """A descriptor of the workspace itself. `Refusal`: it is not there."""
        try:
            return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refusal(f"the workspace {show(self.root)} cannot be opened: {error.strerror}") from None

    def read(self, path: str, max_bytes: int) -> tuple[bytes, os.stat_result, str]:
        """The bytes of a regular file, what it was when it was opened, and its path as it is shown."""
        with self.locate(path) as place:
            data, info = read_regular(place, max_bytes)
            return data, info, place.shown

    def write(self, path: str, data: bytes, unchanged: os.stat_result | None = None) -> tuple[bool, str]:
        """Put a regular file in its place in one step: its old content or the new one, never a part.

        Whether it is new, and its path as it is shown. `unchanged`: write only if the file is still that one.
        `Refusal`: nothing was changed, beside directories that were made.
        """
        with self.locate(path, make=unchanged is None) as place:
            if not place.name:
                raise Refusal(f"{place.shown} is a directory")
            old = _lstat(place)
            _refuse_target(place, old, unchanged)
            temporary = f".fairlead-{os.urandom(8).hex()}.tmp"
            fd = os.open(temporary, NEW, 0o600, dir_fd=place.parent)
            try:
                try:
                    _write(fd, data)
                    os.fchmod(fd, stat.S_IMODE(old.st_mode) & 0o777 if old is not None else 0o644)
                    os.fsync(fd)
                finally:
                    os.close(fd)
                if unchanged is not None:
                    _refuse_target(place, _lstat(place), unchanged)
                os.rename(temporary, place.name, src_dir_fd=place.parent, dst_dir_fd=place.parent)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=place.parent)
                raise
            return old is None, place.shown


class _Walk:
    """One walk along a path. `fd` is always open, and is the caller's to close."""

    def __init__(self, workspace: Workspace, parts: list[str], *, make: bool) -> None:
        self._workspace = workspace
        self._todo = parts[::-1]
        self._names: list[str] = []
        self._links = 0
        self._make = make
        self.fd = workspace.open_root()

    def go(self) -> Place:
        while self._todo:
            part = self._todo.pop()
            if part == "..":
                self._up()
                continue
            target = self._link(part)
            if target is not None:
                self._follow(part, target)
            elif self._todo:
                self._down(part)
            else:
                return Place(self.fd, part, "/".join([*self._names, part]))
        return Place(self.fd, "", "/".join(self._names))

    def _link(self, part: str) -> str | None:
        try:
            return os.readlink(part, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # no link, or nothing yet
                return None
            raise

    def _follow(self, part: str, target: str) -> None:
        self._links += 1
        shown = show("/".join([*self._names, part]))
        if self._links > MAX_LINKS:
            raise Refusal(f"{shown} is one of more than {MAX_LINKS} links on the way")
        parts = self._workspace.inside(target)
        if parts is None:
            raise Refusal(f"{shown} is a link that leads out of the workspace, to {show(target)}")
        if target.startswith("/"):
            self._from_top([])
        self._todo += parts[::-1]

    def _up(self) -> None:
        if not self._names:
            raise Refusal("the path leads out of the workspace", f"paths begin in it: {self._workspace.root}")
        self._from_top(self._names[:-1])

    def _from_top(self, names: list[str]) -> None:
        """Walk again what was walked: the parent of an open directory may be another one by now."""
        fd = self._workspace.open_root()
        os.close(self.fd)
        self.fd, self._names = fd, []
        for name in names:
            self._step(name)

    def _down(self, part: str) -> None:
        try:
            self._step(part)
        except FileNotFoundError:
            if not self._make:
                raise
            with suppress(FileExistsError):  # somebody else was quicker
                os.mkdir(part, 0o755, dir_fd=self.fd)
            self._step(part)

    def _step(self, name: str) -> None:
        fd = os.open(name, DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = fd
        self._names.append(name)


def read_regular(place: Place, max_bytes: int) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, and what it was when it was opened. Nothing else is opened: devices act, pipes wait.

    `Refusal`: it is no regular file, or too large. `OSError`: the system says no.
    """
    if not place.name:
        raise Refusal(f"{place.shown} is a directory", "list_files shows what is in it")
    _refuse_kind(place, os.lstat(place.name, dir_fd=place.parent))
    fd = os.open(place.name, FILE, dir_fd=place.parent)
    try:
        info = os.fstat(fd)
        _refuse_kind(place, info)  # it may have been swapped since
        data = _read(fd, max_bytes + 1) if info.st_size <= max_bytes else b""
    finally:
        os.close(fd)
    size = max(info.st_size, len(data))  # it may grow while it is read
    if size > max_bytes:
        raise Refusal(
            f"{place.shown} has {size:,} bytes, at most {max_bytes:,} are taken",
            "take a part of it with the shell: head, tail, sed -n, split",
        )
    return data, info


def _refuse_kind(place: Place, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = KINDS.get(stat.S_IFMT(info.st_mode), "something else")
        step = "list_files shows what is in it" if stat.S_ISDIR(info.st_mode) else ""
        raise Refusal(f"{place.shown} is {kind}, expected a regular file", step)


def _lstat(place: Place) -> os.stat_result | None:
    try:
        return os.lstat(place.name, dir_fd=place.parent)
    except FileNotFoundError:
        return None


def _refuse_target(place: Place, found: os.stat_result | None, unchanged: os.stat_result | None) -> None:
    if unchanged is not None and (found is None or _identity(found) != _identity(unchanged)):
        raise Refusal(f"{place.shown} was changed by somebody else meanwhile; nothing was written", "read it again")
    if found is None:
        return
    _refuse_kind(place, found)
    if not found.st_mode & stat.S_IWUSR:
        raise Refusal(f"{place.shown} is write-protected", f"chmod u+w {place.shown}")


def _identity(info: os.stat_result) -> tuple[int, ...]:
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _read(fd: int, limit: int) -> bytes:
    pieces, left = [], limit
    while left > 0 and (piece := os.read(fd, min(BLOCK, left))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view[:BLOCK]) :]
