"""Plugins that are made wrong: a report says so, and the app opens without them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fairlead import Channel, Delivery, Inbox, Outbound, Policy, Review, Tool, ToolCall, ToolContext, ToolSpec, Verdict
from fairlead._config import Config, PluginConfig
from fairlead._contracts import Worker
from fairlead._journal import VolatileMemory
from fairlead._observers import Observers
from fairlead._open import _engine
from fairlead._workers import Crew, _open_all
from fairlead.testing import CountingTool


class Deaf(Channel):
    """It does not say what it can."""

    async def run(self, inbox: Inbox) -> None:
        raise NotImplementedError

    async def send(self, outbound: Outbound) -> Delivery:
        raise NotImplementedError


class Placeless(Policy):
    """It does not say where it wants to be asked."""

    async def review(self, review: Review) -> Sequence[Verdict]:
        return ()


class Exiting(CountingTool):
    """It ends the program when it is opened."""

    async def open(self) -> None:
        raise SystemExit(3)


@pytest.mark.parametrize("worker", [Deaf(), Placeless(), Exiting()])
async def test_worker_that_does_not_say_what_it_must_is_a_report(worker: Worker) -> None:
    """It is not used."""
    crew = Crew()
    assert [] == await _open_all(crew, (), [(PluginConfig("tools", "bad"), worker)])
    assert ["failed"] == [report.status for report in crew.reports]


class Speechless(Tool):
    """It cannot say what it offers."""

    name = "speechless"

    def specs(self) -> Sequence[ToolSpec]:
        raise ValueError("no specs today")

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        raise NotImplementedError


async def test_tool_plugin_that_cannot_say_its_tools_is_a_report() -> None:
    """The tools of the others are there."""
    crew = Crew(tools=[Speechless(), CountingTool("count")], memories=[VolatileMemory()])
    engine = _engine(Config(), crew, Observers(float), float, ())
    assert ["count"] == [spec.name for spec in engine.tools.specs()]
    assert ["tools/speechless"] == [report.plugin for report in crew.reports]
