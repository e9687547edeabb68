"""Frames over file descriptors, without ever waiting for the other end."""

from __future__ import annotations

import array
import os
import socket
import struct
from typing import Any

from ._frames import FrameError, FrameReader, encode

__all__ = ["CHUNK", "Inbox", "Outbox", "receive_files", "send_files"]

CHUNK = 65536
"""Bytes of one read: what a pipe holds."""
_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""
MAX_FILES = 8


class Outbox:
    """Frames on their way out: what the other end does not take now waits here, and the caller is told how much."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting = bytearray()
        os.set_blocking(fd, False)

    @property
    def waiting(self) -> int:
        """Bytes that the other end has not taken."""
        return len(self._waiting)

    def send(self, frame: dict[str, Any]) -> None:
        """`OSError`: the other end is closed. `FrameError`: it is no frame; nothing was sent."""
        self._waiting += encode(frame)
        self.flush()

    def flush(self) -> None:
        """Write what can be written now."""
        while self._waiting:
            try:
                done = os.write(self.fd, self._waiting[: 16 * CHUNK])
            except BlockingIOError:
                return
            del self._waiting[:done]


class Inbox:
    """Frames from a socket, of which only those count that one process has sent.

    The kernel says for each piece who sent it (SO_PASSCRED), so that nobody who inherited or was given the socket can
    speak for its owner.
    """

    def __init__(self, end: socket.socket, max_bytes: int = CHUNK) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket = end
        self.closed = False
        """Nothing more will come."""
        self.idle = False
        """Nothing more is there now."""
        self._reader = FrameReader(max_bytes)

    @property
    def max_bytes(self) -> int:
        """Of one frame."""
        return self._reader.max_bytes

    @max_bytes.setter
    def max_bytes(self, value: int) -> None:
        self._reader.max_bytes = value

    def receive(self, sender: int) -> list[dict[str, Any]]:
        """The frames of one read; nothing where none is complete. Sets `closed` at the end of the stream.

        `FrameError`: it is not the protocol, or another process than `sender` wrote it.
        """
        try:
            data, ancillary, _, _ = self.socket.recvmsg(CHUNK, socket.CMSG_SPACE(_CREDENTIALS.size) * 2)
        except BlockingIOError:
            self.idle = True
            return []
        except OSError:
            data, ancillary = b"", []
        pids = _pids(ancillary)
        if not data:
            self.closed = True
            return []
        if pids != {sender}:
            found = ", ".join(str(pid) for pid in sorted(pids)) or "nobody"
            raise FrameError(f"process {found} wrote to the channel of process {sender}")
        return self._reader.feed(data)


def _pids(ancillary: list[tuple[int, int, bytes]]) -> set[int]:
    """Who wrote it. Files that somebody sent along are closed."""
    found = set()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            found.add(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            _close(data)
    return found


def _close(data: bytes) -> None:
    files = array.array("i")
    files.frombytes(data[: len(data) - len(data) % files.itemsize])
    for fd in files:
        os.close(fd)


def send_files(end: socket.socket, frame: dict[str, Any], files: list[int]) -> None:
    """One small frame together with open files. `BlockingIOError`: the other end does not read."""
    data = encode(frame)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    if end.sendmsg([data], rights, socket.MSG_DONTWAIT) != len(data):
        raise BlockingIOError("the other end does not read")


def receive_files(end: socket.socket, reader: FrameReader) -> tuple[dict[str, Any] | None, list[int]]:
    """The next frame and the files that came with it; None at the end. Waits."""
    files = array.array("i")
    while True:
        data, ancillary, _, _ = end.recvmsg(CHUNK, socket.CMSG_SPACE(MAX_FILES * files.itemsize))
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                files.frombytes(payload[: len(payload) - len(payload) % files.itemsize])
        if not data:
            return None, list(files)
        if frames := reader.feed(data):
            return frames[0], list(files)
