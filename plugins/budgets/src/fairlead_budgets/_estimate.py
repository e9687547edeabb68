"""How many tokens a request can be, without reading an old message twice.

Nobody outside of a provider counts its tokens exactly. A token of the byte-pair vocabularies in use stands for about
four bytes of English, and for two to three of dense code and of Chinese: half of the bytes is above the truth for
nearly everything but random characters. Once a session has been answered, the provider's own figure stands for
everything that it was sent then, and only what was said since is estimated.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from attrs import define

from fairlead import Data, Message, ModelRequest, Text, ToolResult
from fairlead.types import Part

__all__ = ["Estimates", "output_bound"]

Item = Message | ToolResult

BYTES_PER_TOKEN = 2
ITEM_TOKENS = 8
"""What marks a message, a call or a result: roles, names, ids."""
MEDIA_TOKENS = 5000
"""A picture at the largest size that is looked at; the first pages of a file."""
BYTES_PER_MEDIA_TOKEN = 20
SESSIONS = 4096
"""Whose figures are kept; one that was forgotten is read once again."""
OUTPUT_TOKENS = 4096
"""The longest answer that is asked for where neither the request, nor the model, nor the configuration says."""
_BOUNDS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""How options of a model, which go to the provider as they are, say how long an answer may be."""


@define
class Known:
    """What is known of the beginning of a session's history."""

    count: int
    """Items that it covers."""
    last: Item | None
    """The last one of them: another one there, and the history is another one."""
    tokens: int
    """Estimated, of the items alone."""
    frame: tuple[object, ...] = ()
    """What stood around the history."""
    frame_tokens: int = 0
    base: tuple[str, int, Item, int] | None = None
    """Whose figure it is (``provider/model``), of how many items, the last of them, and what the provider counted."""


class Estimates:
    """Those of one policy. Every request is looked at once, and of its history only what is new."""

    def __init__(self, sessions: int = SESSIONS) -> None:
        self._sessions = sessions
        self._known: OrderedDict[str, Known] = OrderedDict()

    def input_tokens(self, request: ModelRequest, model: str) -> int:
        """What is sent, at most. `model`: ``provider/model``."""
        known = self._known.get(request.session)
        if known is None or not _continues(request.history, known.count, known.last):
            known = Known(0, None, 0)
        frame = (request.instructions, request.tools, request.output_schema)
        if known.frame != frame:
            known.frame, known.frame_tokens, known.base = frame, _frame_tokens(request), None
        new = request.history[known.count :]
        if new:
            known.tokens += sum(map(_item_tokens, new))
            known.count, known.last = len(request.history), new[-1]
        self._keep(request.session, known)
        base = known.base
        if base is not None and base[0] == model and _continues(request.history, base[1], base[2]):
            return base[3] + sum(map(_item_tokens, request.history[base[1] :]))
        return known.frame_tokens + known.tokens

    def learn(self, request: ModelRequest, model: str, input_tokens: int) -> None:
        """The provider has counted what it was sent."""
        known = self._known.get(request.session)
        frame = (request.instructions, request.tools, request.output_schema)
        if known is not None and request.history and input_tokens and known.frame == frame:
            known.base = (model, len(request.history), request.history[-1], input_tokens)

    def _keep(self, session: str, known: Known) -> None:
        if session:
            self._known[session] = known
            self._known.move_to_end(session)
            if len(self._known) > self._sessions:
                self._known.popitem(last=False)


def output_bound(request: ModelRequest, listed: int | None, cap: int | None) -> tuple[int, bool]:
    """How long the answer can be, and whether the request itself must be told so for that to be true.

    `listed`: what the model can give at most; `cap`: what the configuration allows.
    """
    given = [value for name in _BOUNDS if type(value := request.options.get(name)) is int and value > 0]
    if given:
        return max(given), False  # options of the model are stronger than the request
    if cap is not None and (request.max_output_tokens is None or request.max_output_tokens > cap):
        return cap, True
    if request.max_output_tokens is not None:
        return request.max_output_tokens, False
    return (listed, False) if listed else (OUTPUT_TOKENS, True)


def _continues(history: Sequence[Item], count: int, last: Item | None) -> bool:
    """Whether a history begins with the items that were seen. No item but one is looked at."""
    if count == 0:
        return True
    if len(history) < count:
        return False
    found = history[count - 1]
    return found is last or found == last  # in another process each request brings new objects


def _frame_tokens(request: ModelRequest) -> int:
    size = _size(request.instructions) + (_size(_json(request.output_schema)) if request.output_schema else 0)
    for tool in request.tools:
        size += _size(tool.name) + _size(tool.description) + _size(_json(tool.parameters))
    return -(-size // BYTES_PER_TOKEN) + ITEM_TOKENS * (2 + len(request.tools))


def _item_tokens(item: Item) -> int:
    tokens = ITEM_TOKENS + sum(map(_part_tokens, item.parts))
    if isinstance(item, Message):
        for call in item.calls:
            tokens += ITEM_TOKENS - (-(_size(call.tool) + _size(_json(call.arguments))) // BYTES_PER_TOKEN)
    return tokens


def _part_tokens(part: Part) -> int:
    if isinstance(part, Text):
        return -(-_size(part.text) // BYTES_PER_TOKEN)
    if isinstance(part, Data):
        return -(-_size(_json(part.value)) // BYTES_PER_TOKEN)
    return MEDIA_TOKENS + len(part.data or b"") // BYTES_PER_MEDIA_TOKEN


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(type(value))


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
