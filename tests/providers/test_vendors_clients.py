"""The fake servers speak the protocols: the vendors' own clients, which know nothing of us, can talk to them."""

from __future__ import annotations

import anthropic
import openai

from .fake_servers import Answer, Calls, Fails, Says, anthropic_server, openai_server

CALCULATE = Calls("calculate", {"expression": "17 * 23"})


def test_client_of_openai_streams_and_calls_tools() -> None:
    """Text, fragments of two parallel calls, usage, a whole answer and a refusal arrive as its types."""
    refused = Fails(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, {"retry-after": "7"})
    script: list[Answer] = [Says("Hel", "lo", calls=(CALCULATE, Calls("now"))), Says("whole"), refused]
    with openai_server(script) as base_url, openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        with client.chat.completions.stream(
            model="fake", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
        ) as stream:
            completion = stream.get_final_completion()
        whole = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hi"}])
        try:
            client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "hi"}])
        except openai.RateLimitError as error:
            limited = error
        models = [model.id for model in client.models.list()]
    message = completion.choices[0].message
    assert "Hello" == message.content
    calls = [call.function for call in message.tool_calls or ()]
    assert [("calculate", '{"expression": "17 * 23"}'), ("now", "{}")] == [
        (call.name, call.arguments) for call in calls
    ]
    assert completion.usage is not None
    assert (120, 7) == (completion.usage.prompt_tokens, completion.usage.completion_tokens)
    assert "whole" == whole.choices[0].message.content
    assert "rate_limit_exceeded" == limited.code
    assert ["fake-large", "fake-small"] == models


def test_client_of_anthropic_streams_and_calls_tools() -> None:
    """Thinking, text, two calls, usage, a whole answer and an overload arrive as its types."""
    overloaded = Fails(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    script: list[Answer] = [
        Says("Hel", "lo", calls=(CALCULATE, Calls("now")), reasoning=("Hm", "m")),
        Says("whole"),
        overloaded,
    ]
    with (
        anthropic_server(script) as base_url,
        anthropic.Anthropic(base_url=base_url, api_key="k", max_retries=0) as client,
    ):
        with client.messages.stream(
            model="fake", max_tokens=100, messages=[{"role": "user", "content": "hi"}]
        ) as stream:
            message = stream.get_final_message()
        whole = client.messages.create(model="fake", max_tokens=100, messages=[{"role": "user", "content": "hi"}])
        try:
            client.messages.create(model="fake", max_tokens=100, messages=[{"role": "user", "content": "hi"}])
        except anthropic.APIStatusError as error:
            failed = error
    kinds = [block.type for block in message.content]
    assert ["thinking", "text", "tool_use", "tool_use"] == kinds
    assert [{"expression": "17 * 23"}, {}] == [block.input for block in message.content if block.type == "tool_use"]
    assert (20, 100, 7) == (
        message.usage.input_tokens,
        message.usage.cache_read_input_tokens,
        message.usage.output_tokens,
    )
    assert "tool_use" == message.stop_reason
    assert ["whole"] == [block.text for block in whole.content if block.type == "text"]
    assert "overloaded_error" == failed.type
