"""HTML as text that can be read: headings, lists, tables and links stay, scripts and styles go."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

__all__ = ["readable"]

SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
SKIPPED = {"script", "style", "template", "svg", "canvas", "object", "iframe", "math", "audio", "video", "select"}
BLOCKS = {
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "main", "nav", "ol", "p", "pre", "section",
    "summary", "table", "tr", "ul",
}  # fmt: skip
HEADINGS = {f"h{level}": f"{'#' * level} " for level in range(1, 7)}
CELLS = {"td", "th"}
MAX_LINK = 2_000
# The spaces of <pre> count. They pass through the tidying of all others as characters that are in no page.
KEEP = str.maketrans({" ": "\0", "\t": "\1", "\r": ""})
RESTORE = str.maketrans({"\0": " ", "\1": "\t"})


def readable(html: str, base: str) -> tuple[str, str]:
    """Title and text of a page; links with their whole address, `base` being that of the page."""
    reader = _Reader(base)
    reader.feed(html.replace("\0", "").replace("\1", ""))
    reader.close()
    return reader.finish()


class _Reader(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self._base = base
        self._out: list[str] = []
        self._title: list[str] | None = None
        self._titles: list[str] = []
        self._skipped = ""
        """The element whose content is left out, and how deep we are in more of the same."""
        self._depth = 0
        self._preformatted = 0
        self._link: tuple[str, int] | None = None
        """Address of the open link, and where its words begin."""

    def parse_html_declaration(self, i: int) -> int:
        # Of <![ ... the standard library expects SGML, and raises where it is not. In HTML it is a comment.
        if self.rawdata.startswith("<![", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipped:
            self._depth += tag == self._skipped
            return
        given = dict(attrs)
        if tag in SKIPPED:
            self._skipped, self._depth = tag, 1
        elif tag == "title":
            self._title = []
        elif tag == "base" and given.get("href"):
            self._base = _join(self._base, given["href"] or "") or self._base
        elif tag == "a":
            self._end_link()
            self._link = (_join(self._base, given.get("href") or ""), len(self._out))
        else:
            self._start(tag, given)

    def _start(self, tag: str, given: dict[str, str | None]) -> None:
        if tag == "br":
            self._out.append("\n")
        elif tag in HEADINGS:
            self._out += ["\n\n", HEADINGS[tag]]
        elif tag == "li":
            self._out.append("\n- ")
        elif tag in CELLS:
            self._out.append(" | ")
        elif tag == "img" and given.get("alt"):
            self._out.append(f"[image: {given['alt']}]")
        elif tag in BLOCKS:
            self._preformatted += tag == "pre"
            self._out.append("\n" if tag == "tr" else "\n\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in SKIPPED:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            self._depth -= tag == self._skipped
            if not self._depth:
                self._skipped = ""
        elif tag == "title" and self._title is not None:
            self._titles.append("".join(self._title))
            self._title = None
        elif tag == "a":
            self._end_link()
        elif tag in BLOCKS or tag in HEADINGS:
            self._preformatted = max(0, self._preformatted - (tag == "pre"))
            self._out.append("\n" if tag == "tr" else "\n\n")

    def handle_data(self, data: str) -> None:
        if self._skipped:
            return
        if self._title is not None:
            self._title.append(data)
        elif self._preformatted:
            self._out.append(data.translate(KEEP))
        else:
            self._out.append(SPACE.sub(" ", data))

    def _end_link(self) -> None:
        """Write the address behind the words of a link."""
        if self._link is None:
            return
        address, start = self._link
        self._link = None
        words = SPACE.sub(" ", "".join(self._out[start:])).strip()
        if words and address:
            # A link around a block keeps the break before it.
            before = "\n\n" if self._out[start].startswith("\n") else " " if self._out[start].startswith(" ") else ""
            after = " " if self._out[-1].endswith(" ") else ""
            self._out[start:] = [f"{before}[{words}]({address}){after}"]

    def finish(self) -> tuple[str, str]:
        self._end_link()
        text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", "".join(self._out)))
        text = re.sub(r"\n{3,}", "\n\n", text).strip().translate(RESTORE)
        return SPACE.sub(" ", self._titles[0]).strip() if self._titles else "", text


def _join(base: str, link: str) -> str:
    """The whole address of a link; empty where it leads to no page (a script, mail, a place in this page)."""
    link = link.strip()
    if not link or link.startswith("#") or len(link) > MAX_LINK:
        return ""
    try:
        address = urljoin(base, link)
        return address if urlsplit(address).scheme in ("http", "https") and " " not in address else ""
    except ValueError:
        return ""
