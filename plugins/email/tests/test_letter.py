"""The head and the body of a mail, however broken."""

from __future__ import annotations

import time

import pytest

from fairlead import Audio, File, Image, Text
from fairlead.types import Part
from fairlead_email._body import read_body, safe_name
from fairlead_email._letter import answered_subject, normal_address, read_letter

from .far import letter, make_options


def body(raw: bytes, **options: object) -> tuple[Part, ...]:
    return read_body(raw, read_letter(raw), make_options(**options))


def text(raw: bytes, **options: object) -> str:
    return "\n".join(part.text for part in body(raw, **options) if isinstance(part, Text))


def typed(content_type: str, payload: bytes, *more: str) -> bytes:
    """A mail in a thread, so that its subject is not part of the text."""
    head = ["From: a@example.net", "References: <r@example.net>", f"Content-Type: {content_type}", *more, "", ""]
    return "\r\n".join(head).encode() + payload


@pytest.mark.parametrize(
    "field",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated (rejected)"},
        {"Precedence": "bulk"},
        {"List_Id": "<l.example.org>"},
        {"List_Unsubscribe": "<mailto:x@example.org>"},
        {"X_Auto_Response_Suppress": "DR, AutoReply"},
        {"Return_Path": "<>"},
        {"X_Autoreply": "yes"},
        {"sender": "Mail Delivery System <MAILER-DAEMON@example.net>"},
        {"sender": "no-reply@example.net"},
        {"sender": "shop-noreply@example.net"},
        {"sender": "do_not_reply@example.net"},
        {"sender": "bounces+17@example.net"},
        {"sender": "list-owner@example.net"},
    ],
)
def test_mail_of_a_program_is_known(field: dict[str, str]) -> None:
    """It is never answered: two programs that answer each other do not end."""
    assert read_letter(letter("hello", **field)).automatic


@pytest.mark.parametrize(
    "field",
    [
        {"Auto_Submitted": "no"},
        {"Return_Path": "<ann@example.net>"},
        {"sender": "noreen@example.net"},
        {"Precedence": ""},
    ],
)
def test_mail_of_a_person_is_not_taken_for_a_programs(field: dict[str, str]) -> None:
    """Words that only look alike."""
    assert "" == read_letter(letter("hello", **field)).automatic


def test_report_of_a_server_is_known() -> None:
    """A bounce, also without the other signs."""
    raw = typed('multipart/report; report-type=delivery-status; boundary="b"', b"--b\r\n\r\nfailed\r\n--b--\r\n")
    assert "a report of a mail server" == read_letter(raw).automatic


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("Ann <Ann@Example.NET>", "ann@example.net"),
        ('"Bank <boss@bank.example>" <ann@example.net>', "ann@example.net"),
        ("=?utf-8?q?J=C3=BCrgen?= <j@b\u00fccher.example>", "j@xn--bcher-kva.example"),
        ("ann@example.net, bob@example.net", ""),
        ("Ann", ""),
        ("", ""),
        ("ann@example.net <bob@evil.example>", ""),
        ("<ann@example.net", "ann@example.net"),
        ('"a b"@example.net', ""),
        ("ann@example.net\r\nFrom: bob@example.net", ""),
        ("(" * 5000 + "ann@example.net", ""),
        ('"' * 100_000, ""),
        ("ann@" + "x" * 300 + ".example", ""),
    ],
)
def test_sender_is_one_address_or_nobody(found: str, expected: str) -> None:
    """Two, or none, are nobody: programs disagree whom such a mail is from."""
    began = time.monotonic()
    assert expected == read_letter(letter("hello", sender=found)).sender
    assert time.monotonic() - began < 1


def test_words_of_other_alphabets_are_decoded() -> None:
    """RFC 2047, raw UTF-8, raw Latin-1; of what is broken, what can be read."""
    for subject, expected in (
        ("=?utf-8?b?R3LDvMOfZQ==?= =?iso-8859-1?q?_=FC?=", "Gr\u00fc\u00dfe \u00fc"),
        ("Gr\u00fc\u00dfe", "Gr\u00fc\u00dfe"),
        ("Gr\udcfc\udcdfe", "Gr\u00fc\u00dfe"),
        ("=?x-unknown?q?abc?=", "abc"),
        ("=?utf-8?b?!!!?=", "=?utf-8?b?!!!?="),
        ("a\r\n folded\r\n\tone", "a folded one"),
    ):
        assert expected == read_letter(letter("hello", Subject=subject)).subject


def test_thread_is_read_from_references_and_in_reply_to() -> None:
    """The root first, the mail that is answered last; what is no id is left out."""
    raw = letter(References="<root@x> junk <mid@x>\r\n <mid@x>", In_Reply_To="<last@x> (by me)")
    assert ("root@x", "mid@x", "last@x") == read_letter(raw).references
    assert () == read_letter(letter(References="none", In_Reply_To="")).references
    many = read_letter(letter(References=" ".join(f"<{n}@x>" for n in range(700)))).references
    assert ("0@x", 201) == (many[0], len(many))


