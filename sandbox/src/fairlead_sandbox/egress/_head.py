"""A request, read strictly: what two programs could read in two ways is refused, and never passed on as it came.

RFC 9110 and 9112. h11 does the parsing; what it forgives is refused here first.
"""

from __future__ import annotations

import re

import h11
from attrs import frozen

from fairlead_sandbox.egress._decisions import Refusal
from fairlead_sandbox.egress._grants import Target, parse_authority

__all__ = ["Request", "Route", "connect_target", "parse_request", "reverse_of", "route"]

MAX_HEADERS = 100
PLAIN_PORT = 80
TLS_PORT = 443
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # a tab may stand in a value; a bare CR or LF may not
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
DIGITS = re.compile(rb"[0-9]{1,18}")
REQUEST_LINE = re.compile(rb"[A-Z]{1,20} [\x21-\x7e]+ HTTP/1\.[01]")
ONCE = (b"host", b"content-length", b"transfer-encoding", b"content-type", b"authorization", b"upgrade", b"expect")
"""Twice, and two programs may take two of them for the right one."""
CONNECTION = {b"close", b"keep-alive", b"upgrade", b"te", b"trailers", b"http2-settings", b"proxy-connection"}
"""Whoever may name other headers here can take away what the next program needs (RFC 9110, 7.6.1)."""
ABSOLUTE = re.compile(r"(http|https)://([^/?#\\@]+)([/?][^#\\]*)?", re.IGNORECASE)
REVERSE = re.compile(r"/(http|https)/([^/?#\\@]+)([/?][^#\\]*)?")
FORWARDER = ("127.0.0.1", "localhost")


@frozen
class Request:
    """A head that has one meaning."""

    method: str
    target: str
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in small letters."""

    def get(self, name: bytes) -> bytes:
        """The value of a header; empty where it is missing."""
        return next((value for found, value in self.headers if found == name), b"")

    @property
    def connection(self) -> set[bytes]:
        """The words of ``Connection``."""
        words = b",".join(value for name, value in self.headers if name == b"connection").lower()
        return {word.strip() for word in words.split(b",")} - {b""}

    @property
    def has_body(self) -> bool:
        return bool(self.get(b"transfer-encoding") or self.get(b"content-length").strip(b"0"))

    @property
    def is_websocket(self) -> bool:
        """It asks to go on as a WebSocket (RFC 6455)."""
        return self.get(b"upgrade").lower() == b"websocket" and b"upgrade" in self.connection


@frozen
class Route:
    """Where a request goes, and how."""

    target: Target
    tls: bool
    path: str
    """With the query; begins with ``/``."""

    @property
    def host_header(self) -> bytes:
        default = TLS_PORT if self.tls else PLAIN_PORT
        text = str(self.target)
        return (text.removesuffix(f":{default}") if self.target.port == default else text).encode("ascii")


def malformed(detail: str, status: int = 400) -> Refusal:
    return Refusal(status, "malformed", detail)


def parse_request(head: bytes, connection: h11.Connection) -> Request:
    """A head as a request; `connection` has then seen it. `Refusal`: it is not of one meaning."""
    _check_lines(head.removesuffix(b"\r\n\r\n").split(b"\r\n"))
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise malformed("the head of the request is not HTTP/1.1", error.error_status_hint) from None
    if not isinstance(event, h11.Request):
        raise malformed("the head of the request is not HTTP/1.1")
    request = Request(
        event.method.decode("ascii"), event.target.decode("ascii"), event.http_version, tuple(event.headers)
    )
    if not request.connection <= CONNECTION:
        raise malformed("the header Connection names other headers")
    if request.get(b"transfer-encoding") and request.version < b"1.1":
        raise malformed("HTTP/1.0 has no Transfer-Encoding")
    if request.method == "CONNECT" and request.has_body:
        raise malformed("CONNECT has no body")
    return request


def _check_lines(lines: list[bytes]) -> None:
    if not REQUEST_LINE.fullmatch(lines[0]):
        raise malformed("the request line is not METHOD TARGET HTTP/1.1")
    if len(lines) - 1 > MAX_HEADERS:
        raise malformed(f"a request may have {MAX_HEADERS} headers", 431)
    names: list[bytes] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not NAME.fullmatch(name) or CONTROL.search(value):
            raise malformed("a header is not NAME: VALUE on one line")
        names.append(name.lower())
        if names[-1] == b"content-length" and not DIGITS.fullmatch(value.strip(b" \t")):
            raise malformed("Content-Length is not one number")
    twice = [name for name in ONCE if names.count(name) > 1]
    if twice:
        raise malformed(f"the header {twice[0].decode('ascii')} stands there twice")
    if b"content-length" in names and b"transfer-encoding" in names:
        raise malformed("a body has Content-Length or Transfer-Encoding, not both")


def connect_target(request: Request) -> Target:
    """Where a tunnel goes. `Refusal`: it is no host and port, or the header Host says something else."""
    try:
        target = parse_authority(request.target)
    except ValueError as error:
        raise malformed(f"CONNECT goes to no such host: {error}") from None
    _check_host(request, Route(target, tls=True, path=""))
    return target


def route(request: Request) -> Route:
    """Where a plain request goes: ``http://host/path`` as a proxy gets it, or ``/https/host/path``.

    `Refusal`: neither, or the header Host says something else.
    """
    match = ABSOLUTE.fullmatch(request.target)
    if not match:
        return _reverse(request, request.target)
    found = _parse_route(match[1].lower(), match[2], match[3])
    _check_host(request, found)
    return found


def reverse_of(request: Request, found: Route) -> Route:
    """What a library means that has the forwarder both as the base of its addresses and as its proxy."""
    is_absolute = not request.target.startswith("/")
    return _reverse(request, found.path) if is_absolute and found.target.host in FORWARDER else found


def _reverse(request: Request, target: str) -> Route:
    match = REVERSE.fullmatch(target)
    if not match or request.method in ("CONNECT", "TRACE"):
        raise malformed("expected CONNECT host:443, GET http://host/path, or GET /https/host/path")
    return _parse_route(match[1], match[2], match[3])


def _parse_route(scheme: str, authority: str, rest: str | None) -> Route:
    tls = scheme == "https"
    try:
        target = parse_authority(authority, TLS_PORT if tls else PLAIN_PORT)
    except ValueError as error:
        raise malformed(f"the request goes to no such host: {error}") from None
    path = rest or "/"
    return Route(target, tls, path if path[0] == "/" else f"/{path}")


def _check_host(request: Request, found: Route) -> None:
    """A proxy is told twice where to go; both must be the same (RFC 9112, 3.2.2, would have it overlooked)."""
    host = request.get(b"host").decode("latin-1")
    if not host and request.version < b"1.1":
        return
    try:
        named = parse_authority(host, found.target.port)
    except ValueError as error:
        raise malformed(f"the header Host names no host: {error}") from None
    if named != found.target:
        raise malformed("the header Host names another host than the request")
