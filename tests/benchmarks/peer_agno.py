"""Agno, with its `AsyncSqliteDb`, or `InMemoryDb` where a session goes on; all past runs are shown to the model."""

from __future__ import annotations

import logging
from typing import Any

from agno.agent import Agent
from agno.db.in_memory import InMemoryDb
from agno.db.sqlite import AsyncSqliteDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from peer_harness import Peer, Plan, main

logging.disable(logging.WARNING)
ALL_RUNS = 10**6


class Rule(Model):
    """The model."""

    plan: Plan

    async def ainvoke(self, messages: list[Any], assistant_message: Any, **more: Any) -> Any:
        await self.plan.think(messages)
        last = messages[-1]
        if last.role == "tool" or not self.plan.tool:
            return ModelResponse(role="assistant", content=str(last.content) if last.role == "tool" else "done")
        function = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
        call = {"id": f"call-{len(messages)}", "type": "function", "function": function}
        return ModelResponse(role="assistant", tool_calls=[call])

    def _parse_provider_response(self, response: Any, **more: Any) -> Any:
        return response

    def invoke(self, *given: Any, **more: Any) -> Any:
        raise NotImplementedError

    invoke_stream = ainvoke_stream = _parse_provider_response_delta = invoke


class Agno(Peer):
    """One agent for all sessions."""

    packages = ("agno", "sqlalchemy", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        more: dict[str, Any] = {"telemetry": False}  # or each run posts to its maker
        if plan.directory is not None:
            more["db"] = AsyncSqliteDb(db_file=str(plan.directory / "agno.db"))
        elif plan.one_session:
            more["db"] = InMemoryDb()
        if "db" in more:
            more |= {"add_history_to_context": True, "num_history_runs": ALL_RUNS}
        model = Rule(id="rule", name="rule", provider="rule")
        model.plan = plan
        self.agent = Agent(model=model, tools=[add], instructions="You are helpful.", **more)

    async def ask(self, session: str, text: str) -> str:
        return str((await self.agent.arun(text, session_id=session)).content)


if __name__ == "__main__":
    main(Agno)
