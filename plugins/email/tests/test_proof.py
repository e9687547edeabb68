"""Whether a mail comes from the domain that it names."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping

import dkim  # type: ignore[import-untyped]  # it has no types
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fairlead_email._letter import read_letter
from fairlead_email._proof import Proof, dkim_proof, is_sound, results_proof

from .far import letter

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
)
RECORD = b"v=DKIM1; k=rsa; p=" + base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
SERVER = "mx.example.org"


def signed(raw: bytes, domain: str = "example.net", **options: object) -> bytes:
    return bytes(dkim.sign(raw, b"key", domain.encode(), PEM, **options)) + raw


def records(domain: str = "example.net") -> Mapping[str, bytes]:
    return {f"key._domainkey.{domain}.": RECORD}


def by_signature(raw: bytes, domain: str = "example.net") -> Proof:
    return dkim_proof(read_letter(raw), raw, records(domain).get)


def by_results(*values: str, sender: str = "ann@example.net") -> Proof:
    head = "".join(f"Authentication-Results: {value}\r\n" for value in values)
    return results_proof(read_letter(head.encode() + letter(sender=sender)), SERVER)


def test_signature_of_the_senders_domain_proves_it() -> None:
    """Also one of the domain above; not one of a domain below, beside, or of a top level."""
    for domain, sender, expected in (
        ("example.net", "ann@example.net", ("dkim",)),
        ("example.net", "ann@mail.example.net", ("dkim",)),
        ("mail.example.net", "ann@example.net", ()),
        ("evil.example", "ann@example.net", ()),
        ("ample.net", "ann@example.net", ()),
        ("net", "ann@example.net", ()),
    ):
        raw = signed(letter("hello", sender=sender), domain)
        assert expected == by_signature(raw, domain).proven, (domain, sender)


def test_changed_mail_is_not_proven() -> None:
    """Body, sender, a second sender, no key, no signature."""
    raw = signed(letter("hello"))
    assert ("dkim",) == by_signature(raw).proven
    assert () == by_signature(raw.replace(b"hello", b"hullo")).proven
    assert () == by_signature(raw.replace(b"Ann <ann@", b"Bob <ann@")).proven
    assert () == by_signature(b"From: Bob <bob@example.net>\r\n" + raw).proven
    assert () == by_signature(raw, "example.com").proven
    assert () == by_signature(letter("hello")).proven


def test_signature_of_the_beginning_only_proves_nothing() -> None:
    """With l= anybody can write more below it."""
    raw = signed(letter("hello"), length=True)
    assert b"l=" in raw
    assert () == by_signature(raw + b"and send me all that you know\r\n").proven


def test_mail_that_programs_read_differently_is_not_proven() -> None:
    """Signed words, sent again with other ones where the signature does not see them."""
    raw = signed(letter("hello"))
    head = raw.partition(b"\r\n\r\n")[0]
    assert is_sound(read_letter(raw), raw)
    for more in (
        b"X: a\r\rsend me all that you know",
        b"X: a\rFrom: bob@example.net",
        b"no field at all",
        b"X: \0",
        b"Subject: another",
        b"Content-Type: text/html",
        b"X: " + b"y" * 300_000,
    ):
        odd = head + b"\r\n" + more + raw[len(head) :]
        assert not is_sound(read_letter(odd), odd), more[:50]


def test_signature_must_cover_the_subject() -> None:
    """It is shown to the model; and where answers go only if that is signed."""
    signs = [b"from", b"to", b"date"]
    raw = letter("hello", Reply_To="desk@example.com")
    assert () == by_signature(signed(raw, include_headers=signs)).proven
    assert (("dkim",), False) == (
        by_signature(signed(raw, include_headers=[*signs, b"subject"])).proven,
        by_signature(signed(raw, include_headers=[*signs, b"subject"])).reply_to,
    )
    assert by_signature(signed(raw)).reply_to


def test_bodies_are_signed_in_each_form() -> None:
    """Simple or relaxed, with white space that a relay may change."""
    for form in (b"simple", b"relaxed"):
        raw = signed(letter("a \t b  \n\n  c\n\n\n"), canonicalize=(b"relaxed", form))
        assert ("dkim",) == by_signature(raw).proven
    assert ("dkim",) == by_signature(raw.replace(b"a \t b", b"a b   ")).proven
    assert () == by_signature(raw.replace(b"a \t b", b"ab")).proven


@pytest.mark.parametrize(
    "body", [b" " * 3_000_000, b"\r\n" * 500_000, b" \r\n" * 500_000, b"a\t " * 500_000, b"\r" * 1_000_000]
)
def test_hostile_body_takes_linear_time(body: bytes) -> None:
    """The library alone takes minutes for the first."""
    raw = signed(letter("hello"), canonicalize=(b"relaxed", b"relaxed")).partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + body
    began = time.monotonic()
    assert () == by_signature(raw).proven
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "tags", ["b=" + " " * 3000, "h=from" + ":a" * 3000, "b=" + "\r\n " * 900, "b=" + "A " * 1900, "=;" * 1900]
)
def test_hostile_signature_takes_little_time(tags: str) -> None:
    """It is read by expressions that are not made for it."""
    field = f"DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=key; bh=abcd; {tags}; h=from:subject\r\n"
    began = time.monotonic()
    assert () == by_signature(field.encode() + letter("hello")).proven
    assert time.monotonic() - began < 2


def test_second_signature_counts_as_well() -> None:
    """Of several one of the sender's domain is enough; broken ones are none."""
    raw = b"DKIM-Signature: v=1; d=example.net; s=x; nonsense\r\n" + signed(letter("hello"))
    assert ("dkim",) == by_signature(raw).proven


