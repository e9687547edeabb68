"""Our own fakes keep the promises that the conformance classes check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from fairlead import Channel, Memory, ModelRequest, Policy, Provider, Text, Tool, ToolSpec, Verdict
from fairlead._journal import VolatileMemory
from fairlead.errors import UnknownModel
from fairlead.testing import (
    CapturingChannel,
    ChannelConformance,
    CountingTool,
    FakePolicy,
    JournalConformance,
    PolicyConformance,
    ProviderConformance,
    ScriptedProvider,
    ToolConformance,
    calls,
)


class TestCapturingChannel(ChannelConformance):
    async def make_worker(self, tmp_path: Path) -> Channel:
        self.channel = CapturingChannel("kit")
        return self.channel

    async def inbound(self, text: str, external_id: str) -> None:
        try:
            await self.channel.say(text, external_id=external_id)
        except Exception:  # noqa: BLE001  # the far side tries again later
            await trio.lowlevel.checkpoint()

    async def outbox(self) -> Sequence[str]:
        return [part.text for outbound in self.channel.sent for part in outbound.parts if isinstance(part, Text)]


class TestScriptedProvider(ProviderConformance):
    async def make_worker(self, tmp_path: Path) -> Provider:
        return ScriptedProvider([self.answer], repeat=True, stream="words")

    @staticmethod
    def answer(request: ModelRequest) -> Any:
        if request.model != "script":
            return UnknownModel(f"no model is named {request.model!r}")
        wants = request.tools and "2 + 3" in request.history[-1].text
        return calls(("add", {"a": 2, "b": 3}), text="let me see") if wants else "hello, this is a script"


class TestCountingTool(ToolConformance):
    async def make_worker(self, tmp_path: Path) -> Tool:
        schema = {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}
        return CountingTool("count", lambda arguments: arguments["what"], parameters=schema)

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"what": "sheep"}


class TestVolatileJournal(JournalConformance):
    durable = False

    async def make_worker(self, tmp_path: Path) -> Memory:
        return VolatileMemory()


class TestFakePolicy(PolicyConformance):
    async def make_worker(self, tmp_path: Path) -> Policy:
        return FakePolicy(lambda review: Verdict("deny", "no-read") if review.tool else None)
