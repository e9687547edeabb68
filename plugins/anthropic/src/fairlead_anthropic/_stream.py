"""An answer of the Messages API, put together from its events.

https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from __future__ import annotations

import json
from typing import Any, Literal

from attrs import define, field

from fairlead import Data, Delta, ModelAnswer, ModelRequest, Text, ToolCall
from fairlead.errors import SchemaError
from fairlead.types import Emit
from fairlead.wire import loads
from fairlead_anthropic._encoded import clean, count
from fairlead_anthropic._http import Unreadable
from fairlead_anthropic._models import Tokens
from fairlead_anthropic._wire import ANSWER_TOOL, THINKING

__all__ = ["Answer", "ServerError"]

FINISH: dict[str, Literal["stop", "tools", "length", "refused"]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tools",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refused",
}


class ServerError(Exception):
    """The server says inside a reply of status 200 that it failed."""

    def __init__(self, error: Any) -> None:
        super().__init__("the server reports an error inside its answer")
        self.error = error


@define
class _Block:
    """A block that still grows."""

    kind: str
    start: dict[str, Any]
    pieces: list[str] = field(factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@define
class Answer:
    """An answer that still grows."""

    request: ModelRequest
    emit: Emit
    by_tool: bool = False
    """The answer comes as the arguments of `ANSWER_TOOL`."""
    began: bool = False
    """Something was emitted."""
    done: bool = False
    """The server said that nothing more will come."""
    blocks: dict[int, _Block] = field(factory=dict)
    text: list[str] = field(factory=list)
    tokens: Tokens = field(factory=Tokens)
    finish: str = ""
    model: str = ""

    @property
    def complete(self) -> bool:
        return self.done or bool(self.finish)

    async def take(self, data: bytes) -> None:
        """One event. `Unreadable`: it is no JSON object; `ServerError`: it is an error.

        Events of kinds that are not known are left out, as the API asks of its clients.
        """
        event = parse_object(data)
        match event.get("type"):
            case "message_start":
                message = _object(event.get("message"))
                self.model = clean(message.get("model")) or self.model
                self._count(message.get("usage"))
            case "content_block_start":
                await self._start(count(event.get("index")), _object(event.get("content_block")))
            case "content_block_delta":
                await self._grow(self.blocks.get(count(event.get("index"))), _object(event.get("delta")))
            case "message_delta":
                self.finish = clean(_object(event.get("delta")).get("stop_reason")) or self.finish
                self._count(event.get("usage"))
            case "message_stop":
                self.done = True
            case "error":
                raise ServerError(event.get("error"))

    async def take_whole(self, data: bytes) -> None:
        """A reply that is no stream: some servers ignore ``stream``."""
        reply = parse_object(data)
        if reply.get("type") == "error" or "error" in reply:
            raise ServerError(reply.get("error"))
        self.model = clean(reply.get("model"))
        self._count(reply.get("usage"))
        content = reply.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            await self._start(index, _object(block))
        self.finish = clean(reply.get("stop_reason"))
        self.done = reply.get("type") == "message"

    async def finish_up(self) -> None:
        """Emit what was held back in waiting for the tool that gives the answer; call it once, at the end."""
        if self.by_tool:
            answers = [block for block in self.blocks.values() if _gives_answer(block)]
            held = [_answer_of(answers[0])] if answers else [b.text for b in self.blocks.values() if b.kind == "text"]
            self.by_tool = False
            await self._say("".join(held), "text")

    def result(self) -> ModelAnswer:
        """The whole answer, as far as it came; its usage stands in `tokens`."""
        text = "".join(self.text)
        parts: list[Text | Data] = [Text(text)] if text else []
        calls = self._calls()
        if calls and (thinking := self._thinking()):
            parts.append(Data({THINKING: thinking, "model": self.request.model}))
        finish = FINISH.get(self.finish, "stop")
        if finish in ("stop", "tools"):
            finish = "tools" if calls else "stop"
        return ModelAnswer(tuple(parts), calls, finish=finish, model=self.model)

    async def _start(self, index: int, start: dict[str, Any]) -> None:
        block = self.blocks[index] = _Block(clean(start.get("type")), start)
        await self._add(block, start.get("text") if block.kind == "text" else start.get("thinking"))
        block.signature = clean(start.get("signature"))

    async def _grow(self, block: _Block | None, delta: dict[str, Any]) -> None:
        if block is None:
            return
        match delta.get("type"):
            case "text_delta":
                await self._add(block, delta.get("text"))
            case "thinking_delta":
                await self._add(block, delta.get("thinking"))
            case "input_json_delta":
                block.pieces.append(clean(delta.get("partial_json")))
            case "signature_delta":
                block.signature += clean(delta.get("signature"))

    async def _add(self, block: _Block, text: Any) -> None:
        if words := clean(text):
            block.pieces.append(words)
            # What a model says before the tool that gives the answer is no part of the answer.
            if not (self.by_tool and block.kind == "text"):
                await self._say(words, "text" if block.kind == "text" else "reasoning")

    async def _say(self, words: str, kind: Literal["text", "reasoning"]) -> None:
        if words:
            if kind == "text":
                self.text.append(words)
            self.began = True
            await self.emit(Delta(words, kind))

    def _count(self, usage: Any) -> None:
        """The counts of later events are totals, and each event may leave some out."""
        if isinstance(usage, dict):
            self.tokens = Tokens(
                fresh=count(usage.get("input_tokens")) or self.tokens.fresh,
                read=count(usage.get("cache_read_input_tokens")) or self.tokens.read,
                written=count(usage.get("cache_creation_input_tokens")) or self.tokens.written,
                output=count(usage.get("output_tokens")) or self.tokens.output,
            )

    def _calls(self) -> tuple[ToolCall, ...]:
        made, seen = [], set[str]()
        for index, block in self.blocks.items():
            if block.kind == "tool_use" and not _gives_answer(block):
                name = clean(block.start.get("id"))[:200]
                name = name if name and name not in seen else f"call_{self.request.id}_{index}"
                seen.add(name)
                made.append(ToolCall(name, clean(block.start.get("name")), _arguments(block)))
        return tuple(made)

    def _thinking(self) -> list[dict[str, Any]]:
        """The blocks of thinking, as they must be given back."""
        found: list[dict[str, Any]] = []
        for block in self.blocks.values():
            if block.kind == "thinking":
                found.append({"type": "thinking", "thinking": block.text, "signature": block.signature})
            elif block.kind == "redacted_thinking":
                found.append({"type": "redacted_thinking", "data": clean(block.start.get("data"))})
        return found


def _arguments(block: _Block) -> Any:
    """The arguments of a call: a JSON object, or the raw text where it is none. Nothing stands for no arguments."""
    given = block.start.get("input")
    text = block.text if block.text.strip() else json.dumps(given or {})
    try:
        value = loads(text)
    except SchemaError:
        return text
    return value if isinstance(value, dict) else text


def _gives_answer(block: _Block) -> bool:
    return block.kind == "tool_use" and block.start.get("name") == ANSWER_TOOL


def _answer_of(block: _Block) -> str:
    arguments = _arguments(block)
    if isinstance(arguments, dict):
        return json.dumps(arguments.get("answer", arguments), ensure_ascii=False)
    return str(arguments)


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object of the protocol. `Unreadable`: it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unreadable(f"found {data[:80]!r}, expected a JSON object")
    return value


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
