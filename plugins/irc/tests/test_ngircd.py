"""The channel on a real server: people come, speak and read, and things go wrong."""

from __future__ import annotations

import signal

import trio
import trio.testing

from fairlead.errors import JournalUnavailable
from fairlead.testing import FakeInbox

from .bots import heard, make_channel, next_of, running, say
from .daemon import free_port, person, serving


async def test_message_that_names_the_bot_is_handed_in_and_answered_in_the_channel() -> None:
    """Without the nick in front; the answer turns to who asked."""
    async with serving() as daemon, person(daemon, "ann", "#room") as ann:
        channel = make_channel(daemon.port, channels=["#room"])
        async with running(channel) as inbox:
            assert [f"127.0.0.1:{daemon.port} as bot"] == inbox.places
            await ann.say("PRIVMSG #room :nothing for machines\r\nPRIVMSG #room :Bot: what is \x02new\x0f?")
            got = await next_of(inbox)
            delivery = await say(channel, got.address, "nothing\nat all", in_reply_to=got.external_id)
            await ann.settle()
    assert "what is new?" == got.parts[0].text  # type: ignore[union-attr]  # it has words only
    assert ("irc", "127.0.0.1", "#room") == (got.address.channel, got.address.account, got.address.conversation)
    assert ("irc:127.0.0.1:mask:ann!~ann@127.0.0.1", "ann") == (got.author.id, got.author.name)
    assert ("sent", True) == (delivery.status, bool(delivery.external_id))
    assert ["ann: nothing", "at all"] == ann.texts("#room")


async def test_direct_message_is_answered_to_the_person() -> None:
    """Each line by itself; the conversation belongs to nick, user and host together."""
    async with serving() as daemon, person(daemon, "ann") as ann:
        channel = make_channel(daemon.port)
        async with running(channel) as inbox:
            await ann.say("PRIVMSG bot :hello\r\nPRIVMSG bot :\x01ACTION waves\x01")
            got = await next_of(inbox)
            assert "* ann waves" == await heard(inbox)
            delivery = await say(channel, got.address, "hello Ann")
            await ann.settle()
    assert ("ann!~ann@127.0.0.1", "sent") == (got.address.conversation, delivery.status)
    assert ["hello Ann"] == ann.texts("ann")


async def test_equal_words_said_twice_are_two_messages() -> None:
    """The server numbers nothing, so each line is its own event."""
    async with serving() as daemon, person(daemon, "ann") as ann, running(make_channel(daemon.port)) as inbox:
        await ann.say("PRIVMSG bot :again\r\nPRIVMSG bot :again")
        got = [await next_of(inbox), await next_of(inbox)]
    assert ["again", "again"] == [each.parts[0].text for each in got]  # type: ignore[union-attr]  # they have words only
    assert got[0].external_id != got[1].external_id


async def test_questions_to_programs_and_notices_are_not_for_the_agent() -> None:
    """CTCP is never answered, a notice never handed in: two bots must not keep each other busy."""
    async with serving() as daemon, person(daemon, "ann") as ann, running(make_channel(daemon.port)) as inbox:
        await ann.say(
            "PRIVMSG bot :\x01VERSION\x01\r\nPRIVMSG bot :\x01PING 1\x01\r\nNOTICE bot :hello\r\nPRIVMSG bot :\x03"
        )
        await ann.say("PRIVMSG bot :and this is")
        assert "and this is" == await heard(inbox)
        await ann.settle()
    assert [] == ann.texts("ann") + ann.texts("ann", "NOTICE")


async def test_long_line_arrives_whole() -> None:
    """Cut at spaces, and by bytes; each line has at most 512 bytes with the prefix that the server puts before it."""
    text = " ".join(f"größer{number}中文" for number in range(150))
    async with serving() as daemon, person(daemon, "ann", "#room") as ann:
        channel = make_channel(daemon.port, channels=["#room"])
        async with running(channel):
            delivery = await say(channel, "#room", text)
            await ann.settle()
    lines = [line for line in ann.lines if " PRIVMSG #room :" in line]
    assert "sent" == delivery.status
    assert text == " ".join(ann.texts("#room"))
    assert all(len(line.encode()) + 2 <= 512 for line in lines)
    assert max(len(line.encode()) + 2 for line in lines) > 450, "the lines are filled"


