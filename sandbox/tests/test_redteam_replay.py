"""Attacks with the ids of calls, which servers of models choose: a sandbox answers a known one from its record."""

from __future__ import annotations

from pathlib import Path

import fairlead
from fairlead import ModelRequest, ToolCall, ToolResult
from fairlead.config import Config
from fairlead.events import ToolReturned
from fairlead.testing import ScriptedProvider


def counting(request: ModelRequest) -> ToolCall | str:
    """A server that counts its calls from 0 in each conversation that it is shown."""
    if isinstance(request.history[-1], ToolResult):
        return "done"
    made = sum(isinstance(item, ToolResult) for item in request.history)
    return ToolCall(f"call_{made}", "act", {})


async def test_call_after_a_rollback_is_another_call(tmp_path: Path) -> None:
    """It has the words of the one that was rolled back, and must happen all the same."""

    def act() -> str:
        return "acted"

    async with fairlead.open(
        Config(data_dir=tmp_path), providers=[ScriptedProvider([counting], repeat=True)], tools=[act]
    ) as app:
        await app.ask("act", session="s")
        await app.sessions.rollback("s", 1)
        await app.ask("act", session="s")
        records = await app.sessions.records("s")
    calls = [record.event.result.call for record in records if isinstance(record.event, ToolReturned)]
    assert 2 == len(calls)
    assert 2 == len(set(calls))
