"""A mailbox of a real dovecot: what is handed in, what is not, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from fairlead import Image, Outbound, Receipt, Text
from fairlead.errors import JournalUnavailable
from fairlead.testing import FakeInbox
from fairlead_email._channel import EmailChannel

from .dovecot import Dovecot, serving
from .far import ANN, letter, make_channel, new_address, running
from .post import Post, posting, text_of
from .test_letter import attachment, with_attachments
from .test_proof import SERVER, records, signed


@define(eq=False)
class House:
    """A mailbox on the server, and channels that read it."""

    dovecot: Dovecot
    post: Post
    directory: Path
    address: str

    def channel(self, **options: Any) -> EmailChannel:
        servers = {"imap": f"imaps://127.0.0.1:{self.dovecot.imaps}", "smtp": f"smtps://127.0.0.1:{self.post.port}"}
        more = {"address": self.address, "ca_file": str(self.dovecot.cert), **servers, **options}
        return make_channel(self.directory, **more)

    async def put(self, raw: bytes) -> None:
        await trio.to_thread.run_sync(self.dovecot.put, self.address, raw)

    async def flags(self, mailbox: str = "INBOX") -> list[str]:
        """Ours, of each mail."""
        mails = await trio.to_thread.run_sync(self.dovecot.mails, self.address, mailbox)
        return [" ".join(sorted(flag for flag in _flags(head) if flag.startswith("$"))) for head, _ in mails]

    async def hears(self, inbox: FakeInbox, raw: bytes | None = None) -> str:
        """The text of the next mail that is handed in."""
        if raw is not None:
            await self.put(raw)
        with trio.fail_after(15):
            got = await inbox.next()
        return "\n".join(part.text for part in got.parts if isinstance(part, Text))


def _flags(head: bytes) -> list[str]:
    return head.decode().partition("FLAGS (")[2].partition(")")[0].split()


@pytest.fixture
def house(dovecot: Dovecot, tmp_path: Path) -> Iterator[House]:
    with posting(dovecot.cert) as post:
        yield House(dovecot, post, tmp_path, new_address())


def mail(text: str, to: str, **fields: str) -> bytes:
    return letter(text, to, **{"Subject": "", **fields})


async def test_mail_is_handed_in_with_who_where_and_what(house: House) -> None:
    """Author, conversation, id, text, attachment; then it is marked."""
    raw = mail("hello\n\n-- \nAnn", house.address, Message_ID="<one@example.net>", Cc="bob@example.net")
    async with running(house.channel()) as inbox:
        assert "hello" == await house.hears(inbox, raw)
        assert "next" == await house.hears(inbox, mail("next", house.address))
    got = inbox.accepted[0]
    assert ("mail:ann@example.net", "Ann", ("unauthenticated", "group")) == (
        got.author.id,
        got.author.name,
        got.author.roles,
    )
    assert ("mail", house.address, "<one@example.net>") == (
        got.address.channel,
        got.address.account,
        got.address.conversation,
    )
    assert ("one@example.net", "") == (got.external_id, got.reply_to)
    assert "$Fairlead" == (await house.flags())[0]


async def test_mails_of_a_thread_are_one_conversation(house: House) -> None:
    """Also where a program names the last mail only, or our own answer."""
    async with running(channel := house.channel()) as inbox:
        await house.hears(inbox, mail("one", house.address, Message_ID="<one@x>"))
        root = inbox.accepted[0].address
        await house.hears(inbox, mail("two", house.address, Message_ID="<two@x>", References="<one@x>"))
        await house.hears(inbox, mail("three", house.address, Message_ID="<three@x>", In_Reply_To="<two@x>"))
        delivery = await channel.send(Outbound("turn-1", root, (Text("answer"),), "three@x"))
        await house.hears(inbox, mail("four", house.address, In_Reply_To=f"<{delivery.external_id}>"))
        await house.hears(inbox, mail("another", house.address))
    places = [got.address for got in inbox.accepted]
    assert [root] * 4 == places[:4]
    assert root != places[4]
    (sent,) = house.post.mails()
    assert ("<three@x>", "<two@x> <three@x>") == (sent["In-Reply-To"], sent["References"])


async def test_stranger_who_knows_a_threads_ids_is_not_let_into_it(house: House) -> None:
    """He has one of his own; whom a member has written to is in."""
    async with running(house.channel()) as inbox:
        await house.hears(inbox, mail("secret", house.address, Message_ID="<one@x>", Cc="bob@example.net"))
        spy, bob = "Eve <eve@evil.example>", "Bob <bob@example.net>"
        await house.hears(inbox, mail("what was said?", house.address, sender=spy, References="<one@x>"))
        await house.hears(inbox, mail("and now?", house.address, sender=spy, References="<one@x>"))
        await house.hears(inbox, mail("I agree", house.address, sender=bob, References="<one@x>"))
    ann, eve, again, bobs = (got.address.conversation for got in inbox.accepted)
    assert (ann, eve) == (bobs, again)
    assert ann != eve


async def test_forged_copy_lets_nobody_into_a_thread(house: House) -> None:
    """Who writes in somebody's name may not name himself as a reader."""
    channel = house.channel(authentication="preferred")
    channel.resolve = {**records(), **records("evil.example")}.get
    eve = {"sender": "eve@evil.example", "References": "<one@x>"}
    async with running(channel) as inbox:
        await house.hears(inbox, signed(mail("secret", house.address, Message_ID="<one@x>")))
        await house.hears(inbox, mail("forged", house.address, References="<one@x>", Cc="eve@evil.example"))
        await house.hears(inbox, signed(mail("what was said?", house.address, **eve), "evil.example"))
    ann, _, eves = inbox.accepted
    assert "authenticated" == eves.author.roles[0]
    assert ann.address.conversation != eves.address.conversation


