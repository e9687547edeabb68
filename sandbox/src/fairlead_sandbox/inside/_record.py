"""What became of each call, kept on the session's volume so that a repeated call has no second effect.

One file for each call, named by the hash of its id: a frame when it starts, another one when it has ended, each on
the disk before anything that depends on it happens. A start without an end means that nobody knows.

The disk is small, and sessions are long: where it is full, the calls that ended longest ago make room. Whoever asks
again asks for a call whose result it has not noted, and that is one of the last ones.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import Any

from ._frames import HEAD_BYTES, FrameError, FrameReader, encode

__all__ = ["Record"]

LARGEST = 256 * 1024 * 1024
"""Bytes of a record that is read at all."""


class Record:
    """The calls of one session, in a directory that only the supervisor may enter."""

    def __init__(self, directory: str, keep_seconds: float) -> None:
        """Removes what is older than `keep_seconds`. `OSError`: the directory cannot be used."""
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fchmod(self._directory, 0o700)
        oldest = time.time() - keep_seconds
        for name in os.listdir(self._directory):  # noqa: PTH208  # by descriptor, or a name and nothing more
            with contextlib.suppress(OSError):
                if os.stat(name, dir_fd=self._directory, follow_symlinks=False).st_mtime < oldest:
                    os.unlink(name, dir_fd=self._directory)

    def find(self, call: str, what: str) -> tuple[bool, dict[str, Any] | None]:
        """Whether the call was started before, and the end that it had.

        `what`: from `digest`. `ValueError`: the id belongs to another call.
        """
        try:
            fd = os.open(_name(call), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        except FileNotFoundError:
            return False, None
        with os.fdopen(fd, "rb") as file:
            frames = _frames(file.read(LARGEST))
        if frames and frames[0].get("what") != what:
            raise ValueError(f"the id {call!r} was used before, for another tool or other arguments")
        return True, frames[1] if len(frames) > 1 else None

    def start(self, call: str, what: str) -> None:
        """Say that it starts. When this returns, it survives power loss. `OSError`: nothing is kept."""
        self._note(call, {"call": call, "what": what}, os.O_CREAT | os.O_EXCL)
        os.fsync(self._directory)

    def end(self, call: str, end: dict[str, Any]) -> None:
        """Say what became of it. When this returns, it survives power loss. `OSError`: the end is not known."""
        self._note(call, end, 0)

    def _note(self, call: str, frame: dict[str, Any], flags: int) -> None:
        data = encode(frame)
        while True:
            try:
                return self._append(call, data, flags)
            except OSError as error:
                if error.errno != errno.ENOSPC or not self._make_room():
                    raise

    def _append(self, call: str, data: bytes, flags: int) -> None:
        flags |= os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_name(call), flags, 0o600, dir_fd=self._directory)
        try:
            size, done = os.fstat(fd).st_size, 0
            try:
                while done < len(data):
                    done += os.write(fd, data[done:])
                os.fdatasync(fd)
            except OSError:
                if flags & os.O_EXCL:
                    os.unlink(_name(call), dir_fd=self._directory)
                else:
                    os.ftruncate(fd, size)  # what is said next must not follow half of this
                raise
        finally:
            os.close(fd)

    def _make_room(self) -> bool:
        """Forget half of the calls that have ended, the oldest first; whether there was one."""
        ended = []
        for name in os.listdir(self._directory):  # noqa: PTH208  # by descriptor, or a name and nothing more
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
                if self._has_ended(name, found.st_size):
                    ended.append((found.st_mtime, name))
        ended.sort()
        for _, name in ended[: (len(ended) + 1) // 2]:
            with contextlib.suppress(FileNotFoundError):  # another supervisor of the session makes room, too
                os.unlink(name, dir_fd=self._directory)
        return bool(ended)

    def _has_ended(self, name: str, size: int) -> bool:
        """Something follows the first frame."""
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            return size > HEAD_BYTES + int.from_bytes(os.read(fd, HEAD_BYTES), "big")
        finally:
            os.close(fd)

    @staticmethod
    def digest(*parts: Any) -> str:
        """What the call is about, so that an id which is used for something else is noticed."""
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return _sha256(text)


def _name(call: str) -> str:
    return _sha256(call)


def _frames(data: bytes) -> list[dict[str, Any]]:
    """The frames that are whole; what power loss cut off is left out."""
    reader, found, start = FrameReader(LARGEST), [], 0
    while start < len(data):
        size = 4 + int.from_bytes(data[start : start + 4], "big")
        try:
            found += reader.feed(data[start : start + size])
        except FrameError:
            break
        start += size
    return found


def _sha256(text: str) -> str:
    import hashlib  # noqa: PLC0415  # 1 MB, which a sandbox of tools that only read need not have

    return hashlib.sha256(text.encode("utf-8")).hexdigest()
