"""What was decided about each way out, and how a refusal is told to the guest."""

from __future__ import annotations

from typing import Literal

from attrs import define, field, frozen

__all__ = ["Decision", "Refusal", "Way", "shown"]

Way = Literal["connection", "tunnel", "request", "websocket"]
SHOWN_CHARS = 200


@frozen
class Decision:
    """One event of a proxy: a refusal, the beginning of what was allowed, or its end (`closed`)."""

    allowed: bool
    host: str
    """As the guest named it, in its one spelling; empty where it could not be read."""
    port: int
    reason: str
    """One word for programs: ``granted``, ``not-granted``, ``not-public``, ``server-name``, ``malformed``, ..."""
    way: Way = "connection"
    detail: str = ""
    """In words, printable and never with the value of a secret."""
    address: str = ""
    """The address that was checked and connected to."""
    closed: bool = False
    bytes_up: int = 0
    """Sent to the host out there, without what TLS adds to requests."""
    bytes_down: int = 0
    """Received from it."""


@define(eq=False, slots=False)
class Refusal(Exception):
    """The request goes nowhere; told to the guest as an answer of the proxy, where it can still have one."""

    status: int
    reason: str
    """The word of `Decision.reason`."""
    detail: str
    next_step: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        return f"{self.detail}; {self.next_step}" if self.next_step else self.detail

    def answer(self, *, with_body: bool = True) -> bytes:
        """The answer of the proxy. Its reason phrase has the words too: clients show no more of a refused CONNECT."""
        words = shown(self.detail)
        body = f"{self}\n".encode("ascii", "backslashreplace") if with_body else b""
        head = (
            f"HTTP/1.1 {self.status} {words}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"Fairlead-Egress: {self.reason}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode("ascii") + body


def shown(text: str) -> str:
    """At most 200 printable ASCII characters of what a guest sent, for lines of logs and of HTTP."""
    plain = text[:SHOWN_CHARS].encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in plain)[:SHOWN_CHARS]
