"""Both providers: what a server says arrives whole, and what history says goes out right."""

from __future__ import annotations

import base64
import json
from typing import Any

from fairlead import Data, Image, Message, Settings, Text, ToolCall, ToolResult

from .fake_servers import Calls, Says, calculate_then_say
from .vendors import ANTHROPIC, CALCULATE, OPENAI, Vendor, question

SUM = Calls("calculate", {"expression": "17 * 23"})
PNG = b"\x89PNG fake"


async def test_text_arrives_in_pieces_that_make_the_answer(vendor: Vendor) -> None:
    """The joined pieces are the text of the answer; the model that answered is named."""
    with vendor.serve([Says("Hel", "lo ", "wörld \U0001f9ed")]) as url:
        asked = await vendor.ask(url)
    assert ["Hel", "lo ", "wörld \U0001f9ed"] == [delta.text for delta in asked.deltas]
    assert asked.streamed == asked.text
    assert ("stop", "fake-2026") == (asked.answer.finish, asked.answer.model)


async def test_usage_counts_what_was_cached(vendor: Vendor) -> None:
    """Cached tokens are a part of the input; without a price there is no cost."""
    with vendor.serve([Says("hi")]) as url:
        usage = (await vendor.ask(url)).answer.usage
    assert (120, 100, 7, None) == (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.cost)


async def test_cost_is_figured_from_configured_prices(vendor: Vendor) -> None:
    """20 fresh, 100 cached and 7 output tokens at 10, 1 and 100 dollars for a million."""
    prices = {"name": "fake", "input_price": 10, "cached_price": 1, "output_price": 100}
    with vendor.serve([Says("hi")]) as url:
        usage = (await vendor.ask(url, models=[prices])).answer.usage
    assert usage.cost is not None
    assert abs(0.001 - usage.cost) < 1e-9


async def test_tool_goes_round(vendor: Vendor) -> None:
    """A call in fragments arrives with its arguments decoded; with its result the model answers."""
    with vendor.serve(calculate_then_say) as url:
        first = await vendor.ask(url, question(tools=(CALCULATE,)))
        call = first.answer.calls[0]
        said = Message("assistant", first.answer.parts, calls=first.answer.calls)
        result = ToolResult(call.id, call.tool, (Text("391"),))
        hi = Message("user", (Text("hi"),))
        second = await vendor.ask(url, question(hi, said, result, tools=(CALCULATE,)))
    assert "tools" == first.answer.finish
    assert ("calculate", {"expression": "17 * 23"}) == (call.tool, call.arguments)
    assert "The result is 391." == second.text == second.streamed


async def test_parallel_calls_keep_their_fragments_apart(vendor: Vendor) -> None:
    """Two calls whose fragments are mixed, after some words."""
    other = Calls("calculate", {"expression": "1 + 1 + 1 + 1"})
    with vendor.serve([Says("Let me see.", calls=[SUM, other])]) as url:
        asked = await vendor.ask(url)
    assert [{"expression": "17 * 23"}, {"expression": "1 + 1 + 1 + 1"}] == [c.arguments for c in asked.answer.calls]
    assert 2 == len({call.id for call in asked.answer.calls})
    assert "Let me see." == asked.text == asked.streamed


async def test_bad_arguments_arrive_as_the_raw_text(vendor: Vendor) -> None:
    """Broken JSON, JSON that is no object, and JSON that only a lenient reader takes; nothing means no arguments."""
    texts = ['{"expression": ', "[1, 2]", '{"a": NaN}', '{"a": 1, "a": 2}', "  "]
    with vendor.serve([Says(calls=[Calls("calculate", text) for text in texts])]) as url:
        calls = (await vendor.ask(url)).answer.calls
    assert texts[:4] == [call.arguments for call in calls[:4]]
    assert {} == calls[4].arguments


async def test_empty_answer_is_returned_as_it_is(vendor: Vendor) -> None:
    """The core decides what to do about it."""
    with vendor.serve([Says()]) as url:
        answer = (await vendor.ask(url)).answer
    assert ((), (), "stop") == (answer.parts, answer.calls, answer.finish)


async def test_reply_without_a_stream_is_taken_whole(vendor: Vendor) -> None:
    """Some servers ignore that a stream was asked for."""
    with vendor.serve([Says("all at once", calls=[SUM], whole=True)]) as url:
        asked = await vendor.ask(url)
    assert "all at once" == asked.text == asked.streamed
    assert {"expression": "17 * 23"} == asked.answer.calls[0].arguments
    assert 120 == asked.answer.usage.input_tokens


async def test_missing_usage_is_nothing(vendor: Vendor) -> None:
    """Local servers leave it out."""
    with vendor.serve([Says("hi", usage=None)]) as url:
        usage = (await vendor.ask(url)).answer.usage
    assert (0, 0, None) == (usage.input_tokens, usage.output_tokens, usage.cost)


