"""The OpenAI Agents SDK, with its `SQLiteSession`, on disk or in memory, where a session goes on; tracing is off."""

from __future__ import annotations

from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, SQLiteSession, Usage, function_tool
from agents.testing import assistant_message, function_call
from peer_harness import Peer, Plan, main


class Rule(Model):
    """The model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    async def get_response(self, system_instructions: Any, input: Any, *given: Any, **more: Any) -> Any:  # noqa: A002  # its name there
        await self.plan.think(input)
        last = input[-1] if isinstance(input, list) else {}
        returned = last.get("type") == "function_call_output"
        if returned or not self.plan.tool:
            item = assistant_message(str(last["output"]) if returned else "done")
        else:
            item = function_call("add", '{"a": 1, "b": 2}', call_id=f"call-{len(input)}")
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=[item], usage=usage, response_id=None)

    def stream_response(self, *given: Any, **more: Any) -> Any:
        raise NotImplementedError


class OpenaiAgents(Peer):
    """One agent for all sessions."""

    packages = ("openai-agents", "openai", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        @function_tool
        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        self.agent = Agent(name="one", instructions="You are helpful.", model=Rule(plan), tools=[add])
        self.config = RunConfig(tracing_disabled=True)
        self.sessions: dict[str, Any] = {}

    async def ask(self, session: str, text: str) -> str:
        plan, kept = self.plan, None
        if plan.directory is not None or plan.one_session:
            place = str(plan.directory / "agents.db") if plan.directory is not None else ":memory:"
            kept = self.sessions.get(session) or self.sessions.setdefault(session, SQLiteSession(session, place))
        return str((await Runner.run(self.agent, text, session=kept, run_config=self.config)).final_output)


if __name__ == "__main__":
    main(OpenaiAgents)
