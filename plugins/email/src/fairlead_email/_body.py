"""The body of a mail as parts of a message: the text that is new, and what is attached, within limits."""

from __future__ import annotations

import codecs
import re
import unicodedata
from email.message import Message
from fnmatch import fnmatchcase
from mimetypes import guess_extension

from attrs import define, field

from fairlead import Audio, File, Image, Text
from fairlead.types import Part
from fairlead_email._html import html_to_text
from fairlead_email._letter import Letter, decoded_words, parse
from fairlead_email._options import Options
from fairlead_email._quotes import new_text

__all__ = ["read_body", "safe_name"]

DEPTH = 20
"""Of multiparts in multiparts; what lies deeper is not looked at."""
LEAVES = 200
EXTENSION_BYTES = 16
_NOT_FOR_TEXT = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7", "mbcs", "oem"}
"""Codecs that no mail is written in, and some of which are slow or do odd things."""
_READ_AS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "iso-8859-1": "cp1252",
    "us-ascii": "utf-8",
}
"""What mail programs call a charset, and the wider one that they write."""


@define
class _Found:
    plain: list[str] = field(factory=list)
    pages: list[str] = field(factory=list)
    """HTML."""
    attached: list[Message] = field(factory=list)
    leaves: int = 0


def read_body(raw: bytes, letter: Letter, options: Options, *, cut: bool = False) -> tuple[Part, ...]:
    """The parts, the text first. `cut`: the mail was larger than the limit, and its end is missing. Errors: `parse`.

    10 MB that are made to take long take 10 s, of one thread: call it for what deserves it.
    """
    found = _Found()
    _collect(parse(raw), found, 0)
    if cut and found.attached:
        found.attached.pop()  # half a file
    text = _text(found, options)
    if options.quotes == "drop":
        text = new_text(text, reply=bool(letter.references) and not letter.forwarded)
    text = text.strip("\r\n").rstrip()
    if len(text) > options.max_text:
        cut_off = f"[the mail's text is longer than {options.max_text} characters; the rest was left out]"
        text = f"{text[: options.max_text]}\n{cut_off}"
    if letter.subject and not letter.references:
        text = f"Subject: {letter.subject}\n\n{text}".rstrip()
    media, notes = _attachments(found.attached, options)
    if cut:
        notes.append(f"[the mail is larger than {options.max_bytes} bytes; its end was left out]")
    text = "\n".join(filter(None, (text, *notes))) or ("" if media else "[an empty mail]")
    return (*((Text(text),) if text else ()), *media)


def _collect(part: Message, found: _Found, depth: int) -> None:
    """Sort the leaves below a part. Of alternatives the plain text counts; what is attached counts in all."""
    found.leaves += 1
    if depth > DEPTH or found.leaves > LEAVES:
        return
    payload = part.get_payload()
    kind = part.get_content_type()
    if isinstance(payload, list) and part.get_content_maintype() == "multipart":
        inner = _Found(leaves=found.leaves)
        for child in payload:
            if isinstance(child, Message):
                _collect(child, inner, depth + 1)
        if kind == "multipart/alternative" and any(map(str.strip, inner.plain)):
            inner.pages.clear()
        found.plain += inner.plain
        found.pages += inner.pages
        found.attached += inner.attached
        found.leaves = inner.leaves
    elif kind in {"text/plain", "text/html"} and not _is_attached(part):
        text = _decoded(part)
        if kind == "text/plain":
            found.plain.append(_unflowed(part, text))
        else:
            found.pages.append(text)
    else:
        found.attached.append(part)


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or bool(_file_name(part))


def _text(found: _Found, options: Options) -> str:
    plain = [text for text in found.plain if text.strip()]
    # Twice the limit and more: tags count in HTML, and quotations that are dropped count in both.
    room = 4 * options.max_text
    return "\n".join(text[:room] for text in plain) or "\n".join(html_to_text(page[:room]) for page in found.pages)


