"""What the model sees of a session, and how large that is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import define, evolve

from fairlead._message import Data, File, Message, Text, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairlead._events import Compacted
    from fairlead._message import Part

__all__ = ["Weight", "cut", "estimate", "view"]

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


@define
class Weight:
    """How many tokens a context has: the provider's last figures, and an estimate for what came since."""

    _tokens: int = 0
    _items: int = 0
    """The first so many of the context are in these figures, with all that is sent beside them."""
    _guess: int = 0
    _guessed: int = 0
    """The estimate of the first so many."""
    _base: int = 0
    """The estimate of those that the provider counted."""

    def count(self, tokens: int, items: int) -> None:
        """A provider has counted."""
        self._tokens, self._items = tokens, items

    def of(self, context: Sequence[Message | ToolResult]) -> int:
        """Tokens of the context, which has grown since the last look, and is not looked at again where it has not."""
        if self._guessed < self._items:
            self._base = self._guess = self._guess + estimate(context[self._guessed : self._items])
            self._guessed = self._items
        if self._guessed < len(context):
            self._guess += estimate(context[self._guessed :])
            self._guessed = len(context)
        counted = self._tokens + self._guess - self._base
        # Some servers count only what they had not cached; no tokenizer makes so few tokens of so many words.
        return counted if counted * 2 >= self._guess else self._guess


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
