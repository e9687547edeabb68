"""The Matrix channel keeps the promises of a channel, against a real homeserver."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .far import PASSWORD, Person, Synapse, living, make_channel
from .relay import Asked, Relay, Told, limited, relaying


class TestMatrix(ChannelConformance):
    backlog = True
    synapse: Synapse
    relay: Relay
    ann: Person
    bot: Person
    room: str = ""
    other: str = ""

    @pytest.fixture(autouse=True)
    def _server(self, synapse: Synapse) -> None:
        self.synapse = synapse
        self.events: dict[str, str] = {}
        self.roots: dict[str, str] = {}
        self.odd = itertools.cycle([True, False])

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """Two users in a room: one is the channel's, the other is a person. They are the same in all of a test."""
        async with living(self.synapse) as world:
            if not self.room:
                self.ann, self.bot = await world.person("ann"), await world.person("bot")
                self.room = await self.ann.make_room(self.bot.user_id)
                await self.bot.join(self.room)
            self.ann.http = self.bot.http = world.http
            async with relaying(self.synapse.url, world.http) as self.relay:
                yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(self.relay.url, tmp_path, user=self.bot.user_id, password=PASSWORD, edit_seconds=0)

    async def secrets(self) -> Sequence[str]:
        return [PASSWORD]

    async def inbound(self, text: str, external_id: str) -> None:
        """The transaction id is what makes an event the same one."""
        self.events[external_id] = await self.ann.say(self.room, text, txn=external_id)

    async def outbox(self) -> Sequence[str]:
        return [content["body"] for content in await self.ann.seen(self.room, self.bot.user_id)]

    async def elsewhere(self, text: str, external_id: str) -> None:
        if not self.other:
            self.other = await self.ann.make_room(self.bot.user_id)
            await self.bot.join(self.other)
        await self.ann.say(self.other, text, txn=external_id)

    async def elsewhere_outbox(self) -> Sequence[str]:
        return [content["body"] for content in await self.ann.seen(self.other, self.bot.user_id)]

    async def in_thread(self, text: str, external_id: str, thread: str) -> None:
        if thread not in self.roots:  # begun by the channel's own account, which the channel does not hear
            self.roots[thread] = await self.bot.say(self.room, "a thread begins", txn=f"root-{thread}")
        relation = {"rel_type": "m.thread", "event_id": self.roots[thread]}
        await self.ann.say(self.room, text, txn=external_id, **{"m.relates_to": relation})

    async def thread_outbox(self, thread: str) -> Sequence[str]:
        root = self.roots[thread]
        contents = await self.ann.seen(self.room, self.bot.user_id)
        return [each["body"] for each in contents if each.get("m.relates_to", {}).get("event_id") == root]

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        contents = await self.ann.seen(self.room, self.bot.user_id)
        urls = [(each["info"]["mimetype"], each["url"]) for each in contents if "url" in each]
        return [(kind, await self.ann.download(url)) for kind, url in urls]

    async def acknowledged(self, external_id: str) -> bool:
        return external_id in self.events and self.relay.acknowledged(self.events[external_id])

    async def restarted(self) -> None:
        """It has the position."""

    async def misbehave(self) -> None:
        """Connections to the channel are its own; so one poll is answered with nothing at all."""
        self.relay.throw(Told(raw=b""))

    async def drop(self) -> None:
        self.relay.drop()

    async def away(self) -> None:
        self.relay.gone = True
        self.relay.drop()

    async def back(self) -> None:
        self.relay.gone = False
        self.relay.awake.set()

    async def attempts(self) -> int:
        return self.relay.attempts

    async def hang(self) -> None:
        self.relay.awake = trio.Event()

    async def swallow(self) -> None:
        async def rule(asked: Asked, ask: Callable[[], Awaitable[Told]]) -> Told | None:
            if not asked.sends:
                return None
            self.relay.rule = None
            await ask()
            return Told(raw=b"")

        self.relay.rule = rule

    async def refuse(self, seconds: int) -> None:
        async def rule(asked: Asked, ask: Callable[[], Awaitable[Told]]) -> Told | None:
            if not asked.sends:
                return None
            self.relay.rule = None
            return limited(seconds)

        self.relay.rule = rule

    async def half(self, text: str, external_id: str) -> None:
        cut = trio.Event()

        async def rule(asked: Asked, ask: Callable[[], Awaitable[Told]]) -> Told | None:
            if not asked.polls or cut.is_set():
                return None
            told = await ask()
            if text.encode() not in told.body:
                return told
            cut.set()
            return Told(told.status, told.body, half=True)

        self.relay.rule = rule
        self.relay.drop()
        await self.inbound(text, external_id)
        await cut.wait()

    async def raw(self, data: bytes) -> None:
        """As the body of an answer, and in the place of one."""
        self.relay.throw(Told(body=data) if next(self.odd) else Told(raw=data))
