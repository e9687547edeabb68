"""A mail as it came: who wrote it, in which thread, about what, and whether a person did.

Everything in a mail may be made to harm. Header fields are read with the old policy of the standard library and with
our own decoding: the newer one takes two minutes for 100 kB of quotes in a From field, and raises on some others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses

from attrs import field, frozen

__all__ = ["Letter", "answered_subject", "decoded_words", "normal_address", "parse", "read_letter", "unfold"]

FIELD_CHARS = 8_000
"""Of one header field: more is not looked at. The limit of mail servers for a whole header is about 100 kB."""
HEAD_BYTES = 1_000_000
MULTIPARTS = 30
"""Each line of a mail is compared with the boundaries of all parts that it may lie in."""
REFERENCES = 200
ADDRESSES = 200
LOCAL_CHARS = 64
"""RFC 5321, 4.5.3.1.1."""

_MESSAGE_ID = re.compile(r"<([!-;=?-~]{1,250})>")
_ROBOTS = re.compile(
    r"(?:no|do[._-]?not|never)[._-]?reply.*|.*[._+-]no-?reply|mailer-?daemon|postmaster|bounces?(?:[+._-].*)?|"
    r".*-(?:bounces?|request|owner)|listserv|majordomo|mdaemon|auto-?(?:reply|responder)|notifications?",
    re.IGNORECASE,
)
_ANSWERED = re.compile(
    r"^(?:re|aw|sv|antw|rif|res|odp|vs|ynt|vá|回复|答复|返信|отв)\s?(?:\[\d+\])?[:\uff1a]", re.IGNORECASE
)
_FORWARDED = re.compile(r"^(?:fwd?|wg|tr|rv|enc|doorst|vb|vl|pd|i|转发|転送|пер)\s?[:\uff1a]", re.IGNORECASE)


class _Bounded(policy.Compat32):
    """Fields, also those of inner parts, are cut as they are read: the parser takes quadratic time for long ones."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:FIELD_CHARS]


@frozen
class Letter:
    """What the head of a mail says. Addresses are normal: `normal_address`. Nothing of it is proven."""

    sender: str = ""
    """Empty where the From field does not name exactly one address."""
    sender_name: str = ""
    reply_to: str = ""
    to: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    subject: str = ""
    message_id: str = ""
    """Without its angle brackets, as all ids here; empty where there is none."""
    references: tuple[str, ...] = ()
    """The thread, its root first, with the mail that is answered last; empty for a mail that begins one."""
    automatic: str = ""
    """Why it is taken for the work of a program; empty for a person's."""
    fields: dict[str, list[str]] = field(factory=dict, repr=False)
    """By lower-case name, unfolded, the topmost first."""

    @property
    def forwarded(self) -> bool:
        return bool(_FORWARDED.match(self.subject))

    def digest(self, raw: bytes) -> str:
        """What tells it from another mail that bears the same id. The way that it took does not count."""
        words = "\0".join((self.sender, self.subject, *self.fields.get("date", ())[:1], ""))
        body = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[1:]
        return hashlib.sha256(words.encode("utf-8", "surrogatepass") + b"".join(body)).hexdigest()[:32]


def parse(raw: bytes) -> Message:
    """A mail with its parts. `ValueError`: it would take too long. `RecursionError`: too many parts in parts."""
    if raw.lower().count(b"multipart/") > MULTIPARTS:
        raise ValueError("too many parts in parts")
    return message_from_bytes(raw, policy=_Bounded())


def read_letter(raw: bytes) -> Letter:
    """Read the head of a mail, however broken; nothing of its body."""
    blank = re.search(rb"\r?\n\r?\n", raw)
    mail = parse(raw[: min(blank.end() if blank else len(raw), HEAD_BYTES)])
    fields: dict[str, list[str]] = {}
    for name, value in mail.raw_items():
        fields.setdefault(name.lower(), []).append(unfold(value))

    def first(name: str) -> str:
        return fields.get(name, [""])[0]

    authors = _addresses(fields.get("from", ()))
    name, sender = authors[0] if len(authors) == 1 and len(fields["from"]) == 1 else ("", "")
    reply_to = _addresses(fields.get("reply-to", ())[:1])
    answered = _MESSAGE_ID.findall(first("in-reply-to"))[:1]
    references = _MESSAGE_ID.findall(" ".join(fields.get("references", ())[:1]))
    thread = [*references[:1], *references[1:][-REFERENCES:]]
    own_id = _MESSAGE_ID.findall(first("message-id"))[:1]
    return Letter(
        sender,
        decoded_words(name)[:100],
        reply_to[0][1] if reply_to else "",
        tuple(address for _, address in _addresses(fields.get("to", ()))),
        tuple(address for _, address in _addresses(fields.get("cc", ()))),
        " ".join(decoded_words(first("subject")).split())[:300],
        own_id[0] if own_id else "",
        tuple(dict.fromkeys([*thread, *answered])),
        _automatic(mail, fields, sender),
        fields,
    )


