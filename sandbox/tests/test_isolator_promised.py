"""Tools that are known from metadata, and made with their first call."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fairlead import Tool, ToolCall, ToolContext, ToolResult, ToolSpec
from fairlead.testing import FakeToolContext
from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.isolator._promised import PromisedTool

SPEC = ToolSpec("act", "Acts.", {"type": "object"})
CALL = ToolCall("c1", "act", {})


class Made(Tool):
    """The worker itself, at another level than was promised."""

    level = "process"
    remembers = False

    def __init__(self) -> None:
        self.closed = False

    def specs(self) -> Sequence[ToolSpec]:
        return [SPEC]

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        return "acted"

    async def identity(self) -> str:
        return "some code"

    async def close(self) -> None:
        self.closed = True


async def test_nothing_is_made_before_the_first_call() -> None:
    """Its tools are known all the same; afterwards it is what the worker says that it is."""
    made: list[Made] = []

    async def make() -> Tool:
        made.append(Made())
        return made[-1]

    tool = PromisedTool("acting", [SPEC], "container", make, remembers=True)
    assert ((SPEC,), "container", True, []) == (tool.specs(), tool.level, tool.remembers, made)
    assert ["acted", "acted"] == [await tool.call(CALL, FakeToolContext()) for _ in range(2)]
    assert (1, "process", False) == (len(made), tool.level, tool.remembers)
    await tool.close()
    assert made[0].closed


async def test_identity_is_that_of_the_worker_itself() -> None:
    """An approval is bound to what will run, so it is made for the question."""

    async def make() -> Tool:
        return Made()

    tool = PromisedTool("acting", [SPEC], "container", make, remembers=True)
    assert ("some code", "process") == (await tool.identity(), tool.level)


async def test_promise_that_cannot_be_kept_is_tried_again() -> None:
    """With the next call; a check tells it as a finding."""
    answers: list[Tool | EngineUnavailable] = [EngineUnavailable("silent", next_step="dockerd")] * 2

    async def make() -> Tool:
        found = answers.pop(0)
        if isinstance(found, EngineUnavailable):
            raise found
        return found

    tool = PromisedTool("acting", [SPEC], "container", make, remembers=True)
    with pytest.raises(EngineUnavailable):
        await tool.call(CALL, FakeToolContext())
    (finding,) = await tool.check()
    assert (False, "silent", "dockerd") == (finding.ok, finding.detail, finding.next_step)
    answers.append(Made())
    assert "acted" == await tool.call(CALL, FakeToolContext())
