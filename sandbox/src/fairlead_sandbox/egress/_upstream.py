"""The host's own connection to a server out there, in HTTP/1.1."""

from __future__ import annotations

import select
from collections.abc import Awaitable, Callable

import h11
import trio

from fairlead_sandbox.egress._decisions import Refusal
from fairlead_sandbox.egress._head import Route
from fairlead_sandbox.egress._splice import Traffic

__all__ = ["Answer", "Upstream"]

CHUNK = 65_536
MAX_HEAD = 65_536
FRESH_SECONDS = 4.0
"""Servers close idle connections after 5 s at the earliest that is common; one that is older is not used again."""
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)

Answer = h11.InformationalResponse | h11.Response


class Upstream:
    """A connection that may be used for one request after the other."""

    def __init__(self, stream: trio.abc.Stream, address: str, route: Route) -> None:
        self.address = address
        self.traffic = Traffic()
        self.stream = stream
        self._route = route
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._used = 0.0

    def fits(self, route: Route) -> bool:
        """Whether a request can go over it: the same server, and it has not been closed there."""
        if (route.target, route.tls) != (self._route.target, self._route.tls):
            return False
        return trio.current_time() - self._used < FRESH_SECONDS and not self._is_readable()

    def _is_readable(self) -> bool:
        """A server that says something without being asked has closed, or is not to be trusted."""
        inner = self.stream.transport_stream if isinstance(self.stream, trio.SSLStream) else self.stream
        if not isinstance(inner, trio.SocketStream):
            return True
        poll = select.poll()
        poll.register(inner.socket.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def send(self, *events: h11.Event) -> None:
        """Send the parts of a request. `BROKEN`: the server takes no more, and may have answered already."""
        data = b"".join(self._http.send(event) or b"" for event in events)
        self.traffic.up += len(data)
        await self.stream.send_all(data)

    async def next_event(self, before_wait: Callable[[], Awaitable[None]]) -> h11.Event:
        """The next part of the answer; `before_wait` is called before it must be waited for.

        `Refusal`: it is no HTTP, or breaks off.
        """
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                await before_wait()
                data = bytes(await self.stream.receive_some(CHUNK))
                self.traffic.down += len(data)
                self._http.receive_data(data)
        except BROKEN:
            raise Refusal(502, "broken", f"{self._route.target} closed the connection without an answer") from None
        except h11.RemoteProtocolError:
            raise Refusal(502, "broken", f"the answer of {self._route.target} is no HTTP/1.1, or breaks off") from None
        if isinstance(event, type | h11.ConnectionClosed):
            raise Refusal(502, "broken", f"{self._route.target} closed the connection without an answer")
        return event

    def leftover(self) -> bytes:
        """What came after a 101: it is no HTTP any more."""
        return self._http.trailing_data[0]

    def can_go_on(self) -> bool:
        """Whether the exchange is whole, and another may follow; makes it ready for that."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        if self._http.trailing_data[0]:
            return False
        self._http.start_next_cycle()
        self._used = trio.current_time()
        self.traffic = Traffic()
        return True

    async def close(self) -> None:
        """At once. HTTP says by itself where an answer ends."""
        await trio.aclose_forcefully(self.stream)
