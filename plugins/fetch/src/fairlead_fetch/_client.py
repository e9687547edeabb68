"""Requests through the way out that the sandbox gives: the host connects, with TLS, to what is granted.

Standard library only, and blocking: it is run in a thread.
"""

from __future__ import annotations

import http.client
import os
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from urllib.parse import urlsplit

from attrs import frozen

from fairlead.errors import ToolError
from fairlead_fetch._address import Address, follow

__all__ = ["WAY_OUT", "Page", "get"]

WAY_OUT = "FAIRLEAD_EGRESS"
"""Where the sandbox has its proxy: ``http://127.0.0.1:3128``; what is asked is ``/https/HOST/PATH``."""
MAX_REDIRECTS = 10
CHUNK = 65_536
HEADERS = {
    "User-Agent": "fairlead-fetch/0.1",
    "Accept": "text/html, application/json, text/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "gzip",
}
REDIRECTS = {301, 302, 303, 307, 308}


@frozen
class Page:
    """What came of a request."""

    address: Address
    """Where it was found, after all redirects."""
    status: int
    media_type: str
    """In small letters, without parameters."""
    charset: str
    """As the server said; empty where it did not."""
    body: bytes
    cut: bool
    """There is more than was asked for."""


def get(address: Address, max_bytes: int, seconds: float) -> Page:
    """The page, and the pages to which it redirects. Each of them is a request that the proxy checks.

    `ToolError`: in words, why there is none.
    """
    deadline = time.monotonic() + seconds
    for _ in range(MAX_REDIRECTS):
        page = _ask(address, max_bytes, deadline)
        if isinstance(page, Page):
            return page
        address = page
    raise ToolError(f"more than {MAX_REDIRECTS} redirects, the last one to {address}")


def _ask(address: Address, max_bytes: int, deadline: float) -> Page | Address:
    """One request: the page, or where it has gone."""
    place = _way_out(address)
    try:
        with closing(http.client.HTTPConnection(*place, timeout=_left(deadline))) as connection:
            connection.request("GET", f"/{address.scheme}/{address.place}{address.path}", headers=HEADERS)
            # Closed by itself: where the server closes, the answer alone has the socket.
            with closing(connection.getresponse()) as answer:
                return _page(address, answer, connection, max_bytes, deadline)
    except (OSError, http.client.HTTPException, zlib.error) as error:
        raise ToolError(f"{address} gave no whole answer: {_words(error)}") from None


def _page(
    address: Address,
    answer: http.client.HTTPResponse,
    connection: http.client.HTTPConnection,
    max_bytes: int,
    deadline: float,
) -> Page | Address:
    if refused := answer.getheader("Fairlead-Egress"):
        raise _refusal(address, refused, answer.read(CHUNK).decode("utf-8", "replace").strip())
    location = answer.getheader("Location")
    if answer.status in REDIRECTS and location:
        return follow(address, location)
    body, cut = _read(answer, connection, max_bytes, deadline)
    kind = answer.headers
    return Page(address, answer.status, kind.get_content_type(), kind.get_content_charset("") or "", body, cut)


def _way_out(address: Address) -> tuple[str, int]:
    try:
        parts = urlsplit(os.environ.get(WAY_OUT, ""))
        if parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ToolError(
        f"{address.host} cannot be reached: nothing is granted to this tool, so it has no network",
        next_step=_grant(address),
    )


def _grant(address: Address) -> str:
    return f'whoever runs this may write hosts = ["{address.grant}"] into [tools.fetch] of the configuration'


def _refusal(address: Address, reason: str, words: str) -> ToolError:
    if reason == "not-granted":
        return ToolError(f"{address.grant} is not granted to this tool", next_step=_grant(address))
    return ToolError(f"{address} was not fetched: {words or reason}")


def _read(
    answer: http.client.HTTPResponse, connection: http.client.HTTPConnection, max_bytes: int, deadline: float
) -> tuple[bytes, bool]:
    """At most so many bytes of the body, unpacked, and whether there are more."""
    unpack = _unpacker(answer.getheader("Content-Encoding", "identity").strip().lower())
    body = bytearray()
    while len(body) <= max_bytes:
        left = _left(deadline)
        if connection.sock is not None:
            connection.sock.settimeout(left)
        piece = answer.read1(CHUNK)
        if not piece and answer.length:  # what is still missing of the length that was told
            raise http.client.IncompleteRead(b"")
        if not piece:
            return bytes(body), False
        body += unpack(piece, max_bytes + 1 - len(body))
    return bytes(body[:max_bytes]), True


def _unpacker(encoding: str) -> Callable[[bytes, int], bytes]:
    if encoding == "identity":
        return lambda piece, _: piece
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ToolError(f"the answer is compressed with {encoding[:40]!r}, which this tool does not know")
    # Of what one piece unpacks to, no more is made than is wanted: little can hide gigabytes.
    stream = zlib.decompressobj(zlib.MAX_WBITS | 32)
    return stream.decompress


def _left(deadline: float) -> float:
    """Seconds. `TimeoutError`: none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def _words(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "it broke off"
    return str(error) or type(error).__name__


def phrase(status: int) -> str:
    """``404 Not Found``."""
    return f"{status} {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else str(status)
