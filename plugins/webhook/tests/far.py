"""The far side of a webhook: who sends signed messages to it, and who takes its answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx2
import trio
from attrs import define, field

from fairlead import Channel, Inbound, Outbound, Settings, Text
from fairlead.testing import FakeInbox
from fairlead_webhook._channel import WebhookChannel
from fairlead_webhook._options import read_options
from fairlead_webhook._signing import SIGNATURE, TIMESTAMP, sign, signature_fault

SECRET = "a secret of the tests, long enough"
NOW = 1_800_000_000.0


def make_channel(**options: Any) -> WebhookChannel:
    return WebhookChannel(read_options(Settings("hook", {"secret": SECRET, "port": 0, **options})))


def signed(body: bytes, now: float, secret: str = SECRET) -> dict[str, str]:
    timestamp = str(int(now))
    return {TIMESTAMP: timestamp, SIGNATURE: sign(secret, timestamp, body), "Content-Type": "application/json"}


def answer_to(inbound: Inbound, text: str = "42") -> Outbound:
    return Outbound("turn-1", inbound.address, (Text(text),), inbound.external_id, session="kit")


def message(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"id": "m1", "conversation": "room", "author": {"id": "ann"}, "text": text, **more}


@define
class Sender:
    """Posts to one channel."""

    url: str
    client: httpx2.AsyncClient
    now: float

    async def post(self, value: object, **headers: str) -> httpx2.Response:
        body = json.dumps(value).encode()
        return await self.client.post(self.url, content=body, headers={**signed(body, self.now), **headers})

    @asynccontextmanager
    async def listen(self, value: object) -> AsyncIterator[Callable[[], Awaitable[tuple[str, Any]]]]:
        """Posts and takes the answer as a stream; what is given waits for the next server-sent event."""
        async with await self.connect() as stream:
            await stream.send_all(self.request(value, Accept="text/event-stream"))
            connection = h11.Connection(h11.CLIENT)
            connection.send(h11.Request(method="GET", target="/", headers=[("Host", "test")]))
            connection.send(h11.EndOfMessage())
            buffered = ""

            async def event() -> tuple[str, Any]:
                nonlocal buffered
                while "\n\n" not in buffered:
                    got = connection.next_event()
                    if got is h11.NEED_DATA:
                        connection.receive_data(await stream.receive_some())
                    elif isinstance(got, h11.Response):
                        assert (200, b"text/event-stream; charset=utf-8") == (
                            got.status_code,
                            dict(got.headers)[b"content-type"],
                        )
                    else:
                        assert isinstance(got, h11.Data), got
                        buffered += bytes(got.data).decode()
                first, _, buffered = buffered.partition("\n\n")
                name, data = first.split("\n")
                return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

            yield event

    def request(self, value: object, **headers: str) -> bytes:
        """A signed request as bytes, for clients of other kinds."""
        body = json.dumps(value).encode()
        lines = [f"POST {httpx2.URL(self.url).path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in {**signed(body, self.now), **headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def connect(self) -> trio.SocketStream:
        url = httpx2.URL(self.url)
        assert url.port is not None
        return await trio.open_tcp_stream(url.host, url.port)


@asynccontextmanager
async def running(channel: WebhookChannel, inbox: FakeInbox | None = None) -> AsyncIterator[tuple[Sender, FakeInbox]]:
    """An open channel that runs, with who writes to it and what it hands in."""
    channel.clock = lambda: NOW
    inbox = inbox or FakeInbox()
    await channel.open()
    try:
        async with trio.open_nursery() as nursery, httpx2.AsyncClient(trust_env=False, timeout=10) as client:
            nursery.start_soon(channel.run, inbox)
            with trio.fail_after(5):
                url = await inbox.wait_ready()
            yield Sender(url, client, NOW), inbox
            nursery.cancel_scope.cancel()
    finally:
        await channel.close()


@define
class Receiver:
    """Takes answers, checks their signatures, and shows each `Idempotency-Key` once."""

    url: str = ""
    script: list[tuple[int, Mapping[str, str]] | None] = field(factory=list)
    """Status and headers of the next responses; None closes the connection without one. At its end: 200."""
    tries: list[str] = field(factory=list)
    """The `Idempotency-Key` of each request."""
    shown: dict[str, dict[str, Any]] = field(factory=dict)
    problems: list[str] = field(factory=list)
    body: bytes = b""
    """Of each response."""

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            while await self._exchange(connection, stream):
                connection.start_next_cycle()

    async def _exchange(self, connection: h11.Connection, stream: trio.SocketStream) -> bool:
        headers, body = {}, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(await stream.receive_some())
                except trio.BrokenResourceError:
                    return False
            elif isinstance(event, h11.Request):
                headers = {name.decode().title(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        answer = self._take(headers, body)
        if answer is None:
            return False
        status, more = answer
        response = h11.Response(status_code=status, headers=[*{"Content-Length": "0", **more}.items()])
        words = [response, *([h11.Data(self.body)] if self.body else ()), h11.EndOfMessage()]
        try:
            await stream.send_all(b"".join(connection.send(word) or b"" for word in words))
        except trio.BrokenResourceError:
            return False
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    def _take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str]] | None:
        timestamp = float(headers.get(TIMESTAMP, "0"))
        fault = signature_fault(
            {name: headers.get(name, "") for name in (TIMESTAMP, SIGNATURE)}, body, [SECRET], timestamp
        )
        if fault:
            self.problems.append(fault)
        key = headers["Idempotency-Key"]
        self.tries.append(key)
        answer = self.script.pop(0) if self.script else (200, {})
        if answer is None or answer[0] == 200:
            self.shown.setdefault(key, json.loads(body))
        return answer

    @property
    def texts(self) -> list[str]:
        return [value["text"] for value in self.shown.values()]


@asynccontextmanager
async def receiving(*script: tuple[int, Mapping[str, str]] | None) -> AsyncIterator[Receiver]:
    async with trio.open_nursery() as nursery:
        receiver = Receiver(script=list(script))
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        receiver.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/answers"
        nursery.start_soon(trio.serve_listeners, receiver.serve, listeners)
        yield receiver
        nursery.cancel_scope.cancel()
    assert [] == receiver.problems


@asynccontextmanager
async def opened(channel: Channel) -> AsyncIterator[None]:
    await channel.open()
    try:
        yield
    finally:
        await channel.close()
