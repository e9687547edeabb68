"""One plain request: secrets are placed, the host connects and asks, and the answer goes back without the secrets."""

from __future__ import annotations

from http import HTTPStatus

import h11
import trio

from fairlead_sandbox.egress._decisions import Refusal, Way
from fairlead_sandbox.egress._head import Request, Route
from fairlead_sandbox.egress._headers import answer_headers, body_kind, framing, is_encoded, request_headers
from fairlead_sandbox.egress._secrets import Place
from fairlead_sandbox.egress._splice import Change, splice
from fairlead_sandbox.egress._upstream import BROKEN, Answer, Upstream
from fairlead_sandbox.egress._veil import Veil
from fairlead_sandbox.egress._ways import Ways
from fairlead_sandbox.egress._websocket import MessageFault, Messages
from fairlead_sandbox.egress._wire import Gone, Idle, Wire

__all__ = ["Exchange"]

PENDING_BYTES = 65_536
NOTHING = Veil({})
"""Replaces nothing, and holds nothing back."""


class Exchange:
    """A request of the guest and its answer. `run` once; afterwards `upstream` is what may be used again, or None."""

    def __init__(
        self, ways: Ways, wire: Wire, http: h11.Connection, request: Request, route: Route, kept: Upstream | None
    ) -> None:
        self.upstream = kept
        self._ways = ways
        self._wire = wire
        self._http = http
        self._request = request
        self._route = route
        self._idle = Idle(ways.limits.idle_seconds)
        self._pending = bytearray()
        self._guarded = ways.secrets.reach(route.target)
        """Secrets are granted for this host, so nothing may come back from it in a form that cannot be read here."""
        self._gone = False
        self._problem: Refusal | None = None

    async def run(self) -> None:
        """Do it. `Refusal`: it was not sent, or has no good answer. `Gone`: the guest does not listen any more."""
        ways, request, route = self._ways, self._request, self._route
        path = self._placed_path()
        headers = request_headers(request, route, ways.secrets, guarded=self._guarded)
        with self._idle:
            first, whole = await self._read_body()
        self._check_idle()
        headers += [(b"content-length", str(len(first)).encode())] if whole else framing(request)
        head = self._head(path, headers)
        upstream = await self._connect()
        ways.opened(route.target, self._way, upstream.address)
        done = False
        try:
            self._idle = Idle(ways.limits.idle_seconds)
            with self._idle:
                await self._send_request(upstream, head, first, whole=whole)
                await self._answered(upstream)
                done = True
            self._check_idle()
        finally:
            ways.closed(route.target, self._way, upstream.address, upstream.traffic)
            if not done or not upstream.can_go_on():
                self.upstream = None
                await upstream.close()

    @property
    def _way(self) -> Way:
        return "websocket" if self._request.is_websocket else "request"

    def _check_idle(self) -> None:
        if self._gone:
            raise Gone
        if self._idle.ended:
            raise Refusal(504, "idle", f"nothing moved for {self._idle.seconds:g} s")

    def _head(self, path: bytes, headers: list[tuple[bytes, bytes]]) -> h11.Request:
        try:
            return h11.Request(method=self._request.method.encode(), target=path, headers=headers)
        except h11.LocalProtocolError:  # its words would have the value of a secret
            raise Refusal(400, "malformed", "the request cannot be written as HTTP with its secrets placed") from None

    def _placed_path(self) -> bytes:
        path, mark, query = self._route.path.encode("ascii").partition(b"?")
        return self._place(path, "path") + mark + self._place(query, "query")

    def _place(self, data: bytes, where: Place) -> bytes:
        return self._ways.secrets.place(data, where, self._route.target, tls=self._route.tls)

    async def _connect(self) -> Upstream:
        if self.upstream is not None and self.upstream.fits(self._route):
            return self.upstream
        if self.upstream is not None:
            await self.upstream.close()
            self.upstream = None
        self.upstream = Upstream(*await self._ways.dial(self._route), self._route)
        return self.upstream

    # -- the request

    async def _next_piece(self) -> bytes | None:
        """The next piece of the request's body; None at its end."""
        if self._request.has_body and self._http.they_are_waiting_for_100_continue:
            await self._wire.send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if not self._wire.buffer:
                    await self._wire.more()
                    self._idle.touch()
                self._http.receive_data(self._wire.take())
        except h11.RemoteProtocolError as error:
            raise Refusal(error.error_status_hint, "malformed", "the body of the request is malformed") from None
        if isinstance(event, h11.Data):
            return bytes(event.data)
        self._wire.buffer[:0] = self._http.trailing_data[0]
        return None

    async def _read_body(self) -> tuple[bytes, bool]:
        """The beginning of the body with its secrets placed, and whether that is the whole of it.

        All of it is read first only where secrets may be in it: a request with a secret for another host is never sent.
        """
        kind = body_kind(self._request) if self._ways.secrets else None
        if not self._request.has_body:
            await self._next_piece()
            return b"", False
        if kind is None:
            return b"", False
        body = bytearray()
        while (piece := await self._next_piece()) is not None:
            body += piece
            if len(body) > self._ways.limits.placed_body_bytes:
                return bytes(body), False
        return self._place(bytes(body), kind), True

    async def _send_request(self, upstream: Upstream, head: h11.Request, first: bytes, *, whole: bool) -> None:
        parts: list[h11.Event] = [head, h11.Data(data=first)] if first else [head]
        try:
            if whole or not self._request.has_body:
                await upstream.send(*parts, h11.EndOfMessage())
                return
            await upstream.send(*parts)
            while (piece := await self._next_piece()) is not None:
                await upstream.send(h11.Data(data=piece))
                self._idle.touch()
            await upstream.send(h11.EndOfMessage())
        except BROKEN:
            return  # it may have answered before it closed: the answer tells

    # -- the answer

    async def _answered(self, upstream: Upstream) -> None:
        """Relay the answer while looking whether the guest still listens."""
        problem: Refusal | Gone | None = None
        event: Answer | None = None
        async with trio.open_nursery() as nursery:
            if self._http.their_state is not h11.SEND_BODY:
                nursery.start_soon(self._watch)
            try:
                event = await self._answer(upstream)
                if event.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                    await self._relay(upstream, event)
            except (Refusal, Gone) as error:  # raised outside, so that the nursery does not wrap it
                problem = error
            nursery.cancel_scope.cancel()
        if problem is not None:
            raise problem
        if event is not None and event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            await self._switch(upstream, event)

    async def _watch(self) -> None:
        """Keep what the guest sends for its next request. Its end leaves the answer less time, its loss none."""
        try:
            while len(self._wire.buffer) < self._ways.limits.head_bytes:
                if not await self._wire.more():
                    self._idle.seconds = min(self._idle.seconds, self._ways.limits.half_open_seconds)
                    self._idle.touch()
                    return
        except Gone:
            self._gone = True
            self._idle.scope.cancel()

    async def _next_event(self, upstream: Upstream) -> h11.Event:
        event = await upstream.next_event(self._flush)
        self._idle.touch()
        return event

    async def _answer(self, upstream: Upstream) -> Answer:
        while True:
            event = await self._next_event(upstream)
            assert isinstance(event, h11.InformationalResponse | h11.Response)
            if isinstance(event, h11.Response) or event.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                return event

    async def _relay(self, upstream: Upstream, answer: Answer) -> None:
        has_body = self._request.method != "HEAD" and answer.status_code not in (204, 304)
        encoded = has_body and is_encoded(answer)
        if encoded and self._guarded:
            raise Refusal(502, "encoded", f"{self._route.target} has compressed its answer, though it was asked not to")
        veil = self._ways.secrets.veil() if self._ways.secrets and not encoded else NOTHING
        headers = answer_headers(answer, self._ways.secrets, keep_length=not (has_body and self._ways.secrets))
        self._queue(h11.Response(status_code=answer.status_code, headers=headers, reason=_phrase(answer.status_code)))
        while isinstance(event := await self._next_event(upstream), h11.Data):
            if data := veil.feed(bytes(event.data)):
                self._queue(h11.Data(data=data))
            if len(self._pending) > PENDING_BYTES:
                await self._flush()
        if rest := veil.flush():
            self._queue(h11.Data(data=rest))
        self._queue(h11.EndOfMessage())
        await self._flush()

    async def _switch(self, upstream: Upstream, answer: Answer) -> None:
        """From here on it is a WebSocket. Where secrets may go, its messages are read; elsewhere its bytes pass."""
        headers = [*answer_headers(answer, self._ways.secrets), (b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        self._queue(h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols"))
        await self._flush()
        up, down = self._changes() if self._guarded else (bytes, bytes)
        try:
            if early := down(upstream.leftover()):
                await self._wire.send(early)
            await splice(self._wire, upstream.stream, self._idle, upstream.traffic, change_up=up, change_down=down)
        except Gone:
            if self._problem is None:
                raise
        if self._problem is not None:
            raise self._problem

    def _changes(self) -> tuple[Change, Change]:
        limits, veil = self._ways.limits, self._ways.secrets.veil()
        up = Messages(lambda data: self._place(data, "websocket"), limits.placed_body_bytes, masked=True)
        down = Messages(veil.whole, limits.message_bytes, masked=False)
        return (lambda data: self._change(up, data)), (lambda data: self._change(down, data))

    def _change(self, messages: Messages, data: bytes) -> bytes:
        try:
            return messages.feed(data)
        except Refusal as refusal:
            self._problem = refusal
        except MessageFault as fault:
            self._problem = Refusal(400, "websocket", str(fault))
        raise Gone

    def _queue(self, event: h11.Event) -> None:
        self._pending += self._http.send(event) or b""

    async def _flush(self) -> None:
        if self._pending:
            self._wire.started = True
            data = bytes(self._pending)
            self._pending.clear()
            await self._wire.send(data)


def _phrase(status: int) -> bytes:
    return HTTPStatus(status).phrase.encode() if status in HTTPStatus._value2member_map_ else b""
