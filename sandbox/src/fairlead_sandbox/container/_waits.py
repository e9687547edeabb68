"""How long callers waited."""

from __future__ import annotations

from collections import deque

__all__ = ["Waits"]

KEPT = 1000


class Waits:
    """The last thousand durations, in seconds."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=KEPT)

    def add(self, seconds: float) -> float:
        self._last.append(seconds)
        return seconds

    def quantile(self, share: float) -> float:
        """The duration that this share of them did not pass; 0 where nobody waited yet."""
        ordered = sorted(self._last)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0
