"""The headers of a request as they go out, and of an answer as they come in."""

from __future__ import annotations

from fairlead_sandbox.egress._decisions import Refusal
from fairlead_sandbox.egress._head import Request, Route
from fairlead_sandbox.egress._secrets import Place, Secrets
from fairlead_sandbox.egress._upstream import Answer

__all__ = ["answer_headers", "body_kind", "is_encoded", "request_headers"]

Headers = list[tuple[bytes, bytes]]

# RFC 9110, 7.6.1: what concerns one connection only, or is written anew.
HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
WRITTEN = HOP | {b"host", b"expect", b"http2-settings", b"content-length"}
SLICING = frozenset({b"range", b"if-range", b"accept-encoding", b"sec-websocket-extensions"})
"""With them a secret that a host repeats would come back in pieces, or compressed."""
FAIRLEAD = b"fairlead-egress"
"""Of the proxy's own answers: no host out there may pretend to be the proxy."""


def request_headers(request: Request, route: Route, secrets: Secrets, *, guarded: bool) -> Headers:
    """The headers of a request as they go out, secrets placed. Of its length only what the guest said of a stream.

    `guarded`: secrets are granted for that host. `Refusal`: a secret must not go there.
    """
    headers: Headers = [(b"host", route.host_header)]
    for name, value in request.headers:
        if name in WRITTEN or (guarded and name in SLICING):
            continue
        headers.append((name, secrets.place_in_header(value, route.target, tls=route.tls)))
    if guarded:
        headers.append((b"accept-encoding", b"identity"))
    if request.is_websocket:
        if request.method != "GET" or request.has_body:
            raise Refusal(400, "malformed", "a WebSocket begins with GET and no body")
        headers += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    return headers


def framing(request: Request) -> Headers:
    """How a body that is passed on piece by piece says its length."""
    if length := request.get(b"content-length"):
        return [(b"content-length", length)]
    return [(b"transfer-encoding", b"chunked")] if request.get(b"transfer-encoding") else []


def answer_headers(answer: Answer, secrets: Secrets, *, keep_length: bool = True) -> Headers:
    """The headers of an answer as the guest sees them, without secrets."""
    return [
        (name, secrets.veil().whole(value) if secrets else value)
        for name, value in answer.headers
        if name not in HOP and name != FAIRLEAD and (keep_length or name != b"content-length")
    ]


def is_encoded(answer: Answer) -> bool:
    """Whether its body is compressed."""
    return any(name == b"content-encoding" and value.lower() != b"identity" for name, value in answer.headers)


def body_kind(request: Request) -> Place | None:
    """How secrets are written in the body of a request; None where they are not placed."""
    kind = request.get(b"content-type").partition(b";")[0].strip().lower()
    if request.get(b"content-encoding"):
        return None
    if kind == b"application/json" or kind.endswith(b"+json"):
        return "json"
    return "form" if kind == b"application/x-www-form-urlencoded" else None
