"""The IMAP client alone, against a scripted server: what comes is bounded, and nonsense is a lost connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from fairlead_email._imap import Imap, LoginRefused, Mail, quoted, utf7
from fairlead_email._options import Server
from fairlead_email._wire import Gone, Refused, Wire


@asynccontextmanager
async def session(*answers: bytes) -> AsyncIterator[tuple[Imap, list[bytes]]]:
    """A client, and a server that gives one answer for each line it reads; ``%s`` is the line's tag."""
    near, far = memory_stream_pair()
    asked: list[bytes] = []

    async def serve() -> None:
        wire = Wire(Server("test", 1, "none"), far)
        for answer in answers:
            asked.append(await wire.line())
            await far.send_all(answer.replace(b"%s", asked[-1].partition(b" ")[0]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Imap(Wire(Server("test", 1, "none"), near)), asked
        nursery.cancel_scope.cancel()


async def test_literals_lists_and_strings_are_read() -> None:
    """As servers mix them, in any order of the items."""
    answer = (
        b"* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 7] fine\r\n"
        b'* 3 FETCH (FLAGS (\\Seen $X) RFC822.SIZE 9 INTERNALDATE " 1-Mar-2027 10:00:00 +0100" '
        b'X ("a \\" b" NIL (1 (2))) BODY[]<0> {5}\r\nhe)lo UID 8)\r\n%s OK done\r\n'
    )
    async with session(answer) as (imap, asked):
        mail = await imap.fetch(8, 100)
    assert Mail(8, b"he)lo", 9, 1_803_891_600.0, frozenset({"\\Seen", "$X"})) == mail
    assert imap.changed
    assert [b"F1 UID FETCH 8 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]<0.100>)"] == asked


async def test_message_that_is_gone_is_none() -> None:
    """Also where the server speaks of another one meanwhile."""
    async with session(b"* 1 FETCH (FLAGS () UID 7)\r\n%s OK done\r\n") as (imap, _):
        assert None is await imap.fetch(8, 100)


async def test_search_finds_numbers_in_order() -> None:
    """In several answers, with what is no number left out."""
    async with session(b"* SEARCH 9 3\r\n* SEARCH\r\n* SEARCH 12 x\r\n%s OK done\r\n") as (imap, _):
        assert [3, 9, 12] == await imap.search("ALL")


@pytest.mark.parametrize(
    "answer",
    [
        b"* 1 FETCH (BODY[]<0> {99999999}\r\n",
        b"* " + b"(" * 1000 + b"\r\n%s OK\r\n",
        b"* ))))\r\n%s OK\r\n",
        b"* x\r\n" * 20_000,
        b"* {1}\r\nx" * 500 + b"\r\n",
        b"x" * 5_000_000,
        b"* BYE going down\r\n",
    ],
    ids=["literal", "deep", "closed", "many", "pieces", "line", "bye"],
)
async def test_answer_without_sense_or_end_is_a_lost_connection(answer: bytes) -> None:
    """Bounded in each direction."""
    async with session(answer) as (imap, _):
        with pytest.raises(Gone):
            await imap.fetch(1, 1000)


async def test_refusal_has_the_words_of_the_server() -> None:
    """NO, BAD, and what is no status at all."""
    for status in (b"NO [NOPERM] not yours", b"BAD what?", b"WHAT"):
        async with session(b"%s " + status + b"\r\n") as (imap, _):
            with pytest.raises(Refused, match="IMAP UID: "):
                await imap.search("ALL")


async def test_password_is_refused_or_the_server_is_in_trouble() -> None:
    """RFC 5530 tells which: a wrong password is not tried again soon."""
    for words, error in ((b"NO [AUTHENTICATIONFAILED] no", LoginRefused), (b"NO [UNAVAILABLE] later", Gone)):
        async with session(b"%s " + words + b"\r\n") as (imap, asked):
            with pytest.raises(error):
                await imap.log_in("ann", 'a"b\\c')
    assert [b'F1 LOGIN "ann" "a\\"b\\\\c"'] == asked


async def test_peer_that_does_not_answer_is_given_up(autojump_clock: MockClock) -> None:
    """A connection whose other end has vanished: found when IDLE is renewed."""
    async with session(b"+ idling\r\n") as (imap, _):
        began = trio.current_time()
        with pytest.raises(Gone):
            await imap.idle(540)
        assert 540 < trio.current_time() - began <= 620


async def test_idle_ends_with_the_news_and_is_renewed_without(autojump_clock: MockClock) -> None:
    """EXISTS ends it at once; else the time."""
    for early, seconds in ((b"+ idling\r\n* 4 EXISTS\r\n", 0), (b"* OK still here\r\n+ idling\r\n* OK here\r\n", 540)):
        async with session(early, b"F1 OK done\r\n") as (imap, asked):
            began = trio.current_time()
            await imap.idle(540)
            assert ([b"F1 IDLE", b"DONE"], seconds) == (asked, trio.current_time() - began)


async def test_words_before_tls_are_not_believed() -> None:
    """Whoever stands between could add answers to STARTTLS."""
    near, far = memory_stream_pair()
    wire = Wire(Server("test", 1, "starttls"), near)
    await far.send_all(b"F1 OK begin\r\n* OK injected\r\n")
    await wire.line()
    with pytest.raises(Gone, match="somebody may stand between"):
        await wire.start_tls()


def test_names_are_written_as_imap_wants_them() -> None:
    """Its own UTF-7 and quoted strings; line ends in a name are refused."""
    assert ["INBOX", "A &- B", "&AOQ-rger", "&ZeVnLIqe-/x"] == [
        utf7(name) for name in ("INBOX", "A & B", "\u00e4rger", "\u65e5\u672c\u8a9e/x")
    ]
    with pytest.raises(Refused):
        quoted("a\r\nb")