async def test_mail_without_an_id_or_with_a_used_one_is_still_one_message(house: House) -> None:
    """Its id is then made from what it says, and stays the same."""
    async with running(house.channel()) as inbox:
        for raw in (
            mail("first", house.address, Message_ID="<same@x>", References="<r@x>"),
            mail("second", house.address, Message_ID="<same@x>", References="<r@x>"),
            mail("third", house.address, Message_ID="", References="<r@x>"),
            mail("third", house.address, Message_ID="", References="<r@x>"),
            mail("second", house.address, Message_ID="<same@x>", References="<r@x>"),
            mail("last", house.address, References="<r@x>"),
        ):
            await house.put(raw)
        heard = [await house.hears(inbox) for _ in range(4)]
    assert ["first", "second", "third", "last"] == heard
    assert 2 == len(inbox.duplicates)


async def test_mail_of_programs_and_own_mail_is_not_handed_in(house: House) -> None:
    """Nor is it marked as read: people may want to see a bounce."""
    async with running(house.channel()) as inbox:
        await house.put(mail("I am away", house.address, Auto_Submitted="auto-replied"))
        await house.put(mail("failed", house.address, sender="MAILER-DAEMON@example.net", Return_Path="<>"))
        await house.put(mail("to myself", house.address, sender=house.address))
        assert "hello" == await house.hears(inbox, mail("hello", house.address))
    assert ["$FairleadIgnored"] * 3 == (await house.flags())[:3]
    assert 1 == len(inbox.accepted)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("mention", ["direct", "named"]), ("off", ["direct"]), ("all", ["direct", "named", "copy", "list"])],
)
async def test_mails_to_several_people_are_taken_as_configured(house: House, groups: str, expected: list[str]) -> None:
    """To names the mailbox as a mention does; a copy is for information."""
    async with running(house.channel(groups=groups)) as inbox:
        await house.put(mail("direct", house.address))
        await house.put(mail("named", f"bob@example.net, {house.address}"))
        await house.put(mail("copy", "bob@example.net", Cc=house.address))
        await house.put(mail("list", "all@example.net"))
        await house.put(mail("end", house.address))
        heard = [await house.hears(inbox) for _ in range(len(expected) + 1)]
    assert [*expected, "end"] == heard


async def test_unproven_mail_is_held_and_shown_by_doctor(house: House) -> None:
    """From can be anybody's words: signed, or named by the own server, or not handed in."""
    channel = house.channel(authentication="required", authserv_id=SERVER, hold_in="Unproven")
    channel.resolve = records().get
    passed = {"Authentication_Results": f"{SERVER}; dmarc=pass header.from=example.com", "sender": "cy@example.com"}
    forged = {"Authentication_Results": "evil.example; dmarc=pass header.from=example.net"}
    async with running(channel) as inbox:
        await house.put(mail("forged", house.address, **forged))
        assert "signed" == await house.hears(inbox, signed(mail("signed", house.address)))
        assert "passed" == await house.hears(inbox, mail("passed", house.address, **passed))
        held = [finding for finding in await channel.check() if finding.subject == "held"]
    assert [("authenticated", "direct", "dkim"), ("authenticated", "direct", "dmarc")] == [
        got.author.roles for got in inbox.accepted
    ]
    assert ["$FairleadHeld"] == await house.flags("Unproven")
    assert (False, True) == (held[0].ok, "ann@example.net: its sender is not proven" in held[0].detail)
    assert "Unproven" in held[0].next_step


