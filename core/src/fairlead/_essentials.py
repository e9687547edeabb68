"""What no summary may lose: identifiers, open questions and decisions, found by rules and kept word for word.

The rules are a matter of form, so that the same words always give the same lines. They rather keep too much.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from fairlead._message import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairlead._message import ToolResult

__all__ = ["SPOOF", "essentials", "holds", "section"]

_UNIT = (
    r"%|‰|°[CF]?|[kMGTP]i?[Bb](?:it/s|/s|ps)?|[Bb]ytes?|[kKMG]?Hz|[munµ]?s|min|h|hours?|minutes?|seconds?|days?|weeks?"
    r"|months?|years?|[kmcnµ]?m|km/h|[kmµ]?g|[kM]?W|kWh|[mk]?V|[mk]?A|tokens?|rows?|lines?|pages?|users?|euros?|dollars?"
    r"|EUR|USD|GBP|CHF|JPY|€|\$|£"
)
# Each repetition has a bound: strangers' words must not make the search slow.
_NAME = re.compile(
    r"`(?P<code>[^`\n]{1,200})`"
    r"|https?://[^\s<>\"'`]{1,2000}"
    r"|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
    r"|[A-Za-z]:\\[^\s\"'<>|]{1,250}"
    r"|(?<![\w/])(?:~|\.{1,2})?/[\w.@+-]{1,100}(?:/[\w.@+-]{1,100}){0,20}/?"
    r"|(?<!\w)[\w.@+-]{1,100}(?:/[\w.@+-]{1,100}){1,20}"
    r"|[$€£]\s?\d[\d.,]{0,20}[kMm]?\b"
    rf"|(?<![\w.])\d[\d.,]{{0,20}}\s?(?:{_UNIT})(?![\w])"
    r"|#\d{1,12}\b"
    r"|(?<!\w)v?\d{1,10}(?:[.:-]\d{1,10}){1,8}(?:[T ]\d\d:\d\d(?::\d\d)?Z?)?(?!\w)"
    r"|(?<!\w)\d{3,30}(?!\w)"
    r"|(?<!\w)(?=[\w-]{0,60}\d)(?=[\w-]{0,60}[A-Za-z])\w[\w-]{1,80}"
    r"|\b[A-Za-z]\w{0,60}_\w{1,60}\b"
    r"|\b[a-z]{1,40}(?:[A-Z][a-z0-9]{1,40}){1,8}\b"
    r"|\b(?:[A-Z][a-z0-9]{1,40}){2,8}\b"
    r"|\b[A-Za-z_]\w{0,60}(?:\.[A-Za-z_]\w{0,60}){1,8}\b"
)
_SENTENCE = re.compile(r"\n+|(?<=[.!?…])\s+")
_OPEN = re.compile(
    r"\b(?:open (?:question|point|issue)|still open|to be (?:decided|clarified|confirmed)"
    r"|not (?:yet )?(?:decided|clear)|unclear|TODO|TBD|FIXME|waiting for|offene? (?:Frage|Punkt)|noch offen)\b",
    re.IGNORECASE,
)
_DECIDED = re.compile(
    r"\b(?:decided|decision|agreed|settled on|chose|chosen|confirmed|approved|rejected|from now on|entschieden"
    r"|beschlossen|vereinbart)\b",
    re.IGNORECASE,
)
_ORDERED = re.compile(
    r"\b(?:we(?:'ll| will| shall| must)|let's|let us|must(?: not)?|never|always|do not|don't|remember|prefer|instead of"
    r"|deadline|niemals?|immer|ab jetzt)\b",
    re.IGNORECASE,
)
SPOOF = re.compile(
    r"<\|?/?(?:im_(?:start|end)|system|assistant|user|tool_(?:call|use|result)s?|function_calls?|invoke|s|inst)\b"
    r"|\[/?(?:INST|SYS|TOOL_CALLS?)\]|<<SYS>>|^\s{0,8}[#*]{0,3}\s?(?:system|assistant|user|human|tool|developer)\*{0,2}\s?:"
    r"|\"(?:tool_calls|function_call|tool_use)\"\s{0,4}:",
    re.IGNORECASE | re.MULTILINE,
)
"""What looks like another speaker or like the call of a tool, to some model or template."""
_LONGEST = 600
"""Characters of a sentence that is kept; a longer one is no sentence."""
_OF_RESULT = 20
"""Identifiers of one result: the words of tools are long, and stay reachable in the journal."""
_TITLES = {"decision": "Decisions:", "question": "Open questions:", "name": "Names and numbers:"}


def essentials(items: Sequence[Message | ToolResult]) -> dict[str, str]:
    """Each line that must be kept, with its kind: ``decision``, ``question`` or ``name``; in the order of the words."""
    found: dict[str, str] = {}
    for place, item in enumerate(items):
        if not isinstance(item, Message):
            names = dict.fromkeys(_names(item.text[: _OF_RESULT * 1_000]))
            found.update((name, "name") for name in list(names)[:_OF_RESULT] if name not in found)
            continue
        for sentence in _SENTENCE.split(item.text):
            line = sentence.strip(" \t-*•")
            kind = _kind_of(line, item, items[place + 1 :])
            if kind and len(line) <= _LONGEST and not SPOOF.search(line):
                found.setdefault(line, kind)
        words = [item.text, *(json.dumps(call.arguments, ensure_ascii=False) for call in item.calls)]
        for name in (name for text in words for name in _names(text)):
            found.setdefault(name, "name")
    return found


def _kind_of(line: str, item: Message, later: Sequence[Message | ToolResult]) -> str:
    if _OPEN.search(line) or (line.endswith("?") and _is_open(item, later)):
        return "question"
    if _DECIDED.search(line) or (item.role == "user" and _ORDERED.search(line)):
        return "decision"
    return ""


def _is_open(item: Message, later: Sequence[Message | ToolResult]) -> bool:
    """A question is open where no answer came before the next words of a person, or one that asks back."""
    for other in later:
        if isinstance(other, Message) and not other.calls:
            return item.role == other.role or (item.role == "user" and "?" in other.text)
    return True


def _names(text: str) -> Iterable[str]:
    for match in _NAME.finditer(text):
        name = match["code"] or match[0].rstrip(".,;:!?)]}")
        if len(name) > 1 and not SPOOF.search(name):
            yield name


def holds(text: str, line: str) -> bool:
    """Whether the text has the line word for word, and not as a part of a longer word or number."""
    return re.search(rf"(?<![\w/@-])(?<!\d[.,:]){re.escape(line)}(?![\w/@-]|[.,:]\w)", text) is not None


def section(lines: Iterable[tuple[str, str]]) -> str:
    """Lines with their kind, as they stand in a summary."""
    by_kind: dict[str, list[str]] = {kind: [] for kind in _TITLES}
    for line, kind in lines:
        by_kind[kind].append(f"- `{line}`" if kind == "name" else f"- {line}")
    return "\n".join("\n".join((_TITLES[kind], *found)) for kind, found in by_kind.items() if found)
