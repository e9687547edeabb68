"""What policies do on the path: refuse, revise, deny, ask."""

from __future__ import annotations

import pytest
from attrs import evolve

import fairlead
from fairlead import Message, Review, Text, ToolCall, ToolResult, Verdict, errors, events
from fairlead.config import Agent, Config
from fairlead.testing import FakePolicy, ScriptedProvider, WallClock, calls


def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


async def test_refused_message_never_reaches_a_model() -> None:
    """The turn ends before it starts, with a notice that names the rule."""
    policy = FakePolicy(
        lambda review: [Verdict("deny", "no shouting", reason="please be quiet")], boundaries=["message_in"]
    )
    provider = ScriptedProvider(["never"])
    async with fairlead.open(providers=[provider], policies=[policy]) as app:
        with pytest.raises(errors.TurnRefused, match="no shouting") as caught:
            await app.ask("HI", session="s")
        assert "app:no shouting" == caught.value.rule
        assert [] == list(await app.sessions.history("s"))
    assert 0 == provider.answered


async def test_revised_message_is_what_the_model_sees() -> None:
    """The journal keeps both: what was said and what was passed on."""

    def redact(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, Message)
        text = review.subject.text.replace("1234", "[card]")
        return [Verdict("revise", "redact", revised=evolve(review.subject, parts=(Text(text),)))]

    provider = ScriptedProvider(["ok"])
    policy = FakePolicy(redact, boundaries=["message_in"])
    async with fairlead.open(providers=[provider], policies=[policy]) as app:
        await app.ask("my card is 1234", session="s")
        accepted = next(r.event for r in await app.sessions.records("s") if isinstance(r.event, events.MessageAccepted))
    assert "my card is [card]" == provider.requests[0].history[-1].text
    assert "my card is 1234" == accepted.message.text


async def test_answer_that_is_denied_is_not_said() -> None:
    """The sender gets a notice; nothing of the answer was streamed before."""
    policy = FakePolicy(lambda review: [Verdict("deny", "secrets")], boundaries=["message_out"])
    shown: list[str] = []

    async def emit(delta: fairlead.Delta) -> None:
        shown.append(delta.text)

    async with fairlead.open(providers=[ScriptedProvider(["the password is x"])], policies=[policy]) as app:
        with pytest.raises(errors.TurnRefused, match="Denied by rule 'secrets'"):
            await app.ask("tell me", emit=emit)
    assert [] == shown


async def test_revised_answer_is_what_is_said_and_remembered() -> None:
    """The history has what the person really got."""

    def polish(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, Message)
        return [Verdict("revise", "polish", revised=evolve(review.subject, parts=(Text("polished"),)))]

    policy = FakePolicy(polish, boundaries=["message_out"])
    async with fairlead.open(providers=[ScriptedProvider(["rough"])], policies=[policy]) as app:
        assert "polished" == (await app.ask("hi", session="s")).text
        assert ["hi", "polished"] == [item.text for item in await app.sessions.history("s")]


async def test_denied_call_names_the_rule_to_the_model() -> None:
    """The call has a result, the tool was not run, the decision is in the journal."""
    policy = FakePolicy(lambda review: [Verdict("deny", "no sums", layer="agent")], boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "not allowed"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go", session="s")
        decided = next(r.event for r in await app.sessions.records("s") if isinstance(r.event, events.Decided))
    assert ("deny", "no sums", "agent") == (decided.effect, decided.rule, decided.layer)
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("denied", "Denied by rule 'no sums' of layer 'agent'.") == (result.error, result.text)


async def test_revised_call_is_what_runs() -> None:
    """Revised arguments are validated again before they run."""

    def clamp(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, ToolCall)
        return [Verdict("revise", "clamp", revised=evolve(review.subject, arguments={"a": 1, "b": 1}))]

    policy = FakePolicy(clamp, boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 100, "b": 200})), "2"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go")
    assert "2" == provider.requests[1].history[-1].text


async def test_result_that_is_denied_is_not_shown_to_the_model() -> None:
    """A policy can keep a tool's words from the model."""
    policy = FakePolicy(lambda review: [Verdict("deny", "leak")], boundaries=["tool_result"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "ok"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy]) as app:
        await app.ask("go")
    result = provider.requests[1].history[-1]
    assert isinstance(result, ToolResult)
    assert ("denied", "Denied by rule 'leak' of layer 'app'.") == (result.error, result.text)


async def test_ask_that_nobody_answers_is_a_denial(autojump_clock: object) -> None:
    """It says why."""
    policy = FakePolicy(lambda review: [Verdict("ask", "careful")], boundaries=["tool_call"])
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "ok"])
    async with fairlead.open(providers=[provider], tools=[add], policies=[policy], clock=WallClock()) as app:
        await app.ask("go")
    text = provider.requests[1].history[-1].text
    assert "Nobody approved this call within 900 s, so it was not made." == text


async def test_agent_sees_only_its_tools() -> None:
    """A tool that is not the agent's does not exist for it."""
    config = Config(agents=(Agent("main", tools=("ad*",)), Agent("idle", tools=())))
    provider = ScriptedProvider(["a", "b", calls(("add", {"a": 1, "b": 1})), "c"])
    async with fairlead.open(config, providers=[provider], tools=[add]) as app:
        await app.ask("x")
        await app.ask("x", agent="idle")
        await app.ask("x", agent="idle")
    assert [("add",), (), (), ()] == [tuple(spec.name for spec in request.tools) for request in provider.requests]
    assert "denied" == provider.requests[3].history[-1].error  # type: ignore[union-attr]  # a ToolResult
