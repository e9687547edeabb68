"""What the tests of approvals share: an app whose one tool is asked about, and the way from a question to its id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import evolve

import fairlead
from fairlead import Outbound, Principal, Review, Text, ToolCall, Verdict, events
from fairlead.config import Config, Limits
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, WallClock, calls

from .served import Surviving, serving

ADMIN = Principal("captured:root", "root", ("admin",))
OPERATOR = Principal("cli:operator", "operator")
SESSION = "main/captured//room"


def careful(*approvers: str) -> FakePolicy:
    """Every call is asked about."""
    return FakePolicy(lambda _: Verdict("ask", "careful", approvers=approvers), ["tool_call"])


class House:
    """An app, again and again on one journal, with one tool whose calls are counted over all of them."""

    def __init__(self, *, effect: Any = "once", policies: Any = None, **limits: Any) -> None:
        self.memory = Surviving()
        self.tool = CountingTool("act", "done", effect=effect, parameters={"type": "object"})
        self.channel = CapturingChannel()
        self.policies = policies if policies is not None else [careful()]
        self.provider = ScriptedProvider([self.answer_model], repeat=True)
        self.arguments: Any = {"to": "Ann", "amount": 5}
        self.clock = WallClock()
        self.limits = Limits(**limits)

    def answer_model(self, request: fairlead.ModelRequest) -> Any:
        last = request.history[-1]
        return f"{last.error or 'done'}: {last.text}" if isinstance(last, fairlead.ToolResult) else self.wanted()

    def wanted(self) -> Any:
        return calls(("act", self.arguments))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[fairlead.App]:
        async with serving(
            Config(limits=self.limits),
            providers=[self.provider],
            tools=[self.tool],
            channels=[self.channel],
            policies=self.policies,
            memories=[self.memory],
            clock=self.clock,
        ) as app:
            yield app

    async def asked(self) -> str:
        """The id in the next question."""
        return id_in(await self.channel.next())

    async def answer(self) -> str:
        """The words of the next message."""
        return text_in(await self.channel.next())


def text_in(outbound: Outbound) -> str:
    return "\n".join(part.text for part in outbound.parts if isinstance(part, Text))


def id_in(outbound: Outbound) -> str:
    found: str = text_in(outbound).split("/approve ")[1].split("\n")[0]
    return found


async def happened(app: fairlead.App, kind: type[Any], session: str = SESSION) -> list[Any]:
    return [record.event for record in await app.sessions.records(session) if isinstance(record.event, kind)]


async def decisions(app: fairlead.App) -> list[tuple[bool, str, str]]:
    return [(each.granted, each.by, each.reason) for each in await happened(app, events.ApprovalDecided)]


def revising(**changes: Any) -> FakePolicy:
    """Arguments that are set, whatever the model sent; a change of `changes` changes what will run."""

    def review(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, ToolCall)
        return [
            Verdict("revise", "set", revised=evolve(review.subject, arguments={**review.subject.arguments, **changes}))
        ]

    made = FakePolicy(review, ["tool_call"], name="revising")
    made.changes = changes  # type: ignore[attr-defined]  # what the test sets anew
    return made
