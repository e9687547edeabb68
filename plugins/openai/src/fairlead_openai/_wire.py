"""A request as Chat Completions wants it (https://platform.openai.com/docs/api-reference/chat/create)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairlead import Data, File, Image, Message, ModelRequest, Text, ToolCall, ToolResult, ToolSpec
from fairlead_openai._encoded import (
    Buffer,
    Encoded,
    Item,
    Prefixes,
    arguments_of,
    call_id,
    data_url,
    dumps,
    with_commas,
    words_of,
)

__all__ = ["REASONING", "Wire"]

REASONING = "openai.reasoning_content"
"""The key of the `Data` part in which an answer with calls keeps its reasoning: DeepSeek refuses the results of those
calls without it (https://api-docs.deepseek.com/guides/thinking_mode)."""
OURS = frozenset({"model", "messages", "stream"})
"""What the options of a request cannot change."""


class Wire:
    """The encoder of one provider, with what it has encoded already."""

    def __init__(self, *, official: bool, stream_usage: bool) -> None:
        self._official = official
        self._stream_usage = stream_usage
        self._item: Encoded[Item] = Encoded(_encode_item)
        self._tool: Encoded[ToolSpec] = Encoded(_encode_tool)
        self._prefix = Prefixes(lambda items, _: b",".join(map(self._item, items)))

    def body(self, request: ModelRequest) -> bytes:
        """The whole request. What is old in it is joined, not encoded."""
        parts = [dumps(self._settings(request))[:-1], b',"messages":[', *with_commas(self._messages(request)), b"]"]
        if request.tools:
            parts += [b',"tools":[', b",".join(map(self._tool, request.tools)), b"]"]
        return b"".join([*parts, b"}"])

    def _messages(self, request: ModelRequest) -> Iterator[Buffer]:
        if request.instructions:
            yield dumps({"role": "system", "content": request.instructions})
        items = list(request.history)
        start = turn_start(items)
        if prefix := self._prefix(request.session, items[:start]):
            yield prefix
        for item in items[start:]:
            yield self._item(item) if isinstance(item, ToolResult) else _with_reasoning(item, self._item(item))
        if pictures := _pictures(items):
            yield dumps({"role": "user", "content": pictures})

    def _settings(self, request: ModelRequest) -> dict[str, Any]:
        """Everything but the messages and the tools."""
        settings: dict[str, Any] = {"model": request.model, "stream": True}
        if self._stream_usage:
            settings["stream_options"] = {"include_usage": True}
        if request.max_output_tokens is not None:
            # The newer models refuse `max_tokens`, and older servers know nothing else.
            name = "max_completion_tokens" if self._official else "max_tokens"
            settings[name] = request.max_output_tokens
        if request.output_schema is not None:
            schema = {"name": "answer", "schema": request.output_schema, "strict": is_strict(request.output_schema)}
            settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        settings.update((key, value) for key, value in request.options.items() if key not in OURS)
        return settings


def is_strict(schema: Any) -> bool:
    """Whether the strict mode takes a schema: each object closed and all its properties required.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas. Without the mode the core's own check
    of the answer decides.
    """
    if isinstance(schema, list | tuple):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if "properties" in schema or schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(schema.get("properties", ())):
            return False
    return all(is_strict(value) for value in schema.values())


# -- one message, one result, one tool


def _encode_tool(tool: ToolSpec) -> bytes:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return dumps({"type": "function", "function": function})


def _encode_item(item: Item) -> bytes:
    if isinstance(item, ToolResult):
        text = "\n".join(words_of(part) for part in item.parts)
        content = f"error ({item.error}): {text}" if item.error else text
        return dumps({"role": "tool", "tool_call_id": call_id(item.call), "content": content})
    return dumps(_user(item) if item.role == "user" else _assistant(item))


def _user(message: Message) -> dict[str, Any]:
    # Servers without pictures take the content as one string only.
    if all(isinstance(part, Text) for part in message.parts):
        return {"role": "user", "content": message.text}
    return {"role": "user", "content": [_content(part) for part in message.parts]}


def _content(part: Any) -> dict[str, Any]:
    if isinstance(part, Image) and (part.url or part.data is not None):
        return {"type": "image_url", "image_url": {"url": part.url or data_url(part.media_type, part.data or b"")}}
    if isinstance(part, File) and part.data is not None and part.media_type == "application/pdf":
        return {"type": "file", "file": {"filename": part.name, "file_data": data_url(part.media_type, part.data)}}
    return {"type": "text", "text": words_of(part)}


def _assistant(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": "assistant", "content": message.text}
    if message.calls:
        encoded["content"] = message.text or None
        encoded["tool_calls"] = [_call(call) for call in message.calls]
    return encoded


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = dumps(arguments_of(call.arguments)).decode("utf-8")
    return {"id": call_id(call.id), "type": "function", "function": {"name": call.tool, "arguments": arguments}}


# -- what depends on the place in the history


def turn_start(items: list[Item]) -> int:
    """Where the newest message of the user stands; 0 where there is none."""
    for at in range(len(items) - 1, -1, -1):
        item = items[at]
        if isinstance(item, Message) and item.role == "user":
            return at
    return 0


def _with_reasoning(message: Message, encoded: bytes) -> bytes:
    """Give back the reasoning of an answer whose calls are being done now; those of older turns go without."""
    for part in message.parts:
        if isinstance(part, Data) and isinstance(part.value, dict) and REASONING in part.value:
            return encoded[:-1] + b',"reasoning_content":' + dumps(part.value[REASONING]) + b"}"
    return encoded


def _pictures(items: list[Item]) -> list[dict[str, Any]]:
    """The pictures of the newest results: a `tool` message has words only, so they follow as a user's message."""
    pictures: list[dict[str, Any]] = []
    for item in reversed(items):
        if not isinstance(item, ToolResult):
            break
        pictures[:0] = [_content(part) for part in item.parts if isinstance(part, Image)]
    note = {"type": "text", "text": "The pictures of the results above:"}
    return [note, *pictures] if pictures else []
