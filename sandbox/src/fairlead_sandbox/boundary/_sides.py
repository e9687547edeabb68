"""The two sides of a boundary: how much each takes from the other, and what it believes of it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from fairlead.errors import FairleadError
from fairlead_sandbox.boundary._errors import CLAIMABLE, EVERY

__all__ = ["GUEST", "HOST", "Limits", "Side"]

_MIB = 1024 * 1024


@frozen
class Limits:
    """How much one side takes at most from the other. Going beyond breaks the boundary; a sender waits before it."""

    frame_bytes: int
    """One frame. The host takes enough for a message of 10 MB with its media in base64."""
    values: int
    """JSON values in one frame: an empty list costs 3 bytes there and 60 here."""
    calls: int
    """Calls and streams that are open at once."""
    held_bytes: int
    """Frames of all calls that are open."""
    queued_bytes: int
    """Frames that wait to be written: whoever sends more waits, while the other side does not read."""


@frozen
class Side:
    """What a `Peer` needs to know of the side that it speaks for."""

    takes: Limits
    gives: Limits
    """What the other side takes."""
    believes: Mapping[str, type[FairleadError]]
    """The errors that the other side may raise here; any other becomes a `SandboxError` in words."""
    candid: bool
    """Whether the other side is told the text of an unforeseen error."""


_FROM_GUEST = Limits(16 * _MIB, 250_000, 1024, 64 * _MIB, 4 * _MIB)
_FROM_HOST = Limits(256 * _MIB, 16_000_000, 4096, 1024 * _MIB, 4 * _MIB)

HOST = Side(_FROM_GUEST, _FROM_HOST, CLAIMABLE, candid=False)
"""The host: trusts nothing that comes."""
GUEST = Side(_FROM_HOST, _FROM_GUEST, EVERY, candid=True)
"""A plugin's process: what it may do is decided at the other end."""