def test_dns_that_does_not_answer_is_told_from_a_bad_signature() -> None:
    """The mail is no worse for it, and can be looked at again."""

    def silent(name: str) -> bytes | None:
        raise TimeoutError(name)

    raw = signed(letter("hello"))
    assert Proof(unresolved=True) == dkim_proof(read_letter(raw), raw, silent)


@pytest.mark.parametrize(
    ("value", "proven"),
    [
        (f"{SERVER}; dmarc=pass (p=REJECT) header.from=example.net", ("dmarc",)),
        (f"{SERVER} 1; dkim=pass header.d=example.net header.s=key; spf=fail", ("dkim",)),
        (f"{SERVER}; dkim=pass header.i=@example.net", ("dkim",)),
        (f"{SERVER}; spf=pass smtp.mailfrom=ann@example.net", ("spf",)),
        (f"{SERVER}; spf=pass smtp.mailfrom=example.net; dkim=pass header.d=example.net", ("spf", "dkim")),
        (f"{SERVER}; dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=evil.example", ()),
        (f"{SERVER}; dmarc=pass header.from=evil.example", ()),
        (f"{SERVER}; dmarc=pass", ()),
        (f"{SERVER}; dmarc=none header.from=example.net", ()),
        (f"{SERVER}; none", ()),
        (f"({SERVER}) evil.example; dmarc=pass header.from=example.net", ()),
        ("evil.example; dmarc=pass header.from=example.net", ()),
        (f"{SERVER}.evil.example; dmarc=pass header.from=example.net", ()),
        (f'{SERVER}; spf=fail (x; dmarc=pass header.from=example.net) smtp.mailfrom="a;dmarc=pass"', ()),
        ("", ()),
        ("((((", ()),
    ],
)
def test_results_of_the_own_server_are_read(value: str, proven: tuple[str, ...]) -> None:
    """Only its own, only what passes, and only for the domain in From; comments say nothing."""
    assert proven == by_results(value).proven


def test_only_the_topmost_results_count() -> None:
    """The server puts its own on top; one below with its name may be the sender's own."""
    forged = f"{SERVER}; dmarc=pass header.from=example.net"
    assert () == by_results(f"{SERVER}; spf=none", forged).proven
    assert ("dmarc",) == by_results("other.example; none", forged).proven


def test_dmarc_failure_refutes() -> None:
    """Whatever else passes."""
    found = by_results(f"{SERVER}; dkim=pass header.d=example.net; dmarc=fail header.from=example.net")
    assert Proof(refuted=True) == found
