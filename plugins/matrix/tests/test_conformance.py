"""The Matrix channel keeps the promises of a channel, against a real homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead import Channel
from fairlead.testing import ChannelConformance

from .far import Person, Synapse, living, make_channel


class TestMatrix(ChannelConformance):
    synapse: Synapse
    ann: Person
    bot: Person
    room: str = ""

    @pytest.fixture(autouse=True)
    def _server(self, synapse: Synapse) -> None:
        self.synapse = synapse

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """Two users in a room: one is the channel's, the other is a person. They are the same in all of a test."""
        async with living(self.synapse) as world:
            if not self.room:
                self.ann, self.bot = await world.person("ann"), await world.person("bot")
                self.room = await self.ann.make_room(self.bot.user_id)
                await self.bot.join(self.room)
            self.ann.http = world.http
            yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        return make_channel(self.synapse.url, tmp_path, access_token=self.bot.token, edit_seconds=0)

    async def inbound(self, text: str, external_id: str) -> None:
        """The transaction id is what makes an event the same one."""
        await self.ann.say(self.room, text, txn=external_id)

    async def outbox(self) -> Sequence[str]:
        return [content["body"] for content in await self.ann.seen(self.room, self.bot.user_id)]
