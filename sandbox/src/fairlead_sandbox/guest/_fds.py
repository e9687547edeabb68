"""The protocol's two file descriptors as a stream of bytes, on trio and on asyncio."""

from __future__ import annotations

import os

import anyio

__all__ = ["FdStream"]


class FdStream:
    """Reads from one pipe or socket and writes to another."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    async def receive(self, max_bytes: int = 65536, /) -> bytes:
        """Some bytes; none at the end."""
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return os.read(self._read_fd, max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._read_fd)

    async def send(self, item: bytes, /) -> None:
        """All of the bytes."""
        await anyio.lowlevel.checkpoint()
        view = memoryview(item)
        while view:
            try:
                view = view[os.write(self._write_fd, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._write_fd)

    async def aclose(self) -> None:
        """The process ends with the boundary; until then nobody else may get these numbers."""
