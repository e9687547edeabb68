"""An answer as a mail: plain text with its page beside it, what is attached, and where it belongs.

The head is written here line by line: the standard library's newer policy breaks ids that are longer than a line.
"""

from __future__ import annotations

import hashlib
import json
import re
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from attrs import frozen

from fairlead import Audio, Data, File, Image, Outbound, Text
from fairlead.types import Part
from fairlead_email._body import safe_name
from fairlead_email._html import markdown_to_html
from fairlead_email._letter import answered_subject
from fairlead_email._options import Options

__all__ = ["Errand", "message_id_of", "render"]

PAGE_CHARS = 200_000
"""Longer answers are sent as plain text only."""
REFERENCES = 20
"""Ids of a thread that an answer names: the root and the newest (RFC 5322, 3.6.4)."""
_MEDIA_TYPE = re.compile(r"(?!message/|multipart/)[a-z0-9][a-z0-9!#$&^_.+-]{0,60}/[a-z0-9][a-z0-9!#$&^_.+-]{0,60}")


@frozen
class Errand:
    """Where an answer goes, kept from the mail that it answers."""

    recipient: str
    subject: str = ""
    message_id: str = ""
    """Of the mail that is answered, without angle brackets; empty where none is."""
    references: tuple[str, ...] = ()


def message_id_of(outbound_id: str, address: str) -> str:
    """The id of an answer's mail, without angle brackets: the same for every try."""
    digest = hashlib.sha256(f"{address}\0{outbound_id}".encode("utf-8", "replace")).hexdigest()[:32]
    return f"{digest}.fairlead@{address.rpartition('@')[2]}"


def render(outbound: Outbound, errand: Errand, options: Options, now: float) -> bytes:
    """The mail as it is sent: with CRLF, in 7 bits but where an address needs UTF-8. `now`: Unix seconds."""
    answers = bool(errand.message_id or errand.subject)
    subject = answered_subject(errand.subject) if answers else _headline(outbound)
    head = [
        f"From: {_mailbox(options.display_name, options.address)}",
        f"To: {_mailbox('', errand.recipient)}",
        f"Subject: {_encoded(subject, len('Subject: '))}",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{message_id_of(outbound.id, options.address)}>",
    ]
    if errand.message_id:
        thread = [*errand.references, errand.message_id]
        named = dict.fromkeys([*thread[:1], *thread[1:][-REFERENCES:]])
        head += [f"In-Reply-To: <{errand.message_id}>", "References: " + "\r\n ".join(f"<{one}>" for one in named)]
    # RFC 3834: so that no program at the other side answers.
    head += [f"Auto-Submitted: {'auto-replied' if answers else 'auto-generated'}", "X-Auto-Response-Suppress: All", ""]
    return "\r\n".join(head).encode() + _body(outbound.parts).as_bytes()


def _mailbox(name: str, address: str) -> str:
    words = _encoded(" ".join(name.split()), 10)
    if words and re.search(r"[^A-Za-z0-9 ]", words) and not words.startswith("=?"):
        words = '"' + re.sub(r'(["\\])', r"\\\1", words) + '"'
    return f"{words} <{address}>" if words else address


def _encoded(text: str, used: int) -> str:
    """A header field's text; encoded words (RFC 2047) where it is not plain ASCII on one line."""
    text = "".join(char if char.isprintable() else " " for char in text)
    if text.isascii() and "=?" not in text:
        return text
    return Header(text.encode("utf-8", "replace").decode(), "utf-8", header_name="x" * used).encode(linesep="\r\n")


def _headline(outbound: Outbound) -> str:
    """The first words of what begins a thread."""
    text = next((part.text for part in outbound.parts if isinstance(part, Text)), "").strip()
    return text.partition("\n")[0].lstrip("#*->` ")[:70] or "A message"


def _body(parts: tuple[Part, ...]) -> EmailMessage:
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    words: list[str] = []
    files: list[Image | Audio | File] = []
    for part in parts:
        if isinstance(part, Text):
            words.append(part.text)
        elif isinstance(part, Data):
            words.append(json.dumps(part.value, ensure_ascii=False))
        elif part.data is not None:
            files.append(part)
        else:
            words.append(f"[{_name(part, 1)}: {part.url}]")
    text = "\n".join(words).encode("utf-8", "replace").decode()
    if text or not files:
        _set_text(mail, text)
        if text.strip() and len(text) <= PAGE_CHARS:
            mail.add_alternative(markdown_to_html(text), subtype="html", cte="quoted-printable")
    for number, part in enumerate(files, 1):
        kind = part.media_type.lower()
        main, _, sub = (kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream").partition("/")
        mail.add_attachment(part.data or b"", maintype=main, subtype=sub, filename=_name(part, number))
    return mail


def _set_text(mail: EmailMessage, text: str) -> None:
    # Control characters are no 7bit text (RFC 2045, 2.7), and some servers refuse them.
    odd = any(char < " " and char not in "\n\t" for char in text)
    if odd:
        mail.set_content(text, cte="base64")
    else:
        mail.set_content(text)


def _name(part: Image | Audio | File, number: int) -> str:
    from mimetypes import guess_extension  # noqa: PLC0415  # reads the system's tables, which few answers need

    given = part.name if isinstance(part, File) else part.alt if isinstance(part, Image) else ""
    ending = guess_extension(part.media_type) or ""
    name = safe_name(given, fallback=f"attachment-{number}{ending}")
    return name if "." in name or not ending else f"{name}{ending}"
