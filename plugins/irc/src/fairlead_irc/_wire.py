"""Lines of IRC: from bytes and to bytes. What comes from the far side is hostile: nothing here raises for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from attrs import define, field, frozen

__all__ = ["Line", "LineBuffer", "fold", "parse", "plain", "render", "seconds_of"]

LONGEST = 16_384
"""Bytes of a line that is still read: tags may have 8,191 (https://ircv3.net/specs/extensions/message-tags), the rest
512, and some servers allow more."""


@frozen
class Line:
    """One line."""

    command: str
    params: tuple[str, ...] = ()
    source: str = ""
    """Who sent it: ``nick!user@host``, or a server's name."""
    tags: Mapping[str, str] = field(factory=dict)

    def param(self, place: int) -> str:
        """A parameter, counted from 0 or from the end (-1); empty where there is none."""
        return self.params[place] if -len(self.params) <= place < len(self.params) else ""

    @property
    def nick(self) -> str:
        return self.source.partition("!")[0]


@define(eq=False)
class LineBuffer:
    """Cuts what arrives into lines. One that is too long is left out."""

    _rest: bytes = b""
    _skipping: bool = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        *whole, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        if self._skipping and whole:
            whole, self._skipping = whole[1:], False
        if len(self._rest) > LONGEST:
            self._rest, self._skipping = b"", True
        return [line for line in whole if line and len(line) <= LONGEST]


def parse(raw: bytes) -> Line | None:
    """A line; None where it is none."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # old clients; no other guess is better
    text = text.replace("\0", "").lstrip(" ")
    tags: dict[str, str] = {}
    source = ""
    if text.startswith("@"):
        given, _, text = text[1:].partition(" ")
        for tag in given.split(";"):
            key, _, value = tag.partition("=")
            tags[key] = _UNESCAPE.sub(_unescaped, value)
    text = text.lstrip(" ")
    if text.startswith(":"):
        source, _, text = text[1:].partition(" ")
    middle, colon, trailing = f" {text}".partition(" :")
    command, *params = middle.split() or [""]
    if not command:
        return None
    return Line(command.upper(), (*params, trailing) if colon else tuple(params), source, tags)


_UNESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPES = {":": ";", "s": " ", "r": "\r", "n": "\n"}


def _unescaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[1], found[1])


def render(command: str, *params: str, tags: Mapping[str, str] | None = None) -> bytes:
    """A line with its end. The last parameter may have spaces; line breaks in any become spaces."""
    head = "@" + ";".join(f"{key}={value}" if value else key for key, value in tags.items()) + " " if tags else ""
    words = [command, *params[:-1], *(f":{param}" for param in params[-1:])]
    text = _BREAKS.sub(" ", head + " ".join(words))
    return text.encode("utf-8", "replace") + b"\r\n"


_BREAKS = re.compile(r"[\r\n\0]")

_FORMATTING = re.compile(
    r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6}(?:,[0-9a-fA-F]{6})?)?|[\x00-\x08\x0b-\x1f\x7f]"
)


def plain(text: str) -> str:
    """Text without colours and control characters; tabs and line breaks stay."""
    return _FORMATTING.sub("", text)


_MAPPINGS = {
    "ascii": str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"),
    "rfc1459-strict": str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ[]\\", "abcdefghijklmnopqrstuvwxyz{}|"),
    "rfc1459": str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ[]\\~", "abcdefghijklmnopqrstuvwxyz{}|^"),
}


def fold(name: str, mapping: str = "rfc1459") -> str:
    """A nick or channel as the server compares them (CASEMAPPING). It keeps its length."""
    return name.translate(_MAPPINGS.get(mapping, _MAPPINGS["rfc1459"]))


def seconds_of(text: str) -> float | None:
    """Unix seconds of a time tag (https://ircv3.net/specs/extensions/server-time); None where it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
