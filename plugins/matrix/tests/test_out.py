"""What is sent, as somebody with another client sees it: against a real homeserver."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from fairlead import Address, Audio, Delivery, Draft, File, Image, Outbound, Receipt, Text
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead.testing import FakeInbox
from fairlead.types import Part
from fairlead_matrix._channel import MatrixChannel

from .far import Person, World, make_channel, next_of, running, until
from .relay import Asked, Relay, relaying

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108020000009077 53de")


@define
class Pair:
    """A person and a channel, alone in a room."""

    ann: Person
    bot: Person
    room: str
    channel: MatrixChannel
    inbox: FakeInbox
    relay: Relay

    def address(self, thread: str = "") -> Address:
        return Address("matrix", self.bot.user_id, self.room, thread)

    def outbound(self, *parts: Part | str, key: str = "turn-1", thread: str = "", **more: Any) -> Outbound:
        made = tuple(Text(part) if isinstance(part, str) else part for part in parts)
        return Outbound(key, self.address(thread), made, **more)

    def draft(self, text: str, key: str = "turn-1", **more: Any) -> Draft:
        return Draft(key, self.address(), text, **more)

    async def shown(self) -> list[Any]:
        return await self.ann.seen(self.room, self.bot.user_id)

    async def raw(self) -> list[Any]:
        """Every event of the channel, edits as well."""
        events = await self.ann.events(self.room)
        mine = [event for event in events if event["sender"] == self.bot.user_id]
        return [event for event in mine if event["type"] == "m.room.message"]


@asynccontextmanager
async def paired(world: World, directory: Path, *others: Person, **options: Any) -> AsyncIterator[Pair]:
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id, *(other.user_id for other in others))
    for person in (bot, *others):
        await person.join(room)
    async with relaying(world.synapse.url, world.http) as relay:
        given = {"access_token": bot.token, "edit_seconds": 0, **options}
        channel = make_channel(relay.url, directory, **given)
        async with running(channel) as inbox:
            yield Pair(ann, bot, room, channel, inbox, relay)


async def test_answer_is_markdown_in_two_forms(world: World, tmp_path: Path) -> None:
    """The plain body is the Markdown itself; HTML only where there is markup. It mentions nobody."""
    async with paired(world, tmp_path) as pair:
        await pair.channel.send(pair.outbound("**bold** and <b>not</b>"))
        await pair.channel.send(pair.outbound("just < words & more", key="turn-2"))
        marked, plain = await pair.shown()
    assert ("m.text", "**bold** and <b>not</b>") == (marked["msgtype"], marked["body"])
    assert "<p><strong>bold</strong> and &lt;b&gt;not&lt;/b&gt;</p>" == marked["formatted_body"]
    assert "formatted_body" not in plain
    assert [{}, {}] == [marked["m.mentions"], plain["m.mentions"]]


async def test_notice_is_a_notice(world: World, tmp_path: Path) -> None:
    """Other programs do not answer it; answers can be of that type too."""
    async with paired(world, tmp_path, answer_type="m.notice") as pair:
        await pair.channel.send(pair.outbound("no", kind="notice"))
        await pair.channel.send(pair.outbound("yes", key="turn-2"))
        assert ["m.notice", "m.notice"] == [each["msgtype"] for each in await pair.shown()]


async def test_in_a_group_the_answer_is_a_reply(world: World, tmp_path: Path) -> None:
    """Among several people it must be clear who is answered; alone with one it is."""
    bob = await world.person("bob")
    async with paired(world, tmp_path, bob) as pair:
        asked = await pair.ann.say(pair.room, f"{pair.bot.user_id}: what time is it?")
        got = await next_of(pair.inbox)
        await pair.channel.send(pair.outbound("noon", in_reply_to=got.external_id))
        (group,) = await pair.shown()
    async with paired(world, tmp_path / "two") as pair:
        got_alone = await pair.ann.say(pair.room, "what time is it?")
        await pair.channel.send(pair.outbound("noon", in_reply_to=got_alone))
        (alone,) = await pair.shown()
    assert {"m.in_reply_to": {"event_id": asked}} == group["m.relates_to"]
    assert "m.relates_to" not in alone


async def test_answer_stays_in_its_thread(world: World, tmp_path: Path) -> None:
    """Also while it grows."""
    async with paired(world, tmp_path) as pair:
        root = await pair.ann.say(pair.room, "a thread")
        await pair.channel.preview(Draft("turn-1", pair.address(root), "gro", in_reply_to=root))
        await pair.channel.send(pair.outbound("grown", thread=root, in_reply_to=root))
        first, last = await pair.raw()
        path = f"/_matrix/client/v1/rooms/{pair.room}/relations/{root}/m.thread"
        found = await pair.ann.call("GET", path)
        assert ["grown"] == [each["body"] for each in await pair.shown()]
    assert [first["event_id"]] == [event["event_id"] for event in found["chunk"]]
    assert ("m.thread", root, True) == tuple(
        first["content"]["m.relates_to"][key] for key in ("rel_type", "event_id", "is_falling_back")
    )
    assert "m.relates_to" not in last["content"]["m.new_content"]


# -- drafts


async def test_answer_grows_in_one_message(world: World, tmp_path: Path) -> None:
    """Every form is an edit of the first; the last one is the answer."""
    async with paired(world, tmp_path) as pair:
        for text in ("on", "one", "one two"):
            await pair.channel.preview(pair.draft(text))
        delivery = await pair.channel.send(pair.outbound("one two three"))
        events, shown = await pair.raw(), await pair.shown()
    assert ["on", "* one", "* one two", "* one two three"] == [event["content"]["body"] for event in events]
    assert ["one two three"] == [each["body"] for each in shown]
    assert ("sent", events[0]["event_id"]) == (delivery.status, delivery.external_id)


async def test_quick_answer_is_one_event(world: World, tmp_path: Path) -> None:
    """Who is there within `edit_seconds` has nothing to edit."""
    async with paired(world, tmp_path, edit_seconds=60) as pair:
        await pair.channel.preview(pair.draft("on"))
        await pair.channel.send(pair.outbound("one two three"))
        assert ["one two three"] == [event["content"]["body"] for event in await pair.raw()]


async def test_drafts_wait_for_each_other(world: World, tmp_path: Path) -> None:
    """Those between are left out."""
    async with paired(world, tmp_path, edit_seconds=0.2) as pair:
        for number in range(4):
            await pair.channel.preview(pair.draft(f"draft {number}"))
            await trio.sleep(0.11)  # real time: of another process
        events = await pair.raw()
    assert 1 <= len(events) <= 2


@pytest.mark.parametrize("text", ["the whole answer", "the whole"])
async def test_draft_of_a_process_that_died_becomes_the_answer(world: World, tmp_path: Path, text: str) -> None:
    """The next process knows nothing of it, and its answer is the same message, in its last form."""
    async with paired(world, tmp_path) as pair:
        for draft in ("the", "the whole"):
            await pair.channel.preview(pair.draft(draft))
        other = make_channel(world.synapse.url, tmp_path / "other", access_token=pair.bot.token, edit_seconds=0)
        async with running(other):
            for _ in range(2):
                delivery = await other.send(pair.outbound(text))
                assert "sent" == delivery.status
        assert [text] == [each["body"] for each in await pair.shown()]
        assert 1 == len({event["event_id"] for event in await pair.raw() if "m.new_content" not in event["content"]})


async def test_drafts_after_a_crash_go_on_in_the_same_message(world: World, tmp_path: Path) -> None:
    """The turn is run again: its drafts replace those of the dead process."""
    async with paired(world, tmp_path) as pair:
        await pair.channel.preview(pair.draft("once"))
        await pair.channel.preview(pair.draft("once upon"))
        other = make_channel(world.synapse.url, tmp_path / "other", access_token=pair.bot.token, edit_seconds=0)
        async with running(other):
            for text in ("on", "once", "once upon"):
                await other.preview(pair.draft(text))
            await other.send(pair.outbound("once"))
        assert ["once"] == [each["body"] for each in await pair.shown()]


async def test_somebody_is_seen_typing(world: World, tmp_path: Path) -> None:
    """While an answer grows, also before it has a word; not after it is there."""
    async with paired(world, tmp_path) as pair:
        only = '{"room": {"timeline": {"limit": 0}}, "presence": {"types": []}}'
        first = await pair.ann.call("GET", "/_matrix/client/v3/sync", params={"filter": only, "timeout": "0"})
        await pair.channel.preview(pair.draft(""))
        params = {"filter": only, "timeout": "5000", "since": first["next_batch"]}
        second = await pair.ann.call("GET", "/_matrix/client/v3/sync", params=params)
        await pair.channel.send(pair.outbound("done"))
        typing = [asked.body for asked in pair.relay.log if "/typing/" in asked.target]
    (event,) = second["rooms"]["join"][pair.room]["ephemeral"]["events"]
    assert [pair.bot.user_id] == event["content"]["user_ids"]
    assert [b'{"typing": true, "timeout": 30000}', b'{"typing": false}'] == typing


# -- the homeserver's limits


async def test_rate_limit_is_told_to_the_core(world: World, tmp_path: Path) -> None:
    """Failed, with the server's own pause; after it the same answer is sent, once."""
    async with paired(world, tmp_path) as pair:
        await world.slow_down(pair.bot.user_id, 1, 1)
        found = [await pair.channel.send(pair.outbound(f"answer {n}", key=f"turn-{n}")) for n in range(4)]
        late = next(number for number, delivery in enumerate(found) if delivery.status == "failed")
        pause = found[late].retry_after
        assert pause is not None
        assert 0 < pause <= 10
        await trio.sleep(pause)  # real time: the homeserver's own
        again = await pair.channel.send(pair.outbound(f"answer {late}", key=f"turn-{late}"))
        shown = [each["body"] for each in await pair.shown()]
    assert "M_LIMIT_EXCEEDED" in found[late].reason
    assert "sent" == again.status
    assert 1 == shown.count(f"answer {late}")


