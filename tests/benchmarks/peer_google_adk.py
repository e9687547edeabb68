"""Google's ADK, which always has a session service: in memory, or its `SqliteSessionService`."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from google.adk import Agent, Runner
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_response import LlmResponse
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.sessions.sqlite_session_service import SqliteSessionService
from google.genai import types
from peer_harness import Peer, Plan, main

logging.disable(logging.WARNING)


class Rule(BaseLlm):
    """The model."""

    plan: Plan

    model_config: ClassVar[Any] = {"arbitrary_types_allowed": True}

    async def generate_content_async(self, llm_request: Any, stream: bool = False) -> Any:  # noqa: FBT001, FBT002  # as it is there
        await self.plan.think(llm_request.contents)
        returned = llm_request.contents[-1].parts[-1].function_response
        if returned is not None or not self.plan.tool:
            part = types.Part(text=str(returned.response["result"]) if returned is not None else "done")
        else:
            part = types.Part(function_call=types.FunctionCall(name="add", args={"a": 1, "b": 2}))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


class GoogleAdk(Peer):
    """One runner for all sessions."""

    packages = ("google-adk", "google-genai", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        kept = plan.directory / "adk.db" if plan.directory is not None else None
        self.service = SqliteSessionService(str(kept)) if kept is not None else InMemorySessionService()
        agent = Agent(name="one", model=Rule(model="rule", plan=plan), instruction="You are helpful.", tools=[add])
        self.runner = Runner(app_name="app", agent=agent, session_service=self.service)
        self.known: set[str] = set()

    async def ask(self, session: str, text: str) -> str:
        where = {"user_id": "user", "session_id": session}
        if session not in self.known:
            self.known.add(session)
            if await self.service.get_session(app_name="app", **where) is None:
                await self.service.create_session(app_name="app", **where)
        message, said = types.Content(role="user", parts=[types.Part(text=text)]), ""
        async for event in self.runner.run_async(**where, new_message=message):
            if event.is_final_response() and event.content:
                said = str(event.content.parts[0].text)
        return said


if __name__ == "__main__":
    main(GoogleAdk)
