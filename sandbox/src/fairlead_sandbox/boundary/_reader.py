"""From bytes to frames, with the size of each and a bound on what its values would take here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fairlead_sandbox.boundary._sides import Limits
from fairlead_sandbox.inside._frames import HEAD_BYTES, FrameError, decode

__all__ = ["Reader"]

_SMALL = 64 * 1024
"""Bytes of a frame whose values need not be counted."""
# Nothing is tried twice: a text without an end runs to the end of the frame, which the parser then refuses.
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()

    @property
    def empty(self) -> bool:
        """Whether the stream may end here."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], int]]:
        """The frames that are complete with `data`, each with the bytes of its body. `FrameError`: it is none.

        A length above the limit is refused before the rest of that frame is taken in.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEAD_BYTES:
            size = int.from_bytes(buffer[:HEAD_BYTES], "big")
            if size > self._limits.frame_bytes:
                raise FrameError(f"found a frame of {size} bytes, at most {self._limits.frame_bytes} are allowed")
            end = HEAD_BYTES + size
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[HEAD_BYTES:end])
            del buffer[:end]
            if size > _SMALL:
                self._count(body)
            yield decode(body), size

    def _count(self, body: bytes) -> None:
        """Bound the number of values: an empty list is 3 bytes of JSON and over 60 bytes of memory."""
        if _marks(body) > self._limits.values and _marks(_TEXTS.sub(b"", body)) > self._limits.values:
            raise FrameError(f"found a frame of more than {self._limits.values} values")


def _marks(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")
