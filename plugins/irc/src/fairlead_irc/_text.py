"""Text as lines that fit, and whether a text speaks to us."""

from __future__ import annotations

import re
import unicodedata

from attrs import frozen

from fairlead_irc._wire import fold, plain

__all__ = ["Said", "addressed", "in_lines", "in_one", "room_for"]

LINE_BYTES = 512
"""With the prefix that the server puts before it and the end of the line (RFC 1459, 2.3)."""
LONGEST_MASK = "!" + "u" * 11 + "@" + "h" * 63
"""What follows our nick in the prefix, where the server has not shown it yet."""
LEAST_ROOM = 64
"""Bytes of text in a line, whatever the names in front of it."""


def room_for(command: str, target: str, nick: str, mask: str) -> int:
    """Bytes of text in one line, as others will receive it: with our prefix, the longest one while `mask` is empty."""
    frame = f":{nick}{f'!{mask}' if mask else LONGEST_MASK} {command} {target} :\r\n"
    return max(LEAST_ROOM, LINE_BYTES - len(frame.encode("utf-8")))


@frozen
class Said:
    """One message as the server counts them: a line, or several that make one text (draft/multiline)."""

    text: str
    """As the others will read it."""
    pieces: tuple[tuple[str, bool], ...]
    """The lines, and whether each goes on where the one before it ended."""


def in_lines(text: str, room: int, most: int) -> list[Said]:
    """A text as lines of at most `room` bytes, each a message by itself; empty lines are left out.

    Of more than `most` lines the rest is left out, and a last line says so.
    """
    lines = [line.rstrip() for line in _split(text) if line.strip()]
    found = [piece for line in lines for piece in _pieces(line, room)]
    if len(found) > most:
        found = [*found[: most - 1], f"[{len(found) - most + 1} more lines were left out]"]
    return [Said(piece, ((piece, False),)) for piece in found]


def in_one(text: str, room: int, limits: str) -> Said | None:
    """A text as one message of several lines; None where it is longer than the server's limits allow.

    `limits`: the value of the capability draft/multiline: ``max-bytes=4096,max-lines=24``.
    """
    given = dict(limit.partition("=")[::2] for limit in limits.split(","))
    text = "\n".join(_split(text)).strip()
    pieces = [
        (piece, place > 0) for line in text.split("\n") for place, piece in enumerate(_pieces(line, room, exact=True))
    ]
    most_bytes, most_lines = (int(value) if value.isdigit() else 0 for value in map(given.get, _LIMITS, ("0", "0")))
    fits = len(text.encode("utf-8")) <= (most_bytes or most_lines * room) and len(pieces) <= (most_lines or len(pieces))
    return Said(text, tuple(pieces)) if fits and pieces else None


_LIMITS = ("max-bytes", "max-lines")


def _split(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", plain(text.encode("utf-8", "replace").decode("utf-8")))


def _pieces(line: str, room: int, *, exact: bool = False) -> list[str]:
    """Pieces of at most `room` bytes; `exact`: joined they are the line, else white space at the cuts is left out."""
    pieces = []
    while len(line) > room or len(line.encode("utf-8")) > room:
        end = _cut(line, room)
        pieces.append(line[:end] if exact else line[:end].rstrip())
        line = line[end:] if exact else line[end:].lstrip()
    return [*pieces, line] if line or not pieces else pieces


def _cut(line: str, room: int) -> int:
    """Where to cut: at a space in the second half, else between what readers see as two characters."""
    most = len(line[: room + 1].encode("utf-8")[:room].decode("utf-8", "ignore"))
    space = line.rfind(" ", most // 2, most + 1)
    if space > 0:
        return space
    return next((end for end in range(most, most // 2, -1) if not _clings(line, end)), most)


def _clings(line: str, at: int) -> bool:
    """Whether a character belongs to the one before it: a mark, either side of a joiner, a skin tone, half a flag."""
    before, char = line[at - 1], line[at]
    if "\u200d" in (before, char) or unicodedata.category(char)[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff":
        return True
    flags = len(line[:at]) - len(line[:at].rstrip(_FLAGS))
    return char in _FLAGS and flags % 2 == 1


_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_IN_NICK = r"A-Za-z0-9_\-\[\]\\`^{}|"


def addressed(text: str, nick: str, mapping: str) -> str | None:
    """The text without ``nick:`` or ``nick,`` at its beginning; None where it does not speak to that nick at all."""
    name = re.escape(fold(nick, mapping))
    found = re.match(rf"\s*@?{name}\s*[:,]\s*", fold(text, mapping))
    if found is not None:
        return text[found.end() :].strip() or text
    word = re.search(rf"(?<![{_IN_NICK}]){name}(?![{_IN_NICK}])", fold(text, mapping))
    return text if word is not None else None
