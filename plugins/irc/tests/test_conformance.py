"""The IRC channel keeps the promises of a channel, with a server that has all extensions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .bots import make_channel
from .ircv3 import Server, faking

PASSWORD = "a password of the tests"


class TestIrc(ChannelConformance):
    backlog = True
    server: Server

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        async with faking(accounts={"robot": PASSWORD}) as self.server:
            yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(
            self.server.port,
            account="robot",
            password=PASSWORD,
            channels=["#room"],
            reconnect_seconds=0.1,
            reconnect_max_seconds=2.0,
        )

    async def secrets(self) -> Sequence[str]:
        return [PASSWORD]

    async def inbound(self, text: str, external_id: str) -> None:
        """Some characters nobody can say: the protocol is made of them."""
        if set(text) & set("\r\0"):
            raise ValueError("no line can have that")
        await self.server.say("ann", "bot", text, external_id)

    async def outbox(self) -> Sequence[str]:
        return self.server.texts("ann")

    async def elsewhere(self, text: str, external_id: str) -> None:
        await self.server.say("ann", "#room", f"bot: {text}", external_id)

    async def elsewhere_outbox(self) -> Sequence[str]:
        return self.server.texts("#room")

    async def restarted(self) -> None:
        """It knows its clients by their connections."""

    async def drop(self) -> None:
        await self.server.drop()
        await wait_all_tasks_blocked(0.01)

    async def away(self) -> None:
        self.server.gone = True
        await self.drop()

    async def back(self) -> None:
        self.server.gone = False
        self.server.reading.set()

    async def attempts(self) -> int:
        return self.server.tries

    async def hang(self) -> None:
        self.server.reading = trio.Event()

    async def swallow(self) -> None:
        self.server.swallowing = True

    async def refuse(self, seconds: int) -> None:
        self.server.refusing = seconds

    async def half(self, text: str, external_id: str) -> None:
        for client in self.server.clients:
            await client.write(f"@msgid={external_id} :ann!ann@home.example PRIVMSG bot :{text[:20]}".encode())
        await self.drop()

    async def raw(self, data: bytes) -> None:
        for client in self.server.clients:
            await client.write(data)