async def test_rate_limit_makes_drafts_rarer_and_leaves_the_answer_a_place(world: World, tmp_path: Path) -> None:
    """A hundred drafts are no hundred requests; none of them raises."""
    async with paired(world, tmp_path) as pair:
        await world.slow_down(pair.bot.user_id, 1, 2)
        for number in range(100):
            await pair.channel.preview(pair.draft(f"draft {number}"))
        asked = [one for one in pair.relay.log if one.sends]
        delivery = await pair.channel.send(pair.outbound("the answer"))
        with trio.fail_after(20):
            while delivery.status == "failed":
                assert delivery.retry_after is not None
                await trio.sleep(delivery.retry_after)  # real time: the homeserver's own
                delivery = await pair.channel.send(pair.outbound("the answer"))
        assert ["the answer"] == [each["body"] for each in await pair.shown()]
    assert len(asked) <= 6


async def test_largest_message_is_taken_in_every_form(world: World, tmp_path: Path) -> None:
    """Whatever its characters cost in UTF-8, in JSON and in HTML; as an answer, as an edit, as a draft."""
    async with paired(world, tmp_path, max_chars=9000) as pair:
        for number, text in enumerate(("\U0001f9ed" * 9000, '*"&*' * 2250, "\x01" * 9000, "<" * 9000)):
            key = f"turn-{number}"
            await pair.channel.preview(pair.draft(text[:4000], key))
            assert "sent" == (await pair.channel.send(pair.outbound(text, key=key))).status
            assert text == (await pair.shown())[-1]["body"]


