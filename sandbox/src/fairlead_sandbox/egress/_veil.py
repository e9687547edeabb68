"""Replacing words in a stream, wherever it is cut into pieces."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

__all__ = ["MIN_CHARS", "Veil"]

MIN_CHARS = 4
"""A shorter word would be found in everything."""


class Veil:
    """Takes pieces, gives them back with each word replaced.

    The end of a piece is held back, for a word may go on in the next. How much is held back depends on lengths and line
    breaks only, never on whether it looks like the beginning of a word: a guest that can have text repeated to it would
    else find the word letter by letter, by what comes late.
    """

    def __init__(self, words: Mapping[bytes, bytes]) -> None:
        self._words = dict(words)
        longest_first = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))
        self._hold = max(map(len, longest_first), default=1) - 1
        self._ends_at_lines = not any(b"\n" in word for word in longest_first)
        """No word has a line break, so what stands before one is whole: events and lines of JSON come at once."""
        self._held = b""

    def fresh(self) -> Veil:
        """The same for another stream."""
        other = copy.copy(self)
        other.flush()
        return other

    def feed(self, data: bytes) -> bytes:
        """What can go on now."""
        if not self._words:
            return data
        whole = self._held + data
        end = max(0, len(whole) - self._hold)
        if self._ends_at_lines:
            end = max(end, whole.rfind(b"\n") + 1)
        out, at = [], 0
        for match in self._pattern.finditer(whole):
            out += [whole[at : match.start()], self._words[match[0]]]
            at = match.end()
        if at < end:
            out.append(whole[at:end])
            at = end
        self._held = whole[at:]
        return b"".join(out)

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return held

    def whole(self, data: bytes) -> bytes:
        """All of it at once."""
        return self.feed(data) + self.flush()
