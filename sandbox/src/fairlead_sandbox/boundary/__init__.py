"""The boundary: calls and streams in both directions between the host and code that runs outside of it.

Frames are length-prefixed strict JSON (`schemas/boundary.schema.json`); nothing is ever pickled. Each side may ask the
other at any time, what is asked within a call is cancelled with it, and each side bounds what it takes. It runs on
trio and on asyncio alike.
"""

from fairlead_sandbox.boundary._calls import Call, Items, Serve
from fairlead_sandbox.boundary._errors import decode_error, encode_error
from fairlead_sandbox.boundary._outbox import Stream
from fairlead_sandbox.boundary._peer import Peer
from fairlead_sandbox.boundary._sides import GUEST, HOST, Limits, Side

__all__ = [
    "GUEST",
    "HOST",
    "Call",
    "Items",
    "Limits",
    "Peer",
    "Serve",
    "Side",
    "Stream",
    "decode_error",
    "encode_error",
]