async def test_unproven_mail_is_handed_in_where_that_is_wanted(house: House) -> None:
    """With its role; answers to it go to From alone."""
    channel = house.channel(authentication="preferred")
    channel.resolve = records().get
    async with running(channel) as inbox:
        await house.hears(inbox, mail("hello", house.address, Reply_To="victim@example.com"))
        await channel.send(Outbound("t1", inbox.accepted[0].address, (Text("hi"),), inbox.accepted[0].external_id))
        await house.hears(inbox, signed(mail("hello", house.address, Reply_To="desk@example.com")))
        await channel.send(Outbound("t2", inbox.accepted[1].address, (Text("hi"),), inbox.accepted[1].external_id))
    assert ["unauthenticated", "authenticated"] == [got.author.roles[0] for got in inbox.accepted]
    assert [ANN, "desk@example.com"] == [sent["To"] for sent in house.post.mails()]


async def test_too_many_mails_of_one_sender_are_held(house: House) -> None:
    """So that two programs cannot write to each other for ever; others are not touched."""
    async with running(channel := house.channel(per_hour=2)) as inbox:
        for number in range(4):
            await house.put(mail(f"number {number}", house.address))
        await house.put(mail("from Bob", house.address, sender="bob@example.net"))
        heard = [await house.hears(inbox) for _ in range(3)]
        findings = {finding.subject: finding for finding in await channel.check()}
    assert ["number 0", "number 1", "from Bob"] == heard
    assert "2 mails" in findings["held"].detail
    assert "more than 2 mails in an hour" in findings["held"].detail


async def test_refused_sender_is_told_once_a_minute_if_he_is_proven(house: House) -> None:
    """Others would get mail that they have not caused."""
    inbox, channel = FakeInbox(), house.channel(authentication="preferred")
    channel.resolve = records().get
    for _ in range(3):
        inbox.fail_next(Receipt("refused", notice="write the code 1234"))
    async with running(channel, inbox):
        await house.put(mail("let me in", house.address, sender="eve@evil.example"))
        await house.put(signed(mail("let me in", house.address, Message_ID="<a@x>")))
        await house.put(signed(mail("let me in!", house.address)))
        assert "end" == await house.hears(inbox, mail("end", house.address))
    (notice,) = house.post.mails()
    assert (ANN, "<a@x>", "write the code 1234") == (notice["To"], notice["In-Reply-To"], text_of(notice))


async def test_what_lies_there_already_is_taken_on_request_only(house: House) -> None:
    """The first run begins at the end of the mailbox; the next ones where the last one ended."""
    await house.put(mail("old", house.address))
    async with running(house.channel()) as inbox:
        assert "new" == await house.hears(inbox, mail("new", house.address))
    await house.put(mail("meanwhile", house.address))
    async with running(house.channel(), inbox):
        assert "meanwhile" == await house.hears(inbox)
    house.directory /= "another"
    async with running(house.channel(backlog=True)) as inbox:
        assert ["old", "new", "meanwhile"] == [await house.hears(inbox) for _ in range(3)]


async def test_mail_is_moved_where_that_is_wanted(house: House) -> None:
    """Into a mailbox that is made; with a name beyond ASCII."""
    async with running(house.channel(move_to="Erledigt & gepr\u00fcft")) as inbox:
        await house.hears(inbox, mail("one", house.address))
        await house.hears(inbox, mail("two", house.address))
    found = await trio.to_thread.run_sync(house.dovecot.mails, house.address, "Erledigt &- gepr&APw-ft")
    assert 1 <= len(found)
    assert len(await house.flags()) <= 1


async def test_mail_that_is_not_kept_stays_unmarked_until_it_is(house: House) -> None:
    """The journal is away: the same mail again, the later ones behind it."""
    inbox = FakeInbox()
    inbox.fail_next(JournalUnavailable("the disk is full"))
    async with running(house.channel(), inbox):
        await house.put(mail("one", house.address))
        await house.put(mail("two", house.address))
        assert ["one", "two"] == [await house.hears(inbox) for _ in range(2)]


async def test_messages_that_are_numbered_anew_are_not_taken_twice(house: House) -> None:
    """The mailbox was restored: known mails are duplicates or marked, and new ones are found."""
    async with running(house.channel()) as inbox:
        first, second = (mail(text, house.address) for text in ("one", "two"))
        await house.hears(inbox, first)
        await house.hears(inbox, second)
        await house.hears(inbox, mail("three", house.address))
    before = await trio.to_thread.run_sync(_validity, house)
    await trio.to_thread.run_sync(_make_anew, house, [second, mail("four", house.address)])
    assert before != await trio.to_thread.run_sync(_validity, house)
    async with running(house.channel(), inbox):
        assert "four" == await house.hears(inbox)
        assert "five" == await house.hears(inbox, mail("five", house.address))
    assert 5 == len(inbox.accepted)


