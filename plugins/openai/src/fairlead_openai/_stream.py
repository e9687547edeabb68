"""An answer of Chat Completions, put together from its pieces.

https://platform.openai.com/docs/api-reference/chat-streaming; what other servers do differently stands where it is met.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from attrs import define, field

from fairlead import Data, Delta, ModelAnswer, ModelRequest, Text, ToolCall, Usage
from fairlead.errors import SchemaError
from fairlead.types import Emit
from fairlead.wire import loads
from fairlead_openai._encoded import clean, count
from fairlead_openai._http import Unreadable
from fairlead_openai._wire import REASONING

__all__ = ["Answer", "ServerError"]

FINISH: dict[str, Literal["stop", "tools", "length", "refused"]] = {
    "stop": "stop",
    "tool_calls": "tools",
    "function_call": "tools",
    "length": "length",
    "content_filter": "refused",
}


class ServerError(Exception):
    """The server says inside a reply of status 200 that it failed."""

    def __init__(self, error: Any) -> None:
        super().__init__("the server reports an error inside its answer")
        self.error = error


@define
class _Call:
    """A call that still grows."""

    id: str = ""
    name: str = ""
    index: int | None = None
    pieces: list[str] = field(factory=list)


@define
class Answer:
    """An answer that still grows."""

    request: ModelRequest
    emit: Emit
    began: bool = False
    """Something was emitted."""
    done: bool = False
    """The server said that nothing more will come."""
    text: list[str] = field(factory=list)
    reasoning: list[str] = field(factory=list)
    calls: list[_Call] = field(factory=list)
    usage: Usage = Usage()
    finish: str = ""
    refused: bool = False
    model: str = ""

    @property
    def complete(self) -> bool:
        """It has its end: some servers leave out ``[DONE]``, some the reason."""
        return self.done or bool(self.finish)

    async def take(self, data: bytes) -> None:
        """One event. `Unreadable`: it is no JSON object; `ServerError`: it is an error."""
        if data.strip() == b"[DONE]":
            self.done = True
            return
        chunk = parse_object(data)
        self._common(chunk)
        for choice in _objects(chunk.get("choices")):
            await self._grow(choice, choice.get("delta"))

    async def take_whole(self, data: bytes) -> None:
        """A reply that is no stream: some servers ignore ``stream``."""
        reply = parse_object(data)
        self._common(reply)
        for choice in _objects(reply.get("choices"))[:1]:
            await self._grow(choice, choice.get("message"))
        self.done = bool(reply.get("choices"))

    def result(self) -> ModelAnswer:
        """The whole answer, as far as it came."""
        parts: list[Text | Data] = [Text(text)] if (text := "".join(self.text)) else []
        calls = self._finished_calls()
        if calls and self.reasoning:
            parts.append(Data({REASONING: "".join(self.reasoning)}))
        finish = FINISH.get(self.finish, "stop")
        if self.refused:
            finish = "refused"
        elif calls and finish == "stop":
            finish = "tools"
        return ModelAnswer(tuple(parts), calls, self.usage, finish, self.model)

    def _common(self, chunk: dict[str, Any]) -> None:
        if chunk.get("error"):
            raise ServerError(chunk["error"])
        self.model = clean(chunk.get("model")) or self.model
        if isinstance(chunk.get("usage"), dict):
            self.usage = usage_of(chunk["usage"])

    async def _grow(self, choice: dict[str, Any], delta: Any) -> None:
        if isinstance(delta, dict):
            # `reasoning_content`: DeepSeek, vLLM, llama.cpp; `reasoning`: OpenRouter, Groq, Ollama.
            await self._say(delta.get("reasoning_content") or delta.get("reasoning"), "reasoning", self.reasoning)
            await self._say(_words(delta.get("content")), "text", self.text)
            if delta.get("refusal"):
                self.refused = True
                await self._say(delta["refusal"], "text", self.text)
            for piece in _objects(delta.get("tool_calls")):
                self._grow_call(piece)
        self.finish = clean(choice.get("finish_reason")) or self.finish

    async def _say(self, text: Any, kind: Literal["text", "reasoning"], pieces: list[str]) -> None:
        if words := clean(text):
            pieces.append(words)
            self.began = True
            await self.emit(Delta(words, kind))

    def _grow_call(self, piece: dict[str, Any]) -> None:
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        call = self._call_of(piece)
        call.id = call.id or clean(piece.get("id"))[:200]
        # Some servers repeat the name in each piece.
        call.name = call.name or clean(function.get("name"))
        arguments = function.get("arguments")
        call.pieces.append(json.dumps(arguments) if isinstance(arguments, dict) else clean(arguments))

    def _call_of(self, piece: dict[str, Any]) -> _Call:
        """The call that a piece belongs to: by its index, or, where a server sends none or always 0, by a new id."""
        index, named = piece.get("index"), clean(piece.get("id"))[:200]
        same = [call for call in self.calls if call.index == index] if isinstance(index, int) else self.calls[-1:]
        if same and (not named or same[-1].id in ("", named)):
            return same[-1]
        self.calls.append(_Call(index=index if isinstance(index, int) else None))
        return self.calls[-1]

    def _finished_calls(self) -> tuple[ToolCall, ...]:
        made, seen = [], set[str]()
        for number, call in enumerate(self.calls):
            # Two calls of one id could not be told apart; Ollama once sent none at all.
            name = call.id if call.id and call.id not in seen else f"call_{self.request.id}_{number}"
            seen.add(name)
            made.append(ToolCall(name, call.name, parse_arguments("".join(call.pieces))))
        return tuple(made)


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object of the protocol. `Unreadable`: it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unreadable(f"found {data[:80]!r}, expected a JSON object")
    return value


def parse_arguments(text: str) -> Any:
    """The arguments of a call: a JSON object, or the raw text where it is none. Nothing stands for no arguments."""
    if not text.strip():
        return {}
    try:
        value = loads(text)
    except SchemaError:
        return text
    return value if isinstance(value, dict) else text


def usage_of(usage: dict[str, Any]) -> Usage:
    """Tokens as the server counts them; DeepSeek names the cached ones differently."""
    details = usage.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Usage(
        input_tokens=count(usage.get("prompt_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        cached_tokens=cached or count(usage.get("prompt_cache_hit_tokens")),
    )


def _words(content: Any) -> str:
    """The words of a content: a string, or with Mistral a list of parts."""
    if isinstance(content, list):
        return "".join(clean(part.get("text")) for part in _objects(content))
    return clean(content)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
