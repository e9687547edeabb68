"""The provider: reads the last message, calls the tools that it asks for, and puts their results into sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import trio

from fairlead import (
    Delta,
    Finding,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Provider,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from fairlead.errors import UnknownModel
from fairlead.types import Emit
from fairlead_rehearsal._answering import answer
from fairlead_rehearsal._choosing import choose
from fairlead_rehearsal._reading import read
from fairlead_rehearsal._structured import structured
from fairlead_rehearsal._wish import Wish

__all__ = ["Rehearsal"]

MODEL = ModelInfo("rehearsal", window=100_000, max_output=100_000, input_price=0.0, output_price=0.0)
PIECES = re.compile(r"\s*\S+|\s+")
"""Words with the space before them; joined they are the text."""


class Rehearsal(Provider):
    """A model that is none: arithmetic, dates, notes and repeating, by the tools that are offered; honest beyond."""

    async def models(self) -> Sequence[ModelInfo]:
        """One, which costs nothing."""
        return (MODEL,)

    async def check(self) -> Sequence[Finding]:
        """It always answers; what it is, it says."""
        detail = "answers offline; it is no language model"
        return (Finding(self.name or MODEL.name, ok=True, detail=detail, next_step="fairlead init"),)

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        """Calls, or words, or a JSON value where the request has a schema.

        The same history gives the same answer. Tokens are words; only what is read is counted: the last message and the
        results that follow it. `UnknownModel`: there is but ``rehearsal``. `ContentRefused`: nothing fits the schema.
        """
        if request.model != MODEL.name:
            raise UnknownModel(
                f"the rehearsal has no model {request.model!r}, only {MODEL.name!r}",
                provider=self.name,
                model=request.model,
                next_step="fairlead init",
            )
        asked, following = _open_part(request.history)
        wishes = read(asked.text if asked is not None else "")
        results = [one for one in following if isinstance(one, ToolResult)]
        usage = Usage(input_tokens=_count(request, asked, results), cost=0.0)
        calls = () if asked is None or _has_called(asked, following) else _calls(wishes, request, asked)
        if calls:
            output = sum(1 + _words(json.dumps(call.arguments)) for call in calls)
            await trio.lowlevel.checkpoint()
            return ModelAnswer(calls=calls, usage=usage + Usage(output_tokens=output), finish="tools", model=MODEL.name)
        by_place = _by_place(results, asked)
        if request.output_schema is None:
            text = answer(wishes, by_place, request.tools)
        else:
            text = structured(request.output_schema, wishes, by_place)
        return await _speak(text, request, usage, emit)


def _open_part(history: Sequence[Message | ToolResult]) -> tuple[Message | None, list[Message | ToolResult]]:
    """The last message of a person, and what came after it; read from the end, so that old turns cost nothing."""
    following: list[Message | ToolResult] = []
    for entry in reversed(history):
        if isinstance(entry, Message) and entry.role == "user":
            return entry, following[::-1]
        following.append(entry)
    return None, following[::-1]


def _calls(wishes: Sequence[Wish], request: ModelRequest, asked: Message) -> tuple[ToolCall, ...]:
    chosen = ((place, choose(wish, request.tools)) for place, wish in enumerate(wishes))
    return tuple(
        ToolCall(_call_id(asked, place), found[0].name, dict(found[1])) for place, found in chosen if found is not None
    )


def _call_id(asked: Message, place: int) -> str:
    """Unique in the session, and the same each time that this message is read."""
    return f"call_{asked.id}_{place}"


def _has_called(asked: Message, following: Sequence[Message | ToolResult]) -> bool:
    """Whether we have answered this message with calls already. Another model of the chain may have called as well."""
    prefix = _call_id(asked, 0)[:-1]
    messages = (one for one in following if isinstance(one, Message))
    return any(call.id.startswith(prefix) for message in messages for call in message.calls)


def _by_place(results: Sequence[ToolResult], asked: Message | None) -> dict[int, ToolResult]:
    """The results by the place of their wish. A result of another call is not ours to speak about."""
    if asked is None:
        return {}
    prefix = _call_id(asked, 0)[:-1]
    ours = ((result.call.removeprefix(prefix), result) for result in results if result.call.startswith(prefix))
    return {int(place): result for place, result in ours if place.isascii() and place.isdigit()}


def _words(text: str) -> int:
    return len(text.split())


def _count(request: ModelRequest, asked: Message | None, results: Sequence[ToolResult]) -> int:
    said = _words(asked.text) if asked is not None else 0
    return max(1, _words(request.instructions) + said + sum(_words(result.text) for result in results))


async def _speak(text: str, request: ModelRequest, usage: Usage, emit: Emit) -> ModelAnswer:
    """Word by word, so that streaming can be seen; a longer text than is wanted ends in the middle."""
    pieces = PIECES.findall(text)
    limit = request.max_output_tokens
    cut = limit is not None and len(pieces) > limit
    pieces = pieces[:limit]
    await trio.lowlevel.checkpoint()
    for piece in pieces:
        await emit(Delta(piece))
        await trio.lowlevel.checkpoint()
    return ModelAnswer(
        parts=(Text("".join(pieces)),),
        usage=usage + Usage(output_tokens=len(pieces)),
        finish="length" if cut else "stop",
        model=MODEL.name,
    )
