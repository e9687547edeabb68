"""The places for connections of one guest, and who has to give way where all are taken."""

from __future__ import annotations

import trio
from attrs import define, field

from fairlead_sandbox.ingress._limits import IngressLimits

__all__ = ["Seat", "Seats"]


@define(eq=False)
class Seat:
    """A connection's place, and its time: it ends when nothing was touched for some seconds."""

    idle_seconds: float
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    touched: float = field(factory=trio.current_time)
    reached: bool = False
    """The guest has it."""

    def __attrs_post_init__(self) -> None:
        self.touch()

    def touch(self) -> None:
        """Something moved."""
        self.touched = trio.current_time()
        self.scope.deadline = self.touched + self.idle_seconds


class Seats:
    """At most so many at once. Who is silent keeps nobody out who speaks."""

    def __init__(self, limits: IngressLimits) -> None:
        self._limits = limits
        self._taken: set[Seat] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> Seat | None:
        """A place for a new connection; None where all are taken by those who speak."""
        if len(self._taken) >= self._limits.connections:
            silent = min(self._taken, key=lambda seat: seat.touched)
            if trio.current_time() - silent.touched < self._limits.yield_seconds:
                return None
            self.leave(silent)
            silent.scope.cancel()
        seat = Seat(self._limits.idle_seconds)
        self._taken.add(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Its connection is over."""
        self._taken.discard(seat)

    def clear_reached(self) -> None:
        """End those that a guest had which is no more; who still waits for one, waits on."""
        for seat in self._taken:
            if seat.reached:
                seat.scope.cancel()
