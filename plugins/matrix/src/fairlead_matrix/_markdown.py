"""Markdown to the small HTML of org.matrix.custom.html: no raw HTML, no pictures of others, links of few schemes."""

from __future__ import annotations

import html

from markdown_it import MarkdownIt

__all__ = ["to_html"]

_SCHEMES = ("https://", "http://", "mailto:")

_reader = MarkdownIt("commonmark", {"html": False, "breaks": True})
_reader.enable(["table", "strikethrough"])
_reader.disable(["image", "html_block", "html_inline"])
_reader.validateLink = lambda url: url.lower().startswith(_SCHEMES)  # type: ignore[method-assign]  # its documented way


def to_html(text: str) -> str:
    """The text in HTML; empty where it has no markup, or is not to be read."""
    try:
        found = _reader.render(text).strip()
    except (RecursionError, ValueError, IndexError):  # hostile nesting: the plain words do
        return ""
    plain = f"<p>{html.escape(text.strip(), quote=False)}</p>"
    unmarked = found.replace("<br />", "").replace("&quot;", '"').replace("</p>\n<p>", "\n\n")
    return "" if unmarked == plain else found.replace("<s>", "<del>").replace("</s>", "</del>")
