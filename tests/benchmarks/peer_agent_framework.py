"""Microsoft's Agent Framework, with its `FileHistoryProvider`, and without one where nothing is kept."""

from __future__ import annotations

from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    Content,
    FileHistoryProvider,
    FunctionInvocationLayer,
    Message,
    tool,
)
from agent_framework.observability import ChatTelemetryLayer
from peer_harness import Peer, Plan, main


class Rule(BaseChatClient):
    """The model."""

    plan: Plan

    def _inner_get_response(self, *, messages: Any, **more: Any) -> Any:
        return self._answer(messages)

    async def _answer(self, messages: Any) -> Any:
        await self.plan.think(messages)
        last = messages[-1].contents[-1]
        if last.type == "function_result" or not self.plan.tool:
            said = Content.from_text(str(last.result) if last.type == "function_result" else "done")
        else:
            said = Content.from_function_call(f"call-{len(messages)}", "add", arguments={"a": 1, "b": 2})
        return ChatResponse(messages=[Message(role="assistant", contents=[said])])


class Client(FunctionInvocationLayer, ChatMiddlewareLayer, ChatTelemetryLayer, Rule):
    """With the layers that the clients have which it ships."""


class AgentFramework(Peer):
    """One agent for all sessions."""

    packages = ("agent-framework-core", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        @tool(name="add")
        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        client = Client()
        client.plan = plan
        kept = [FileHistoryProvider(str(plan.directory))] if plan.directory is not None else None
        self.agent = Agent(client, "You are helpful.", name="one", tools=[add], context_providers=kept)
        self.sessions: dict[str, Any] = {}

    async def ask(self, session: str, text: str) -> str:
        found = self.sessions.get(session)
        if found is None:
            found = self.sessions[session] = self.agent.create_session(session_id=session.replace(" ", "-"))
        return str((await self.agent.run(text, session=found)).text)


if __name__ == "__main__":
    main(AgentFramework)
