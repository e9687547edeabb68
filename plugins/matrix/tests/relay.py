"""What stands between a channel and its homeserver: it passes requests on, and fails in chosen ways."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx2
import trio
from attrs import define, field, frozen

_HOP = {b"connection", b"transfer-encoding", b"content-length", b"host", b"keep-alive", b"date", b"server"}


@frozen
class Asked:
    """One request."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def sends(self) -> bool:
        """Whether it is a message."""
        return self.method == "PUT" and "/send/" in self.target

    @property
    def polls(self) -> bool:
        return "/sync?" in self.target


@frozen
class Told:
    """One answer, or bytes in the place of one, after which the connection ends."""

    status: int = 200
    body: bytes = b"{}"
    headers: list[tuple[str, str]] = field(factory=list)
    kind: str = "application/json"
    raw: bytes | None = None
    half: bool = False
    """The connection ends in the middle of the body."""


Rule = Callable[[Asked, Callable[[], Awaitable[Told]]], Awaitable[Told | None]]
"""What to do with one request: an answer, maybe that of the homeserver, which the function asks; None: the usual."""


@define(eq=False)
class Relay:
    """HTTP between the two; `rule` is asked about each request."""

    upstream: str
    http: httpx2.AsyncClient
    url: str = ""
    rule: Rule | None = None
    attempts: int = 0
    """Connections that were tried."""
    log: list[Asked] = field(factory=list)
    positions: dict[str, str] = field(factory=dict)
    """What was told in a poll, by the position behind it."""
    gone: bool = False
    awake: trio.Event = field(factory=trio.Event)
    """Not set: it reads and answers nothing."""
    junk: list[Told] = field(factory=list)
    """In the place of the answers to the next polls."""
    _scopes: set[trio.CancelScope] = field(factory=set)
    _polls: set[trio.CancelScope] = field(factory=set)

    def drop(self) -> None:
        """Every connection breaks."""
        for scope in list(self._scopes):
            scope.cancel()

    def throw(self, told: Told) -> None:
        """Answer the poll that waits, or the next one, with this."""
        self.junk.append(told)
        for scope in list(self._polls):
            scope.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        self.attempts += 1
        async with stream:
            if self.gone:
                return
            with trio.CancelScope() as scope:
                self._scopes.add(scope)
                connection = h11.Connection(h11.SERVER)
                try:
                    while await self._exchange(connection, stream):
                        connection.start_next_cycle()
                except (h11.RemoteProtocolError, trio.BrokenResourceError):
                    return  # the client went away in the middle
                finally:
                    self._scopes.discard(scope)

    async def _exchange(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        asked = await self._read(connection, stream)
        if asked is None:
            return False
        self.log.append(asked)
        await self.awake.wait()

        async def ask() -> Told:
            return await self._ask(asked)

        told = await self.rule(asked, ask) if self.rule is not None else None
        told = told or await self._poll(asked)
        await self.awake.wait()
        if told.raw is not None:
            await stream.send_all(told.raw)
            return False
        sent = told.body[: len(told.body) // 2] if told.half else told.body
        headers = [("Content-Length", str(len(told.body))), ("Content-Type", told.kind), *told.headers]
        head = connection.send(h11.Response(status_code=told.status, headers=headers)) or b""
        await stream.send_all(head + (connection.send(h11.Data(sent)) or b""))
        if told.half:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _read(self, connection: h11.Connection, stream: trio.SocketStream) -> Asked | None:
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                headers = [(name, value) for name, value in request.headers if name not in _HOP]
                return Asked(request.method.decode(), request.target.decode(), headers, body)
            else:
                return None

    async def _poll(self, asked: Asked) -> Told:
        """The homeserver's answer, or junk in its place."""
        if not asked.polls:
            return await self._ask(asked)
        with trio.CancelScope() as scope:
            self._polls.add(scope)
            try:
                if not self.junk:
                    told = await self._ask(asked)
                    position = json.loads(told.body).get("next_batch", "") if told.status < 300 else ""
                    self.positions[position] = self.positions.get(position, "") + told.body.decode()
                    return told
            finally:
                self._polls.discard(scope)
        return self.junk.pop(0)

    async def _ask(self, asked: Asked) -> Told:
        headers = [(name.decode(), value.decode()) for name, value in asked.headers]
        try:
            response = await self.http.request(
                asked.method, self.upstream + asked.target, content=asked.body, headers=headers, timeout=120
            )
        except httpx2.TransportError:
            return Told(502, b"<html>Bad Gateway</html>", kind="text/html")
        kept = [(name, value) for name, value in response.headers.items() if name == "retry-after"]
        kind = response.headers.get("content-type", "")
        return Told(response.status_code, response.content, kept, kind=kind)

    def acknowledged(self, event_id: str) -> bool:
        """Whether the channel has asked for what comes after this event."""
        after = [position for position, told in self.positions.items() if position and event_id in told]
        asked = [httpx2.URL("http://x" + one.target).params.get("since") for one in self.log if one.polls]
        return any(position in asked for position in after)


@asynccontextmanager
async def relaying(upstream: str, http: httpx2.AsyncClient, rule: Rule | None = None) -> AsyncIterator[Relay]:
    relay = Relay(upstream, http, rule=rule)
    relay.awake.set()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    relay.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, relay.serve, listeners)
        yield relay
        nursery.cancel_scope.cancel()


def limited(seconds: float) -> Told:
    """Too many requests."""
    body: dict[str, Any] = {
        "errcode": "M_LIMIT_EXCEEDED",
        "error": "Too Many Requests",
        "retry_after_ms": seconds * 1000,
    }
    return Told(429, json.dumps(body).encode(), [("Retry-After", str(int(seconds)))])
