"""LangChain's `create_agent` on LangGraph, with a checkpointer where a session goes on: `AsyncSqliteSaver` on disk."""

from __future__ import annotations

from typing import Any, ClassVar

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from peer_harness import Peer, Plan, main


class Rule(BaseChatModel):
    """The model."""

    plan: Plan

    model_config: ClassVar[Any] = {"arbitrary_types_allowed": True}

    @property
    def _llm_type(self) -> str:
        return "rule"

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any) -> Any:
        raise NotImplementedError

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any) -> Any:
        await self.plan.think(messages)
        last = messages[-1]
        if isinstance(last, ToolMessage) or not self.plan.tool:
            said = AIMessage(content=str(last.content) if isinstance(last, ToolMessage) else "done")
        else:
            call = {"name": "add", "args": {"a": 1, "b": 2}, "id": f"call-{len(messages)}"}
            said = AIMessage(content="", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


class LangGraph(Peer):
    """One graph for all sessions."""

    packages = ("langgraph", "langchain", "langgraph-checkpoint-sqlite", "pydantic")

    async def open(self) -> None:
        plan = self.plan

        async def add(a: int, b: int) -> int:
            """Add two integers."""
            return await plan.add(a, b)

        self.opened, saver = None, None
        if plan.directory is not None:
            self.opened = AsyncSqliteSaver.from_conn_string(str(plan.directory / "langgraph.db"))
            saver = await self.opened.__aenter__()
        elif plan.one_session:
            saver = InMemorySaver()
        self.graph = create_agent(Rule(plan=plan), [add], system_prompt="You are helpful.", checkpointer=saver)

    async def ask(self, session: str, text: str) -> str:
        message = {"messages": [{"role": "user", "content": text}]}
        found = await self.graph.ainvoke(message, {"configurable": {"thread_id": session}})
        return str(found["messages"][-1].content)

    async def close(self) -> None:
        if self.opened is not None:
            await self.opened.__aexit__(None, None, None)


if __name__ == "__main__":
    main(LangGraph)
