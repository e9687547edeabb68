"""The promises of every provider, as far as one without a server makes them."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve

from fairlead import ModelRequest, Provider, Settings
from fairlead.testing import ProviderConformance
from fairlead_rehearsal.plugin import fairlead_providers


class TestRehearsal(ProviderConformance):
    """It answers by itself: what is promised of connections and servers does not apply."""

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("rehearsal", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Provider:
        return fairlead_providers(self.settings(tmp_path))[0]

    async def tool_request(self, worker: Provider) -> ModelRequest:
        tools = (await super().tool_request(worker)).tools
        return evolve(await self.text_request(worker, 'use add {"a": 2, "b": 3}'), tools=tools)