def _decoded(part: Message) -> str:
    """The text of a leaf. A charset that is unknown or wrong costs some characters, not the mail."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    given = str(part.get_param("charset", "utf-8")).strip().lower()[:40]
    for charset in (_READ_AS.get(given, given), "utf-8", "cp1252"):
        try:
            name = codecs.lookup(charset).name
            if name.replace("_", "-") not in _NOT_FOR_TEXT:
                return data.decode(name).replace("\r\n", "\n")
        except (LookupError, ValueError):
            continue
    return data.decode("latin-1").replace("\r\n", "\n")


def _unflowed(part: Message, text: str) -> str:
    """Paragraphs in one line each, where the mail says that its lines flow (RFC 3676)."""
    if str(part.get_param("format", "")).lower() != "flowed":
        return text
    glue = str(part.get_param("delsp", "")).lower() == "yes"
    lines: list[str] = []
    depth, open_line = 0, False
    pieces: list[str] = []
    for raw in text.split("\n"):
        content = raw.lstrip(">")
        marks = len(raw) - len(content)
        content = content.removeprefix(" ")
        if open_line and marks != depth:
            lines.append("".join(pieces))
            pieces = []
        if not pieces and marks:
            pieces.append(">" * marks + " ")
        depth, open_line = marks, content.endswith(" ") and content != "-- "
        pieces.append(content[:-1] if open_line and glue else content)
        if not open_line:
            lines.append("".join(pieces))
            pieces = []
    return "\n".join([*lines, *(["".join(pieces)] if pieces else [])])


def _attachments(attached: list[Message], options: Options) -> tuple[list[Part], list[str]]:
    media: list[Part] = []
    notes: list[str] = []
    for number, part in enumerate(attached, 1):
        kind = part.get_content_type()
        name = safe_name(_file_name(part), fallback=f"attachment-{number}{guess_extension(kind) or ''}")
        data = _data(part)
        if len(media) >= options.max_attachments:
            fault = f"{options.max_attachments} attachments are the limit"
        elif not any(fnmatchcase(kind, pattern) for pattern in options.attachment_types):
            fault = f"{kind} is not among the types that are taken"
        elif len(data) > options.attachment_bytes:
            fault = f"{len(data)} bytes, and {options.attachment_bytes} are the limit"
        elif data:
            media.append(_as_part(name, kind, data))
            continue
        else:
            fault = "it is empty"
        if len(notes) < LEAVES:
            notes.append(f"[attachment {name} was left out: {fault}]")
    return media, notes


def _as_part(name: str, kind: str, data: bytes) -> Part:
    if kind.startswith("image/"):
        return Image(kind, data, alt=name)
    if kind.startswith("audio/"):
        return Audio(kind, data)
    return File(name, kind, data)


def _data(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload
    try:
        inner = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) and isinstance(inner[0], Message) else b""
    except Exception:  # noqa: BLE001  # an attached mail that cannot be written again: named, and left out as empty
        return b""


def _file_name(part: Message) -> str:
    try:
        return str(part.get_filename() or "")
    except Exception:  # noqa: BLE001  # a broken RFC 2231 name is no name
        return ""


def safe_name(name: str, fallback: str) -> str:
    """A file's name that is a name in every directory: no path, no control or direction marks, at most 100 bytes."""
    name = unicodedata.normalize("NFC", decoded_words(name[:1000])).replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char)[0] != "C" and char not in '<>:"|?*')
    name = " ".join(name.split()).strip(". ")
    stem, dot, extension = name.rpartition(".")
    if dot and len(extension.encode()) <= EXTENSION_BYTES:
        room = 100 - len(extension.encode()) - 1
        name = f"{_fitted(stem, room)}.{extension}"
    else:
        name = _fitted(name, 100)
    if re.fullmatch(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", name, re.IGNORECASE):
        name = f"_{name}"
    return name or fallback


def _fitted(text: str, size: int) -> str:
    return text.encode()[:size].decode("utf-8", "ignore")
