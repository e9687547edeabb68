"""Answers that no honest model gives: too many calls, ids that come again, names that no tool can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import fairlead
from fairlead import Message, ModelAnswer, ModelInfo, ModelRequest, Provider, Text, ToolCall, Usage, Verdict, events
from fairlead.testing import CountingTool, FakePolicy, ScriptedProvider, calls
from fairlead.types import Emit
from fairlead.wire import decode_event, encode_event

from .served import of_kind


def wish(ident: str, tool: str = "act") -> ModelAnswer:
    return ModelAnswer((), (ToolCall(ident, tool, {}),))


async def test_ids_that_come_again_are_made_different() -> None:
    """Some servers count calls from 0 in each answer; a vendor that is asked later refuses such a history."""
    tool = CountingTool("act", lambda _: str(len(tool.calls)))
    provider = ScriptedProvider([wish("0"), wish("0"), "one", wish("0"), "two"])
    async with fairlead.open(providers=[provider], tools=[tool]) as app:
        await app.ask("go", session="s")
        await app.ask("go", session="s")
        wished = [item.id for answer in await of_kind(app, "s", events.ModelAnswered) for item in answer.message.calls]
        texts = [await app.sessions.full_text("s", ident) for ident in wished]
    assert 3 == len(set(wished))
    assert ["1", "2", "3"] == texts


@pytest.mark.parametrize("name", ["", "a b", "act\n", "a\x1b[2Jct", "\ud800", "á" * 70, "x" * 1_000_000])
async def test_names_that_no_tool_can_have_are_made_harmless(name: str) -> None:
    """The history is sent with every later request: one bad name would make all of them fail."""
    provider = ScriptedProvider([wish("0", name), "done"])
    async with fairlead.open(providers=[provider], tools=[CountingTool("act")]) as app:
        await app.ask("go", session="s")
        answer = (await of_kind(app, "s", events.ModelAnswered))[0]
        result = (await of_kind(app, "s", events.ToolReturned))[0].result
    assert answer.message.calls[0].tool == result.tool
    assert 1 <= len(result.tool) <= 64
    assert result.tool.replace("_", "").isalnum() or set(result.tool) == {"_"}
    assert "denied" == result.error


async def test_calls_of_one_answer_have_a_limit() -> None:
    """A model that loops gets a result for each call, and 128 of them are made."""
    tool = CountingTool("act")
    provider = ScriptedProvider([calls(*[("act", {})] * 1_000), "done"])
    async with fairlead.open(providers=[provider], tools=[tool]) as app:
        assert "done" == (await app.ask("go", session="s")).text
        results = [event.result.error for event in await of_kind(app, "s", events.ToolReturned)]
    assert 128 == len(tool.calls)
    assert {"": 128, "denied": 872} == {error: results.count(error) for error in results}


class Returning(Provider):
    name = "returning"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def models(self) -> Sequence[ModelInfo]:
        return (ModelInfo("m"),)

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        return self.answer  # type: ignore[no-any-return]  # the case


ANSWERS: dict[str, Any] = {
    "nothing": None,
    "words as a part": ModelAnswer(("go",)),  # type: ignore[arg-type]  # the case
    "text that is none": ModelAnswer((Text(5),)),  # type: ignore[arg-type]  # the case
    "usage that is none": ModelAnswer((Text("go"),), usage=None),  # type: ignore[arg-type]  # the case
    "tokens in words": ModelAnswer((Text("go"),), usage=Usage("5", 1)),  # type: ignore[arg-type]  # the case
    "tokens below zero": ModelAnswer((Text("go"),), usage=Usage(-5, 0)),
    "cost that is no number": ModelAnswer((Text("go"),), usage=Usage(cost=float("nan"))),
    "model that is none": ModelAnswer((Text("go"),), model=b"m"),  # type: ignore[arg-type]  # the case
    "picture in words": ModelAnswer((fairlead.Image("image/png", data="x"),)),  # type: ignore[arg-type]  # the case
    "address that is none": ModelAnswer((fairlead.Image("image/png", url=5),)),  # type: ignore[arg-type]  # the case
    "id that is none": ModelAnswer((), (ToolCall(5, "act", {}),)),  # type: ignore[arg-type]  # the case
    "name that is none": ModelAnswer((), (ToolCall("5", None, {}),)),  # type: ignore[arg-type]  # the case
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_that_makes_no_sense_fails_its_link_only(name: str) -> None:
    """The next model of the chain is asked, and what was journalled can be read again."""
    config = fairlead.config.Config(
        models={
            "default": (fairlead.config.ModelRef("returning", "m"), fairlead.config.ModelRef("scripted", "m")),
        }
    )
    providers = [Returning(ANSWERS[name]), ScriptedProvider(["done"])]
    async with fairlead.open(config, providers=providers) as app:
        assert "done" == (await app.ask("go", session="s")).text
        records = [record.event for record in await app.sessions.records("s")]
    assert ["returning"] == [event.provider for event in records if isinstance(event, events.ModelFailed)]
    assert records == [decode_event(encode_event(event)) for event in records]


@pytest.mark.parametrize("boundary", ["message_in", "message_out"])
async def test_revised_message_keeps_its_side_and_has_no_calls(boundary: Any) -> None:
    """A policy rewrites words: it cannot make a person's words the model's, or leave calls without a result."""
    revised = Message("user" if boundary == "message_out" else "assistant", (Text("new"),), calls=wish("0").calls)
    policy = FakePolicy(lambda _: Verdict("revise", "r", revised=revised), {boundary})
    async with fairlead.open(providers=[ScriptedProvider(["done"])], policies=[policy]) as app:
        await app.ask("go", session="s")
        history = [item for item in await app.sessions.history("s") if isinstance(item, Message)]
    assert ["user", "assistant"] == [message.role for message in history]
    assert [(), ()] == [message.calls for message in history]
