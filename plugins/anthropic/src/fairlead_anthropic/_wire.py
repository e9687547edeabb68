"""A request as the Messages API wants it (https://platform.claude.com/docs/en/api/messages)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from fairlead import Data, File, Image, Message, ModelRequest, ToolCall, ToolResult, ToolSpec
from fairlead_anthropic._encoded import (
    Buffer,
    Encoded,
    Item,
    Prefixes,
    arguments_of,
    call_id,
    dumps,
    is_text,
    with_commas,
    words_of,
)

__all__ = ["ANSWER_TOOL", "THINKING", "Wire"]

THINKING = "anthropic.thinking"
"""The key of the `Data` part in which an answer with calls keeps its thinking: the results of those calls are refused
without it (https://platform.claude.com/docs/en/build-with-claude/thinking-tool-workflows)."""
ANSWER_TOOL = "give_answer"
"""The tool by which a model gives a structured answer, where the option `structured` is ``tool``."""
OURS = frozenset({"model", "messages", "stream"})
"""What the options of a request cannot change."""
DEFAULT_MAX_TOKENS = 8_192
"""The protocol wants a limit; this one every model and most local windows can hold."""
KNOWN_MAX_TOKENS = 32_000
"""For models whose limit is known: thinking counts too."""
# Keywords that the structured output of the API refuses; the core checks them in the answer.
UNSUPPORTED = {
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("maxItems", "uniqueItems", "minProperties", "maxProperties", "$schema", "$id", "title", "default", "examples"),
}


class Wire:
    """The encoder of one provider, with what it has encoded already."""

    def __init__(self, *, structured: str, prompt_cache: bool) -> None:
        self._structured = structured
        self._prompt_cache = prompt_cache
        self._item: Encoded[Item] = Encoded(_encode_item)
        self._tool: Encoded[ToolSpec] = Encoded(_encode_tool)
        self._prefix = Prefixes(lambda items, first: b",".join(self._turns(items, {}, first=first)))

    def by_tool(self, request: ModelRequest) -> bool:
        """Whether the answer comes as the arguments of `ANSWER_TOOL`."""
        return request.output_schema is not None and self._structured == "tool"

    def body(self, request: ModelRequest, max_output: int | None) -> bytes:
        """The whole request; `max_output` is the model's limit. What is old in it is joined, not encoded."""
        head = dumps(self._settings(request, max_output))
        tools = [self._tool(tool) for tool in request.tools]
        if self.by_tool(request):
            tools.append(dumps(_answer_tool(request.output_schema)))
        parts = [head[:-1], b',"messages":[', *with_commas(self._messages(request)), b"]"]
        if tools:
            parts += [b',"tools":[', b",".join(tools), b"]"]
        return b"".join([*parts, b"}"])

    def _messages(self, request: ModelRequest) -> Iterator[Buffer]:
        items = list(request.history)
        start = turn_start(items)
        if prefix := self._prefix(request.session, items[:start]):
            yield prefix
        rest = items[start:]
        yield from self._turns(rest, _thinking(rest, request.model), first=not prefix)

    def _turns(self, items: list[Item], thinking: Mapping[int, bytes], *, first: bool) -> Iterator[bytes]:
        """Items as messages of the API: results and the words after them are one message of the user."""
        for assistant, group in groupby(items, _is_assistant):
            joined = b",".join(block for item in group if (block := thinking.get(id(item), b"") + self._item(item)))
            if not joined:
                continue
            if first and assistant:
                # The API wants the user's words first; a history that was cut may begin with the model's.
                yield dumps({"role": "user", "content": "(The beginning of the conversation is left out.)"})
            first = False
            role = b"assistant" if assistant else b"user"
            yield b'{"role":"' + role + b'","content":[' + joined + b"]}"

    def _settings(self, request: ModelRequest, max_output: int | None) -> dict[str, Any]:
        """Everything but the messages and the tools."""
        default = DEFAULT_MAX_TOKENS if max_output is None else min(max_output, KNOWN_MAX_TOKENS)
        settings: dict[str, Any] = {
            "model": request.model,
            "stream": True,
            "max_tokens": default if request.max_output_tokens is None else request.max_output_tokens,
        }
        if self._prompt_cache:
            settings["cache_control"] = {"type": "ephemeral"}
        instructions = request.instructions
        if request.output_schema is not None:
            instructions = self._ask_for(request.output_schema, request, settings)
        if instructions:
            settings["system"] = instructions
        for key, value in request.options.items():
            if key == "output_config" and key in settings:
                settings[key] = {**value, **settings[key]}
            elif key not in OURS:
                settings[key] = value
        return settings

    def _ask_for(self, schema: Mapping[str, Any], request: ModelRequest, settings: dict[str, Any]) -> str:
        """Ask for an answer of a schema, in the settings or in the instructions, which are returned."""
        if self._structured == "tool":
            forced = {"type": "any"} if request.tools else {"type": "tool", "name": ANSWER_TOOL}
            settings["tool_choice"] = forced
        elif self._structured == "format" and is_closed(schema):
            settings["output_config"] = {"format": {"type": "json_schema", "schema": loosened(schema)}}
        else:
            text = dumps(schema).decode("utf-8")
            ask = f"Answer with one JSON value and nothing else. It must match this JSON Schema: {text}"
            return f"{request.instructions}\n\n{ask}".strip()
        return request.instructions


def is_closed(schema: Any) -> bool:
    """Whether each object has fixed keys: the API's structured output knows no other."""
    if isinstance(schema, list | tuple):
        return all(is_closed(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    is_map = schema.get("type") == "object" and "properties" not in schema
    if is_map or schema.get("additionalProperties", False) is not False:
        return False
    return all(is_closed(value) for value in schema.values())


def loosened(schema: Any) -> Any:
    """The schema without what structured output refuses; objects are closed, as it wants them.

    https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
    """
    if isinstance(schema, list | tuple):
        return [loosened(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            made[key] = {name: loosened(inner) for name, inner in value.items()}
        elif key in ("enum", "const", "required"):
            made[key] = value
        elif key not in UNSUPPORTED and not (key == "minItems" and value not in (0, 1)):
            made[key] = loosened(value)
    if "properties" in made or made.get("type") == "object":
        made["additionalProperties"] = False
    return made


# -- one message, one result, one tool


def _is_assistant(item: Item) -> bool:
    return isinstance(item, Message) and item.role == "assistant"


def _encode_tool(tool: ToolSpec) -> bytes:
    return dumps({"name": tool.name, "description": tool.description, "input_schema": tool.parameters})


def _answer_tool(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """The tool takes the answer under one key, since an answer need not be an object."""
    parameters = {"type": "object", "properties": {"answer": schema}, "required": ["answer"]}
    return {"name": ANSWER_TOOL, "description": "Give the final answer.", "input_schema": parameters}


def _encode_item(item: Item) -> bytes:
    """The blocks of a message or a result, joined with commas; nothing for one that is empty."""
    if isinstance(item, ToolResult):
        return dumps(_result(item))
    if item.role == "user":
        blocks = [_content(part) for part in item.parts]
    else:
        blocks = [{"type": "text", "text": item.text}, *(_call(call) for call in item.calls)]
    # The API refuses text without a letter.
    return b",".join(dumps(block) for block in blocks if block["type"] != "text" or block["text"].strip())


def _result(result: ToolResult) -> dict[str, Any]:
    blocks = [_content(part) for part in result.parts]
    block: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": call_id(result.call),
        "content": [block for block in blocks if block["type"] != "text" or block["text"].strip()],
    }
    if result.error:
        block["is_error"] = True
        block["content"].insert(0, {"type": "text", "text": f"error: {result.error}"})
    return block


def _call(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id(call.id), "name": call.tool, "input": arguments_of(call.arguments)}


def _content(part: Any) -> dict[str, Any]:
    if isinstance(part, Image) and (part.url or part.data is not None):
        return {"type": "image", "source": _source(part)}
    if isinstance(part, File) and part.media_type == "application/pdf" and (part.url or part.data is not None):
        return {"type": "document", "title": part.name, "source": _source(part)}
    if isinstance(part, File) and part.data is not None and is_text(part.media_type):
        text = part.data.decode("utf-8", "replace")
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "title": part.name, "source": source}
    return {"type": "text", "text": words_of(part)}


def _source(part: Image | File) -> dict[str, Any]:
    if part.url:
        return {"type": "url", "url": part.url}
    data = base64.b64encode(part.data or b"").decode("ascii")
    return {"type": "base64", "media_type": part.media_type, "data": data}


# -- what depends on the place in the history


def turn_start(items: list[Item]) -> int:
    """Where the message of the API begins that holds the user's newest words; 0 where there are none."""
    at = len(items) - 1
    while at > 0 and (isinstance(items[at], ToolResult) or _is_assistant(items[at])):
        at -= 1
    while at > 0 and not _is_assistant(items[at - 1]):
        at -= 1
    return max(at, 0)


def _thinking(items: list[Item], model: str) -> dict[int, bytes]:
    """The thinking to give back, by the id of its message: of the answers whose calls are being done now.

    It is bound to its model, and with the newest ones to all that stood before it, so older turns go without.
    """
    found = {}
    for item in reversed(items):
        if isinstance(item, ToolResult):
            continue
        if item.role == "user":
            break
        for part in item.parts:
            if isinstance(part, Data) and isinstance(part.value, dict) and part.value.get("model") == model:
                found[id(item)] = b"".join(dumps(block) + b"," for block in part.value.get(THINKING, ()))
    return found