async def test_transaction_id_holds_over_a_restart_of_the_homeserver(world: World, tmp_path: Path) -> None:
    """The same answer again is the same event: the promise of idempotency is the homeserver's own."""
    async with paired(world, tmp_path) as pair:
        first = await pair.channel.send(pair.outbound("just once"))
        await trio.to_thread.run_sync(world.synapse.restart)

        async def again() -> Delivery | None:
            delivery = await pair.channel.send(pair.outbound("just once"))
            return delivery if delivery.status == "sent" else None

        assert first == await until(again)
        assert ["just once"] == [event["content"]["body"] for event in await pair.raw()]


async def test_no_place_and_no_words_have_outcomes(world: World, tmp_path: Path) -> None:
    """Failed for good: nobody tries again."""
    async with paired(world, tmp_path) as pair:
        away = Outbound("turn-1", Address("matrix", "", "!nowhere:localhost"), (Text("hello"),))
        nowhere, empty = await pair.channel.send(away), await pair.channel.send(pair.outbound(" "))
    assert ("failed", None) == (nowhere.status, nowhere.retry_after)
    assert ("failed", "the message is empty") == (empty.status, empty.reason)


async def test_pauses_grow_while_the_homeserver_is_away(world: World, tmp_path: Path) -> None:
    """Five tries of the core last for minutes, not for seconds."""
    async with paired(world, tmp_path) as pair:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        channel = make_channel(url, tmp_path / "other", access_token=pair.bot.token)
        await channel.open()
        found = [await channel.send(pair.outbound("hello?", key="turn-2")) for _ in range(5)]
        await channel.close()
    assert [("failed", pause) for pause in (5, 20, 80, 300, 300)] == [(one.status, one.retry_after) for one in found]


