"""The webhook keeps the promises of a channel."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import httpx2
import trio

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .far import SECRET, Receiver, Sender, make_channel, message


class Ears:
    """A stream that hears nothing for a while."""

    def __init__(self, stream: trio.SocketStream, receiver: MovingReceiver) -> None:
        self._stream = stream
        self._receiver = receiver

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await trio.aclose_forcefully(self._stream)

    async def receive_some(self) -> bytes:
        data = await self._stream.receive_some()
        await self._receiver.hearing.wait()
        return bytes(data)

    async def send_all(self, data: bytes) -> None:
        await self._stream.send_all(data)


class MovingReceiver(Receiver):
    """Takes answers; goes away and comes back to its place, and is deaf for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.scope = trio.CancelScope()
        self.hearing = trio.Event()
        self.hearing.set()

    async def listen(self, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/answers"
        task_status.started()
        with trio.CancelScope() as self.scope:
            await trio.serve_listeners(self.serve, [listener])

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(h11.RemoteProtocolError):  # who is cancelled breaks off in the middle
            await super().serve(Ears(stream, self))  # type: ignore[arg-type]  # all that is used of a stream

    def texts_of(self, conversation: str, thread: str | None = None) -> list[str]:
        return [
            value["text"]
            for value in self.shown.values()
            if value["conversation"] == conversation and thread in (None, value["thread"])
        ]


class TestWebhook(ChannelConformance):
    receiver: MovingReceiver
    _nursery: trio.Nursery
    _open: AsyncExitStack

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """Somebody who takes answers, and clients that are closed at the end."""
        async with trio.open_nursery() as self._nursery, AsyncExitStack() as self._open:
            self.receiver = MovingReceiver()
            self.taken: set[str] = set()
            await self._nursery.start(self.receiver.listen)
            yield
            self._nursery.cancel_scope.cancel()
        assert [] == self.receiver.problems

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(reply_url=self.receiver.url, retry_seconds=3)

    async def secrets(self) -> Sequence[str]:
        return [SECRET]

    async def restarted(self) -> None:
        """Each message is posted to the place that `ready` named last."""

    # -- people who write

    async def inbound(self, text: str, external_id: str) -> None:
        await self.write(text, external_id)

    async def elsewhere(self, text: str, external_id: str) -> None:
        await self.write(text, external_id, conversation="elsewhere")

    async def in_thread(self, text: str, external_id: str, thread: str) -> None:
        await self.write(text, external_id, thread=thread)

    async def write(self, text: str, external_id: str, **more: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await Sender(self.place, client, time.time()).post(message(text, id=external_id, **more))
        assert response.status_code in {200, 202, 422, 429, 503}, response.text
        if response.is_success:
            self.taken.add(external_id)

    async def acknowledged(self, external_id: str) -> bool:
        return external_id in self.taken

    async def half(self, text: str, external_id: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            sender = Sender(self.place, client, time.time())
            await self.raw(sender.request(message(text, id=external_id))[:-10])

    async def raw(self, data: bytes) -> None:
        url = httpx2.URL(self.place)
        async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(data)

    async def misbehave(self) -> None:
        """One client that sends half a request, and one that waits for an answer and reads nothing."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            sender = Sender(self.place, client, time.time())
            half, deaf = sender.request(message(id="a")), sender.request(message(id="b", wait=60))
        for sent in (half[:-5], half[:20], deaf):
            stream: trio.SocketStream = await self._open.enter_async_context(await sender.connect())
            await stream.send_all(sent)

    # -- the receiver

    async def outbox(self) -> Sequence[str]:
        return self.receiver.texts_of("room")

    async def elsewhere_outbox(self) -> Sequence[str]:
        return self.receiver.texts_of("elsewhere")

    async def thread_outbox(self, thread: str) -> Sequence[str]:
        return self.receiver.texts_of("room", thread)

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        parts: list[dict[str, Any]] = [part for value in self.receiver.shown.values() for part in value["parts"]]
        return [(part["media_type"], base64.b64decode(part["data"])) for part in parts if "media_type" in part]

    async def away(self) -> None:
        self.receiver.scope.cancel()
        await self.wait_quiet()

    async def back(self) -> None:
        if not self.receiver.hearing.is_set():
            self.receiver.hearing.set()
        else:
            await self._nursery.start(self.receiver.listen)

    async def hang(self) -> None:
        self.receiver.hearing = trio.Event()

    async def swallow(self) -> None:
        self.receiver.script.append(None)

    async def refuse(self, seconds: int) -> None:
        self.receiver.script.append((429, {"Retry-After": str(seconds)}))
