"""What the model sees of a session, and how large that is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import evolve

from fairlead._message import Data, File, Message, Text, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fairlead._events import Compacted
    from fairlead._message import Part
    from fairlead._session import SessionState

__all__ = ["cut", "estimate", "view", "weigh"]

_AROUND = 8
"""Tokens that a message costs beside its words."""
_MEDIA = 1_500
"""Tokens of a picture or a recording: what vendors charge for one of usual size."""


def view(session: str, items: list[Message | ToolResult], top: Compacted | None) -> list[Message | ToolResult]:
    """The items as the newest compaction lets the model see them. The same arguments give the same view."""
    if top is None:
        return items
    head = [] if top.summary is None else [top.summary]
    old = (cut(session, item, top.cut_chars) for item in items[top.kept_from : top.cut_to])
    return [*head, *(items[place] for place in top.pinned), *old, *items[max(top.kept_from, top.cut_to) :]]


def cut(session: str, item: Message | ToolResult, chars: int) -> Message | ToolResult:
    """A result of a tool with the beginning and the end of its words; all else as it is."""
    if isinstance(item, Message) or len(item.text) <= chars:
        return item
    text, tail = item.text, chars // 4
    left = len(text) - chars
    note = f"\n[… {left:,} characters left out; read them with: fairlead sessions text {session} {item.call}]\n"
    first = next(part for part in item.parts if isinstance(part, Text))
    words = Text(text[: chars - tail] + note + text[len(text) - tail :], first.origin)
    return evolve(item, parts=(words, *(part for part in item.parts if not isinstance(part, Text))))


def weigh(state: SessionState) -> int:
    """Tokens of the context. Only what came since the last look, or the provider's last figures, is looked at."""
    tokens, seen = state.weighed
    if seen < len(state.context):
        tokens += estimate(state.context[seen:])
        state.weighed = (tokens, len(state.context))
    return tokens


def estimate(items: Iterable[Message | ToolResult]) -> int:
    """Tokens, at four bytes each: what English, code and JSON come to with the tokenizers in use."""
    total = 0
    for item in items:
        size = sum(map(_bytes_of, item.parts)) + 4 * _AROUND
        if isinstance(item, Message):
            size += sum(len(call.tool) + len(json.dumps(call.arguments)) for call in item.calls)
        total += size // 4
    return total


def _bytes_of(part: Part) -> int:
    if isinstance(part, Text):
        return len(part.text) if part.text.isascii() else len(part.text.encode("utf-8", "replace"))
    if isinstance(part, Data):
        return len(json.dumps(part.value))
    return len(part.data) if isinstance(part, File) and part.data is not None else 4 * _MEDIA