async def test_place_without_a_listener_is_a_failure() -> None:
    """A nick that nobody has; a channel that we are not in; a channel where we may not speak. Nothing has arrived."""
    async with serving() as daemon, person(daemon, "ann", "#quiet", "#other"):
        channel = make_channel(daemon.port, channels=["#quiet"])
        async with running(channel):
            nobody = await say(channel, "zoe!~zoe@127.0.0.1", "hello")
            outside = await say(channel, "#other", "hello")
            muted = await say(channel, "#quiet", "hello")
    assert ["failed"] * 3 == [nobody.status, outside.status, muted.status]
    assert "nobody has the nick 'zoe' now" == nobody.reason
    assert "not in #other" == outside.reason
    assert muted.reason.startswith("the server answered 404 ")


async def test_nick_of_nobody_is_a_failure_without_whois_too() -> None:
    """The server's 401 comes before the PONG."""
    async with serving() as daemon:
        channel = make_channel(daemon.port, whois=False)
        async with running(channel):
            delivery = await say(channel, "zoe!~zoe@127.0.0.1", "hello\nthere")
    assert ("failed", True) == (delivery.status, delivery.reason.startswith("the server answered 401 "))


async def test_answer_does_not_go_to_who_has_taken_the_nick() -> None:
    """Another user or host behind the same nick is another person."""
    async with serving() as daemon, person(daemon, "ann") as ann:
        channel = make_channel(daemon.port)
        async with running(channel):
            delivery = await say(channel, "ann!~somebody@else.example", "a secret")
            await ann.settle()
    assert ("failed", "somebody else has the nick 'ann' now") == (delivery.status, delivery.reason)
    assert [] == ann.texts("ann")


async def test_notice_is_a_notice_and_said_once_a_minute() -> None:
    """Whoever floods us with messages that are refused is not flooded in turn."""
    async with serving() as daemon, person(daemon, "ann") as ann:
        channel = make_channel(daemon.port)
        async with running(channel):
            first = await say(channel, "ann!~ann@127.0.0.1", "you are not known here", kind="notice")
            second = await say(channel, "ann!~ann@127.0.0.1", "you are not known here", "turn-2", kind="notice")
            await ann.settle()
    assert ("sent", "failed") == (first.status, second.status)
    assert ["you are not known here"] == ann.texts("ann", "NOTICE")


async def test_keys_open_channels_and_refusals_are_findings() -> None:
    """The one with the wrong key is told by `check`; the rest works."""
    async with serving() as daemon, person(daemon, "ann", "#locked sesame"):
        good = make_channel(daemon.port, channels=["#locked"], channel_keys={"#locked": "sesame"})
        async with running(good):
            assert "sent" == (await say(good, "#locked", "open")).status
            assert [True] == [finding.ok for finding in await good.check()]
        bad = make_channel(daemon.port, channels=["#locked", "#room"], channel_keys={"#locked": "wrong"})
        async with running(bad):
            assert "sent" == (await say(bad, "#room", "hello")).status
            refused = await say(bad, "#locked", "hello")
            findings = await bad.check()
    assert ("failed", True) == (refused.status, refused.reason.startswith("475 "))
    assert [(True, "irc"), (False, "irc #locked")] == [(finding.ok, finding.subject) for finding in findings]


async def test_groups_option_decides_what_of_a_channel_is_heard() -> None:
    """All of it, with the nick in front left out; or nothing."""
    async with serving() as daemon, person(daemon, "ann", "#room") as ann:
        async with running(make_channel(daemon.port, channels=["#room"], groups="all")) as inbox:
            await ann.say("PRIVMSG #room :just words\r\nPRIVMSG #room :bot, yes")
            assert ["just words", "yes"] == [await heard(inbox), await heard(inbox)]
        await ann.expect(" QUIT ")
        async with running(make_channel(daemon.port, channels=["#room"], groups="off", direct=True)) as inbox:
            await ann.say("PRIVMSG #room :bot: hello\r\nPRIVMSG bot :direct")
            assert "direct" == await heard(inbox)


