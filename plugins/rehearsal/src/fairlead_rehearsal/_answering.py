"""Results of tools, put into sentences. What failed or was denied is said as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from fairlead import ToolResult, ToolSpec
from fairlead_rehearsal._choosing import SKILLS, choose
from fairlead_rehearsal._wish import Wish

__all__ = ["HONEST", "answer"]

HONEST = (
    "I am Fairlead's rehearsal model: no language model is configured; I can do arithmetic, dates, notes and repeat."
    " Configure one: fairlead init"
)
WEEKDAYS = frozenset(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"))
FAILURES = {
    "denied": "I was not allowed to use {tool} for {what}",
    "invalid": "{tool} did not take the arguments for {what}",
    "failed": "{tool} failed for {what}",
    "timeout": "{tool} took too long for {what}",
    "isolation": "{tool} was not run for {what}: it cannot be isolated here",
    "unknown": "{tool} was called for {what}, and it is not known whether it happened",
    "skipped": "{tool} was skipped for {what}",
    "cancelled": "{tool} was cancelled for {what}",
}
_NEXT = re.compile(r"\s+[Nn]ext: (?=\S[^\n]*\Z)")
"""Before the command that helps, with which a failure may end: it gets a line of its own, from which it is copied."""
QUOTED = 80
"""Characters of somebody's words that are repeated in a sentence about them."""
NAMED = 20
"""Tools that are listed."""


def answer(wishes: Sequence[Wish], results: Mapping[int, ToolResult], tools: Sequence[ToolSpec]) -> str:
    """The whole answer; `results` by the place of their wish."""
    if all(wish.kind == "unknown" for wish in wishes):
        return HONEST
    known = [_sentence(wish, results.get(at), tools) for at, wish in enumerate(wishes) if wish.kind != "unknown"]
    strange = [f'"{_short(wish.text)}"' for wish in wishes if wish.kind == "unknown"]
    if strange:
        known.append(f"I cannot answer {', '.join(strange)}. {HONEST}")
    return ("\n" if any("\n" in one for one in known) else " ").join(known)


def _sentence(wish: Wish, result: ToolResult | None, tools: Sequence[ToolSpec]) -> str:
    if wish.kind == "say":
        return wish.text
    if result is None:
        return _unanswered(wish, tools)
    if result.error:
        return _failure(wish, result)
    text = result.text.strip()
    if wish.kind == "use":
        return f"{result.tool}: {text}"
    if wish.literal:
        return f"{result.tool}:\n{text}" if "\n" in text else f"{result.tool}: {text}"
    if wish.kind == "python":
        return _computed(wish, text)
    make = SENTENCES.get(wish.kind)
    return _ended(make(wish, text)) if make is not None else text or f"{result.tool} is done."


def _value(wish: Wish, text: str) -> str:
    return f"{wish.text} {text}" if text.startswith("≈") else f"{wish.text} = {text}"


def _computed(wish: Wish, text: str) -> str:
    """What a program of ours gave; where it failed, all of what it said."""
    if "\n" in text or text.startswith(("[exit status", "[ended by")):
        return f"The program for {_what(wish)} says:\n{text}"
    said = wish.text[:1].upper() + wish.text[1:]
    if wish.arguments["code"].endswith(wish.text):
        return _ended(f"{wish.text} = {text}")
    if not wish.text.lower().startswith("the "):
        return _ended(f"{said}: {text}")
    is_list = text.startswith("[")
    return _ended(f"{said} {'are' if is_list else 'is'} {text.strip('[]') if is_list else text}")


def _weekday(wish: Wish, text: str) -> str:
    date = wish.arguments["date"]
    verb = {"tomorrow": "will be", "yesterday": "was"}.get(date, "is")
    return f"{date.capitalize()} {verb} a {text}" if text in WEEKDAYS else f"{date.capitalize()}: {text}"


def _difference(wish: Wish, text: str) -> str:
    return f"From {wish.arguments['start']} to {wish.arguments['end']} it is {text}"


def _counted(wish: Wish, text: str) -> str:
    return f"{_count(wish.arguments['days'])} {wish.arguments['date']} it is {text}"


SENTENCES: dict[str, Callable[[Wish, str], str]] = {
    "calculate": _value,
    "weekday": _weekday,
    "now": lambda _, text: f"It is {text}",
    "date_difference": _difference,
    "add_days": _counted,
}
"""For tools whose result is a part of a sentence; the others answer in sentences of their own."""


def _count(days: int) -> str:
    return f"{abs(days)} {'day' if abs(days) == 1 else 'days'} {'before' if days < 0 else 'after'}"


def _unanswered(wish: Wish, tools: Sequence[ToolSpec]) -> str:
    if wish.problem:
        return _ended(f"The arguments for {_short(wish.tool)} are no JSON object: {wish.problem}")
    if choose(wish, tools) is not None:
        return f"There is no result for {_what(wish)}."
    offered = ", ".join(tool.name for tool in tools[:NAMED]) + (", ..." if len(tools) > NAMED else "") or "none"
    if wish.kind == "use":
        return f"No tool named {_short(wish.tool)!r} is offered to me; offered: {offered}."
    return f"No tool for {SKILLS[wish.kind].noun} is offered to me, so {_what(wish)} stays open; offered: {offered}."


def _failure(wish: Wish, result: ToolResult) -> str:
    said = FAILURES.get(result.error, "{tool} ended with the error " + result.error + " for {what}")
    words = said.format(tool=result.tool, what=_what(wish))
    detail = _NEXT.sub("\n  next: ", result.text.strip())
    return _ended(f"{words}: {detail}" if detail else words)


def _what(wish: Wish) -> str:
    first, *more = wish.text.split("\n")
    words = _short(first if not more else f"{first} ...")
    return words if wish.kind == "calculate" else f'"{words}"'


def _short(text: str) -> str:
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def _ended(text: str) -> str:
    """A sentence. A command that the text ends with is left as it is to be typed."""
    is_command = "next:" in text.rpartition("\n")[2].lower()
    return text if is_command or text.endswith((".", "!", "?", ":", "…")) else f"{text}."