def test_subject_is_answered_once() -> None:
    """Whatever the language of the mark that is there."""
    found = [answered_subject(subject) for subject in ("Hi", "Re: Hi", "AW: Hi", "SV: Hi", "Re[2]: Hi", "")]
    assert ["Re: Hi", "Re: Hi", "AW: Hi", "SV: Hi", "Re[2]: Hi", "Re:"] == found


def test_addresses_are_compared_in_one_form() -> None:
    """Case, the final full stop, and names of other alphabets."""
    assert "ann@xn--bcher-kva.example" == normal_address(" Ann@B\u00dcCHER.example. ")
    assert ["", "", ""] == [normal_address(one) for one in ("ann", "@example.org", "ann@exa mple")]


@pytest.mark.parametrize(
    ("charset", "payload", "expected"),
    [
        ("utf-8", "Gr\u00fc\u00dfe".encode(), "Gr\u00fc\u00dfe"),
        ("iso-8859-1", b"\x93quoted\x94 \x80", "\u201cquoted\u201d \u20ac"),
        ("utf-8", b"caf\xe9", "caf\u00e9"),
        ("x-unknown", b"caf\xc3\xa9", "caf\u00e9"),
        ("gb2312", "\u4e2d\u6587\u9555".encode("gb18030"), "\u4e2d\u6587\u9555"),
        ("shift_jis", "\u65e5\u672c".encode("shift_jis"), "\u65e5\u672c"),
        ("punycode", b"abc-def", "abc-def"),
        ("unicode_escape", b"\\x41", "\\x41"),
        ("hex", b"41", "41"),
        ('"', b"abc", "abc"),
        ("utf-16", b"a", "a"),
        ("ascii", bytes(range(128, 160)), ""),
    ],
)
def test_charset_that_is_wrong_costs_no_mail(charset: str, payload: bytes, expected: str) -> None:
    """Unknown, untrue, or none for text at all."""
    found = text(typed(f"text/plain; charset={charset}", payload))
    assert expected in found
    assert found


def test_html_alone_becomes_text() -> None:
    """And beside plain text it is not needed."""
    assert "Hi there" == text(typed("text/html", b"<p>Hi <b>there</b></p>"))
    page = b"--b\r\nContent-Type: text/html\r\n\r\n<p>page</p>\r\n--b--\r\n"
    both = b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n" + page
    assert "plain" == text(typed('multipart/alternative; boundary="b"', both))
    empty = both.replace(b"plain\r\n--", b" \r\n--")
    assert "page" == text(typed('multipart/alternative; boundary="b"', empty))


def test_flowed_text_has_its_paragraphs_in_one_line() -> None:
    """RFC 3676, with its quotations and its signature."""
    raw = typed("text/plain; format=flowed", b"One long \r\nparagraph.\r\n From here\r\n-- \r\nAnn\r\n")
    assert "One long paragraph.\nFrom here" == text(raw)
    raw = typed("text/plain; format=flowed; delsp=yes; charset=utf-8", "\u65e5 \r\n\u672c".encode())
    assert "\u65e5\u672c" == text(raw)


def test_subject_is_part_of_what_begins_a_thread() -> None:
    """Some say all in it; in an answer it repeats what is known."""
    assert "Subject: Lunch?\n\nAt noon" == text(letter("At noon", Subject="Lunch?"))
    assert "Subject: Lunch?" == text(letter("", Subject="Lunch?"))
    assert "At noon" == text(letter("At noon", Subject="Re: Lunch?", References="<r@x>"))
    assert "[an empty mail]" == text(letter("", Subject=""))


def attachment(name: str, kind: str, data: str = "QUJD", disposition: str = "attachment") -> str:
    return (
        f'--b\r\nContent-Type: {kind}\r\nContent-Disposition: {disposition}; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{data}\r\n"
    )


def with_attachments(*pieces: str) -> bytes:
    whole = "--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n" + "".join(pieces) + "--b--\r\n"
    return typed('multipart/mixed; boundary="b"', whole.encode())


def test_attachments_are_parts_of_their_kind() -> None:
    """Pictures, recordings, files; inline or attached."""
    raw = with_attachments(
        attachment("a.png", "image/png", disposition="inline"),
        attachment("b.mp3", "audio/mpeg"),
        attachment("c.pdf", "application/pdf"),
        attachment("d.txt", "text/plain"),
    )
    expected = (
        Text("see there"),
        Image("image/png", b"ABC", alt="a.png"),
        Audio("audio/mpeg", b"ABC"),
        File("c.pdf", "application/pdf", b"ABC"),
        File("d.txt", "text/plain", b"ABC"),
    )
    assert expected == body(raw)


