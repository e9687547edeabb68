"""The provider alone and in an app: real calls, honest words, streamed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

import fairlead
from fairlead import (
    Message,
    ModelAnswer,
    ModelRequest,
    Settings,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from fairlead.errors import ContentRefused, UnknownModel
from fairlead.testing import Deltas
from fairlead_rehearsal import Rehearsal
from fairlead_rehearsal.plugin import fairlead_providers

HONEST = "I am Fairlead's rehearsal model: no language model is configured"
ASKED = "What is 17 * 23, and what day of the week is 2027-03-01?"


def tool(name: str, *arguments: str, description: str = "A tool.", kind: str = "string") -> ToolSpec:
    properties = {argument: {"type": kind} for argument in arguments}
    return ToolSpec(name, description, {"type": "object", "properties": properties, "required": list(arguments)})


CALCULATE, WEEKDAY = tool("calculate", "expression"), tool("weekday", "date")
TOOLS = (CALCULATE, WEEKDAY, tool("remember", "text"), tool("recall", "query"), tool("add_days", "date", "days"))


async def generate(
    text: str, tools: Sequence[ToolSpec] = TOOLS, *after: Message | ToolResult, **more: Any
) -> tuple[ModelAnswer, Deltas]:
    deltas = Deltas()
    said = Message("user", (Text(text),), id="m1")
    request = ModelRequest("rehearsal", (said, *after), tools=tuple(tools), **more)
    return await Rehearsal().generate(request, deltas), deltas


async def finish(text: str, *results: str | ToolResult, tools: Sequence[ToolSpec] = TOOLS, **more: Any) -> str:
    """The answer after its calls had these results."""
    wish, _ = await generate(text, tools)
    assert len(results) == len(wish.calls)
    returned = [
        result if isinstance(result, ToolResult) else ToolResult(call.id, call.tool, (Text(result),))
        for call, result in zip(wish.calls, results, strict=True)
    ]
    answer, _ = await generate(text, tools, Message("assistant", (), calls=wish.calls), *returned, **more)
    return Message("assistant", answer.parts).text


async def test_one_question_becomes_two_calls_at_once() -> None:
    """In one answer, so that the core runs them in parallel."""
    answer, deltas = await generate(ASKED)
    assert [("calculate", {"expression": "17 * 23"}), ("weekday", {"date": "2027-03-01"})] == [
        (call.tool, call.arguments) for call in answer.calls
    ]
    assert ("tools", [], 2) == (answer.finish, deltas.all, len({call.id for call in answer.calls}))


async def test_results_become_sentences() -> None:
    """The answer of the README's first command."""
    assert "17 * 23 = 391. 2027-03-01 is a Monday." == await finish(ASKED, "391", "Monday")


async def test_results_are_taken_in_any_order_and_foreign_ones_left_out() -> None:
    """By the id of their call."""
    wish, _ = await generate(ASKED)
    one, two = wish.calls
    results = [
        ToolResult(two.id, two.tool, (Text("Monday"),)),
        ToolResult("call_other_0", "calculate", (Text("666"),)),
        ToolResult(one.id, one.tool, (Text("391"),)),
    ]
    answer, _ = await generate(ASKED, TOOLS, Message("assistant", (), calls=wish.calls), *results)
    assert "17 * 23 = 391. 2027-03-01 is a Monday." == Message("assistant", answer.parts).text


