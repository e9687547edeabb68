"""How Telegram reads markup: text and entities, or the error that it answers with.

Written from https://core.telegram.org/bots/api#formatting-options and from what people quote of the real server.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from attrs import define, field

TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
    "tg-spoiler": "spoiler",
}
RESERVED = "_*[]()~`>#+-=|{}.!"


class Unparsable(Exception):
    """Its text stands behind "can't parse entities: " in the answer."""


def units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@define
class _Reader:
    """Collects text and what is open in it."""

    text: str = ""
    entities: list[dict[str, Any]] = field(factory=list)
    open: list[tuple[str, int, dict[str, Any]]] = field(factory=list)
    """Mark, start in code units, the entity that it will become."""

    def begin(self, mark: str, entity: dict[str, Any]) -> None:
        self.open.append((mark, units(self.text), entity))

    def end(self) -> None:
        _, start, entity = self.open.pop()
        length = units(self.text) - start
        if length and entity["type"] != "nothing":
            self.entities.append({**entity, "offset": start, "length": length})


def parse(text: str, mode: str) -> tuple[str, list[dict[str, Any]]]:
    """Text without its marks, and entities in the order of their places. `Unparsable`."""
    readers: dict[str, Callable[[str], _Reader]] = {"": _Reader, "html": _html, "markdownv2": _markdown}
    if mode.lower() not in readers:
        raise Unparsable("unsupported parse_mode")
    reader = readers[mode.lower()](text)
    entities = sorted(reader.entities, key=lambda entity: (entity["offset"], -entity["length"]))
    return reader.text, [*entities, *_automatic(reader.text, entities)]


def _html(source: str) -> _Reader:
    reader, at = _Reader(), 0
    for match in re.finditer(r"<(/?)([A-Za-z-]*)([^<>]*)>|<", source):
        reader.text += html.unescape(source[at : match.start()])
        offset = len(source[: match.start()].encode())
        at = match.end()
        slash, name, rest = match[1], (match[2] or "").lower(), match[3] or ""
        if not slash and name not in TAGS:
            raise Unparsable(f'Unsupported start tag "{name}" at byte offset {offset}')
        if not slash:
            entity: dict[str, Any] = {"type": TAGS[name]}
            if name == "a":
                entity["url"] = html.unescape((re.search(r'href="([^"]*)"', rest) or ["", ""])[1])
            language = re.search(r'class="language-([^"]*)"', rest)
            if name == "code" and reader.open and reader.open[-1][0] == "pre" and language:
                reader.open[-1][2]["language"] = language[1]
                entity = {"type": "nothing"}
            reader.begin(name, entity)
        elif not reader.open:
            raise Unparsable(f"Unexpected end tag at byte offset {offset}")
        elif reader.open[-1][0] != name:
            expected = reader.open[-1][0]
            raise Unparsable(f'Unmatched end tag at byte offset {offset}, expected "</{expected}>", found "</{name}>"')
        else:
            reader.end()
    reader.text += html.unescape(source[at:])
    if reader.open:
        raise Unparsable(f'Can\'t find end tag corresponding to start tag "{reader.open[-1][0]}"')
    return reader


_MARKS = {
    "*": "bold",
    "__": "underline",
    "_": "italic",
    "~": "strikethrough",
    "||": "spoiler",
    "```": "pre",
    "`": "code",
}


def _markdown(source: str) -> _Reader:  # noqa: C901, PLR0912  # a scanner reads best as one loop
    reader, at = _Reader(), 0
    while at < len(source):
        inside = reader.open[-1][0] if reader.open else ""
        char = source[at]
        if char == "\\" and at + 1 < len(source) and ord(source[at + 1]) < 127:
            reader.text += source[at + 1]
            at += 2
            continue
        mark = next((mark for mark in ("```", "||", "__", *"*_~`") if source.startswith(mark, at)), "")
        if inside in ("`", "```"):
            if mark == inside:
                reader.end()
            else:
                reader.text += char
                mark = char
            at += len(mark)
        elif mark:
            if mark == inside:
                reader.end()
            else:
                reader.begin(mark, {"type": _MARKS[mark]})
            at += len(mark)
        elif char == "[":
            reader.begin("[", {"type": "text_link"})
            at += 1
        elif inside == "[" and (link := re.compile(r"\]\(([^()\s]*)\)").match(source, at)):
            reader.open[-1][2]["url"] = link[1]
            reader.end()
            at = link.end()
        elif char in RESERVED:
            raise Unparsable(f"Character '{char}' is reserved and must be escaped with the preceding '\\'")
        else:
            reader.text += char
            at += 1
    if reader.open:
        kind = {"text_link": "TextUrl"}.get(reader.open[-1][2]["type"], reader.open[-1][2]["type"].title())
        offset = len(source.encode())
        raise Unparsable(f"Can't find end of {kind} entity at byte offset {offset}")
    return reader


def _automatic(text: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mentions and commands, which Telegram finds by itself; not in code."""
    taken = [entity for entity in found if entity["type"] in ("code", "pre", "text_link")]
    entities = []
    for pattern, kind in ((r"(?<!\w)@\w{3,32}", "mention"), (r"(?<![\w/])/\w{1,64}(?:@\w{3,32})?", "bot_command")):
        for match in re.finditer(pattern, text):
            start, length = units(text[: match.start()]), units(match[0])
            if not any(each["offset"] <= start < each["offset"] + each["length"] for each in taken):
                entities.append({"type": kind, "offset": start, "length": length})
    return entities
