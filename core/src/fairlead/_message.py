"""What is said: messages, their parts, who said them and where each part came from."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from attrs import asdict, evolve, field, frozen

__all__ = [
    "Address",
    "Audio",
    "Data",
    "File",
    "Image",
    "Message",
    "Origin",
    "Part",
    "Principal",
    "Text",
    "ToolCall",
    "ToolResult",
    "Usage",
    "new_id",
    "text_of",
]

TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every provider accepts as the name of a tool."""
_counter = itertools.count()
_boot = os.urandom(8).hex()


def _reseed() -> None:
    global _boot  # noqa: PLW0603  # a forked child must not repeat its parent's ids
    _boot = os.urandom(8).hex()


os.register_at_fork(after_in_child=_reseed)


def new_id() -> str:
    """An id that no other process makes: 64 random bits of this process and a count (0.3 us; uuid4 takes 1.5)."""
    return f"{_boot}{next(_counter):06x}"


@frozen
class Origin:
    """Where a value came from: the label that information-flow policies read. The core stamps it, not the plugin."""

    kind: Literal["host", "channel", "provider", "tool", "memory", "policy"]
    name: str = ""
    """The worker's name in the configuration, or the tool's."""
    principal: str = ""
    """The id of the person who said it, where there is one."""


HOST = Origin("host")


@frozen
class Text:
    """Words."""

    text: str
    origin: Origin = HOST


@frozen
class Image:
    """A picture: bytes or an https URL, one of the two."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    alt: str = ""
    origin: Origin = HOST


@frozen
class Audio:
    """A recording: bytes or an https URL, one of the two."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    transcript: str = ""
    origin: Origin = HOST


@frozen
class File:
    """Any other file: bytes or an https URL, one of the two."""

    name: str
    media_type: str
    data: bytes | None = None
    url: str | None = None
    origin: Origin = HOST


@frozen
class Data:
    """A JSON value for programs."""

    value: Any
    origin: Origin = HOST


Part = Text | Image | Audio | File | Data


@frozen
class Principal:
    """A person or a program that speaks, as the channel has authenticated it."""

    id: str
    """Unique over all channels: ``telegram:123``."""
    name: str = ""
    roles: tuple[str, ...] = ()


@frozen
class Address:
    """A place in a channel where a conversation is held. Router and lanes read it."""

    channel: str
    """The channel's name in the configuration."""
    account: str = ""
    """Which of the channel's own accounts (bot, mailbox) it came to."""
    conversation: str = ""
    """Room, chat, thread of mail; unique within the account."""
    thread: str = ""


@frozen
class ToolCall:
    """A model's wish to use a tool."""

    id: str
    tool: str
    arguments: Any
    """A JSON object; or the raw text where the model sent something that is no JSON object."""
    origin: Origin = HOST


@frozen
class ToolResult:
    """What became of one call. Every call has exactly one in the end."""

    call: str
    """The call's id."""
    tool: str
    parts: tuple[Part, ...] = ()
    error: str = ""
    """Empty for success, else one of ``denied``, ``invalid``, ``failed``, ``timeout``, ``isolation``,
    ``unknown`` (it may or may not have happened), ``skipped``, ``cancelled``."""
    cut: int = 0
    """Characters left out of `parts`; the journal keeps up to 2,000,000."""
    evidence: Mapping[str, Any] = field(factory=dict)
    """Where it really ran, as read back from what isolated it: ``level``, and what proves it. Empty: in the host."""

    @property
    def text(self) -> str:
        return text_of(self.parts)


@frozen
class Message:
    """One thing said by a person (``user``) or by a model (``assistant``)."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]
    id: str = field(factory=new_id)
    author: Principal | None = None
    calls: tuple[ToolCall, ...] = ()
    """Tools that the model wants to use; only for ``assistant``."""

    @property
    def text(self) -> str:
        return text_of(self.parts)


@frozen
class Usage:
    """What one or several model calls consumed. Tokens; money in US dollars."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """The part of `input_tokens` that the provider had cached."""
    cost: float | None = None
    """None where no price is known."""

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost is None and other.cost is None else (self.cost or 0.0) + (other.cost or 0.0)
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            cost,
        )


def text_of(parts: tuple[Part, ...]) -> str:
    """The words of the parts, one after the other; other kinds of part are left out."""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def sound(text: str) -> str:
    """The text as every journal and every provider can write it: lone surrogates become U+FFFD.

    They come from file names read with surrogateescape and from JSON escapes, and no UTF-8 has them.
    """
    if text.isascii():  # a flag of the object: nothing is looked at
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def is_json(value: Any) -> bool:
    """Whether a value can be written as JSON in UTF-8: no NaN, no lone surrogate, no objects of Python."""
    if type(value) is dict and all(_is_plain(key) and _is_plain(item) for key, item in value.items()):
        return all(type(key) is str for key in value)  # small arguments, in a quarter of the time
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return value.isascii() if kind is str else kind is int or kind is bool or value is None


def stamp(parts: Iterable[Part], origin: Origin) -> tuple[Part, ...]:
    """The same parts with `origin` on each, whatever they claimed before, and with nothing that cannot be written."""
    return tuple([_stamped(part, origin) for part in parts])


def _stamped(part: Part, origin: Origin) -> Part:
    if isinstance(part, Text):
        return Text(sound(part.text), origin)
    if isinstance(part, Data):
        return Data(part.value, origin) if is_json(part.value) else Text(sound(str(part.value)), origin)
    data: object = part.data
    url: object = part.url
    if not isinstance(data, bytes | None) or not isinstance(url, str | None):
        raise TypeError(f"expected bytes or a URL in a part of type {type(part).__name__}")
    words: dict[str, Any] = {
        name: sound(value) for name, value in asdict(part, recurse=False).items() if isinstance(value, str)
    }
    return evolve(part, origin=origin, **words)
