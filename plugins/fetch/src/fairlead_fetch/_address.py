"""URLs, read from text that a model or a server sent."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

from attrs import frozen

from fairlead.errors import ToolError

__all__ = ["Address", "follow", "parse_address"]

MAX_CHARS = 8_000
PORTS = {"http": 80, "https": 443}
NAME = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
V6 = re.compile(r"[0-9a-f.]*:[0-9a-f:.]*")
# What may stand in a path and a query as it is (RFC 3986), and the percent signs that are there already.
KEPT = "%/:@!$&'()*+,;=-._~?"


@frozen
class Address:
    """Of a page."""

    scheme: str
    host: str
    """In ASCII, in brackets where it is an IPv6 address."""
    port: int
    path: str
    """With the query; begins with ``/``."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}{self.path}"

    @property
    def place(self) -> str:
        """The host, with the port where it is not the usual one."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def grant(self) -> str:
        """What the configuration must name."""
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """A text as an address, without its fragment. `ToolError`: what is wrong with it."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        raise ToolError(f"the URL has {len(text)} characters; at most {MAX_CHARS} are fetched")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ToolError(f"a URL has no spaces, line breaks or backslashes, found {text[:100]!r}")
    try:
        parts = urlsplit(text)
        host, port = _ascii(parts.hostname or ""), parts.port
    except ValueError as error:
        raise ToolError(f"{text[:100]!r} is no URL: {error}") from None
    if parts.scheme not in PORTS or not host:
        raise ToolError(f"expected a URL such as https://example.org/page, found {text[:100]!r}")
    if parts.username is not None or parts.password is not None:
        raise ToolError("a URL with a user name or password is not fetched")
    path = quote(parts.path or "/", safe=KEPT)
    query = f"?{quote(parts.query, safe=KEPT)}" if parts.query else ""
    return Address(parts.scheme, host, PORTS[parts.scheme] if port is None else port, path + query)


def _ascii(host: str) -> str:
    """As DNS has it; an empty one stays empty. `ValueError`: it has no such form."""
    if V6.fullmatch(host):
        return f"[{host}]"
    name = host if host.isascii() else host.encode("idna").decode("ascii").lower()
    if name and not NAME.fullmatch(name):
        raise ValueError("its host is no name of letters, digits, hyphens and dots")
    return name


def follow(address: Address, location: str) -> Address:
    """Where a redirect leads. `ToolError`: nowhere that can be fetched."""
    try:
        return parse_address(urljoin(str(address), location.strip()))
    except ValueError as error:
        raise ToolError(f"{address} redirects to {location[:100]!r}, which is no URL: {error}") from None
