"""Whether a mail comes from the domain of the address that it names: anybody can write any From field.

Two proofs: what the own mail server found (the topmost Authentication-Results field that bears its name; RFC 8601), and
a DKIM signature (RFC 6376) of that domain which is checked here. Without either, nothing in a mail says who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from fairlead_email._letter import Letter

__all__ = ["Proof", "Resolver", "dkim_proof", "is_sound", "results_proof"]

Resolver = Callable[[str], bytes | None]
"""Gives the TXT record of a name, None where there is none; raises where it could not be looked up. It may block."""
SIGNATURES = 3
"""Of the domain, that are tried."""
SIGNATURE_CHARS = 4_000
HEAD_BYTES = 200_000
_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"[!-9;-~]+:|[\t ]")
_ONCE = ("from", "to", "cc", "subject", "reply-to", "date", "message-id", "content-type", "content-transfer-encoding")
"""Fields that a mail has once (RFC 5322, 3.6)."""
_TAG = re.compile(r"(?:^|;)\s{0,9}([a-z]{1,10})\s{0,9}=\s{0,9}([^\s;]*)")
_RESULT = re.compile(r"\s*([a-z][a-z0-9_-]{0,30})(?:\s*/\s*\d+)?\s*=\s*([a-z]{1,20})")
_PROPERTY = re.compile(r"\b((?:header|smtp|policy)\.[a-z-]{1,30})\s{0,9}=\s{0,9}\"?([^\s;\"]{1,320})")


@frozen
class Proof:
    """What was found. `proven` and `refuted` are never both set."""

    proven: tuple[str, ...] = ()
    """The methods that speak for the sender: ``dmarc``, ``dkim``, ``spf``."""
    refuted: bool = False
    """The own server says that the domain's owner disowns such mail."""
    unresolved: bool = False
    """A key could not be looked up now."""
    reply_to: bool = True
    """The Reply-To field is proven as well."""


def aligned(signer: str, domain: str) -> bool:
    """Whether a domain speaks for another: it is the same, or one above it, which is no top-level domain."""
    signer = signer.strip().lower().rstrip(".")
    return bool(signer) and (domain == signer or ("." in signer and domain.endswith(f".{signer}")))


def results_proof(letter: Letter, authserv_id: str) -> Proof:
    """What the server `authserv_id` wrote into the mail. Fields of others are the sender's own words."""
    domain = letter.sender.rpartition("@")[2]
    for value in letter.fields.get("authentication-results", ()):
        head, *results = _without_comments(value).lower().split(";")
        if not head.split() or head.split()[0].strip('"') != authserv_id.lower():
            continue
        proven = []
        for result in results:
            method = _RESULT.match(result)
            if method is None:
                continue
            about = dict(_PROPERTY.findall(result))
            if method[1] == "dmarc" and method[2] == "fail":
                return Proof(refuted=True)
            if method[2] == "pass" and _speaks(method[1], about, domain):
                proven.append(method[1])
        # Only the topmost: below it may be one that the sender wrote, if the server does not remove those.
        return Proof(tuple(dict.fromkeys(proven)))
    return Proof()


def _speaks(method: str, about: dict[str, str], domain: str) -> bool:
    if method == "dmarc":
        return about.get("header.from", "").rpartition("@")[2] == domain
    if method == "dkim":
        return aligned(about.get("header.d", "") or about.get("header.i", "").rpartition("@")[2], domain)
    if method == "spf":
        return about.get("smtp.mailfrom", "").rpartition("@")[2] == domain
    return False


def _without_comments(value: str) -> str:
    """A header field without what stands in parentheses, which nest; a quoted string keeps its own."""
    kept: list[str] = []
    depth, quoted, escaped = 0, False, False
    for char in value:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"' and not depth:
            quoted = not quoted
        elif char == "(" and not quoted:
            depth += 1
        elif char == ")" and not quoted and depth:
            depth -= 1
            continue
        if not depth:
            kept.append(char)
    return "".join(kept)


def is_sound(letter: Letter, raw: bytes) -> bool:
    """Whether every program reads the same head: who checked the signature, and who reads the mail.

    Otherwise a mail that somebody has signed could be sent again with other words: behind a bare CR that one program
    takes for the end of the head, or in a second Subject.
    """
    head = _END.split(raw, maxsplit=1)[0]
    if len(head) > HEAD_BYTES or any(len(letter.fields.get(name, ())) > 1 for name in _ONCE):
        return False
    lines = head.replace(b"\r\n", b"\n").split(b"\n")
    return b"\r" not in b"".join(lines) and b"\0" not in head and all(map(_FIELD.match, lines))


def dkim_proof(letter: Letter, raw: bytes, resolve: Resolver) -> Proof:
    """Check the signatures of the sender's domain. It blocks while `resolve` does: call it in a thread."""
    domain = letter.sender.rpartition("@")[2]
    tags = [dict(_TAG.findall(value)) for value in letter.fields.get("dkim-signature", ())[:20] if _is_short(value)]
    # l= signs the beginning only: whoever has such a mail can write anything below it.
    ours = [index for index, tag in enumerate(tags) if aligned(tag.get("d", ""), domain) and "l" not in tag]
    if not ours or len(tags) != len(letter.fields["dkim-signature"]):
        return Proof()
    import dkim  # type: ignore[import-untyped]  # noqa: PLC0415  # no types; only signed mail pays for it

    failed: list[Exception] = []

    def look_up(name: bytes, timeout: int = 5) -> bytes | None:  # noqa: ARG001  # dkimpy gives it
        try:
            return resolve(name.decode("ascii"))
        except Exception as error:  # noqa: BLE001  # a resolver of others may raise anything: the key is not known now
            failed.append(error)
            return None

    for index in ours[:SIGNATURES]:
        relaxed = tags[index].get("c", "").lower().partition("/")[2] == "relaxed"
        try:
            check = dkim.DKIM(_relaxed(raw) if relaxed else raw)
            passed = check.verify(index, dnsfunc=look_up) and aligned(check.domain.decode("ascii"), domain)
            signed = {name.decode("ascii", "replace") for name in check.include_headers}
        except Exception:  # noqa: BLE001, S112  # signatures are written by strangers: a broken one is none
            continue
        if passed and {"from", *({"subject"} & set(letter.fields))} <= signed:
            return Proof(("dkim",), reply_to="reply-to" in signed)
    return Proof(unresolved=bool(failed))


def _is_short(value: str) -> bool:
    """Whether dkimpy's expressions read a signature in little time."""
    return len(value) <= SIGNATURE_CHARS and not re.search(r"\s{20}", value)


def _relaxed(raw: bytes) -> bytes:
    """The mail with its body in the relaxed form (RFC 6376, 3.4.4), which stays the same when it is made again.

    dkimpy takes minutes for a megabyte of spaces.
    """
    head, *body = _END.split(raw, maxsplit=1)
    lines = re.split(rb"\r?\n", b"".join(body))
    return head + b"\r\n\r\n" + b"\r\n".join(re.sub(rb"[\t ]+", b" ", line.rstrip(b"\t ")) for line in lines)
