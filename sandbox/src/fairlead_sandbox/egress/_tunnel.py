"""CONNECT: a tunnel in which TLS is spoken end to end, with the name that was granted."""

from __future__ import annotations

import trio

from fairlead_sandbox.egress._client_hello import ClientHello
from fairlead_sandbox.egress._decisions import Refusal, shown
from fairlead_sandbox.egress._grants import Target
from fairlead_sandbox.egress._limits import EgressLimits
from fairlead_sandbox.egress._splice import Traffic, splice
from fairlead_sandbox.egress._ways import Ways
from fairlead_sandbox.egress._wire import Idle, Wire

__all__ = ["ALERT", "tunnel"]

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
ALERT = bytes((21, 3, 3, 0, 2, 2, 49))
"""Of TLS: fatal, access denied. What a client shows of a tunnel that is closed before the first answer."""


async def tunnel(ways: Ways, wire: Wire, target: Target) -> None:
    """Open it, look at the first bytes, and pass on the rest unseen. `Refusal`: it is not granted, or not TLS for it.

    A granted address needs no TLS: there is no name that could be another one's.
    """
    ways.check_tunnel(target)
    dialed = await ways.dialer.dial(target)
    traffic = Traffic()
    async with dialed.stream:
        wire.started = True
        await wire.send(ESTABLISHED)
        if not target.literal:
            await _check_hello(wire, target, ways.limits)
        ways.opened(target, "tunnel", dialed.address)
        try:
            with Idle(ways.limits.idle_seconds) as idle:
                await splice(wire, dialed.stream, idle, traffic)
        finally:
            ways.closed(target, "tunnel", dialed.address, traffic)


async def _check_hello(wire: Wire, target: Target, limits: EgressLimits) -> None:
    """Read the ClientHello and leave it in the wire. Nothing of it has gone out. `Refusal`: it is for another host."""
    hello = ClientHello()
    seen = 0
    problem = "no ClientHello of TLS came in time"
    with trio.move_on_after(limits.head_seconds):
        try:
            while (name := hello.feed(bytes(wire.buffer[seen:]))) is None and seen <= limits.head_bytes:
                seen = len(wire.buffer)
                if not await wire.more():
                    break
        except ValueError as error:
            problem = str(error)
        else:
            if name == target.host:
                return
            problem = "no whole ClientHello of TLS came" if name is None else f"TLS is for another host: {shown(name)}"
    if wire.buffer[:1] == b"\x16":
        await wire.send(ALERT)
    raise Refusal(403, "server-name", f"{target}: {problem}")
