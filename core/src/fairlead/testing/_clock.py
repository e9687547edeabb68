"""Time that passes at once: trio's clock jumps to the next deadline, and the wall clock follows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

__all__ = ["WallClock", "run_virtually"]

T = TypeVar("T")


class WallClock:
    """Unix seconds that pass as trio's clock does: with pytest-trio's ``autojump_clock``, or under `run_virtually`.

    Give it to `fairlead.open` as ``clock``. `start`: the Unix seconds at its first use, as it is 2027-01-15 08:00 UTC.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.start = start
        self._zero: float | None = None

    def __call__(self) -> float:
        now = trio.current_time()
        if self._zero is None:
            self._zero = now
        return self.start + now - self._zero


def run_virtually(main: Callable[..., Awaitable[T]], *args: object) -> T:
    """`trio.run` on a clock that jumps to the next deadline whenever every task waits.

    For scripts and examples; in tests pytest-trio's fixture ``autojump_clock`` does the same.
    """
    from trio.testing import MockClock  # noqa: PLC0415  # trio.testing imports pytest where that is installed

    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))
