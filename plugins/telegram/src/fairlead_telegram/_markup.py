"""Markdown, as models write it, to messages of Telegram: HTML of at most 4,096 UTF-16 code units after its tags.

A text becomes a flat list of runs, each with the styles around it. Such a list can be cut anywhere: every piece opens
and closes its own tags, so a block of code that is longer than a message goes on as code in the next one.
https://core.telegram.org/bots/api#html-style
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

from attrs import frozen

__all__ = ["LIMIT", "Piece", "pieces_of", "units"]

LIMIT = 4096
"""UTF-16 code units of one message, counted after its tags are taken away."""

Style = tuple[str, str]
"""Tag and argument: the language of ``pre``, the address of ``a``."""


@frozen
class Run:
    text: str
    styles: tuple[Style, ...] = ()


@frozen
class Piece:
    """One message, in two forms of the same words."""

    html: str
    plain: str


def units(text: str) -> int:
    """UTF-16 code units, as Telegram counts."""
    return len(text) + sum(char > "\uffff" for char in text)


def pieces_of(text: str, *, markdown: bool = True, limit: int = LIMIT) -> list[Piece]:
    """The messages that show `text`; none where nothing of it can be seen."""
    runs = list(_blocks(text)) if markdown else [Run(text)]
    return [Piece(_render(cut), plain) for cut in _cuts(runs, limit) if (plain := _plain(cut)).strip()]


# -- reading

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`\n]*$")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$")
_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"(\s*)[-*+][ \t]+(?=\S)")
_ROW = re.compile(r"\s*\|.*\|\s*$")
_LONGEST = 2000
"""Characters between the marks of one style: what is further apart is no pair, and looking for it would take long."""
_INLINE = re.compile(
    r"\\(?P<escaped>[!-/:-@\[-`{-~])"
    rf"|(?P<ticks>`+)(?P<code>[^`](?:.{{0,{_LONGEST}}}?[^`])?)(?P=ticks)(?!`)"
    rf"|!?\[(?P<label>[^\[\]]{{1,{_LONGEST}}})\]\((?P<url>(?:https?|tg|mailto):[^\s()<>]{{1,{_LONGEST}}})\)"
    rf"|\*\*(?P<bold>(?=[^\s*]).{{1,{_LONGEST}}}?)(?<![\s*])\*\*(?!\*)"
    rf"|(?<!\w)__(?P<strong>(?=[^\s_]).{{1,{_LONGEST}}}?)(?<![\s_])__(?!\w)"
    rf"|~~(?P<struck>(?=[^\s~]).{{1,{_LONGEST}}}?)(?<![\s~])~~"
    rf"|(?<![\w*])\*(?P<italic>(?=[^\s*])[^*]{{1,{_LONGEST}}}?)(?<!\s)\*(?![\w*])"
    rf"|(?<!\w)_(?P<slanted>(?=[^\s_])[^_]{{1,{_LONGEST}}}?)(?<!\s)_(?!\w)",
    re.DOTALL,
)
_TAGS = {"bold": "b", "strong": "b", "struck": "s", "italic": "i", "slanted": "i"}
_DEEPEST = 6


def _blocks(text: str) -> Iterator[Run]:
    """Line by line; lines of one kind are read together, since a style may go over several of them."""
    lines, at, first = text.split("\n"), 0, True
    while at < len(lines):
        end, runs = _block(lines, at)
        if not first:
            yield Run("\n")
        yield from runs
        at, first = end, False


def _block(lines: list[str], at: int) -> tuple[int, Iterable[Run]]:
    """The block that begins at a line: where the next one begins, and its runs."""
    line = lines[at]
    if fence := _FENCE.match(line):
        closing = re.compile(rf" {{0,3}}{re.escape(fence[1])}{fence[1][0]}*\s*$")
        end = next((number for number in range(at + 1, len(lines)) if closing.match(lines[number])), len(lines))
        return end + 1, [Run("\n".join(lines[at + 1 : end]), (("pre", fence[2]),))]
    for pattern, tag in ((_ROW, "pre"), (_QUOTE, "blockquote")):
        end = at
        while end < len(lines) and pattern.match(lines[end]):
            end += 1
        if end - at > (tag == "pre"):  # one line with bars is no table
            if tag == "pre":
                return end, [Run("\n".join(lines[at:end]), ((tag, ""),))]
            return end, _inline("\n".join(_QUOTE.sub("", each, 1) for each in lines[at:end]), ((tag, ""),))
    if heading := _HEADING.match(line):
        return at + 1, _inline(heading[1], (("b", ""),))
    if _ITEM.match(line):
        return at + 1, _inline(_ITEM.sub(r"\1• ", line, count=1))
    end = at + 1
    while end < len(lines) and not any(each.match(lines[end]) for each in (_FENCE, _ROW, _QUOTE, _HEADING, _ITEM)):
        end += 1
    return end, _inline("\n".join(lines[at:end]))


def _inline(text: str, styles: tuple[Style, ...] = ()) -> Iterator[Run]:
    at = 0
    for match in _INLINE.finditer(text):
        if match.start() > at:
            yield Run(text[at : match.start()], styles)
        at, kind = match.end(), match.lastgroup or ""
        if kind == "escaped":
            yield Run(match["escaped"], styles)
        elif kind == "code":
            yield Run(match["code"], (*styles, ("code", "")))
        elif kind == "url":
            yield from _nested(match["label"], styles, ("a", match["url"]))
        else:
            yield from _nested(match[kind], styles, (_TAGS[kind], ""))
    if at < len(text):
        yield Run(text[at:], styles)


def _nested(text: str, styles: tuple[Style, ...], style: Style) -> Iterator[Run]:
    around = styles if style in styles else (*styles, style)
    return _inline(text, around) if len(around) < _DEEPEST else iter([Run(text, around)])


# -- cutting


def _cuts(runs: list[Run], limit: int) -> Iterator[list[Run]]:
    text = _plain(runs)
    start = 0
    while units(text[start:]) > limit:
        end = _last(text, start, limit)
        yield _slice(runs, start, end)
        start = end
        if text[end : end + 1].isspace():  # the white space at a cut is the cut; indentation after a line break stays
            start += 1
            while text[end] == "\n" and text[start : start + 1] == "\n":
                start += 1
    yield _slice(runs, start, len(text))


def _last(text: str, start: int, limit: int) -> int:
    """Where a message that begins at `start` ends: at a paragraph, a line or a space in its second half, if it can."""
    end, left = start, limit
    while end < len(text) and (left := left - 1 - (text[end] > "\uffff")) >= 0:
        end += 1
    middle = start + (end - start) // 2
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, middle, end + 1)
        if found > start:
            return found
    return next((at for at in range(end, middle, -1) if not _clings(text, at)), end)


def _clings(text: str, at: int) -> bool:
    """Whether a character belongs to the one before it: a mark, a skin tone, either side of a joiner."""
    char = text[at]
    joined = "\u200d" in (char, text[at - 1])
    return joined or unicodedata.category(char)[0] == "M" or "\U0001f3fb" <= char <= "\U0001f3ff"


def _slice(runs: list[Run], start: int, end: int) -> list[Run]:
    found, at = [], 0
    for run in runs:
        cut = run.text[max(0, start - at) : max(0, end - at)]
        if cut:
            found.append(Run(cut, run.styles))
        at += len(run.text)
    return found


# -- writing


def _plain(runs: list[Run]) -> str:
    return "".join(run.text for run in runs)


def _render(runs: list[Run]) -> str:
    out: list[str] = []
    around: list[Style] = []
    for run in runs:
        kept = 0
        while kept < min(len(around), len(run.styles)) and around[kept] == run.styles[kept]:
            kept += 1
        while len(around) > kept:
            out.append(_close(around.pop()))
        for style in run.styles[kept:]:
            out.append(_open(style))
            around.append(style)
        out.append(html.escape(run.text, quote=False))
    out += [_close(style) for style in reversed(around)]
    return "".join(out)


def _open(style: Style) -> str:
    tag, argument = style
    if tag == "a":
        return f'<a href="{html.escape(argument)}">'
    if tag == "pre" and argument:
        return f'<pre><code class="language-{html.escape(argument)}">'
    return f"<{tag}>"


def _close(style: Style) -> str:
    tag, argument = style
    return "</code></pre>" if tag == "pre" and argument else f"</{tag}>"