async def test_reasoning_is_shown_and_is_no_part_of_the_text(vendor: Vendor) -> None:
    """Deltas of their own kind."""
    with vendor.serve([Says("Yes.", reasoning=["Hm", "m."])]) as url:
        asked = await vendor.ask(url)
    assert "Hmm." == "".join(delta.text for delta in asked.deltas if delta.kind == "reasoning")
    assert "Yes." == asked.text == asked.streamed
    assert 1 == len(asked.answer.parts)


async def test_reasoning_goes_back_with_the_results_of_its_calls(vendor: Vendor) -> None:
    """The servers refuse the results without it; a later turn goes without."""
    with vendor.serve([Says(calls=[SUM], reasoning=["Hmm."]), Says("391"), Says("bye")]) as url:
        first = (await vendor.ask(url)).answer
        hi = Message("user", (Text("hi"),))
        said = Message("assistant", first.parts, calls=first.calls)
        history = (hi, said, ToolResult(first.calls[0].id, "calculate", (Text("391"),)))
        await vendor.ask(url, question(*history))
        await vendor.ask(url, question(*history, Message("assistant", (Text("391"),)), hi))
        during, after = (json.dumps(request["messages"]) for request in url.requests[1:])
    assert "Hmm." in during
    assert "Hmm." not in after
    assert [Data] == [type(part) for part in first.parts]


async def test_length_and_refusal_are_told_apart(vendor: Vendor) -> None:
    """An answer that was cut off, and one that the provider's filter stopped."""
    cut, stopped = ("length", "content_filter") if vendor is OPENAI else ("max_tokens", "refusal")
    with vendor.serve([Says("I was", finish=cut), Says("I", finish=stopped)]) as url:
        finishes = [(await vendor.ask(url)).answer.finish for _ in range(2)]
    assert ["length", "refused"] == finishes


async def test_history_is_sent_in_the_words_of_the_protocol(vendor: Vendor) -> None:
    """Instructions, pictures, calls, results with an error, and the ids of another provider."""
    image = Image("image/png", PNG)
    call = ToolCall("an id: of somebody else's", "calculate", "{broken")
    history = (
        Message("user", (Text("look"), image)),
        Message("assistant", (Text("I try"),), calls=(call,)),
        ToolResult(call.id, "calculate", (Text("expected JSON"),), error="invalid"),
        Message("user", (Text("go on"),)),
    )
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(
            url, question(*history, instructions="Be brief.", max_output_tokens=50, options={"top_p": 0.5})
        )
        sent = url.requests[0]
    assert (0.5, 50) == (sent["top_p"], sent["max_tokens"])
    checks = {"openai": check_openai, "anthropic": check_anthropic}
    checks[vendor.name](sent)


def check_openai(sent: dict[str, Any]) -> None:
    system, user, assistant, tool, last = sent["messages"]
    assert {"role": "system", "content": "Be brief."} == system
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}] == user["content"]
    sent_call = assistant["tool_calls"][0]
    assert {"invalid_arguments": "{broken"} == json.loads(sent_call["function"]["arguments"])
    assert sent_call["id"] == tool["tool_call_id"]
    assert "error (invalid): expected JSON" == tool["content"]
    assert {"role": "user", "content": "go on"} == last


def check_anthropic(sent: dict[str, Any]) -> None:
    user, assistant, results = sent["messages"]
    assert "Be brief." == sent["system"]
    data = base64.b64encode(PNG).decode()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    assert [{"type": "text", "text": "look"}, picture] == user["content"]
    call = assistant["content"][1]
    assert ("tool_use", {"invalid_arguments": "{broken"}) == (call["type"], call["input"])
    result, last = results["content"]
    assert (call["id"], True) == (result["tool_use_id"], result["is_error"])
    assert {"type": "text", "text": "go on"} == last


async def test_tools_are_offered_with_their_schemas(vendor: Vendor) -> None:
    """Name, description and parameters."""
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, question(tools=(CALCULATE,)))
        tool = url.requests[0]["tools"][0]
    tool = tool["function"] if vendor is OPENAI else tool
    parameters = tool["parameters"] if vendor is OPENAI else tool["input_schema"]
    assert ("calculate", "Calculates.") == (tool["name"], tool["description"])
    assert CALCULATE.parameters == parameters


