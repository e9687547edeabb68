"""What the model gets of a page."""

from __future__ import annotations

import codecs
import json
import re
from urllib.parse import unquote, urlsplit

from fairlead import File, Text
from fairlead.errors import ToolError
from fairlead.types import Part
from fairlead_fetch._client import Page, phrase
from fairlead_fetch._markup import readable

__all__ = ["parts_of"]

MAX_CHARS = 100_000
ERROR_CHARS = 1_000
HTML = {"text/html", "application/xhtml+xml"}
TEXTS = {"application/xml", "application/javascript", "application/x-yaml", "application/yaml", "application/toml",
         "application/x-ndjson", "application/sql", "application/rtf", "image/svg+xml"}  # fmt: skip
META = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
META_BYTES = 2_048
ODD_CODECS = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7"}
"""Python has them, no page does; some take time that grows with the square of the text."""
MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def parts_of(page: Page) -> tuple[Part, ...]:
    """Text as text, anything else as a file. `ToolError`: the server reports an error, or a file is too large."""
    kind = page.media_type
    text = _text(page) if _is_text(kind) else None
    if page.status >= 400:  # noqa: PLR2004  # RFC 9110, 15.5: errors begin here
        told = f": {text[:ERROR_CHARS]}" if text else ""
        raise ToolError(f"{page.address} answered {phrase(page.status)}{told}")
    if text is not None:
        return (Text(_bounded(text, page)),)
    if not page.body:
        return (Text(f"{page.address}: {phrase(page.status)}, with nothing in it"),)
    if page.cut:
        raise ToolError(
            f"{page.address} is a file ({kind}) of more than {len(page.body):,} bytes",
            next_step="call again with a larger max_bytes, where that is allowed",
        )
    name = _name(page)
    return Text(f"{page.address} is a file: {name}, {kind}, {len(page.body):,} bytes"), File(name, kind, page.body)


def _is_text(kind: str) -> bool:
    return (
        kind.startswith("text/")
        or kind in HTML | TEXTS
        or kind == "application/json"
        or kind.endswith(("+json", "+xml"))
    )


def _text(page: Page) -> str:
    source = page.body.decode(_charset(page), "replace").removeprefix("\ufeff")
    if page.media_type in HTML:
        title, text = readable(source, str(page.address))
        head = f"{title}\n" if title else ""
        return f"{head}{page.address}\n\n{text or '(the page has no text; it may be made by scripts)'}"
    if page.media_type == "application/json" or page.media_type.endswith("+json"):
        return _json(source)
    return source


def _json(source: str) -> str:
    """In lines, where it came in one: so it can be read and cut."""
    if "\n" in source.strip():
        return source
    try:
        return json.dumps(json.loads(source), ensure_ascii=False, indent=1)
    except (ValueError, RecursionError):
        return source


def _bounded(text: str, page: Page) -> str:
    more = " The page has more bytes than max_bytes." if page.cut else ""
    if len(text) <= MAX_CHARS:
        return f"{text}\n\n[cut off here.{more}]" if page.cut else text
    return f"{text[:MAX_CHARS]}\n\n[cut off here: {len(text) - MAX_CHARS:,} characters more.{more}]"


def _charset(page: Page) -> str:
    for mark, name in MARKS:
        if page.body.startswith(mark):
            return name
    found = META.search(page.body[:META_BYTES]) if page.media_type in HTML else None
    for name in (page.charset, found[1].decode("ascii") if found else ""):
        try:
            if name and (codec := codecs.lookup(name)).name not in ODD_CODECS:
                b"?".decode(codec.name, "replace")  # LookupError: it is no encoding of text, such as zlib
                return codec.name
        except (LookupError, ValueError):
            continue
    return "utf-8"


def _name(page: Page) -> str:
    """The last word of the path, harmless as the name of a file."""
    last = unquote(urlsplit(page.address.path).path.rpartition("/")[2], errors="replace")
    name = re.sub(r"[^\w.() -]", "_", last)[:100].strip(" .")
    return name or "file"
