"""HTML to text and markdown to HTML.

The reader of HTML is our own: html.parser takes 21 s for 100 kB of unclosed tags (Python 3.11), and whoever sends mail
may send just that. This one looks at each character a fixed number of times.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

__all__ = ["html_to_text", "markdown_to_html"]

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]{0,30}+)([^<>]*+)>")
_LINK = re.compile(r"""href\s{0,9}=\s{0,9}["']?((?:https?:|mailto:)[^"'\s>]{1,2000})""", re.IGNORECASE)
_ALT = re.compile(r"""\balt\s{0,9}=\s{0,9}(?:"([^"]{1,500})"|'([^']{1,500})')""", re.IGNORECASE)
# Words that a person cannot see are for the machine that reads along: they do not belong to the message.
_HIDDEN = re.compile(
    r"""display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|font-size\s{0,9}:\s{0,9}0(?![.\d])"""
    r"""|opacity\s{0,9}:\s{0,9}0(?![.\d])|(?:^|\s)hidden(?:\s|=|$)""",
    re.IGNORECASE,
)
_SILENT = frozenset({"head", "noscript", "object", "script", "style", "svg", "template", "title"})
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_BLOCKS = {
    **dict.fromkeys(("div", "tr", "li", "ul", "ol", "dt", "dd", "section", "article", "header", "footer"), 1),
    **dict.fromkeys(("p", "table", "blockquote", "pre", "dl", "h1", "h2", "h3", "h4", "h5", "h6"), 2),
}
"""Line ends around each: two leave a blank line."""


@define
class _Page:
    """The text while it is written."""

    lines: list[str] = field(factory=list)
    pieces: list[str] = field(factory=list)
    """Of the line that is written; none of them is empty."""
    quotes: int = 0
    pre: int = 0
    lists: list[int] = field(factory=list)
    """The number of the next item of each open list; 0 for one without numbers."""
    link: str = ""
    words: list[str] = field(factory=list)
    """Of the open link."""

    def write(self, text: str) -> None:
        if self.link:
            self.words.append(text)
        if self.pre:
            *whole, rest = text.split("\n")
            for piece in whole:
                self._add(piece)
                self.end_line()
            self._add(rest)
        else:
            text = re.sub(r"[ \t\r\n\f]+", " ", text)
            self._add(text.lstrip(" ") if not self.pieces or self.pieces[-1].endswith(" ") else text)

    def _add(self, text: str) -> None:
        if text:
            self.pieces.append(text)

    def end_line(self) -> None:
        line = "".join(self.pieces)
        marks = "> " * min(self.quotes, 5)
        self.lines.append((marks + (line if self.pre else line.rstrip(" "))).rstrip())
        self.pieces.clear()

    def break_block(self, ends: int) -> None:
        """End the line, and leave a blank one where `ends` is 2. Blocks in blocks leave one, and none at the start."""
        if any(map(str.strip, self.pieces)):
            self.end_line()
        self.pieces.clear()
        if ends > 1 and self.lines and self.lines[-1].strip("> "):
            self.end_line()

    def start_item(self) -> None:
        number = self.lists[-1] if self.lists else 0
        if number:
            self.lists[-1] += 1
        self.pieces[:] = ["  " * min(len(self.lists) - 1, 5) + (f"{number}. " if number else "- ")]

    def end_link(self) -> None:
        said = "".join(self.words).strip()
        target, self.link, self.words = self.link, "", []
        if said and target.removeprefix("mailto:").rstrip("/") != said.rstrip("/"):
            self._add(f" ({target})")


def html_to_text(source: str) -> str:
    """The words of a page as a person sees them: lists, quotes (``> ``) and links keep their meaning. Linear time."""
    page, at, lowered = _Page(), 0, source.lower()
    while (start := source.find("<", at)) >= 0:
        page.write(html.unescape(source[at:start]))
        at = _read_tag(page, source, lowered, start)
    page.write(html.unescape(source[at:]))
    page.break_block(1)
    return "\n".join(page.lines).strip("\n")


def _read_tag(page: _Page, source: str, lowered: str, start: int) -> int:
    """Deal with what begins with ``<``; where the text goes on."""
    if source.startswith("<!--", start):
        return _behind(lowered, "-->", start)
    if source.startswith(("<!", "<?"), start):
        return _behind(lowered, ">", start)
    tag = _TAG.match(source, start)
    if tag is None:
        page.write("<")
        return start + 1
    name, attributes = tag[2].lower(), tag[3]
    if tag[1]:
        _close(page, name)
    elif name in _SILENT or (name not in _VOID and _HIDDEN.search(attributes[:2000])):
        return tag.end() if attributes.endswith("/") else _behind_element(lowered, name, tag.end())
    else:
        _open(page, name, attributes)
    return tag.end()


def _behind(lowered: str, end: str, start: int) -> int:
    found = lowered.find(end, start)
    return len(lowered) if found < 0 else found + len(end)


def _behind_element(lowered: str, name: str, at: int) -> int:
    """Behind the element's own end, with others of its name in it; the end of the text where it is not closed."""
    depth = 1
    for tag in re.compile(rf"<(/?){name}(?=[\s>/])").finditer(lowered, at):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return _behind(lowered, ">", tag.end())
    return len(lowered)


def _open(page: _Page, name: str, attributes: str) -> None:
    if name in _BLOCKS:
        page.break_block(_BLOCKS[name])
    if name == "br":
        page.end_line()
    elif name in {"td", "th"} and page.pieces:
        page.write(" | ")
    elif name in {"ul", "ol"}:
        page.lists.append(1 if name == "ol" else 0)
    elif name == "li":
        page.start_item()
    elif name == "a" and (link := _LINK.search(attributes[:4000])):
        page.link, page.words = html.unescape(link[1]), []
    elif name == "img" and (alt := _ALT.search(attributes[:4000])):
        page.write(f"[{html.unescape(alt[1] or alt[2])}]")
    elif name == "blockquote":
        page.quotes += 1
    elif name == "pre":
        page.pre += 1


def _close(page: _Page, name: str) -> None:
    if name == "a" and page.link:
        page.end_link()
    if name in _BLOCKS:
        page.break_block(1 if name in {"ul", "ol"} and len(page.lists) > 1 else _BLOCKS[name])
    if name in {"ul", "ol"} and page.lists:
        page.lists.pop()
    elif name == "blockquote":
        page.quotes = max(0, page.quotes - 1)
        if page.lines and not page.lines[-1].strip("> "):
            page.lines[-1] = ""  # the blank line behind a quotation is not quoted
    elif name == "pre":
        page.pre = max(0, page.pre - 1)


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415  # only a channel that answers pays for it

    # HTML in an answer is shown as the text it is. No pictures from elsewhere: fetching one would tell its server
    # that, and from where, the mail was read, and what a model was talked into writing into the address.
    return MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")


def markdown_to_html(text: str) -> str:
    """An answer as a page for mail programs: no scripts, no pictures, no HTML but that of the markdown."""
    return f"<!DOCTYPE html><html><body>\n{_markdown().render(text)}</body></html>\n"
