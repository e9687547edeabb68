"""How much of the host one guest may use through its proxy."""

from __future__ import annotations

from attrs import frozen

__all__ = ["EgressLimits"]


@frozen
class EgressLimits:
    """Of one proxy, which is of one container or process. Seconds and bytes."""

    connections: int = 64
    """At once; one more is answered with 503."""
    head_bytes: int = 32_768
    """Request line and headers, and a TLS ClientHello."""
    head_seconds: float = 10.0
    """For a whole head, and for a whole ClientHello: one who sends a byte now and then is let go."""
    keepalive_seconds: float = 60.0
    """Between two requests of one connection."""
    resolve_seconds: float = 5.0
    connect_seconds: float = 10.0
    """For all addresses of a name together, and again for the TLS handshake of the host."""
    idle_seconds: float = 300.0
    """Without a byte in either direction. Long, for a model may think and a poll may wait."""
    half_open_seconds: float = 5.0
    """The same, once the guest has closed its side of a plain request."""
    placed_body_bytes: int = 262_144
    """The longest body in which secrets are placed; a longer one goes out as it is."""
    refusal_seconds: float = 0.05
    """Every refusal waits so long, so that a guest which does nothing else makes few events."""
    message_bytes: int = 1_048_576
    """The longest message of a WebSocket to a host that gets secrets."""
