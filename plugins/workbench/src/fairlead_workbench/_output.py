"""What a program wrote, in bounded memory and as text that a model can read."""

from __future__ import annotations

import codecs
import re
from collections import deque

__all__ = ["Output", "as_text"]

LAST_LINE_BYTES = 2_000
SHOWN_LINE_CHARS = 200
"""What the core shows of a line of progress."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
ANSI = re.compile(r"\x1b\[[0-9;?]{0,30}[A-Za-z]")


class Output:
    """The beginning and the end of a stream of bytes. What lies between is counted and dropped."""

    def __init__(self, max_bytes: int) -> None:
        self.total = 0
        """Bytes that were written."""
        self._head = bytearray()
        self._head_bytes = max_bytes - max_bytes // 5
        self._tail: deque[bytes] = deque()
        self._tail_bytes = max_bytes // 5
        self._tail_size = 0

    def add(self, data: bytes) -> None:
        """More of it."""
        self.total += len(data)
        room = self._head_bytes - len(self._head)
        self._head += data[:room]
        if rest := data[room:]:
            self._tail.append(rest)
            self._tail_size += len(rest)
            while self._tail_size - len(self._tail[0]) >= self._tail_bytes:
                self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """All of it, or its two ends with what is missing said between them."""
        tail = b"".join(self._tail)[-self._tail_bytes :]
        dropped = self.total - len(self._head) - len(tail)
        if dropped <= 0:
            return as_text(bytes(self._head) + tail)
        # No half characters at the two cuts.
        head = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(bytes(self._head))
        while tail and 0x80 <= tail[0] < 0xC0:  # noqa: PLR2004  # a byte in the middle of a character
            tail = tail[1:]
        return f"{_readable(head)}\n[... {dropped:,} bytes left out ...]\n{as_text(tail)}"

    def last_line(self) -> str:
        """The newest line that is not empty, as far as it is there, for whoever watches."""
        kept = b"".join(self._tail) if self._tail else bytes(self._head)
        text = ANSI.sub("", as_text(kept[-LAST_LINE_BYTES:], ansi=True))
        lines = [line for line in text.split("\n") if line.strip()]
        return CONTROL.sub("", lines[-1]).strip()[:SHOWN_LINE_CHARS] if lines else ""


def as_text(data: bytes, *, ansi: bool = False) -> str:
    r"""Bytes as text: what is no UTF-8 becomes ``\xNN``, and so do control characters (or not, with `ansi`)."""
    text = data.decode("utf-8", "backslashreplace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if ansi else _readable(text)


def _readable(text: str) -> str:
    """A carriage return begins a line, so that nothing is hidden by what is written over it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
