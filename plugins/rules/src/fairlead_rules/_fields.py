"""What a condition can read of a crossing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead import Review
    from fairlead.types import Boundary

__all__ = ["ALL", "FIELDS", "MESSAGES", "TOOLS", "Unevaluable", "compile_field", "tool_effect"]

Read = Callable[["Review"], Any]

TOOLS: frozenset[Boundary] = frozenset({"tool_call", "tool_result"})
MESSAGES: frozenset[Boundary] = frozenset({"message_in", "message_out"})
ALL: frozenset[Boundary] = TOOLS | MESSAGES | {"model_request"}


class Unevaluable(Exception):  # named for what happened, as the errors of the core are
    """A field is missing, or is not what the question expects. Never seen outside this package."""


def tool_effect(review: Review) -> str:
    """The declared effect of the tool. `Unevaluable`: the tool is not known."""
    if review.tool is None:
        raise Unevaluable
    return review.tool.effect


def _subject(name: str) -> Read:
    return lambda review: getattr(review.subject, name)


def _principal(name: str) -> Read:
    def read(review: Review) -> Any:
        if review.principal is None:
            raise Unevaluable
        return getattr(review.principal, name)

    return read


def _address(name: str) -> Read:
    def read(review: Review) -> Any:
        if review.address is None:
            raise Unevaluable
        return getattr(review.address, name)

    return read


FIELDS: dict[str, tuple[frozenset[str], Read]] = {
    "arguments": (frozenset({"tool_call"}), _subject("arguments")),
    "tool": (TOOLS, _subject("tool")),
    "error": (frozenset({"tool_result"}), _subject("error")),
    "text": (MESSAGES | {"tool_result"}, _subject("text")),
    "model": (frozenset({"model_request"}), _subject("model")),
    "instructions": (frozenset({"model_request"}), _subject("instructions")),
    "options": (frozenset({"model_request"}), _subject("options")),
    "session": (ALL, lambda review: review.session),
    "agent": (ALL, lambda review: review.agent),
    "principal.id": (ALL, _principal("id")),
    "principal.name": (ALL, _principal("name")),
    "principal.roles": (ALL, _principal("roles")),
    "address.channel": (ALL, _address("channel")),
    "address.account": (ALL, _address("account")),
    "address.conversation": (ALL, _address("conversation")),
    "address.thread": (ALL, _address("thread")),
}
"""Field to the boundaries where it exists and the function that reads it. The first two keys of a path name it."""
OPEN = frozenset({"arguments", "options"})
"""Fields with keys below them."""


def compile_field(path: str) -> tuple[frozenset[str], Read]:
    """The boundaries where the field exists, and a function that reads it. `KeyError`: no field is named so.

    The function raises `Unevaluable` where the field is missing in what it is asked about.
    """
    if path in FIELDS:
        return FIELDS[path]
    head, *steps = path.split(".")
    if head not in OPEN or not all(steps):
        raise KeyError(path)
    boundaries, whole = FIELDS[head]

    def read(review: Review) -> Any:
        value = whole(review)
        for step in steps:
            value = _item(value, step)
        return value

    return boundaries, read


def _item(value: Any, step: str) -> Any:
    if type(value) is dict or isinstance(value, Mapping):
        if step in value:
            return value[step]
    elif isinstance(value, list | tuple) and step.isascii() and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    raise Unevaluable
