"""SMTP out: what became of an answer is said as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import Address, Delivery, Outbound, Text
from fairlead_email._channel import EmailChannel

from .far import ANN, make_channel
from .post import SWALLOW, Post, posting, text_of


@asynccontextmanager
async def opened(directory: Path, port: int, **options: Any) -> AsyncIterator[EmailChannel]:
    channel = make_channel(directory, smtp=f"smtp://127.0.0.1:{port}", plaintext=True, retry_seconds=2, **options)
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()


def note(text: str = "hello", key: str = "turn-1", to: str = ANN) -> Outbound:
    return Outbound(key, Address("mail", "bot@example.org", to), (Text(text),))


async def outcome(post: Post, directory: Path, **options: Any) -> Delivery:
    async with opened(directory, post.port, **options) as channel:
        return await channel.send(note())


async def test_mail_to_an_address_begins_a_thread(tmp_path: Path) -> None:
    """A conversation that is named after an address; its answer comes back to it."""
    with posting() as post:
        async with opened(tmp_path, post.port) as channel:
            delivery = await channel.send(note("Good morning.\n\nAll is well."))
    (mail,) = post.mails()
    assert ("sent", f"<{delivery.external_id}>") == (delivery.status, mail["Message-ID"])
    assert (ANN, "Good morning.", "auto-generated") == (mail["To"], mail["Subject"], mail["Auto-Submitted"])
    assert [("bot@example.org", [ANN])] == [(one.mail_from, one.rcpt_tos) for one in post.envelopes]
    assert ["PLAIN"] == post.logins


@pytest.mark.parametrize("answer", ["451 4.7.1 Greylisted", "421 Busy", "452 Full"])
async def test_refusal_that_passes_may_come_again(answer: str, tmp_path: Path) -> None:
    """4xx, at whatever step; each time a little later."""
    with posting() as post:
        post.rcpt.append(answer)
        post.script.append(answer)
        async with opened(tmp_path, post.port) as channel:
            found = [await channel.send(note()) for _ in range(3)]
    assert ["failed", "failed", "sent"] == [one.status for one in found]
    assert [2.0, 4.0, None] == [one.retry_after for one in found]
    assert answer in found[0].reason
    assert 1 == len(post.envelopes)


async def test_refusal_for_good_says_why(tmp_path: Path) -> None:
    """5xx: the words of the server are in the reason, and no other try is asked for."""
    with posting() as post:
        post.rcpt.append("550 5.1.1 No such user here")
        first = await outcome(post, tmp_path)
        post.script.append("554 5.7.1 Spam")
        second = await outcome(post, tmp_path)
    assert ("failed", None, True) == (first.status, first.retry_after, "No such user here" in first.reason)
    assert ("failed", None, True) == (second.status, second.retry_after, "Spam" in second.reason)
    assert [] == post.envelopes


async def test_lost_receipt_is_ambiguous(tmp_path: Path) -> None:
    """The mail was taken, and the connection broke before that was said."""
    with posting() as post:
        post.script.append(SWALLOW)
        found = await outcome(post, tmp_path)
    assert ("ambiguous", 1) == (found.status, len(post.envelopes))


async def test_answer_is_sent_once_whatever_is_asked(tmp_path: Path) -> None:
    """Also by a later process: what was sent, and what may have been, is not sent again; what was refused is."""
    with posting() as post:
        post.script += ["250 OK", SWALLOW, "451 later"]
        for life in range(2):
            async with opened(tmp_path, post.port) as channel:
                found = [await channel.send(note(key=key)) for key in ("sent", "lost", "refused")]
            expected = ["sent", "ambiguous", "sent" if life else "failed"]
            assert expected == [one.status for one in found]
    assert 3 == len(post.envelopes)


async def test_server_that_is_away_is_tried_again(tmp_path: Path) -> None:
    """Nothing was sent, surely; and the same mail goes out once it is back."""
    with posting() as post:
        async with opened(tmp_path, post.port) as channel:
            post.stop()
            away = await channel.send(note())
            post.start()
            back = await channel.send(note())
    assert ("failed", 2.0, "sent") == (away.status, away.retry_after, back.status)


async def test_wrong_password_may_be_mended(tmp_path: Path) -> None:
    """The server says no, and nothing was sent."""
    with posting() as post:
        found = await outcome(post, tmp_path, password="wrong")
    assert ("failed", 2.0) == (found.status, found.retry_after)
    assert "535" in found.reason
    assert "wrong" not in found.reason


async def test_login_is_done_the_way_that_is_offered(tmp_path: Path) -> None:
    """LOGIN where there is no PLAIN; none of them is said."""
    with posting(auth_exclude_mechanism=["PLAIN"]) as post:
        assert "sent" == (await outcome(post, tmp_path)).status
        assert ["LOGIN"] == post.logins


async def test_addresses_beyond_ascii_need_a_server_that_takes_them(tmp_path: Path) -> None:
    """SMTPUTF8 where it is offered; a clear word where it is not."""
    with posting() as post:
        async with opened(tmp_path, post.port) as channel:
            sent = await channel.send(note(to="j\u00fcrgen@example.net"))
    with posting(enable_SMTPUTF8=False) as old:
        async with opened(tmp_path, old.port) as channel:
            refused = await channel.send(note(key="turn-2", to="j\u00fcrgen@example.net"))
    assert ("sent", ["j\u00fcrgen@example.net"]) == (sent.status, post.envelopes[0].rcpt_tos)
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(post.envelopes[0].mail_options)
    assert ("failed", None) == (refused.status, refused.retry_after)
    assert "SMTPUTF8" in refused.reason


async def test_mail_that_is_too_large_for_the_server_is_not_sent(tmp_path: Path) -> None:
    """It says so before: the server has named its limit."""
    with posting(data_size_limit=500) as post:
        found = await outcome(post, tmp_path)
    assert ("failed", None, True) == (found.status, found.retry_after, "at most 500 bytes" in found.reason)


async def test_lines_of_dots_arrive(tmp_path: Path) -> None:
    """A full stop alone ends a mail in SMTP."""
    text = ".\n..\n.a\n\n."
    with posting() as post:
        async with opened(tmp_path, post.port) as channel:
            await channel.send(note(text))
    assert [text] == [text_of(mail) for mail in post.mails()]


@pytest.mark.parametrize(
    "script",
    [
        [b"554 go away\r\n"],
        [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        [b"\xff\xfe\xfd\r\n"],
        [b"220 hi\r\n", b"250-\r\n" * 500],
        [b"220 hi\r\n", b"250 x\r\n", b"999 what\r\n"],
        [b"220 " + b"x" * 5_000_000],
        [],
    ],
    ids=["554", "http", "junk", "endless", "code", "long", "closed"],
)
async def test_server_that_makes_no_sense_is_no_server(script: Sequence[bytes], tmp_path: Path) -> None:
    """Nothing was sent: surely failed."""

    async def talk(stream: trio.SocketStream) -> None:
        for words in script:
            try:
                await stream.send_all(words)
                await stream.receive_some()
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, talk, listeners)
        with trio.fail_after(10):
            async with opened(tmp_path, listeners[0].socket.getsockname()[1]) as channel:
                found = await channel.send(note())
        nursery.cancel_scope.cancel()
    assert "failed" == found.status
    assert found.reason