def _validity(house: House) -> bytes | None:
    client = house.dovecot.client(house.address)
    try:
        return client.response("UIDVALIDITY")[1][0]  # type: ignore[no-any-return]  # of imaplib
    finally:
        client.logout()


def _make_anew(house: House, mails: list[bytes]) -> None:
    box = house.dovecot.home / "mail" / house.address
    for path in box.glob("dovecot*"):
        path.unlink()
    for path in [*(box / "cur").iterdir(), *(box / "new").iterdir()]:
        path.unlink()
    for raw in mails:
        house.dovecot.put(house.address, raw)


async def test_mail_that_is_gone_before_it_is_read_stops_nothing(house: House) -> None:
    """Somebody else reads the mailbox too."""
    async with running(house.channel()) as inbox:
        await house.hears(inbox, mail("one", house.address))
    await house.put(mail("soon gone", house.address))
    await house.put(mail("two", house.address))

    def remove() -> None:
        client = house.dovecot.client(house.address)
        client.store("2", "+FLAGS", "\\Deleted")
        client.expunge()
        client.logout()

    await trio.to_thread.run_sync(remove)
    async with running(house.channel(), inbox):
        assert "two" == await house.hears(inbox)


async def test_large_mail_is_read_as_far_as_the_limit(house: House) -> None:
    """Its beginning is handed in, and says that it is one; half an attachment is not."""
    raw = with_attachments(attachment("a.png", "image/png"), attachment("b.png", "image/png", "QUFB" * 20_000))
    raw = f"To: {house.address}\r\n".encode() + raw
    async with running(house.channel(max_bytes=10_000)) as inbox:
        assert "see there\n[the mail is larger than 10000 bytes; its end was left out]" == await house.hears(inbox, raw)
    assert Image("image/png", b"ABC", alt="a.png") == inbox.accepted[0].parts[1]
    assert 2 == len(inbox.accepted[0].parts)


async def test_server_without_idle_is_asked_again_and_again(tmp_path: Path) -> None:
    """And one that offers STARTTLS alone, and takes no flags of ours."""
    more = "protocol imap {\n  imap_capability = IMAP4rev1 LITERAL+ SASL-IR UIDPLUS\n}"
    with serving(more) as dovecot, posting(dovecot.cert, starttls=True) as post:
        house = House(dovecot, post, tmp_path, new_address())
        servers = {"imap": f"imap://localhost:{dovecot.imap}", "smtp": f"smtp://localhost:{post.port}"}
        async with running(channel := house.channel(**servers, poll_seconds=1, move_to="Done")) as inbox:
            assert "one" == await house.hears(inbox, mail("one", house.address))
            assert "two" == await house.hears(inbox, mail("two", house.address))
            await channel.send(Outbound("t", inbox.accepted[0].address, (Text("hi"),), inbox.accepted[0].external_id))
            findings = {finding.subject: finding for finding in await channel.check()}
    assert ["hi"] == [text_of(sent) for sent in post.mails()]
    assert findings["imap"].ok
    assert "no IDLE" in findings["imap"].detail
    assert findings["smtp"].ok


async def test_wrong_password_is_shown_by_doctor_with_the_way_out(house: House) -> None:
    """At both servers; and one that is not there."""
    wrong = house.channel(password="wrong")
    await wrong.open()
    findings = {finding.subject: finding for finding in await wrong.check()}
    await wrong.close()
    assert (False, False) == (findings["imap"].ok, findings["smtp"].ok)
    assert f"put the password of {house.address}" in findings["imap"].next_step
    assert f"put the password of {house.address}" in findings["smtp"].next_step
    gone = house.channel(imap="imaps://127.0.0.1:1")
    finding = (await gone.check())[0]
    assert "openssl s_client -connect 127.0.0.1:1" == finding.next_step


async def test_certificate_of_nobody_is_not_trusted(house: House) -> None:
    """Whoever stands between would read the password."""
    channel = house.channel(ca_file="")
    findings = {finding.subject: finding for finding in await channel.check()}
    assert (False, False) == (findings["imap"].ok, findings["smtp"].ok)
    assert "certificate" in findings["imap"].detail.lower()
    assert [] == house.post.logins
