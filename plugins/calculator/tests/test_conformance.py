"""The promises of every tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead import Settings, Tool, ToolSpec
from fairlead.testing import ToolConformance
from fairlead_calculator.plugin import fairlead_tools


class TestCalculator(ToolConformance):
    """It has no effects and no state."""

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("calculator", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Tool:
        return fairlead_tools(self.settings(tmp_path))[0]

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"expression": "17 * 23"}

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"expression": "1 / 0"}

    async def large_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return {"expression": "factorial(10000)"}
