"""How much of the host the clients of one guest may use."""

from __future__ import annotations

from attrs import frozen

__all__ = ["IngressLimits"]


@frozen
class IngressLimits:
    """Of one guest, for all of its addresses together. Seconds."""

    connections: int = 48
    """At once, also those that still wait for the guest. One costs the guest three of the files that it may have."""
    reach_seconds: float = 10.0
    """A client waits so long for a guest that starts, starts again, or does not listen yet; then it is closed."""
    idle_seconds: float = 900.0
    """Without a byte in either direction. Long, for a client may stay to be told of things that seldom happen."""
    yield_seconds: float = 10.0
    """Where all places are taken, the connection that has been silent for longest gives way to a new one, if it was
    silent for so long."""
    repeat_seconds: float = 60.0
    """What goes wrong again and again is told so often."""
