"""The promises of every tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from fairlead import Settings, Tool, ToolSpec
from fairlead.testing import ToolConformance
from fairlead_clock.plugin import fairlead_tools


class TestClock(ToolConformance):
    """In the time zone of its table."""

    examples_: ClassVar[dict[str, dict[str, Any]]] = {
        "now": {},
        "weekday": {"date": "2027-03-01"},
        "date_difference": {"start": "2027-01-01", "end": "2027-03-01"},
        "add_days": {"date": "2027-03-01", "days": 10},
    }
    failing: ClassVar[dict[str, dict[str, Any]]] = {
        "now": {"timezone": "Nowhere/Land"},
        "weekday": {"date": "2027-02-30"},
        "date_difference": {"start": "2027-01-01", "end": "soon"},
        "add_days": {"date": "9999-12-31", "days": 10},
    }

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("clock", {"timezone": "Europe/Berlin"}, tmp_path)

    async def make_worker(self, tmp_path: Path) -> Tool:
        return fairlead_tools(self.settings(tmp_path))[0]

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return self.examples_[spec.name]

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any]:
        return self.failing[spec.name]
