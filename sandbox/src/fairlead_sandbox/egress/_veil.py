"""Replacing words in a stream, wherever it is cut into pieces."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping

__all__ = ["MIN_CHARS", "Veil"]

MIN_CHARS = 4
"""A shorter word would be found in everything."""


class Veil:
    """Takes pieces, gives them back with each word replaced. It holds back only what may be the beginning of a word."""

    def __init__(self, words: Mapping[bytes, bytes]) -> None:
        self._words = dict(words)
        longest_first = sorted(self._words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))
        self._longest = max(map(len, longest_first), default=0)
        self._first = frozenset(word[0] for word in longest_first)
        self._held = b""
        self.found = 0
        """How many words were replaced."""

    def fresh(self) -> Veil:
        """The same for another stream."""
        other = copy.copy(self)
        other.flush()
        other.found = 0
        return other

    def feed(self, data: bytes) -> bytes:
        """What can go on now."""
        if not self._words:
            return data
        whole = self._held + data
        out, at = [], 0
        for match in self._pattern.finditer(whole):
            out += [whole[at : match.start()], self._words[match[0]]]
            at = match.end()
            self.found += 1
        keep = self._beginning(whole, at)
        out.append(whole[at:keep])
        self._held = whole[keep:]
        return b"".join(out)

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return held

    def whole(self, data: bytes) -> bytes:
        """All of it at once."""
        return self.feed(data) + self.flush()

    def _beginning(self, data: bytes, start: int) -> int:
        """Where the longest end of `data` begins with which a word may begin."""
        for at in range(max(start, len(data) - self._longest + 1), len(data)):
            if data[at] in self._first:
                end = data[at:]
                if any(word.startswith(end) for word in self._words):
                    return at
        return len(data)