def test_attachments_beyond_the_limits_are_named() -> None:
    """Of other types, too large, too many: the reader knows that there was something."""
    raw = with_attachments(
        attachment("run.exe", "application/x-msdownload"),
        attachment("big.txt", "text/plain", "QUFB" * 10),
        attachment("one.txt", "text/plain"),
        attachment("two.txt", "text/plain"),
        attachment("none.txt", "text/plain", ""),
    )
    expected = (
        "see there\n"
        "[attachment run.exe was left out: application/x-msdownload is not among the types that are taken]\n"
        "[attachment big.txt was left out: 30 bytes, and 20 are the limit]\n"
        "[attachment two.txt was left out: 1 attachments are the limit]\n"
        "[attachment none.txt was left out: 1 attachments are the limit]"
    )
    parts = body(raw, attachment_bytes=20, max_attachments=1)
    assert (Text(expected), File("one.txt", "text/plain", b"ABC")) == parts


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\report.pdf", "report.pdf"),
        ("a\x00b\r\nc.txt", "a b c.txt"),
        ("photo\u202egpj.exe", "photo gpj.exe"),
        ("...", "fallback"),
        ("", "fallback"),
        ("nul.txt", "_nul.txt"),
        ("\u00fc" * 200 + ".pdf", "\u00fc" * 48 + ".pdf"),
        ('a<b>:"|?*.txt', "ab.txt"),
        ("=?utf-8?b?R3LDvMOfZS5wZGY=?=", "Gr\u00fc\u00dfe.pdf"),
        (" .hidden ", "hidden"),
        ("e\u0301.txt", "\u00e9.txt"),
    ],
)
def test_names_of_files_are_names_everywhere(name: str, expected: str) -> None:
    """No path, nothing that turns the reading round, nothing that a system reserves."""
    assert expected == safe_name(name, fallback="fallback")


BROKEN = (
    b"",
    b"\r\n\r\n",
    b"no head at all",
    b"From a@b Mon Jan 1\r\nFrom: a@example.net\r\n\r\nx",
    b"From: a@example.net\r\nContent-Type: multipart/mixed\r\n\r\nno boundary",
    b'From: a@example.net\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n--b\r\n--b',
    b"From: a@example.net\r\nContent-Type: text/plain; charset\r\n\r\n\xff\xfe",
    b"From: a@example.net\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!=",
    b"From: a@example.net\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nbegin 644 x\r\nM\x80",
    b"From: a@example.net\r\nContent-Type: message/rfc822\r\n\r\n",
    b"From: a@example.net\r\nContent-Type: " + b"a/b;" + b"c=d;" * 20_000 + b"\r\n\r\nx",
    b"From: a@example.net\r\nContent-Disposition: attachment" + b";filename*0*=utf-8''a" * 3000 + b"\r\n\r\nx",
    b"From: a@example.net\r\nSubject: " + b"=?utf-8?q?a?= " * 8000 + b"\r\n\r\nx",
    b"From: a@example.net\r\n" + b"X: y\r\n" * 50_000 + b"\r\nx",
    b"From: a@example.net\r\nTo: " + b"a@b.example, " * 10_000 + b"\r\n\r\nx",
)


@pytest.mark.parametrize("raw", BROKEN, ids=range(len(BROKEN)))
def test_broken_mail_is_read_as_well_as_can_be(raw: bytes) -> None:
    """Something comes out, soon."""
    began = time.monotonic()
    assert body(raw)
    assert time.monotonic() - began < 3


def test_nested_mail_has_an_end() -> None:
    """Multiparts in multiparts, and thousands of leaves."""
    deep = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(25))
    wide = typed('multipart/mixed; boundary="b"', b"--b\r\nContent-Type: x/y\r\n\r\nz\r\n" * 5000)
    began = time.monotonic()
    for raw in (b"From: a@example.net\r\n" + deep + b"\r\nx", wide):
        parts = body(raw)
        assert len(repr(parts)) < 100_000
    assert time.monotonic() - began < 5
    with pytest.raises(ValueError, match="too many parts in parts"):
        body(b"From: a@example.net\r\n" + deep * 2 + b"\r\nx")


def test_long_text_is_cut_and_says_so() -> None:
    """And a mail of which only the beginning was fetched."""
    assert "a" * 100 + "\n[the mail's text is longer than 100 characters; the rest was left out]" == text(
        letter("a" * 500, References="<r@x>"), max_text=100
    )
    raw = letter("hi", References="<r@x>")
    cut = read_body(raw, read_letter(raw), make_options(max_bytes=10_000), cut=True)
    assert (Text("hi\n[the mail is larger than 10000 bytes; its end was left out]"),) == cut


def test_forwarded_mail_is_not_taken_for_a_quotation() -> None:
    """It is what the sender wants to be read."""
    words = "please read\n\nFrom: Bob\nSent: Monday\nTo: Ann\nSubject: x\n\nthe words of Bob"
    assert words == text(letter(words, Subject="FW: x", References="<r@x>"))