def unfold(value: object) -> str:
    """A header field on one line; bytes that are no ASCII as the UTF-8 or Latin-1 that they are."""
    text = str(value)[:FIELD_CHARS]
    text = re.sub(r"\r?\n[ \t]*|\r", " ", text)
    if not text.isascii():
        raw = text.encode("utf-8", "surrogateescape")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    return text.strip()


def decoded_words(text: str) -> str:
    """Encoded words (RFC 2047) as what they stand for; of an unknown charset as well as can be."""
    if "=?" not in text:
        return _clean(text)
    try:
        pieces = decode_header(text)
    except Exception:  # noqa: BLE001  # broken base64 and whatever else the parser stumbles over: shown as it came
        return _clean(text)
    words = []
    for piece, charset in pieces:
        if isinstance(piece, str):
            words.append(piece)
            continue
        try:
            words.append(piece.decode(charset or "utf-8"))
        except (LookupError, ValueError):
            words.append(piece.decode("utf-8", "replace"))
    return _clean("".join(words)) or _clean(text)


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _addresses(values: Sequence[str]) -> list[tuple[str, str]]:
    """Names and normal addresses; those that are none are left out."""
    try:
        found = getaddresses(values[:5])
    except Exception:  # noqa: BLE001  # RecursionError and others, for fields that are made to harm
        return []
    pairs = [(name, normal_address(address)) for name, address in found[: ADDRESSES + 1]]
    return [(name, address) for name, address in pairs if address]


def normal_address(address: str) -> str:
    """An address as it is compared: in lower case, the domain in its ASCII form. Empty where it is none."""
    local, _, domain = address.strip().rpartition("@")
    local = local.lower()
    domain = domain.lower().rstrip(".")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except ValueError:
            return ""
    if not 0 < len(local) <= LOCAL_CHARS or not re.fullmatch(r"[a-z0-9._-]{1,253}|\[[0-9a-f.:ipv]{3,50}\]", domain):
        return ""
    # No quoted local parts: mail servers disagree where such an address ends.
    return f"{local}@{domain}" if local.isprintable() and not set(local) & set(' "(),:;<>@[\\]') else ""


def _automatic(mail: Message, fields: dict[str, list[str]], sender: str) -> str:
    """Why a mail is not answered (RFC 3834, and what mail systems do beside it)."""

    def words(name: str) -> str:
        return " ".join(fields.get(name, ())).lower()

    submitted = words("auto-submitted").partition(";")[0].partition("(")[0].strip()
    suppressed = {word.strip() for word in words("x-auto-response-suppress").split(",")}
    lists = [name for name in fields if name.startswith("list-")]
    checks = (
        (submitted not in {"", "no"}, f"Auto-Submitted: {submitted}"),
        (words("precedence").strip() in {"bulk", "junk", "list", "auto_reply"}, f"Precedence: {words('precedence')}"),
        (bool(lists), "from a mailing list"),
        (bool(suppressed & {"all", "autoreply", "oof"}), "X-Auto-Response-Suppress"),
        (any(name in fields for name in ("x-autoreply", "x-autorespond", "x-autoresponder")), "an automatic reply"),
        (any(value.strip() == "<>" for value in fields.get("return-path", ())), "a bounce: no envelope sender"),
        (mail.get_content_type() in {"multipart/report", "message/delivery-status"}, "a report of a mail server"),
        (bool(_ROBOTS.fullmatch(sender.partition("@")[0])), f"from {sender}"),
    )
    return next((reason[:100] for found, reason in checks if found), "")


def answered_subject(subject: str) -> str:
    """The subject of an answer: ``Re: `` once, whatever the language of the one before."""
    return subject if _ANSWERED.match(subject) else f"Re: {subject}".strip()
