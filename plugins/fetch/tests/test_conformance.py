"""The promises of every tool, through a way out as the sandbox gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead import Settings, Tool, ToolSpec
from fairlead.testing import ToolConformance
from fairlead_fetch.plugin import fairlead_tools

from .far import Reply, running

SITE = "https://docs.example.org"


class TestFetch(ToolConformance):
    """A site with two pages."""

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        with pytest.MonkeyPatch.context() as patch, running() as side:
            patch.setenv("FAIRLEAD_EGRESS", f"http://127.0.0.1:{side.port}")
            side.pages[f"{SITE}/"] = Reply(b"<p>Welcome")
            side.pages[f"{SITE}/large"] = Reply(b"<p>word " * 1_000_000)
            yield

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("fetch", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Tool:
        return fairlead_tools(self.settings(tmp_path))[0]

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"url": f"{SITE}/"}

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"url": "https://not-granted.example.org/"}

    async def large_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"url": f"{SITE}/large"}
