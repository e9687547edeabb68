"""The conformance kits, through the boundary: each kind of worker keeps its promises from a process of its own.

Each runs twice, with a plugin on trio and with one that is written for asyncio.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import trio

from fairlead import Channel, Memory, Policy, Provider, Tool, ToolSpec
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


class TestClock(Remote, ToolConformance):
    kind, served = "tools", "fairlead_clock.plugin"

    async def make_worker(self, tmp_path: Path) -> Tool:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        examples: dict[str, dict[str, Any]] = {
            "now": {},
            "weekday": {"date": "2027-03-01"},
            "date_difference": {"start": "2027-01-01", "end": "2027-03-01"},
            "add_days": {"date": "2027-03-01", "days": 10},
        }
        return examples[spec.name]


class TestAsyncioTool(Remote, ToolConformance):
    kind, served, runtime = "tools", ASYNCIO, "asyncio"

    async def make_worker(self, tmp_path: Path) -> Tool:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestSqlite(Remote, MemoryConformance):
    kind, served = "memories", "fairlead_sqlite.plugin"

    async def make_worker(self, tmp_path: Path) -> Memory:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestAsyncioMemory(Remote, MemoryConformance):
    kind, served, runtime = "memories", ASYNCIO, "asyncio"
    durable = lasting = False

    async def make_worker(self, tmp_path: Path) -> Memory:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


RULES: list[dict[str, Any]] = [
    {"name": "reading", "effect": "allow", "actions": ["tool_call"], "resources": ["read_*"]},
    {"name": "short", "effect": "revise", "actions": ["model_request"], "revise": {"max_output_tokens": 100}},
    {
        "name": "no-hello",
        "effect": "revise",
        "actions": ["message_in", "message_out", "tool_result"],
        "revise": {"redact": {"from": ["hello", "words"]}},
    },
    {"name": "admins", "effect": "ask", "actions": ["tool_call"], "layer": "person", "scope": {"role": "admin"}},
]


class TestRules(Remote, PolicyConformance):
    kind, served = "policies", "fairlead_rules.plugin"
    options: ClassVar[Mapping[str, Any]] = {"rules": RULES}

    async def make_worker(self, tmp_path: Path) -> Policy:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which


class TestAsyncioPolicy(Remote, PolicyConformance):
    kind, served, runtime = "policies", ASYNCIO, "asyncio"

    async def make_worker(self, tmp_path: Path) -> Policy:
        return await self.made(tmp_path)  # type: ignore[no-any-return]  # the kind says which
