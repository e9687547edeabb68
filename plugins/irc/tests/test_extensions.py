"""With a server that has the extensions of IRCv3: who is who, what is played again, and what became of a send."""

from __future__ import annotations

import time

import pytest
import trio

from fairlead.testing import FakeInbox
from fairlead_irc._delivery import Ticket
from fairlead_irc._wire import Line

from .bots import heard, make_channel, next_of, running, say, until
from .ircv3 import ALL, faking

WITHOUT_TAGS = tuple(cap for cap in ALL if cap.partition("=")[0] not in {"account-tag", "draft/multiline"})
IN_LINES = tuple(cap for cap in ALL if "multiline" not in cap)


def ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - seconds))


# -- who is who


@pytest.mark.parametrize("caps", [ALL, WITHOUT_TAGS, ()], ids=["account-tag", "whois", "nothing"])
async def test_person_is_known_by_the_account(caps: tuple[str, ...]) -> None:
    """As the server tags the message, or as it answers to WHOIS."""
    people = {"ann": ("a@home.example", "annie"), "eve": ("e@home.example", "")}
    async with faking(caps=caps, people=people) as server, running(make_channel(server.port)) as inbox:
        await server.say("ann", "bot", "hello")
        await server.say("eve", "bot", "hello")
        ann, eve = await next_of(inbox), await next_of(inbox)
    assert ("irc:127.0.0.1:account:annie", ("account",)) == (ann.author.id, ann.author.roles)
    assert ("irc:127.0.0.1:mask:eve!e@home.example", ()) == (eve.author.id, eve.author.roles)
    assert ("ann/annie", "eve!e@home.example") == (ann.address.conversation, eve.address.conversation)


async def test_account_of_another_user_behind_the_nick_counts_for_nobody() -> None:
    """The nick was given away between the message and the answer to WHOIS."""
    people = {"ann": ("a@home.example", "annie")}
    async with faking(caps=(), people=people) as server, running(make_channel(server.port)) as inbox:
        await server.clients[0].send(":ann!evil@elsewhere.example PRIVMSG bot :it is me, Annie")
        got = await next_of(inbox)
    assert "irc:127.0.0.1:mask:ann!evil@elsewhere.example" == got.author.id


async def test_nick_taken_with_another_account_is_another_conversation() -> None:
    """And an answer to the first one does not reach the second."""
    async with faking(caps=WITHOUT_TAGS, people={"ann": ("a@home.example", "annie")}) as server:
        channel = make_channel(server.port)
        async with running(channel):
            server.people["ann"] = ("a@home.example", "eve")
            delivery = await say(channel, "ann/annie", "a secret")
    assert ("failed", []) == (delivery.status, server.shown)


# -- what is played again


async def test_message_that_is_played_again_keeps_its_id() -> None:
    """By the server's id; or by its time and its words, and then the same words later are another message."""
    async with faking() as server, running(make_channel(server.port)) as inbox:
        at = ago(5)
        for tags in ({"msgid": "m1"}, {"msgid": "m1"}, {"time": at}, {"time": at}, {"time": ago(4)}):
            await server.say("ann", "bot", "again", **tags)
        await server.say("ann", "bot", "the end", "m2")
        while await heard(inbox) != "the end":
            pass
    assert 4 == len(inbox.accepted), "m1, the one of five seconds ago, the one of four, and the end"
    assert 2 == len(inbox.duplicates)


async def test_history_of_long_ago_is_not_answered() -> None:
    """What a bouncer plays again after a new connection is taken up to an age; by the server's clock, not by ours."""
    async with faking() as server:
        server.kept += [
            ("bot", "an hour ago", "h1", ago(3600)),
            ("bot", "a minute ago", "h2", ago(60)),
            ("bot", "once upon a time", "", ""),
        ]
        async with running(make_channel(server.port)) as inbox:
            assert "a minute ago" == await heard(inbox)
            await server.say("ann", "bot", "now", "h3")
            assert "now" == await heard(inbox)


# -- what became of a send


async def test_send_has_the_id_of_the_server() -> None:
    """Of the echo, which has the label of the line."""
    async with faking() as server:
        channel = make_channel(server.port)
        async with running(channel):
            delivery = await say(channel, "ann/ann", "one\ntwo")
            notice = await say(channel, "ann/ann", "careful", kind="notice")
    assert [("sent", "echo-1"), ("sent", "echo-3")] == [(each.status, each.external_id) for each in (delivery, notice)]
    assert ["one\ntwo", "careful"] == server.texts("ann")


@pytest.mark.parametrize(
    "caps", [IN_LINES, ("echo-message",), ("message-tags",), ()], ids=["labels", "echo", "tags", "nothing"]
)
async def test_lines_are_confirmed_with_whatever_the_server_has(caps: tuple[str, ...]) -> None:
    """By labelled echoes, by echoes with the same words, or by the answer to a PING."""
    async with faking(caps=caps) as server:
        channel = make_channel(server.port)
        async with running(channel):
            delivery = await say(channel, "ann/ann", "one\none\ntwo")
            refused = await say(channel, "zoe/zoe", "one\ntwo")
    assert ("sent", "failed") == (delivery.status, refused.status)
    assert ["one", "one", "two"] == server.texts("ann")


