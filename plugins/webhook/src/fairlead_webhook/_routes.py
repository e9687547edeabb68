"""The requests, in the server's thread: what is refused at the door, and how the answer is written."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import define
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fairlead import Draft, Outbound, Receipt
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead_webhook._body import Arrival, dump, parse, render
from fairlead_webhook._desk import Desk, Waiter
from fairlead_webhook._options import Options, foreign_url_fault
from fairlead_webhook._server import Bridge, Stopping
from fairlead_webhook._signing import header_fault, signature_fault

__all__ = ["Routes", "build_app"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 5
"""What a sender is asked to wait when the journal is away or the channel stops."""


def build_app(options: Options, bridge: Bridge, desk: Desk, clock: Callable[[], float]) -> Starlette:
    """The ASGI app of one webhook. `clock` gives Unix seconds."""
    routes = Routes(options, bridge, desk, clock)
    return Starlette(
        routes=[
            Route(options.path, routes.post, methods=["POST"]),
            Route("/health", routes.health, methods=["GET"]),
            Route("/ready", routes.ready, methods=["GET"]),
        ]
    )


class Refused(Exception):
    """A request that gets no further; holds the response."""

    def __init__(self, status: int, error: str, detail: str, *, retry_after: int | None = None, path: str = "") -> None:
        super().__init__(error)
        value = {"status": "refused", "error": error, "detail": detail}
        if path:
            value["path"] = path
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.response = _json(status, value, headers)


def _json(status: int, value: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(dump(value), status, headers, "application/json")


@define(eq=False)
class Routes:
    """The endpoints. All of them run in the server's one thread, so plain counting is safe."""

    options: Options
    bridge: Bridge
    desk: Desk
    clock: Callable[[], float]
    running: int = 0
    """Messages that are read, handed in or waiting."""

    async def health(self, _: Request) -> Response:
        """The server's thread lives."""
        return _json(200, {"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """The core's loop answers too."""
        try:
            async with self.bridge.reading(1.0):
                await self.bridge.call(_nothing)
        except (TimeoutError, Stopping):
            return _json(503, {"status": "stopping"})
        return _json(200, {"status": "ready"})

    async def post(self, request: Request) -> Response:
        """Take one message, or say why not."""
        if self.running >= self.options.max_requests:
            return Refused(503, "busy", "too many requests are under way", retry_after=1).response
        self.running += 1
        try:
            arrival = await self._read(request)
            receipt, waiter = await self._admit(arrival)
        except Refused as refused:
            self.running -= 1
            return refused.response
        except Exception:
            self.running -= 1
            log.exception("a message to the webhook %r could not be handed in", self.options.name)
            return _json(500, {"status": "refused", "error": "internal", "detail": "the log of the channel says more"})
        except BaseException:
            self.running -= 1
            raise
        if waiter is None:
            self.running -= 1
            return _answer_at_once(receipt)
        visit = _Visit(self, request, receipt, waiter)
        if "text/event-stream" in request.headers.get("accept", ""):
            return _Stream(visit)
        return await visit.respond()

    async def _read(self, request: Request) -> Arrival:
        """Check first who sends, then what: nothing of an unsigned body is looked at."""
        fault = header_fault(request.headers, self.clock())
        if fault:
            raise Refused(401, "signature", fault)
        body = await self._body(request)
        fault = signature_fault(
            request.headers, body, [secret.reveal() for secret in self.options.secrets], self.clock()
        )
        if fault:
            raise Refused(401, "signature", fault)
        try:
            arrival = parse(self.options.name, body)
        except SchemaError as error:
            raise _malformed(error) from None
        url = arrival.inbound.address.account
        fault = foreign_url_fault(url, self.options) if url else ""
        if fault:
            raise Refused(403, "reply_url", fault, path="/reply_url")
        return arrival

    async def _body(self, request: Request) -> bytes:
        limit = self.options.max_body_bytes
        too_large = Refused(413, "size", f"a request may have {limit} bytes")
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limit:
            raise too_large
        body = bytearray()
        try:
            async with self.bridge.reading(self.options.read_seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            if self.bridge.stopping:
                raise _stopping() from None
            raise Refused(408, "timeout", "the request did not arrive in time") from None
        except ClientDisconnect:
            raise Refused(400, "disconnect", "the request broke off") from None
        return bytes(body)

    async def _admit(self, arrival: Arrival) -> tuple[Receipt, Waiter | None]:
        try:
            return await self.bridge.call(self.desk.admit, arrival)
        except SchemaError as error:
            raise _malformed(error) from None
        except JournalUnavailable:
            detail = "the message was not kept; send it again"
            raise Refused(503, "journal", detail, retry_after=RETRY_SECONDS) from None
        except Stopping:
            raise _stopping() from None


def _stopping() -> Refused:
    detail = "the channel stops; send the message again, with the same id"
    return Refused(503, "stopping", detail, retry_after=RETRY_SECONDS)


def _malformed(error: SchemaError) -> Refused:
    if error.schema == "json":
        return Refused(400, "json", error.problem)
    return Refused(422, "schema", error.problem, path=error.path or "/")


def _answer_at_once(receipt: Receipt) -> Response:
    if receipt.status == "refused":
        # The queue of its session is full, which passes. What a policy says about a message comes as its answer.
        return Refused(429, "refused", receipt.notice, retry_after=RETRY_SECONDS).response
    return _json(202 if receipt.status == "accepted" else 200, _told(receipt))


def _told(receipt: Receipt) -> dict[str, Any]:
    told = {"status": receipt.status, "session": receipt.session, "message": receipt.message}
    return {**told, "notice": receipt.notice} if receipt.notice else told


async def _nothing() -> None:
    """Reached in trio: so its loop runs."""


@define(eq=False)
class _Visit:
    """A request that waits for its answer, in one response or as a stream of server-sent events."""

    routes: Routes
    request: Request
    receipt: Receipt
    waiter: Waiter
    taken: bool = False
    """The client was written the answer."""

    async def respond(self) -> Response:
        """200 with the answer, or 202 where it did not come in time."""
        answer: Outbound | None = None
        try:
            with suppress(Stopping):
                answer = await self.routes.bridge.call(self.waiter.answer)
            gone = await self.request.is_disconnected()
        except BaseException:
            self.leave()
            raise
        if answer is None or gone:
            self.leave()
            return _json(202, _told(self.receipt))
        value = render(answer)
        return _Answered({**_told(self.receipt), "status": "answered", "text": value["text"], "answer": value}, self)

    async def stream(self) -> AsyncIterator[bytes]:
        """``accepted``, any number of ``draft``, and at the end ``answer`` or ``timeout``."""
        yield _event("accepted", _told(self.receipt))
        shown, news = "", await self._next()
        while isinstance(news, Draft):
            if news.text != shown:
                yield _growth(shown, news.text)
            shown, news = news.text, await self._next()
        if news is None:
            yield _event("timeout", _told(self.receipt))
            return
        yield _event("answer", render(news))
        self.taken = True  # the server came back for more, so the answer is written

    async def _next(self) -> Draft | Outbound | None:
        with suppress(Stopping):
            return await self.routes.bridge.call(self.waiter.next)
        return None

    def leave(self) -> None:
        """Called once, when the request is over."""
        self.routes.running -= 1
        self.routes.bridge.post(partial(self.routes.desk.leave, self.waiter, taken=self.taken))


class _Answered(Response):
    """A response that tells whether it was written."""

    def __init__(self, value: Mapping[str, Any], visit: _Visit) -> None:
        super().__init__(dump(value), 200, media_type="application/json")
        self._visit = visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
            self._visit.taken = True
        finally:
            self._visit.leave()


class _Stream(StreamingResponse):
    """Server-sent events; a client that goes away ends them, and nothing else."""

    def __init__(self, visit: _Visit) -> None:
        super().__init__(visit.stream(), headers={"Cache-Control": "no-store"}, media_type="text/event-stream")
        self._visit = visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._visit.leave()


def _growth(shown: str, text: str) -> bytes:
    """What is new of a draft; the whole where it does not go on from what was shown."""
    return _event("draft", {"delta": text[len(shown) :]} if text.startswith(shown) else {"text": text})


def _event(name: str, value: Mapping[str, Any]) -> bytes:
    """One server-sent event (WHATWG HTML, 9.2.6); JSON has no line break."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), dump(value))
