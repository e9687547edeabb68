"""smolagents' `ToolCallingAgent`: not asynchronous, an agent is a session, and nothing is kept on disk."""

from __future__ import annotations

import logging
import time
from typing import Any, ClassVar

from peer_harness import Peer, Plan, main
from smolagents import LogLevel, Model, Tool, ToolCallingAgent
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole

logging.disable(logging.WARNING)


class Rule(Model):
    """The model. An answer is a call too, of `final_answer`."""

    plan: Plan

    def generate(self, messages: Any, *given: Any, **more: Any) -> Any:
        self.plan.listen(messages)
        if self.plan.delay:
            time.sleep(self.plan.delay)
        last, name = messages[-1], "final_answer"
        arguments: dict[str, Any] = {"answer": "done"}
        if last.role == MessageRole.TOOL_RESPONSE:
            arguments = {"answer": last.content[-1]["text"].split("Observation:")[-1].strip()}
        elif self.plan.tool:
            name, arguments = "add", {"a": 1, "b": 2}
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id=f"call-{len(messages)}", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


class Add(Tool):
    """The tool."""

    name = "add"
    description = "Add two integers."
    output_type = "integer"
    inputs: ClassVar[Any] = {name: {"type": "integer", "description": "a number"} for name in ("a", "b")}

    def forward(self, a: int, b: int) -> int:
        return a + b


class Smolagents(Peer):
    """An agent for each session; where nothing goes on, one that begins anew each time."""

    packages = ("smolagents", "huggingface-hub")
    blocking = True

    async def open(self) -> None:
        self.model, self.agents = Rule(), dict[str, Any]()
        self.model.plan = self.plan

    def _agent(self, name: str) -> Any:
        if name not in self.agents:
            self.agents[name] = ToolCallingAgent(tools=[Add()], model=self.model, verbosity_level=LogLevel.OFF)
        return self.agents[name]

    def ask_blocking(self, session: str, text: str) -> str:
        goes_on = self.plan.one_session
        return str(self._agent(session if goes_on else "one").run(text, reset=not goes_on))

    async def ask(self, session: str, text: str) -> str:
        return self.ask_blocking(session, text)


if __name__ == "__main__":
    main(Smolagents)
