"""Strands Agents: an agent is a session; with its `FileSessionManager`; all messages are kept."""

from __future__ import annotations

import logging
from typing import Any

from peer_harness import Peer, Plan, main
from strands import Agent, tool
from strands.agent.conversation_manager import NullConversationManager
from strands.models.model import Model
from strands.session.file_session_manager import FileSessionManager

logging.disable(logging.WARNING)
METADATA = {"usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, "metrics": {"latencyMs": 0}}


class Rule(Model):
    """The model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def update_config(self, **more: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {"model_id": "rule"}

    def structured_output(self, *given: Any, **more: Any) -> Any:
        raise NotImplementedError

    async def stream(self, messages: Any, tool_specs: Any = None, system_prompt: Any = None, **more: Any) -> Any:
        await self.plan.think(messages)
        last = messages[-1]["content"][-1].get("toolResult")
        start, said, reason = {}, {"text": last["content"][0]["text"] if last else "done"}, "end_turn"
        if last is None and self.plan.tool:
            start = {"toolUse": {"name": "add", "toolUseId": f"call-{len(messages)}"}}
            said, reason = {"toolUse": {"input": '{"a": 1, "b": 2}'}}, "tool_use"
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": start}}
        yield {"contentBlockDelta": {"delta": said}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": reason}}
        yield {"metadata": METADATA}


class Strands(Peer):
    """An agent for each session; where nothing goes on, one whose messages are cleared."""

    packages = ("strands-agents", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        @tool(name="add")
        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        self.tool, self.model, self.agents = add, Rule(plan), dict[str, Any]()
        self.one = self._made() if not plan.one_session and plan.directory is None else None

    def _made(self, **more: Any) -> Any:
        return Agent(
            model=self.model, tools=[self.tool], system_prompt="You are helpful.", callback_handler=None, **more
        )

    def _agent(self, session: str) -> Any:
        if self.one is not None:
            self.one.messages.clear()
            return self.one
        if session not in self.agents:
            more: dict[str, Any] = {"conversation_manager": NullConversationManager()}
            if self.plan.directory is not None:
                name = session.replace(" ", "-")
                more["session_manager"] = FileSessionManager(session_id=name, storage_dir=str(self.plan.directory))
            self.agents[session] = self._made(**more)
        return self.agents[session]

    async def ask(self, session: str, text: str) -> str:
        return str(await self._agent(session).invoke_async(text)).strip()


if __name__ == "__main__":
    main(Strands)