# -- files


async def test_files_go_out_with_their_words(world: World, tmp_path: Path) -> None:
    """First the text, then each file by its kind, once though sent twice."""
    parts: list[Part | str] = [
        "look:",
        Image("image/png", PNG, alt="a point"),
        Audio("audio/ogg", b"sound"),
        File("clip.mp4", "video/mp4", b"film"),
        File("notes.txt", "text/plain", b"words"),
    ]
    async with paired(world, tmp_path) as pair:
        for _ in range(2):
            assert "sent" == (await pair.channel.send(pair.outbound(*parts))).status
        shown = await pair.shown()
        data = [await pair.ann.download(each["url"]) for each in shown[1:]]
    assert ["m.text", "m.image", "m.audio", "m.video", "m.file"] == [each["msgtype"] for each in shown]
    assert [PNG, b"sound", b"film", b"words"] == data
    assert ["a point", "notes.txt"] == [shown[1]["body"], shown[4]["filename"]]
    assert {"mimetype": "image/png", "size": len(PNG)} == shown[1]["info"]


async def test_file_without_words_arrives_beside_its_draft(world: World, tmp_path: Path) -> None:
    """The draft's transaction id would give the draft's event, and no file."""
    async with paired(world, tmp_path) as pair:
        await pair.channel.preview(pair.draft("I draw"))
        await pair.channel.send(pair.outbound(Image("image/png", PNG)))
        assert ["m.text", "m.image"] == [each["msgtype"] for each in await pair.shown()]


async def test_file_that_the_homeserver_does_not_take_is_said_in_words(world: World, tmp_path: Path) -> None:
    """The rest of the answer arrives."""
    async with paired(world, tmp_path) as pair:
        delivery = await pair.channel.send(pair.outbound("big:", File("big", "text/plain", b"x" * 2_000_000)))
        shown = await pair.shown()
    assert "sent" == delivery.status
    assert ["big:", "[text/plain: the homeserver does not take this file]"] == [each["body"] for each in shown]


async def test_files_come_in(world: World, tmp_path: Path) -> None:
    """By their kinds, with the words that stand beside them; too large ones and unwanted types as words."""
    async with paired(world, tmp_path, media_bytes=100, media_types=["image/*", "audio/*", "text/plain"]) as pair:
        files: list[tuple[str, bytes, dict[str, Any]]] = [
            ("image/png", PNG, {"msgtype": "m.image", "body": "a.png"}),
            ("audio/ogg", b"sound", {"msgtype": "m.audio", "body": "listen!", "filename": "a.ogg"}),
            ("text/plain", b"words", {"msgtype": "m.file", "body": "a.txt", "info": {"mimetype": "image/png"}}),
            ("text/plain", b"x" * 101, {"msgtype": "m.file", "body": "large"}),
            ("application/zip", b"zip", {"msgtype": "m.file", "body": "a.zip"}),
        ]
        for kind, data, content in files:
            url = await pair.ann.upload(data, kind)
            await pair.ann.put(pair.room, {**content, "url": url})
        await pair.ann.put(pair.room, {"msgtype": "m.file", "body": "gone", "url": "mxc://localhost/nothing"})
        await pair.ann.put(pair.room, {"msgtype": "m.file", "body": "odd", "url": "https://example.org/x"})
        got = [(await next_of(pair.inbox)).parts for _ in range(7)]
    assert (Image("image/png", PNG, alt="a.png"),) == got[0]
    assert (Text("listen!"), Audio("audio/ogg", b"sound")) == got[1]
    assert (File("a.txt", "text/plain", b"words"),) == got[2]
    said = [part.text for parts in got[3:] for part in parts if isinstance(part, Text)]
    assert [
        "[large: not taken, it has more than 100 bytes]",
        "[a.zip: not taken, files of type application/zip are not taken]",
    ] == said[:2]
    assert said[2].startswith("[gone: not taken, it could not be fetched: ")
    assert "[odd: not taken, it has no place to be fetched from]" == said[3]


