"""The conformance kits, through the boundary: each kind of worker keeps its promises from a process of its own.

Plugins that were written for this, on trio and on asyncio; ours go through the isolator in `tests/conformance`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import trio

from fairlead import Channel, Memory, Policy, Provider, Tool
from fairlead.testing import (
    ChannelConformance,
    MemoryConformance,
    PolicyConformance,
    ProviderConformance,
    ToolConformance,
)

from .boundary_guests import Launcher, launching

TRIO, ASYNCIO = "boundary_trio_plugins", "boundary_asyncio_plugins"


class Remote:
    """What the kits share here: a worker is made in a process of its own, and lasts as long as the far side."""

    kind: ClassVar[str]
    served: ClassVar[str] = TRIO
    runtime: ClassVar[str] = "trio"
    options: ClassVar[Mapping[str, Any]] = {}
    launch: Callable[..., Launcher]

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        async with launching() as self.launch:
            yield

    async def made(self, tmp_path: Path) -> Any:
        more = {"runtime": self.runtime, "options": self.options, "data_dir": tmp_path}
        workers = await self.launch(self.kind, self.served, **more).plugin.workers()
        return workers[self.kind][0]


class TestChannel(Remote, ChannelConformance):
    kind = "channels"

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        self._read: dict[str, str] = {}
        self._stream: trio.SocketStream | None = None
        async with launching() as self.launch, trio.open_nursery() as self._nursery:
            yield
            self._nursery.cancel_scope.cancel()

    async def make_worker(self, tmp_path: Path) -> Channel:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which

    async def inbound(self, text: str, external_id: str) -> None:
        if self._stream is None:
            host, _, port = self.place.partition(":")
            self._stream = await trio.open_tcp_stream(host, int(port))
            self._taken, self._answers = trio.open_memory_channel[dict[str, str]](100)
            self._nursery.start_soon(self._listen, self._stream)
        await self._stream.send_all(json.dumps({"text": text, "id": external_id}).encode() + b"\n")
        await self._answers.receive()

    async def _listen(self, stream: trio.SocketStream) -> None:
        buffered = b""
        async for data in stream:
            buffered += data
            *lines, buffered = buffered.split(b"\n")
            for line in lines:
                said = json.loads(line)
                if said["do"] in ("show", "edit"):
                    self._read[said["id"]] = said["text"]
                elif said["do"] != "draft":
                    self._taken.send_nowait(said)

    async def outbox(self) -> Sequence[str]:
        await trio.testing.wait_all_tasks_blocked(0.02)  # what was sent is read by a task of this test
        return list(self._read.values())


class TestAsyncioChannel(TestChannel):
    served, runtime = ASYNCIO, "asyncio"


class TestProvider(Remote, ProviderConformance):
    kind = "providers"

    async def make_worker(self, tmp_path: Path) -> Provider:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestAsyncioProvider(TestProvider):
    served, runtime = ASYNCIO, "asyncio"


class TestAsyncioTool(Remote, ToolConformance):
    kind, served, runtime = "tools", ASYNCIO, "asyncio"

    async def make_worker(self, tmp_path: Path) -> Tool:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestAsyncioMemory(Remote, MemoryConformance):
    kind, served, runtime = "memories", ASYNCIO, "asyncio"
    durable = lasting = False
    sequences = 3

    async def make_worker(self, tmp_path: Path) -> Memory:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestAsyncioPolicy(Remote, PolicyConformance):
    kind, served, runtime = "policies", ASYNCIO, "asyncio"

    async def make_worker(self, tmp_path: Path) -> Policy:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which
