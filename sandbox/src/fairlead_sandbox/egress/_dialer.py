"""Connecting to a host: the name is resolved once, every address is checked, and the checked one is connected to."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio
from attrs import frozen

from fairlead_sandbox.egress._addresses import is_public
from fairlead_sandbox.egress._decisions import Refusal, shown
from fairlead_sandbox.egress._grants import Target
from fairlead_sandbox.egress._limits import EgressLimits

__all__ = ["Connector", "Dialed", "Dialer", "Resolver", "connect_to", "system_resolver"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port to addresses as text, best first. `OSError`: there are none."""
Connector = Callable[[str, int], Awaitable[trio.abc.HalfCloseableStream]]
"""A checked address and a port to a connection. `OSError`: nobody is there."""
MAX_ADDRESSES = 8
RESOLVING_THREADS = 4


@frozen
class Dialed:
    """A connection, and the address that it goes to."""

    stream: trio.abc.HalfCloseableStream
    address: str


class Dialer:
    """Connects to targets that were granted."""

    def __init__(self, resolver: Resolver, connector: Connector, limits: EgressLimits) -> None:
        self._resolver = resolver
        self._connector = connector
        self._limits = limits

    async def dial(self, target: Target) -> Dialed:
        """Connect. An address that was granted as such is taken as it is; a name is resolved, and must be public.

        `Refusal`: it has no address, one that is not public, or nobody answers there. Cancelled: nothing stays open.
        """
        addresses = (target.host,) if target.literal else await self._resolve(target)
        problem = "no time was left"
        with trio.move_on_after(self._limits.connect_seconds):
            for address in addresses:
                # One that swallows packets leaves time for the next.
                with trio.move_on_after(max(1.0, self._limits.connect_seconds / len(addresses))):
                    try:
                        stream = await self._connector(address, target.port)
                    except OSError as error:
                        problem = shown(error.strerror or str(error))
                        continue
                    if not target.literal:
                        await _refuse_own(stream, address, target)
                    return Dialed(stream, address)
        raise Refusal(502, "unreachable", f"{target} does not answer: {problem}")

    async def _resolve(self, target: Target) -> Sequence[str]:
        found: Sequence[str] = ()
        problem = f"no answer in {self._limits.resolve_seconds:g} s"
        with trio.move_on_after(self._limits.resolve_seconds):
            try:
                found = list(dict.fromkeys(await self._resolver(target.host, target.port)))[:MAX_ADDRESSES]
                problem = "it has no address"
            except (OSError, UnicodeError) as error:
                problem = shown(getattr(error, "strerror", None) or str(error))
        if not found:
            raise Refusal(502, "unresolved", f"{target.host} cannot be resolved: {problem}")
        # All of them: a name with a public and a private address is either a mistake or an attack.
        closed = [address for address in found if not is_public(address)]
        if closed:
            raise Refusal(
                403,
                "not-public",
                f"{target.host} stands for {shown(closed[0])}, which is no public address",
                next_step="a server of your own is granted by its address, such as 127.0.0.1:11434",
            )
        return found


async def _refuse_own(stream: trio.abc.HalfCloseableStream, address: str, target: Target) -> None:
    """A public address may be this machine's own: what listens on all interfaces would then be reached from inside."""
    if not isinstance(stream, trio.SocketStream):
        return
    with suppress(OSError):
        here, there = (name[0] for name in (stream.socket.getsockname(), stream.socket.getpeername()))
        if here == there == address:
            await stream.aclose()
            raise Refusal(403, "not-public", f"{target.host} stands for {address}, which is this machine's own")


def system_resolver() -> Resolver:
    """The machine's resolver, in threads: at most four at once, also of those that nobody waits for any more."""
    threads = trio.CapacityLimiter(RESOLVING_THREADS)

    async def resolve(host: str, port: int) -> Sequence[str]:
        found = await trio.to_thread.run_sync(
            lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            abandon_on_cancel=True,
            limiter=threads,
        )
        return [str(place[0]) for *_, place in found]

    return resolve


async def connect_to(address: str, port: int) -> trio.SocketStream:
    """Connect to an address; no name is ever resolved here."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)