# -- signs and refusals


async def test_receipt_is_sent_once_the_journal_has_it(world: World, tmp_path: Path) -> None:
    """Not before."""
    async with paired(world, tmp_path) as pair:
        pair.inbox.fail_next(JournalUnavailable("the disk is full"))
        event = await pair.ann.say(pair.room, "hello")
        await next_of(pair.inbox)

        async def told() -> list[Asked]:
            return [asked for asked in pair.relay.log if "/receipt/" in asked.target]

        (receipt,) = await until(told)
    assert event.replace("$", "%24") in receipt.target
    assert b'{"thread_id": "main"}' == receipt.body


async def test_refused_sender_is_told_why_once_a_minute(world: World, tmp_path: Path) -> None:
    """As a notice in the same room; and what is malformed is said as well."""
    async with paired(world, tmp_path) as pair:
        refusals = [Receipt("refused", notice=f"your code is {number}") for number in range(3)]
        pair.inbox.fail_next(*refusals, SchemaError("found a message of 11000000 bytes"))
        for number in range(4):
            await pair.ann.say(pair.room, f"hello {number}")
        await pair.ann.say(pair.room, "and taken")
        await next_of(pair.inbox)
        shown = await pair.shown()
    assert [("m.notice", "your code is 0")] == [(each["msgtype"], each["body"]) for each in shown]


async def test_nothing_is_sent_to_an_encrypted_room(world: World, tmp_path: Path) -> None:
    """Not in the clear, in no form; doctor says so, with the way out."""
    async with paired(world, tmp_path) as pair:
        await pair.ann.say(pair.room, "in the clear")
        got = await next_of(pair.inbox)
        path = f"/_matrix/client/v3/rooms/{pair.room}/state/m.room.encryption/"
        await pair.ann.call("PUT", path, {"algorithm": "m.megolm.v1.aes-sha2"})
        other = await pair.ann.make_room(pair.bot.user_id)
        await pair.bot.join(other)
        cipher = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "x", "session_id": "s"}
        await pair.ann.put(pair.room, cipher, kind="m.room.encrypted")
        await pair.ann.say(pair.room, "in the clear, all the same")
        await pair.ann.say(other, "hello")
        assert other == (await next_of(pair.inbox)).address.conversation
        await pair.channel.preview(pair.draft("grow"))
        sent = await pair.channel.send(pair.outbound("secret", in_reply_to=got.external_id))
        edited = await pair.channel.edit(sent, pair.outbound("secret"))
        findings = await pair.channel.check()
        assert [] == await pair.shown()
        assert [] == [asked for asked in pair.relay.log if asked.sends]
    assert ("failed", None, "failed") == (sent.status, sent.retry_after, edited.status)
    (bad,) = [finding for finding in findings if not finding.ok]
    assert ("encryption", True) == (bad.subject, pair.room in bad.detail)
    assert "without encryption" in bad.next_step


async def test_room_that_became_encrypted_meanwhile_is_found_out(world: World, tmp_path: Path) -> None:
    """A channel that was started anew asks before its first word."""
    async with paired(world, tmp_path) as pair:
        path = f"/_matrix/client/v3/rooms/{pair.room}/state/m.room.encryption/"
        await pair.ann.call("PUT", path, {"algorithm": "m.megolm.v1.aes-sha2"})
        other = make_channel(world.synapse.url, tmp_path / "other", access_token=pair.bot.token)
        await other.open()
        delivery = await other.send(pair.outbound("secret"))
        await other.close()
        assert [] == await pair.shown()
    assert "encrypted" in delivery.reason