async def test_structured_answer_is_asked_for_by_schema(vendor: Vendor) -> None:
    """In the place that each protocol has for it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
    with vendor.serve([Says('{"n": 1}')]) as url:
        asked = await vendor.ask(url, question(output_schema=schema))
        sent = url.requests[0]
    assert '{"n": 1}' == asked.text
    if vendor is OPENAI:
        wanted = {"name": "answer", "schema": schema, "strict": False}
        assert {"type": "json_schema", "json_schema": wanted} == sent["response_format"]
    else:
        loose = {**schema, "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
        assert {"format": {"type": "json_schema", "schema": loose}} == sent["output_config"]


async def test_structured_answer_by_a_forced_tool() -> None:
    """For servers that know no schema of the answer: the arguments of the tool are the answer."""
    schema = {"type": "array", "items": {"type": "integer"}}
    call = Calls("give_answer", {"answer": [1, 2]})
    with ANTHROPIC.serve([Says("Here:", calls=[call]), Says("[3]")]) as url:
        forced = await ANTHROPIC.ask(url, question(output_schema=schema), structured="tool")
        unforced = await ANTHROPIC.ask(url, question(output_schema=schema), structured="tool")
        sent = url.requests[0]
    assert {"type": "tool", "name": "give_answer"} == sent["tool_choice"]
    assert ("[1, 2]", (), "stop") == (forced.text, forced.answer.calls, forced.answer.finish)
    assert forced.text == forced.streamed
    assert "[3]" == unforced.text == unforced.streamed


async def test_open_schema_is_asked_for_in_the_instructions() -> None:
    """A map of any keys is beyond the structured output of the Messages API."""
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    with ANTHROPIC.serve([Says('{"a": 1}')]) as url:
        await ANTHROPIC.ask(url, question(output_schema=schema, instructions="Be brief."))
        sent = url.requests[0]
    assert "output_config" not in sent
    assert "Be brief." in sent["system"]
    assert json.dumps(schema, separators=(",", ":")) in sent["system"]


async def test_other_servers_habits_are_taken() -> None:
    """No ids of calls, no indexes of fragments, no mark of the end."""
    calls = [SUM, Calls("now")]
    script = [
        Says(calls=calls, quirks=["no_ids"]),
        Says(calls=[Calls("now", id="a"), Calls("now", id="b")], quirks=["no_index"]),
        Says(calls=[Calls("now", id="same"), Calls("now", id="same")]),
    ]
    with OPENAI.serve(script) as url:
        answers = [(await OPENAI.ask(url)).answer for _ in script]
    assert [2, 2, 2] == [len({call.id for call in answer.calls}) for answer in answers]
    assert all(call.id for answer in answers for call in answer.calls)
    assert {"expression": "17 * 23"} == answers[0].calls[0].arguments


async def test_events_of_kinds_not_known_are_left_out() -> None:
    """The API announces that it will add some."""
    with ANTHROPIC.serve([Says("hi", quirks=["extras"])]) as url:
        assert "hi" == (await ANTHROPIC.ask(url)).text


async def test_pictures_in_results_are_shown(vendor: Vendor) -> None:
    """Chat Completions takes words only from a tool, so the picture follows as a message of its own."""
    call = ToolCall("call_1", "look", {})
    result = ToolResult("call_1", "look", (Text("a picture"), Image("image/png", PNG)))
    hi = Message("user", (Text("hi"),))
    with vendor.serve([Says("nice")]) as url:
        await vendor.ask(url, question(hi, Message("assistant", (), calls=(call,)), result))
        sent = json.dumps(url.requests[0]["messages"][2:])
    assert base64.b64encode(PNG).decode() in sent


async def test_history_that_begins_with_the_model_is_sent(vendor: Vendor) -> None:
    """A history that was cut; empty messages, which the API refuses, are left out."""
    history = (Message("assistant", (Text("earlier"),)), Message("assistant", ()), Message("user", (Text("hi"),)))
    with vendor.serve([Says("ok")]) as url:
        await vendor.ask(url, question(*history))
        roles = [message["role"] for message in url.requests[0]["messages"]]
    assert (["assistant", "assistant", "user"] if vendor is OPENAI else ["user", "assistant", "user"]) == roles


async def test_model_servers_list_their_models(vendor: Vendor) -> None:
    """A server that is not the vendor's is asked for its models, with their windows; configured ones stand first."""
    with vendor.serve([]) as url:
        async with vendor.opened(url, models=[{"name": "mine", "window": 10}]) as provider:
            found = await provider.models()
    assert [("mine", 10), ("fake-large", 4096), ("fake-small", 4096)] == [(info.name, info.window) for info in found]


async def test_the_vendors_own_models_are_known(vendor: Vendor) -> None:
    """Without asking anybody: with windows and prices, and overruled by the configuration."""
    official = vendor.make(vendor_settings(vendor))
    name = (await official.models())[0].name
    overruled = await vendor.make(vendor_settings(vendor, models=[{"name": name, "window": 5}])).models()
    assert all(info.window and info.input_price and info.output_price for info in await official.models())
    assert (name, 5) == (overruled[0].name, overruled[0].window)


def vendor_settings(vendor: Vendor, **options: Any) -> Settings:
    return Settings(vendor.name, options)
