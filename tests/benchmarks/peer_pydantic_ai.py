"""Pydantic AI: the history is handed back in, as its documentation shows; on disk as its JSON in a row of SQLite."""

from __future__ import annotations

import sqlite3
from typing import Any

from peer_harness import Peer, Plan, main
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage


class Rule(Model):
    """The model."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    @property
    def model_name(self) -> str:
        return "rule"

    @property
    def system(self) -> str:
        return "rule"

    async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
        await self.plan.think(messages)
        last = messages[-1].parts[-1]
        returned = isinstance(last, ToolReturnPart)
        part: Any
        if returned or not self.plan.tool:
            part = TextPart(str(last.content) if returned else "done")
        else:
            part = ToolCallPart("add", {"a": 1, "b": 2}, tool_call_id=f"call-{len(messages)}")
        return ModelResponse(parts=[part], usage=RequestUsage(input_tokens=10, output_tokens=5), model_name="rule")


class PydanticAi(Peer):
    """One agent for all sessions."""

    packages = ("pydantic-ai-slim", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        self.agent = Agent(Rule(plan), tools=[add], system_prompt="You are helpful.")
        self.histories: dict[str, Any] = {}
        self.rows: sqlite3.Connection | None = None
        if plan.directory is not None:
            self.rows = sqlite3.connect(plan.directory / "pydantic.db")
            self.rows.execute("pragma journal_mode=wal")
            self.rows.execute("create table if not exists history(session text primary key, messages blob)")

    async def ask(self, session: str, text: str) -> str:
        history = self.histories.get(session) if self.rows is None else self._read(self.rows, session)
        done = await self.agent.run(text, message_history=history)
        if self.rows is None:
            self.histories[session] = done.all_messages() if self.plan.one_session else None
        else:
            with self.rows:
                self.rows.execute("insert or replace into history values (?, ?)", (session, done.all_messages_json()))
        return str(done.output)

    def _read(self, rows: sqlite3.Connection, session: str) -> Any:
        found = rows.execute("select messages from history where session = ?", (session,)).fetchone()
        return ModelMessagesTypeAdapter.validate_json(found[0]) if found else None


if __name__ == "__main__":
    main(PydanticAi)
