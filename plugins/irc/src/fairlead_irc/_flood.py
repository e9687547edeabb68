"""How fast we may speak: a token bucket, as servers have one for us."""

from __future__ import annotations

import trio
from attrs import define, field

__all__ = ["Bucket"]

SLOWEST = 8.0
"""How many times slower than configured it becomes at most, when the server complains."""


@define(eq=False)
class Bucket:
    """`burst` lines at once, then one each `seconds`; in the order in which they were asked for."""

    burst: int
    seconds: float
    factor: float = 1.0
    """Grows when the server complains."""
    _empty_until: float = field(default=-float("inf"), init=False)
    """When the bucket will be as it was before the lines so far, by trio's clock."""
    _order: trio.Lock = field(factory=trio.Lock, init=False)

    async def take(self) -> None:
        """Wait until one more line may be sent."""
        async with self._order:
            step = self.seconds * self.factor
            now = trio.current_time()
            self._empty_until = max(self._empty_until, now) + step
            # Full again `burst` lines later than now: the next one would be one too many.
            await trio.sleep(max(0.0, self._empty_until - now - self.burst * step))

    def slow_down(self) -> None:
        """The server has ended a connection for our speed."""
        self.factor = min(SLOWEST, 2 * self.factor)
