"""A text, read into wishes. All of it is plain string work in linear time: the text is hostile."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairlead.errors import SchemaError
from fairlead.wire import loads
from fairlead_rehearsal._arithmetic import read_arithmetic
from fairlead_rehearsal._bench import read_bench, read_block, read_literal
from fairlead_rehearsal._dates import read_dates
from fairlead_rehearsal._wish import Kind, Wish

__all__ = ["read"]

MAX_WISHES = 20
MAX_CHARS = 10_000
"""Longer texts are not taken apart."""
LIST_MARK = re.compile(r"(?:[-*•]|\d{1,2}[.)])\s+(?=[A-Za-z])")
POLITE = ("please ", "can you ", "could you ", "would you ", "and ", "then ", "also ", "now ")
FREE: tuple[tuple[str, Kind], ...] = (
    ("remember that ", "remember"),
    ("remember: ", "remember"),
    ("remember ", "remember"),
    ("make a note that ", "remember"),
    ("take a note that ", "remember"),
    ("note that ", "remember"),
    ("note: ", "remember"),
    ("repeat after me: ", "say"),
    ("repeat: ", "say"),
    ("repeat ", "say"),
    ("say: ", "say"),
    ("say ", "say"),
    ("echo ", "say"),
)
"""After these the rest is taken as it stands, whatever it holds."""
SEARCHES = (
    "recall what you know about ",
    "recall ",
    "what do you remember about ",
    "what do you know about ",
    "what did i tell you about ",
    "do you remember ",
    "search my notes for ",
    "search your notes for ",
    "search the notes for ",
    "search notes for ",
    "search your memory for ",
    "search memory for ",
    "find notes about ",
)
ALL_NOTES = ("what do you remember", "recall", "list my notes", "show my notes", "list notes", "show notes")
STRONG = (", and ", "; ", ", then ", " and then ", ", also ")
WEAK = (" and ", ", ")
FENCE = "```"
QUOTES = ('""', "''", "“”", "``")


def read(text: str) -> tuple[Wish, ...]:
    """What is asked for, in order; at least one wish, at most 20."""
    text = text.strip()
    if len(text) > MAX_CHARS:
        return (Wish("unknown", text),)
    whole = _read_use(text)
    if whole is not None and not whole.problem:
        return (whole,)
    wishes = _read_lines(text.split("\n"))
    if len(wishes) > MAX_WISHES:
        more = len(wishes) - MAX_WISHES + 1
        wishes[MAX_WISHES - 1 :] = [Wish("unknown", f"{more} more requests of one message")]
    return tuple(wishes) or (Wish("unknown", text),)


def _read_lines(lines: list[str]) -> list[Wish]:
    """The lines one by one; fenced blocks, and what a line with nothing behind its colon takes from below it, whole."""
    wishes: list[Wish] = []
    lead, at = "", 0
    while at < len(lines):
        line = lines[at].strip()
        at += 1
        if line.startswith(FENCE):
            end = next((place for place in range(at, len(lines)) if lines[place].strip() == FENCE), len(lines))
            wishes.append(read_block(line.strip("` ").lower(), "\n".join(lines[at:end]) + "\n", lead))
            lead, at = "", end + 1
        elif line and _is_fenced(lines, at) and not _read_free(line, only="say"):
            lead = _polite(line)  # it says what the block below it is for
        elif line.endswith(":") and (wish := read_literal(_polite(line), "\n".join(lines[at:]))):
            return [*wishes, wish]
        else:
            wishes += _read_line(line)
    return wishes


def _is_fenced(lines: list[str], at: int) -> bool:
    """Whether the next line that is not empty begins a block."""
    following = next((lines[place] for place in range(at, len(lines)) if lines[place].strip()), "")
    return following.lstrip().startswith(FENCE)


def _read_line(line: str) -> list[Wish]:
    if not line:
        return []
    line = line[mark.end() :] if (mark := LIST_MARK.match(line)) else line
    wish = _read_use(line) or _read_free(line, only="say") or read_literal(_polite(line))
    if wish is not None:
        return [wish]
    return [wish for sentence in _sentences(line) for wish in _read_sentence(sentence)]


def _read_use(text: str) -> Wish | None:
    """``use TOOL {"argument": 1}``: any tool that is offered, for whoever tests one."""
    words = text.split(maxsplit=2)
    if len(words) < 2 or words[0].lower() != "use" or (len(words) > 2 and words[2][0] != "{"):  # noqa: PLR2004  # use, tool, arguments
        return None
    if len(words) == 2:  # noqa: PLR2004  # no arguments
        return Wish("use", text, {}, words[1].rstrip(".,;"))
    try:
        arguments = loads(words[2])
    except SchemaError as error:
        return Wish("use", text, {}, words[1], error.problem)
    return Wish("use", text, arguments, words[1])


def _sentences(line: str) -> Iterator[str]:
    """Parted at ``.``, ``?`` and ``!`` before a space. ``5! + 2`` and ``2.5`` stay whole."""
    start, spans = 0, _spans(line)
    for at, char in enumerate(line):
        ends = char in ".?" or (char == "!" and at > 0 and line[at - 1].isalpha())
        if ends and (at + 1 == len(line) or line[at + 1].isspace()) and not spans[at]:
            yield line[start : at + 1].strip()
            start = at + 1
    if line[start:].strip():
        yield line[start:].strip()


def _read_sentence(sentence: str) -> list[Wish]:
    wishes: list[Wish] = []
    # Numbers and commands may hold what parts other requests.
    if _read_free(_polite(sentence)) is None and (bench := read_bench(_polite(sentence))):
        return [bench]
    for start, piece in _pieces(sentence, STRONG):
        # The text of a note may hold whatever parts other requests: it goes to the end of the sentence.
        free = _read_free(_polite(sentence[start:]))
        if free is not None:
            return [*wishes, free]
        wishes += _read_piece(piece, WEAK)
    return wishes if any(wish.kind != "unknown" for wish in wishes) else [Wish("unknown", sentence)]


def _read_piece(piece: str, separators: tuple[str, ...]) -> list[Wish]:
    piece = _polite(piece)
    wish = _read_known(piece)
    if wish is not None:
        return [wish]
    if not separators:
        return [Wish("unknown", piece)] if any(char.isalnum() for char in piece) else []
    parts = [part for _, part in _pieces(piece, separators[:1])]
    wishes = [wish for part in parts for wish in _read_piece(part, separators[1:])]
    return wishes if any(wish.kind != "unknown" for wish in wishes) else [Wish("unknown", piece)]


def _read_known(piece: str) -> Wish | None:
    return _read_free(piece) or _read_notes(piece) or read_bench(piece) or read_dates(piece) or read_arithmetic(piece)


def _read_free(text: str, only: str = "") -> Wish | None:
    low = text[:20].lower()
    for verb, kind in FREE:
        if low.startswith(verb) and only in ("", kind):
            rest = text[len(verb) :].strip()
            if rest and kind == "say":
                return Wish(kind, _unquoted(rest))
            if rest:
                return Wish(kind, rest, {"text": rest.rstrip(".") or rest})
    return None


def _unquoted(text: str) -> str:
    inside = text[1:-1]
    quoted = len(text) > 2 and text[0] + text[-1] in QUOTES and text[0] not in inside and text[-1] not in inside  # noqa: PLR2004  # the two quotes
    return inside if quoted else text


def _read_notes(text: str) -> Wish | None:
    bare = text.rstrip("?.! ")
    low = bare.lower()
    if low in ALL_NOTES:
        return Wish("recall", text, {"query": ""})
    for phrase in SEARCHES:
        if low.startswith(phrase) and (query := bare[len(phrase) :].strip()):
            return Wish("recall", text, {"query": query})
    words = bare.split()
    if low.startswith("forget ") and len(words) == (3 if words[1].lower() == "note" else 2):
        return Wish("forget", text, {"id": words[-1]})
    return None


def _polite(text: str) -> str:
    text = text.strip()
    while True:
        low = text[:12].lower()
        word = next((word for word in POLITE if low.startswith(word)), None)
        if word is None:
            return text
        text = text[len(word) :].lstrip()


def _pieces(text: str, separators: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The pieces between separators that stand in no parentheses and no code span, each with its place."""
    low, depth, start, at, spans = text.lower(), 0, 0, 0, _spans(text)
    if len(low) != len(text):  # a letter whose small form is longer
        low = text
    while at < len(text):
        depth = max(0, depth + (text[at] == "(") - (text[at] == ")"))
        open_here = depth == 0 and not spans[at]
        found = next((one for one in separators if low.startswith(one, at)), None) if open_here else None
        if found is None:
            at += 1
            continue
        yield start, text[start:at]
        start = at = at + len(found)
    yield start, text[start:]


def _spans(text: str) -> bytearray:
    """For each character whether it stands between two backticks."""
    inside = bytearray(len(text))
    ticks = [at for at, char in enumerate(text) if char == "`"]
    for first, last in zip(ticks[::2], ticks[1::2], strict=False):
        inside[first:last] = b"\1" * (last - first)
    return inside