@pytest.mark.parametrize(
    ("text", "result", "expected"),
    [
        ("1/3", "≈ 0.333 (exactly 1/3)", "1/3 ≈ 0.333 (exactly 1/3)."),
        ("what weekday is tomorrow?", "Monday", "Tomorrow will be a Monday."),
        ("what weekday is 2027-03-01?", "It is a Monday!", "2027-03-01: It is a Monday!"),
        (
            "10 days after 2027-03-01",
            "2027-03-11, a Thursday",
            "10 days after 2027-03-01 it is 2027-03-11, a Thursday.",
        ),
        ("remember that I like tea", "Remembered as note 4f1c.", "Remembered as note 4f1c."),
        ("what do you remember about tea?", "- [4f1c] I like tea", "- [4f1c] I like tea"),
        ('use weekday {"date": "x"}', "whatever it says", "weekday: whatever it says"),
    ],
)
async def test_sentence_of(text: str, result: str, expected: str) -> None:
    """Each kind of request has its sentence; what a tool says as a sentence stays as it is."""
    assert expected == await finish(text, result)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("denied", "I was not allowed to use calculate for 17 * 23: no rule allows this tool."),
        ("failed", "calculate failed for 17 * 23: no rule allows this tool."),
        ("timeout", "calculate took too long for 17 * 23: no rule allows this tool."),
        ("unknown", "it is not known whether it happened: no rule allows this tool."),
        ("brand-new", "calculate ended with the error brand-new for 17 * 23: no rule allows this tool."),
    ],
)
async def test_what_failed_is_said_as_it_is(error: str, words: str) -> None:
    """Beside what succeeded."""
    failed = ToolResult("call_m1_0", "calculate", (Text("no rule allows this tool"),), error)
    answer = await finish(ASKED, failed, "Monday")
    assert words in answer
    assert answer.endswith("2027-03-01 is a Monday.")


async def test_call_without_a_result_is_not_made_again() -> None:
    """The core gives every call a result; where it should not, this model does not ask for ever."""
    wish, _ = await generate(ASKED)
    answer, _ = await generate(ASKED, TOOLS, Message("assistant", (), calls=wish.calls))
    assert () == answer.calls
    assert 'There is no result for 17 * 23. There is no result for "what day' in Message("assistant", answer.parts).text


async def test_what_it_cannot_do_it_says() -> None:
    """No guess at what a model would say."""
    for text in ("Tell me a joke.", "hello", ""):
        answer, _ = await generate(text)
        assert Message("assistant", answer.parts).text.startswith(HONEST)
        assert "fairlead init" in Message("assistant", answer.parts).text


async def test_what_it_cannot_do_stands_beside_what_it_can() -> None:
    """Both halves of a message are answered."""
    answer = await finish("What is 2 + 2, and why is the sky blue?", "4")
    assert answer.startswith('2 + 2 = 4. I cannot answer "why is the sky blue?". ' + HONEST)


async def test_tool_that_is_not_offered_is_named() -> None:
    """It computes nothing by itself: the tool does, where policy and sandbox are."""
    answer = await finish("What is 2 + 2?", tools=(WEEKDAY,))
    assert "No tool for arithmetic is offered to me, so 2 + 2 stays open; offered: weekday." == answer
    assert "No tool named 'add' is offered to me; offered: none." == await finish('use add {"a": 1}', tools=())
    assert "The arguments for weekday are no JSON object" in await finish("use weekday {bad")


@pytest.mark.parametrize(
    ("offered", "arguments"),
    [
        (tool("calculate", "expression"), {"expression": "2 + 2"}),
        (tool("math_calculate", "expression"), {"expression": "2 + 2"}),
        (tool("calculator", "input"), {"input": "2 + 2"}),
        (tool("solve", "formula", description="Does arithmetic of any kind."), {"formula": "2 + 2"}),
    ],
)
async def test_tools_of_others_are_found_by_name_or_description(offered: ToolSpec, arguments: dict[str, str]) -> None:
    """The only argument goes under the only name that is required."""
    answer, _ = await generate("What is 2 + 2?", (WEEKDAY, offered))
    assert [(offered.name, arguments)] == [(call.tool, call.arguments) for call in answer.calls]


async def test_tool_that_needs_more_is_left_alone() -> None:
    """Better no call than one with invented arguments."""
    answer, _ = await generate("What is 2 + 2?", (tool("calculate", "left", "right"),))
    assert () == answer.calls


async def test_words_are_repeated_as_they_are() -> None:
    """With their spaces, and streamed word by word."""
    answer, deltas = await generate("repeat one  two\u00a0three - and 2+2")
    assert "one  two\u00a0three - and 2+2" == Message("assistant", answer.parts).text == deltas.text
    assert 5 < len(deltas.all)
    assert (7, 6, 0.0) == (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.cost)


async def test_only_the_last_message_is_read() -> None:
    """A view of a long session is not walked through, and old requests are not done again."""

    class Tail(Sequence[Message | ToolResult]):
        """A long history of which only the last entry may be touched."""

        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, place: Any) -> Any:
            assert place == 999_999, "an old entry was read"
            return Message("user", (Text("say hello"),), id="m9")

    deltas = Deltas()
    answer = await Rehearsal().generate(ModelRequest("rehearsal", Tail()), deltas)
    assert "hello" == Message("assistant", answer.parts).text
    assert 2 == answer.usage.input_tokens


