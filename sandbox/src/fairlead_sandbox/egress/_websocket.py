"""WebSockets to hosts that get secrets (RFC 6455): whole messages, so that secrets are placed and taken out of them.

Extensions are not passed on in the handshake, so nothing is compressed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from attrs import frozen

__all__ = ["Frame", "FrameReader", "MessageFault", "Messages"]

FINAL = 0x80
RESERVED = 0x70
MASKED = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PONG = 0, 1, 2, 8, 10
CONTROL_BYTES = 125
SHORT, LONG = 126, 127


class MessageFault(Exception):
    """What came is no WebSocket, or too large."""


@frozen
class Frame:
    """One frame, its mask taken away."""

    final: bool
    code: int
    data: bytes

    def encode(self, *, masked: bool) -> bytes:
        """As it goes over the wire; `masked` for the direction to the server."""
        size = len(self.data)
        head = bytearray([(FINAL if self.final else 0) | self.code])
        flag = MASKED if masked else 0
        if size < SHORT:
            head.append(flag | size)
        elif size < 1 << 16:
            head += bytes([flag | SHORT]) + size.to_bytes(2, "big")
        else:
            head += bytes([flag | LONG]) + size.to_bytes(8, "big")
        if not masked:
            return bytes(head) + self.data
        mask = os.urandom(4)
        return bytes(head) + mask + _mask(self.data, mask)


def _mask(data: bytes, mask: bytes) -> bytes:
    whole = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(len(data), "big")


class FrameReader:
    """Takes bytes, gives frames. `masked`: what this direction must be."""

    def __init__(self, max_bytes: int, *, masked: bool) -> None:
        self._max_bytes = max_bytes
        self._masked = masked
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are whole now. `MessageFault`: it is none, or is too large; its bytes are not waited for."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:  # noqa: PLR2004  # the shortest head
            return None
        code, size = buffer[0] & 0x0F, buffer[1] & 0x7F
        if buffer[0] & RESERVED or bool(buffer[1] & MASKED) is not self._masked:
            raise MessageFault("a frame is compressed, or not masked as its direction must be")
        if code not in (CONTINUATION, TEXT, BINARY) and (code not in range(CLOSE, PONG + 1) or size > CONTROL_BYTES):
            raise MessageFault("a frame is of no known kind")
        extra = {SHORT: 2, LONG: 8}.get(size, 0)
        start = 2 + extra + (4 if self._masked else 0)
        if len(buffer) < start:
            return None
        if extra:
            size = int.from_bytes(buffer[2 : 2 + extra], "big")
        if size > self._max_bytes:
            raise MessageFault("a frame is too large")
        if len(buffer) < start + size:
            return None
        data = bytes(buffer[start : start + size])
        if self._masked:
            data = _mask(data, bytes(buffer[start - 4 : start]))
        final = bool(buffer[0] & FINAL)
        del buffer[: start + size]
        return Frame(final, code, data)


class Messages:
    """One direction: frames are put together to messages, changed, and sent on as one frame each."""

    def __init__(self, change: Callable[[bytes], bytes], max_bytes: int, *, masked: bool) -> None:
        self._reader = FrameReader(max_bytes, masked=masked)
        self._change = change
        self._max_bytes = max_bytes
        self._masked = masked
        self._code = CONTINUATION
        self._message = bytearray()

    def feed(self, data: bytes) -> bytes:
        """What can go on now. `MessageFault`: the connection must end."""
        return b"".join(map(self._pass, self._reader.feed(data)))

    def _pass(self, frame: Frame) -> bytes:
        if frame.code >= CLOSE:  # between the frames of a message, too
            return Frame(True, frame.code, self._short(frame.data)).encode(masked=self._masked)
        if (frame.code == CONTINUATION) is (self._code == CONTINUATION):
            raise MessageFault("frames do not follow each other")
        self._code = self._code or frame.code
        self._message += frame.data
        if len(self._message) > self._max_bytes:
            raise MessageFault("a message is too large")
        if not frame.final:
            return b""
        whole = Frame(True, self._code, self._change(bytes(self._message)))
        self._code = CONTINUATION
        self._message.clear()
        return whole.encode(masked=self._masked)

    def _short(self, data: bytes) -> bytes:
        """Control frames carry a few bytes of text, too; one that grows by its change is emptied."""
        changed = self._change(data)
        return changed if len(changed) <= CONTROL_BYTES else b""
