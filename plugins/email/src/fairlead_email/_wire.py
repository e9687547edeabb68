"""Lines over TLS, as IMAP and SMTP speak them: bounded, with deadlines, and one error for whatever breaks."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio
from attrs import define, field

from fairlead_email._options import Server

__all__ = ["Gone", "Refused", "Wire", "patience", "wired"]

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 60.0
CHUNK = 65_536
LINE_BYTES = 4_000_000
"""The longest line: the answer to a search that finds half a million mails."""
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))
"""A connection whose other end has vanished is found within two minutes."""


class Gone(Exception):
    """The connection cannot be made, was lost, or is of no use. Not `Refused`: there the server says no."""


class Refused(Exception):
    """The server says no."""

    def __init__(self, words: str, code: int = 0) -> None:
        super().__init__(words)
        self.code = code
        """For SMTP."""


@contextmanager
def patience(seconds: float, what: str) -> Iterator[None]:
    """At most that long, and `Gone` for every way in which a connection ends."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError:
        raise Gone(f"{what}: no answer in {seconds:g} s") from None
    except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
        cause: BaseException = error.__cause__ or error
        while isinstance(cause, BaseExceptionGroup):  # one for each address that was tried
            cause = cause.exceptions[0]
        raise Gone(f"{what}: {str(cause) or type(cause).__name__}") from error


@define(eq=False)
class Wire:
    """One connection. Cancelling a read loses nothing."""

    server: Server
    stream: trio.abc.Stream
    _buffer: bytearray = field(factory=bytearray)

    async def line(self) -> bytes:
        """The next line, without its CRLF."""
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            if seen > LINE_BYTES:
                raise Gone(f"{self.server} sends a line without an end")
            await self._fill()
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[: end + 1]
        return line

    async def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._fill()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def wait(self) -> None:
        """Until there is something to read."""
        if not self._buffer:
            await self._fill()

    async def _fill(self) -> None:
        data = await self.stream.receive_some(CHUNK)
        if not data:
            raise Gone(f"{self.server} closed the connection")
        self._buffer += data

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def start_tls(self) -> None:
        """Go on in TLS. What was sent before it is done is not the server's own (CVE-2011-0411)."""
        if self._buffer:
            raise Gone(f"{self.server} sent words before TLS was there: somebody may stand between")
        secure = trio.SSLStream(self.stream, self.server.context(), server_hostname=self.server.host)
        await secure.do_handshake()
        self.stream = secure


@asynccontextmanager
async def wired(server: Server) -> AsyncIterator[Wire]:
    """A connection, in TLS where that comes first. `Gone`: it cannot be made."""
    with patience(CONNECT_SECONDS, f"connecting to {server}"):
        stream = await trio.open_tcp_stream(server.host, server.port)
    wire = Wire(server, stream)
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # not every system has all of them
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if server.tls == "implicit":
            with patience(CONNECT_SECONDS, f"TLS with {server}"):
                await wire.start_tls()
        yield wire
    finally:
        await trio.aclose_forcefully(wire.stream)