async def test_same_request_has_the_same_answer() -> None:
    """Deterministic, ids of calls included."""
    assert await generate(ASKED) != await generate("say hello")
    assert (await generate(ASKED))[0] == (await generate(ASKED))[0]


async def test_longer_answer_than_wanted_is_cut() -> None:
    """By words, which are its tokens."""
    answer, deltas = await generate("say one two three", max_output_tokens=2)
    assert ("one two", "length", 2) == (deltas.text, answer.finish, answer.usage.output_tokens)


async def test_other_models_are_unknown() -> None:
    """With what to do about it."""
    with pytest.raises(UnknownModel, match="only 'rehearsal'"):
        await Rehearsal().generate(ModelRequest("gpt", ()), Deltas())


async def test_plugin_offers_one_free_model() -> None:
    """100,000 tokens of window, price 0."""
    (provider,) = fairlead_providers(Settings("rehearsal"))
    (model,) = await provider.models()
    assert ("rehearsal", 100_000, 0.0, 0.0) == (model.name, model.window, model.input_price, model.output_price)
    (finding,) = await provider.check()
    assert "no language model" in finding.detail


NUMBER = {"type": "number"}
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("text", "results", "schema", "expected"),
    [
        ("what is 17 * 23?", ["391"], {"type": "integer"}, 391),
        ("what is 1/3?", ["≈ 0.333333333333333 (exactly 1/3)"], NUMBER, 0.333333333333333),
        ("what is 17 * 23?", ["391"], {"type": "object", "properties": {"n": NUMBER}, "required": ["n"]}, {"n": 391}),
        ("what weekday is 2027-03-01?", ["Monday"], {"enum": ["Monday", "Tuesday"]}, "Monday"),
        ('say {"name": "Oslo", "people": 700000}', [], CITY, {"name": "Oslo", "people": 700000}),
        ("say Oslo", [], CITY, {"name": "Oslo"}),
        ("say Oslo", [], {"type": "string"}, "Oslo"),
    ],
)
async def test_value_of_a_schema(text: str, results: list[str], schema: dict[str, Any], expected: Any) -> None:
    """What was said or computed, in the wanted shape."""
    assert expected == json.loads(await finish(text, *results, output_schema=schema))


@pytest.mark.parametrize("text", ["Where is Oslo?", 'say {"people": 1}', "say a lot, and what is 2 + 2?"])
async def test_value_that_nobody_said_is_refused(text: str) -> None:
    """This model invents nothing; another one of the chain may answer."""
    with pytest.raises(ContentRefused, match="only where it was told one") as caught:
        await generate(text, (), output_schema={**CITY, "additionalProperties": False, "required": ["name", "people"]})
    assert "fairlead init" == caught.value.next_step


def calculate(expression: str) -> str:
    """Does arithmetic.

    expression: what to compute
    """
    return {"17 * 23": "391"}[expression]


def weekday(date: str) -> str:
    """The day of the week of a date.

    date: as YYYY-MM-DD
    """
    return {"2027-03-01": "Monday"}[date]


async def test_app_answers_with_its_tools() -> None:
    """From the question to the answer along the one path."""
    async with fairlead.open(providers=[Rehearsal()], tools=[calculate, weekday]) as app:
        reply = await app.ask(ASKED)
        assert "17 * 23 = 391. 2027-03-01 is a Monday." == reply.text
        again = await app.ask("say it again, Sam", session=reply.session)
        assert "it again, Sam" == again.text


async def test_calls_of_another_model_are_not_taken_for_ours() -> None:
    """The first model of the chain called a tool and then failed: what was asked is still open."""
    other = ToolCall("toolu_1", "calculate", {"expression": "1"})
    result = ToolResult("toolu_1", "calculate", (Text("1"),))
    answer, _ = await generate("What is 2 + 2?", TOOLS, Message("assistant", (), calls=(other,)), result)
    assert [("calculate", {"expression": "2 + 2"})] == [(call.tool, call.arguments) for call in answer.calls]