async def test_message_that_was_refused_in_part_is_ambiguous() -> None:
    """Sending it again would show the rest twice."""
    async with faking(caps=()) as server:
        channel = make_channel(server.port, flood_burst=1, flood_seconds=0.2)
        async with running(channel), trio.open_nursery() as nursery:
            outcomes = []

            async def speak() -> None:
                outcomes.append(await say(channel, "ann/ann", "one\ntwo\nthree"))

            nursery.start_soon(speak)
            await until(lambda: server.texts("ann"))
            server.refusing = 1
    assert "ambiguous" == outcomes[0].status
    assert "three" not in server.texts("ann")


async def test_server_that_is_too_busy_says_when_to_come_again() -> None:
    """263 and 439: failed, and not for good."""
    async with faking() as server:
        channel = make_channel(server.port)
        async with running(channel):
            server.refusing = 7
            delivery = await say(channel, "ann/ann", "hello")
    assert ("failed", 7.0) == (delivery.status, delivery.retry_after)


def test_word_of_somebody_else_confirms_nothing() -> None:
    """Echoes of another message of ours (from another client of the same account) are not this one's."""
    ticket = Ticket("ann", "t1", "ascii", echo=True)
    ticket.expect("hello")
    ticket.whole = True
    for line in (
        Line("PRIVMSG", ("ann", "other words")),
        Line("PRIVMSG", ("eve", "hello")),
        Line("PRIVMSG", ("ann", "hello"), "", {"label": "t2.1"}),
        Line("PONG", ("irc.test", "t1")),
    ):
        ticket.take(line, own=True)
    ticket.take(Line("401", ("bot", "eve", "No such nick")), own=False)
    assert "ambiguous" == (ticket.delivery() or pytest.fail("it was written")).status
    ticket.take(Line("PRIVMSG", ("Ann", "hello")), own=True)
    assert "sent" == (ticket.delivery() or pytest.fail("it was written")).status


# -- the connection


async def test_silent_server_is_left() -> None:
    """It is asked whether it is there, and then another connection is made."""
    async with faking() as server:
        channel = make_channel(server.port, ping_seconds=0.2)
        async with running(channel) as inbox:
            server.reading = trio.Event()
            await until(lambda: server.tries > 1)
            server.reading.set()
            with trio.fail_after(20):
                while not inbox.accepted:
                    await server.say("ann", "bot", "are you there?")
                    await trio.sleep(0.05)  # real time: sockets
        assert any(line == "PING :alive" for line in server.lines)


@pytest.mark.parametrize(("password", "trouble"), [("right", ""), ("wrong", "does not accept the account")])
async def test_check_logs_in_with_the_account(password: str, trouble: str) -> None:
    """And says what the server says."""
    async with faking(accounts={"robot": "right"}) as server:
        (finding, _) = await make_channel(server.port, account="robot", password=password).check()
    assert (not trouble) == finding.ok
    assert (trouble or "lets bot in, account robot") in finding.detail


async def test_refused_login_is_not_tried_again_at_once() -> None:
    """The longest pause at once: passwords that are tried again and again get us banned."""
    async with faking(accounts={"robot": "right"}) as server, trio.open_nursery() as nursery:
        channel = make_channel(
            server.port, account="robot", password="wrong", reconnect_seconds=0.01, reconnect_max_seconds=30.0
        )
        nursery.start_soon(channel.run, FakeInbox())
        await trio.sleep(0.5)  # real time: what does not happen in it
        assert 1 == server.tries
        nursery.cancel_scope.cancel()


async def test_flood_that_ends_a_connection_makes_the_bot_slower() -> None:
    """Half as fast, after a server has said so."""
    async with faking() as server:
        channel = make_channel(server.port)
        async with running(channel):
            await server.clients[0].send("ERROR :Closing Link: bot (Excess Flood)")
            await until(lambda: server.tries > 1)
            assert 2.0 == channel._bucket.factor  # noqa: SLF001  # nothing shows it from outside


async def test_message_to_the_operators_of_a_channel_is_answered_to_them() -> None:
    """And not to everybody."""
    async with faking(people={"ann": ("a@home.example", "ann")}) as server:
        channel = make_channel(server.port, channels=["#room"])
        async with running(channel) as inbox:
            await server.say("ann", "@#room", "bot: between us")
            got = await next_of(inbox)
            delivery = await say(channel, got.address, "yes")
    assert ("@#room", "between us") == (got.address.conversation, got.parts[0].text)  # type: ignore[union-attr]  # words
    assert ("sent", ["yes"]) == (delivery.status, server.texts("@#room"))


async def test_notice_that_could_not_be_said_is_said_when_it_is_tried_again() -> None:
    """The same words of another message are not."""
    async with faking() as server:
        channel = make_channel(server.port)
        async with running(channel):
            server.refusing = 1
            tries = [await say(channel, "ann/ann", "careful", key, kind="notice") for key in ("a", "a", "b")]
    assert ["failed", "sent", "failed"] == [each.status for each in tries]
    assert ["careful"] == server.texts("ann")


async def test_connection_that_ends_under_a_message_costs_no_line_of_the_next() -> None:
    """Whoever waits for a new one neither spins nor uses up the bucket."""
    async with faking() as server:
        channel = make_channel(server.port, flood_burst=6, flood_seconds=60.0)
        async with running(channel):
            await server.clients[0].send("ERROR :Closing Link: bot (gone)")
            assert ["sent", "sent"] == [(await say(channel, "ann/ann", "hello")).status for _ in range(2)]
