"""The strangers keep the promises of their kinds: the kits serve authors who are not of Fairlead."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from fairlead import Channel, Policy, Settings, Tool
from fairlead.testing import ChannelConformance, PolicyConformance, ToolConformance

from .strangers import HERE, WHOLE, Pager, pager

# They are no part of the workspace: here they are only read, as their authors' own tests would.
sys.path += [str(HERE / name / "src") for name in WHOLE]

import acme_curfew.plugin  # behind the path that leads to them
import acme_dice.plugin  # the same
import acme_pager.plugin  # the same


class TestPager(ChannelConformance):
    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """One pager, which comes with the first message and stays on."""
        async with trio.open_nursery() as self._nursery:
            self._read: list[str] = []
            self._pager: Pager | None = None
            self._taken, self._answers = trio.open_memory_channel[list[str]](10)
            yield
            self._nursery.cancel_scope.cancel()

    async def make_worker(self, tmp_path: Path) -> Channel:
        return acme_pager.plugin.fairlead_channels(Settings("kit"))[0]

    async def inbound(self, text: str, external_id: str) -> None:
        if self._pager is None:
            await self._nursery.start(self._stay_on)
        assert self._pager is not None
        await self._pager.say(f"PAGE {external_id} {json.dumps(text)}")
        await self._answers.receive()

    async def _stay_on(self, task_status: trio.TaskStatus[None]) -> None:
        with suppress(AssertionError):  # the switchboard hangs up when it stops
            async with pager(self.place, "bob") as self._pager:
                task_status.started()
                while True:
                    words = await self._pager.hear()
                    if words[0] == "SHOW":
                        self._read.append(await self._pager.confirm(words))
                    else:
                        self._taken.send_nowait(words)

    async def outbox(self) -> Sequence[str]:
        return self._read

    async def misbehave(self) -> None:
        """A pager that connects and says half a word."""
        await self._nursery.start(self._mumble)

    async def _mumble(self, task_status: trio.TaskStatus[None]) -> None:
        host, _, port = self.place.removeprefix("tcp://").partition(":")
        async with await trio.open_tcp_stream(host, int(port)) as stream:
            await stream.send_all(b"HEL")
            task_status.started()
            await trio.sleep_forever()


class TestDice(ToolConformance):
    async def make_worker(self, tmp_path: Path) -> Tool:
        return acme_dice.plugin.fairlead_tools(Settings("kit"))[0]


class TestCurfew(PolicyConformance):
    async def make_worker(self, tmp_path: Path) -> Policy:
        options = {"people": ["kit:alice"], "tools": ["read_file"]}
        return acme_curfew.plugin.fairlead_policies(Settings("kit", options))[0]
