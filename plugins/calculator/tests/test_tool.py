"""The tool: its spec, its manifest, and the promises of every tool."""

from __future__ import annotations

import pytest

from fairlead import Settings, ToolCall
from fairlead.errors import ToolError
from fairlead.testing import FakeToolContext
from fairlead_calculator import Calculator
from fairlead_calculator.plugin import fairlead_tools


async def test_call_gives_the_value_as_text() -> None:
    """The model gets the value alone; it knows what it asked."""
    (calculator,) = fairlead_tools(Settings("calculator"))
    call = ToolCall("1", "calculate", {"expression": "17 * 23"})
    assert "391" == await calculator.call(call, FakeToolContext())


async def test_fault_is_told_to_the_model() -> None:
    """A `ToolError`, whose words are meant for the model."""
    call = ToolCall("1", "calculate", {"expression": "1 / 0"})
    with pytest.raises(ToolError, match="division by zero"):
        await Calculator().call(call, FakeToolContext())
