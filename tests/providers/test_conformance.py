"""Both providers keep the promises of a provider."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fairlead import Provider
from fairlead.testing import ProviderConformance

from .fake_servers import Answer, Calls, Fails, FakeServer, Says
from .vendors import ANTHROPIC, OPENAI, Vendor


def obliging(body: dict[str, Any]) -> Answer:
    """Fail for a model that nobody has, call `add` where it is offered and has no result yet, else say hello."""
    if body["model"].startswith("no-such"):
        return Fails(404, {"error": {"type": "not_found_error", "message": f"no model {body['model']}"}})
    results = json.dumps(body["messages"])
    if body.get("tools") and "tool_result" not in results and '"tool"' not in results:
        return Says("I add.", calls=[Calls("add", {"a": 2, "b": 3})])
    return Says("Hel", "lo", " there")


class OnFakeServer(ProviderConformance):
    """A provider with the fake server of its protocol."""

    __test__ = False
    vendor: Vendor
    url: FakeServer

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        with self.vendor.serve(obliging) as self.url:
            yield

    async def make_worker(self, tmp_path: Path) -> Provider:
        return self.vendor.provider(self.url)


class TestOpenAI(OnFakeServer):
    """Chat Completions."""

    __test__ = True
    vendor = OPENAI


class TestAnthropic(OnFakeServer):
    """Messages."""

    __test__ = True
    vendor = ANTHROPIC
