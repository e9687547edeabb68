"""The webhook keeps the promises of a channel."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import trio

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .far import SECRET, Receiver, Sender, make_channel, message, receiving


class TestWebhook(ChannelConformance):
    receiver: Receiver
    sender: Sender
    _open: AsyncExitStack

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """Somebody who takes answers, and clients that are closed at the end."""
        async with receiving() as self.receiver, AsyncExitStack() as self._open:
            yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(reply_url=self.receiver.url)

    async def inbound(self, text: str, external_id: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            response = await Sender(self.place, client, time.time()).post(message(text, id=external_id))
        assert response.status_code in {200, 202, 422, 429, 503}, response.text

    async def outbox(self) -> Sequence[str]:
        return self.receiver.texts

    async def restarted(self) -> None:
        """Each message is posted to the place that `ready` named last."""

    async def secrets(self) -> Sequence[str]:
        return [SECRET]

    async def misbehave(self) -> None:
        """One client that sends half a request, and one that waits for an answer and reads nothing."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            sender = Sender(self.place, client, time.time())
            half, deaf = sender.request(message(id="a")), sender.request(message(id="b", wait=60))
        for sent in (half[:-5], half[:20], deaf):
            stream: trio.SocketStream = await self._open.enter_async_context(await sender.connect())
            await stream.send_all(sent)