async def test_taken_nick_is_replaced_and_regained() -> None:
    """The bot listens to the name that it has; when the wanted one is free, it takes it."""
    async with serving() as daemon, person(daemon, "ann", "#room") as ann, person(daemon, "bot") as other:
        async with running(make_channel(daemon.port, channels=["#room"])) as inbox:
            await ann.say("PRIVMSG #room :bot_: hello\r\nPRIVMSG #room :bot: not for you")
            assert ["hello"] == [await heard(inbox)]
            await other.say("QUIT")
            await ann.expect(" NICK :bot")
            await ann.say("PRIVMSG #room :bot: hello again")
            assert "hello again" == await heard(inbox)
        assert [f"127.0.0.1:{daemon.port} as bot_"] == inbox.places


async def test_messages_that_come_while_the_journal_is_away_are_kept() -> None:
    """IRC delivers once: the channel keeps trying."""
    inbox = FakeInbox()
    async with serving() as daemon, person(daemon, "ann") as ann, running(make_channel(daemon.port), inbox):
        inbox.fail_next(JournalUnavailable("the disk is full"))
        await ann.say("PRIVMSG bot :one\r\nPRIVMSG bot :two")
        assert ["one", "two"] == [await heard(inbox), await heard(inbox)]


async def test_kicked_bot_comes_back_and_the_answer_waits_for_it() -> None:
    """A send meanwhile waits until the channel is joined again."""
    async with serving() as daemon, person(daemon, "ann", "#room") as ann:
        channel = make_channel(daemon.port, channels=["#room"], reconnect_seconds=0.1)
        async with running(channel):
            await ann.say("KICK #room bot :out")
            await ann.expect(" KICK #room bot ")
            delivery = await say(channel, "#room", "here I am")
            await ann.expect("JOIN :#room", 3)
            await ann.settle()
    assert "sent" == delivery.status
    assert ["here I am"] == ann.texts("#room")


async def test_server_password_opens_the_server() -> None:
    """A wrong one is a finding that names the key."""
    async with serving(password="sesame") as daemon:
        async with running(make_channel(daemon.port, server_password="sesame")):
            pass
        (finding,) = await make_channel(daemon.port, server_password="wrong").check()
    assert not finding.ok
    assert "server_password" in finding.next_step


async def test_server_that_is_not_there_is_a_finding() -> None:
    """With the keys to look at."""
    (finding,) = await make_channel(free_port(), nick="bot").check()
    assert (False, "look at host, port and tls in [channels.irc]") == (finding.ok, finding.next_step)


async def test_restarted_server_is_joined_again_and_nothing_is_doubled() -> None:
    """What is to be said meanwhile waits for the new connection, and arrives once; what is heard then is heard once."""
    async with serving() as daemon:
        channel = make_channel(daemon.port, channels=["#room"])
        async with running(channel) as inbox, trio.open_nursery() as nursery:
            async with person(daemon, "ann", "#room") as ann:
                await ann.say("PRIVMSG bot :before")
                assert "before" == await heard(inbox)
                await daemon.stop(kill=True)
            outcomes = []

            async def speak() -> None:
                outcomes.append((await say(channel, "#room", "while it was away")).status)

            nursery.start_soon(speak)
            await daemon.start()
            async with person(daemon, "ann", "#room") as ann:
                await ann.meet("bot", "#room")
                await ann.say("PRIVMSG bot :after")
                assert "after" == await heard(inbox)
                assert "sent" == (await say(channel, "#room", "and now")).status
                await ann.settle()
        assert ["sent"] == outcomes
        assert ann.texts("#room") in (["and now"], ["while it was away", "and now"])
        assert ["before", "after"] == [each.parts[0].text for each in inbox.accepted]  # type: ignore[union-attr]  # words
        assert 1 == len(inbox.places)


async def test_connection_that_is_lost_while_a_message_is_under_way_is_ambiguous() -> None:
    """The lines are written, and a server that stands still says nothing; then it dies."""
    async with serving() as daemon:
        channel = make_channel(daemon.port, channels=["#room"])
        async with running(channel), trio.open_nursery() as nursery:
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGSTOP)
            outcomes = []

            async def speak() -> None:
                outcomes.append((await say(channel, "#room", "perhaps")).status)

            nursery.start_soon(speak)
            await trio.testing.wait_all_tasks_blocked(0.1)
            await daemon.stop(kill=True)
        assert ["ambiguous"] == outcomes
