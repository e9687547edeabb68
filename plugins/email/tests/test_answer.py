"""An answer as a mail, read by the standard library as any mail program would."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage

from fairlead import Address, Data, File, Image, Outbound, Text
from fairlead.types import Part
from fairlead_email._answer import Errand, message_id_of, render

from .far import make_options
from .post import text_of

ERRAND = Errand("ann@example.net", "A question", "q@example.net", ("root@example.net", "mid@example.net"))


def rendered(
    *parts: Part, errand: Errand = ERRAND, key: str = "turn-1", **options: object
) -> tuple[bytes, EmailMessage]:
    outbound = Outbound(key, Address("mail", "bot@example.org", "<root@example.net>"), parts)
    raw = render(outbound, errand, make_options(**options), 1_800_000_000.0)
    mail = message_from_bytes(raw, policy=policy.default)
    assert [] == mail.defects
    return raw, mail


def test_answer_belongs_to_its_thread_and_says_that_it_is_automatic() -> None:
    """In-Reply-To, References, Re:, and the marks that keep other programs from answering."""
    raw, mail = rendered(Text("Yes."), display_name="The Bot")
    assert "The Bot <bot@example.org>" == mail["From"]
    assert ("ann@example.net", "Re: A question") == (mail["To"], mail["Subject"])
    assert ("<q@example.net>", "<root@example.net> <mid@example.net> <q@example.net>") == (
        mail["In-Reply-To"],
        mail["References"],
    )
    assert ("auto-replied", "All") == (mail["Auto-Submitted"], mail["X-Auto-Response-Suppress"])
    assert "Fri, 15 Jan 2027 08:00:00 -0000" == mail["Date"]
    assert raw.isascii()
    assert raw.endswith(b"\r\n")
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_text_and_page_say_the_same() -> None:
    """Plain text unchanged, the page from its markdown."""
    text = "**Yes**, \u00fcber <all>:\n\n    def f():\n        return  1\n\n.\n.hidden\nFrom here\n" + "w" * 2000
    _, mail = rendered(Text(text))
    page = mail.get_body(("html",))
    assert page is not None
    assert "multipart/alternative" == mail.get_content_type()
    assert text == text_of(mail)
    assert "<strong>Yes</strong>, \u00fcber" in page.get_content()


def test_message_id_is_the_same_for_every_try() -> None:
    """And of each answer its own."""
    ids = [rendered(Text("Yes."), key=key)[1]["Message-ID"] for key in ("turn-1", "turn-1", "turn-2")]
    assert ids[0] == ids[1] != ids[2]
    assert f"<{message_id_of('turn-1', 'bot@example.org')}>" == ids[0]


def test_attachments_arrive_with_safe_names() -> None:
    """Bytes as they were; a media type that is none becomes one that any program takes."""
    _, mail = rendered(
        Text("see there"),
        Image("image/png", b"\x89PNG", alt="a chart"),
        File("../\u00fcber.pdf", "application/pdf", b"%PDF"),
        File("x\r\nBcc: all@example.org", "text/plain\r\nX: y", b"raw"),
        File("mail.eml", "message/rfc822", b"From: x\r\n\r\ny"),
        Data({"a": 1}),
        Image("image/png", url="https://example.org/p.png", alt="far"),
    )
    found = [
        (part.get_content_type(), part.get_filename(), part.get_payload(decode=True))
        for part in mail.iter_attachments()
    ]
    assert [
        ("image/png", "a chart.png", b"\x89PNG"),
        ("application/pdf", "\u00fcber.pdf", b"%PDF"),
        ("application/octet-stream", "x Bcc all@example.org", b"raw"),
        ("application/octet-stream", "mail.eml", b"From: x\r\n\r\ny"),
    ] == found
    body = mail.get_body(("plain",))
    assert body is not None
    assert (
        'see there\n{"a": 1}\n[far.png: https://example.org/p.png]' == body.get_content().replace("\r\n", "\n").strip()
    )
    assert None is mail["Bcc"]


def test_head_cannot_be_written_into() -> None:
    """Subjects and names come from strangers; long and odd ones stay whole."""
    subject = "Gr\u00fc\u00dfe\r\nBcc: all@example.org =?utf-8?q?x?= " + "\u4e2d" * 100
    _, mail = rendered(Text("x"), errand=Errand("ann@example.net", subject, "q@x"), display_name='The "B\u00f6t", Inc')
    assert None is mail["Bcc"]
    assert " ".join(f"Re: {subject}".split()) == " ".join(mail["Subject"].split())
    assert 'The "B\u00f6t", Inc' == mail["From"].addresses[0].display_name


def test_long_threads_keep_their_root() -> None:
    """The oldest ids between go first; ids are never cut."""
    ids = tuple(f"{number}-{'x' * 200}@example.net" for number in range(100))
    _, mail = rendered(Text("x"), errand=Errand("ann@example.net", "s", "q@example.net", ids))
    names = mail["References"].split()
    assert (21, f"<{ids[0]}>", "<q@example.net>") == (len(names), names[0], names[-1])


def test_first_mail_of_a_thread_has_a_headline() -> None:
    """Nobody asked: the subject is what it begins with, and it is no reply."""
    _, mail = rendered(Text("# The daily report\n\nAll is well."), errand=Errand("ann@example.net"))
    assert ("The daily report", "auto-generated", None) == (
        mail["Subject"],
        mail["Auto-Submitted"],
        mail["In-Reply-To"],
    )


def test_odd_text_is_sent() -> None:
    """Control characters, halves of characters, nothing at all."""
    for text in ("a\x00b \x07", "half \ud83d", ""):
        raw, _ = rendered(Text(text))
        assert raw.isascii()
        assert b"\x00" not in raw
