"""The request as it goes out: turns of the API, what is asked of the model, and nothing encoded twice."""

from __future__ import annotations

import json
from typing import Any

from fairlead import Data, File, Message, ModelRequest, Text, ToolCall, ToolResult
from fairlead_anthropic._wire import THINKING, Wire, is_closed, loosened, turn_start

HI = Message("user", (Text("hi"),))
HELLO = Message("assistant", (Text("hello"),))
CALL = Message("assistant", (), calls=(ToolCall("c", "add", {"a": 1}),))
RESULT = ToolResult("c", "add", (Text("1"),))


def a_wire(**options: Any) -> Wire:
    return Wire(**{"structured": "format", "prompt_cache": False, **options})


def sent(wire: Wire, *history: Any, max_output: int | None = None, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire.body(ModelRequest("m", history, session="s", **fields), max_output))
    return body


def test_growing_history_gives_the_same_as_a_new_one() -> None:
    """At each length, also where the user speaks between a result and the answer."""
    history = (HELLO, HI, CALL, RESULT, HI, HELLO, HI, HI, CALL, RESULT, HELLO, Message("assistant", ()), HI, HELLO) * 2
    wire = a_wire()
    for length in range(len(history) + 1):
        assert sent(a_wire(), *history[:length]) == sent(wire, *history[:length])


def test_roles_alternate() -> None:
    """Results and the words after them are one message, and so are two messages of one side."""
    roles = [message["role"] for message in sent(a_wire(), HI, HI, CALL, RESULT, HI, HELLO, HELLO, HI)["messages"]]
    assert ["user", "assistant", "user", "assistant", "user"] == roles


def test_turn_starts_where_its_message_starts() -> None:
    """The prefix ends between two messages of the API, before the thinking that is given back."""
    assert 0 == turn_start([])
    assert 0 == turn_start([HI, CALL, RESULT])
    assert 2 == turn_start([HI, HELLO, HI, CALL, RESULT])
    assert 2 == turn_start([HI, CALL, RESULT, HI, HELLO])


def test_thinking_goes_back_to_its_own_model_only() -> None:
    """Another model refuses it."""
    block = {"type": "thinking", "thinking": "Hmm", "signature": "x"}
    for model, expected in (("m", ["thinking", "tool_use"]), ("other", ["tool_use"])):
        said = Message("assistant", (Data({THINKING: [block], "model": model}),), calls=CALL.calls)
        content = sent(a_wire(), HI, said, RESULT)["messages"][1]["content"]
        assert expected == [part["type"] for part in content]


def test_limit_of_the_answer_is_always_sent() -> None:
    """The API wants one: the request's, the model's up to a bound, or one that every model can hold."""
    assert 5 == sent(a_wire(), HI, max_output_tokens=5)["max_tokens"]
    assert 32_000 == sent(a_wire(), HI, max_output=128_000)["max_tokens"]
    assert 4_096 == sent(a_wire(), HI, max_output=4_096)["max_tokens"]
    assert 8_192 == sent(a_wire(), HI)["max_tokens"]


def test_prompt_cache_is_asked_for_in_one_place() -> None:
    """The API then marks the last block by itself, so that the encoded messages stay as they are."""
    assert {"type": "ephemeral"} == sent(a_wire(prompt_cache=True), HI)["cache_control"]
    assert "cache_control" not in sent(a_wire(), HI)


def test_options_join_the_format_of_the_answer() -> None:
    """The effort and the format share a key."""
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    body = sent(a_wire(), HI, output_schema=schema, options={"output_config": {"effort": "low"}, "stream": False})
    assert {"effort": "low", "format": {"type": "json_schema", "schema": schema}} == body["output_config"]
    assert body["stream"]


def test_documents_have_a_place() -> None:
    """PDF and text; anything else is named in words."""
    parts = (File("a.pdf", "application/pdf", b"%PDF"), File("a.csv", "text/csv", b"1,2"), File("z", "x/zip", b"zip"))
    kinds = [block["type"] for block in sent(a_wire(), Message("user", parts))["messages"][0]["content"]]
    assert ["document", "document", "text"] == kinds


def test_schema_is_loosened_to_what_the_api_takes() -> None:
    """Limits go, names of properties stay, objects are closed."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"title": {"type": "string", "minLength": 1}, "n": {"enum": [1, 2], "default": 1}},
        "required": ["title"],
    }
    loose = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "n": {"enum": [1, 2]}},
        "required": ["title"],
        "additionalProperties": False,
    }
    assert loose == loosened(schema)


def test_schema_with_open_keys_is_found() -> None:
    """Structured output cannot express a map."""
    assert is_closed({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}})
    assert not is_closed({"type": "object", "properties": {"a": {"type": "object"}}})
    assert not is_closed({"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}})
