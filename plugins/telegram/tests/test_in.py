"""What people do in Telegram, and what of it is handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead import Audio, File, Image, Principal, Receipt, Text
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead.testing import FakeInbox

from .far import ANN_HERE, FORUM_HERE, GROUP_HERE, answer, running, until
from .methods import ANN, BOB, BOBS, BOT, FORUM, GROUP, PRIVATE

NAME = f"@{BOT['username']}"


def words(inbox: FakeInbox) -> list[str]:
    return ["|".join(getattr(part, "text", "?") for part in got.parts) for got in inbox.accepted]


async def test_private_message_is_handed_in(tmp_path: Path) -> None:
    """With who wrote it, where, and what it answers."""
    async with running(tmp_path) as (_, inbox, telegram):
        first = telegram.say("hello")
        telegram.say("and this?", reply_to_message=first)
        one, two = await inbox.next(), await inbox.next()
    assert ANN_HERE == one.address
    assert Principal("telegram:4001", "Ann Lee", ("direct",)) == one.author
    assert (Text("hello"),) == one.parts
    assert ("", f"4001:{first['message_id']}") == (one.reply_to, two.reply_to)
    assert f"4001:{first['message_id']}" == one.external_id


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (f"{NAME} what time is it?", {}),
        (f"\U0001f9ed\U0001f9ed what do you say, {NAME.upper()}?", {}),
        (f"/time{NAME}", {}),
        ("what do you say?", {"reply_to_message": {"message_id": 5, "from": BOT, "chat": GROUP}}),
        ("", {"caption": NAME, "caption_entities": [{"type": "mention", "offset": 0, "length": len(NAME)}]}),
        ("you!", {"entities": [{"type": "text_mention", "offset": 0, "length": 3, "user": BOT}]}),
    ],
)
async def test_group_message_for_the_bot_is_handed_in(tmp_path: Path, text: str, more: dict[str, Any]) -> None:
    """A mention, an answer, a command with its name; what is not for it, is not."""
    async with running(tmp_path) as (_, inbox, telegram):
        for other in ("hello all", f"{NAME}_two hi", "/time", "/time@other_bot", f"mail{NAME}.example"):
            telegram.say(other, chat=GROUP, author=BOB)
        telegram.say(
            "in a topic", chat=FORUM, reply_to_message={"from": BOT, "message_id": 7, "forum_topic_created": {}}
        )
        telegram.say(text, chat=GROUP, author=BOB, **more)
        got = await inbox.next()
    assert GROUP_HERE == got.address
    assert ("telegram:4002", ("group",)) == (got.author.id, got.author.roles)
    assert 1 == len(inbox.accepted)


@pytest.mark.parametrize(("groups", "expected"), [("all", ["hi", f"hi {NAME}", "last"]), ("off", ["last"])])
async def test_groups_are_taken_as_the_option_says(tmp_path: Path, groups: str, expected: list[str]) -> None:
    """All that Telegram shows, or none."""
    async with running(tmp_path, groups=groups) as (_, inbox, telegram):
        telegram.say("hi", chat=GROUP)
        telegram.say(f"hi {NAME}", chat=GROUP)
        telegram.say("last")
        while expected != sorted(words(inbox)):
            await inbox.next()


async def test_topic_is_a_thread(tmp_path: Path) -> None:
    """A reply's thread outside of topics is none."""
    async with running(tmp_path) as (_, inbox, telegram):
        telegram.say(NAME, chat=FORUM, message_thread_id=7, is_topic_message=True)
        telegram.say(NAME, chat=FORUM, message_thread_id=9)
        assert FORUM_HERE == (await inbox.next()).address
        assert "" == (await inbox.next()).address.thread


async def test_who_speaks_for_a_chat_is_that_chat(tmp_path: Path) -> None:
    """Anonymous administrators share one account of Telegram's: their rights would be each other's."""
    anonymous = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    async with running(tmp_path) as (_, inbox, telegram):
        telegram.say(NAME, chat=FORUM, author=anonymous, sender_chat=FORUM)
        telegram.say(NAME, chat=FORUM, author=ANN, is_automatic_forward=True, sender_chat={"id": -1007, "title": "c"})
        telegram.say("from a bot", author={**BOB, "is_bot": True})
        got = await inbox.next()
        telegram.say("last")
        await inbox.next()
    assert Principal("telegram:-1001234567890", "The forum", ("group",)) == got.author
    assert [NAME, "last"] == words(inbox)


@pytest.mark.parametrize("taken", [False, True])
async def test_edits_and_posts_of_channels_are_options(tmp_path: Path, taken: bool) -> None:  # noqa: FBT001  # a column
    """By default a message is taken once, and channels are not read."""
    channel = {"id": -1007, "type": "channel", "title": "News"}
    async with running(tmp_path, edited=taken, channel_posts=taken) as (_, inbox, telegram):
        body = telegram.say("first")
        telegram.push("edited_message", {**body, "text": "better", "edit_date": 77})
        telegram.push("channel_post", {"message_id": 3, "date": 1, "chat": channel, "text": "news"})
        telegram.push("my_chat_member", {"chat": PRIVATE, "from": ANN, "new_chat_member": {"status": "kicked"}})
        telegram.say("last")
        while "last" not in words(inbox):
            await inbox.next()
    expected = ["better", "first", "last", "news"] if taken else ["first", "last"]
    assert expected == sorted(words(inbox))
    asked = telegram.methods("getUpdates")[0]["allowed_updates"]
    assert taken == ("edited_message" in asked) == ("channel_post" in asked)
    if taken:
        assert "telegram:-1007" in {got.author.id for got in inbox.accepted}
        assert f"4001:{body['message_id']}:77" in {got.external_id for got in inbox.accepted}


async def test_files_are_fetched(tmp_path: Path) -> None:
    """Photos in their largest size, voices, songs, documents, stickers; and what is no file, in words."""
    async with running(tmp_path) as (_, inbox, telegram):
        for name in ("small", "large", "v", "a", "d", "s"):
            telegram.store(name.encode(), name)
        telegram.say(photo=[{"file_id": "small"}, {"file_id": "large", "file_size": 5}], caption="look")
        telegram.say(voice={"file_id": "v", "mime_type": "audio/ogg"})
        telegram.say(audio={"file_id": "a", "mime_type": "audio/mp4", "file_name": "x.m4a"})
        telegram.say(document={"file_id": "d", "mime_type": "text/csv", "file_name": "t\ud800.csv"})
        telegram.say(sticker={"file_id": "s", "emoji": "\U0001f9ed"})
        telegram.say(sticker={"file_id": "s", "is_animated": True})
        telegram.say(location={"latitude": 48.1, "longitude": 11.5})
        telegram.say(contact={"first_name": "Bob", "phone_number": "123"})
        telegram.say(poll={"question": "Tea?", "options": [{"text": "yes"}, {"text": "no"}]})
        telegram.say(dice={"emoji": "\U0001f3b2", "value": 6})
        telegram.say(new_chat_title="skipped")
        telegram.say("last")
        got: list[Any] = []
        while not got or got[-1] != (Text("last"),):
            got.append((await inbox.next()).parts)
    assert (Text("look"), Image("image/jpeg", b"large")) == got[0]
    assert (Audio("audio/ogg", b"v"),) == got[1]
    assert (Audio("audio/mp4", b"a"),) == got[2]
    assert (File("t\ufffd.csv", "text/csv", b"d"),) == got[3]
    assert (Image("image/webp", b"s", alt="\U0001f9ed"),) == got[4]
    assert (File("sticker.tgs", "application/gzip", b"s"),) == got[5]
    expected = ["[location: 48.1, 11.5]", "[contact: Bob 123]", "[poll: Tea?: yes; no]", "[\U0001f3b2 6]", "last"]
    assert expected == [part.text for parts in got[6:] for part in parts if isinstance(part, Text)]


async def test_file_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    """Too large by its own word, too large in truth, unknown; a fault that passes is waited out."""
    async with running(tmp_path, max_media_bytes=10) as (_, inbox, telegram):
        telegram.store(b"x" * 11, "liar")
        telegram.store(b"fine", "fine")
        telegram.say(document={"file_id": "d", "file_size": 99, "file_name": "a.bin"})
        telegram.say(document={"file_id": "liar", "file_size": 1, "file_name": "b.bin"})
        telegram.say(document={"file_id": "gone", "file_name": "c.bin"})
        found = [(await inbox.next()).parts for _ in range(3)]
        telegram.fail("file", 502)
        telegram.fail("getFile", 502)
        telegram.say(document={"file_id": "fine", "file_name": "d.bin"})
        good = (await inbox.next()).parts
    texts = [part.text for parts in found for part in parts if isinstance(part, Text)]
    assert ["[a.bin: 99 bytes", "[b.bin: it could", "[c.bin: it could"] == [text[:16] for text in texts]
    assert (File("d.bin", "application/octet-stream", b"fine"),) == good


@pytest.mark.parametrize("way", [{}, {"webhook_url": "https://example.org/t", "port": 0}])
async def test_album_is_one_message(tmp_path: Path, way: dict[str, Any]) -> None:
    """Its files together, with the words of any of them, also where they come one after the other."""
    async with running(tmp_path, **way) as (_, inbox, telegram):
        for name in ("p1", "p2", "p3"):
            telegram.store(name.encode(), name)
        album = [
            telegram.message(
                photo=[{"file_id": name}], media_group_id="g1", **({"caption": "us"} if name == "p2" else {})
            )
            for name in ("p1", "p2", "p3")
        ]
        telegram.push("message", album[0])
        await trio.sleep(0.2)  # real time: the album's first message is reported before the others
        for body in album[1:]:
            telegram.push("message", body)
        got = await inbox.next()
        await until(telegram, lambda far: not far.updates)
    assert (Text("us"), *(Image("image/jpeg", name.encode()) for name in ("p1", "p2", "p3"))) == got.parts
    assert f"4001:{album[0]['message_id']}" == got.external_id
    assert 1 == len(inbox.accepted)


async def test_album_of_a_group_is_taken_where_its_words_are_for_the_bot(tmp_path: Path) -> None:
    """They stand below one of its pictures."""
    async with running(tmp_path) as (_, inbox, telegram):
        entities = [{"type": "mention", "offset": 0, "length": len(NAME)}]
        for name in ("p1", "p2", "p3"):
            telegram.store(name.encode(), name)
            more: dict[str, Any] = {"caption": NAME, "caption_entities": entities} if name == "p2" else {}
            telegram.say(photo=[{"file_id": name}], media_group_id="g1", chat=GROUP, **more)
        got = await inbox.next()
    assert (Text(NAME), *(Image("image/jpeg", name.encode()) for name in ("p1", "p2", "p3"))) == got.parts


async def test_group_that_becomes_a_supergroup_is_the_same_conversation(tmp_path: Path) -> None:
    """In both directions, also after a restart, though its number changes and its messages are counted anew."""
    with_new = {"id": -1009, "type": "supergroup", "title": "The group"}
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.chats[-1009] = with_new
        telegram.say(NAME, chat=GROUP)
        before = await inbox.next()
        telegram.say(chat=with_new, migrate_from_chat_id=GROUP["id"])
        telegram.say(chat=GROUP, migrate_to_chat_id=-1009)
        telegram.say(NAME, chat=with_new)
        after = await inbox.next()
        telegram.chats[-5001] = {**GROUP, "migrated": -1009}
        await channel.send(answer("here", to=before.address, replying=before))
    assert before.address == after.address
    assert after.external_id.startswith("-1009:")
    async with running(tmp_path) as (channel, _, telegram):
        telegram.chats[-1009] = with_new
        await channel.send(answer("there", to=before.address))
        assert ["there"] == telegram.texts(-1009)


async def test_move_is_also_learnt_from_a_refusal(tmp_path: Path) -> None:
    """A message that was refused for it surely has not arrived, so it is sent again, to the new number."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.chats[-1009] = {"id": -1009, "type": "supergroup"}
        telegram.chats[-5001] = {**GROUP, "migrated": -1009}
        delivery = await channel.send(answer("here", to=GROUP_HERE))
        assert ["here"] == telegram.texts(-1009)
    assert ("sent", "-1009") == (delivery.status, delivery.external_id.partition(":")[0])


async def test_who_is_refused_is_told_once_a_minute(tmp_path: Path) -> None:
    """In a group below the message."""
    async with running(tmp_path) as (_, inbox, telegram):
        refused = Receipt("refused", notice="Your code is 1234.")
        inbox.fail_next(refused, refused, refused)
        telegram.say("let me in")
        telegram.say("let me in!")
        asked = telegram.say(NAME, chat=GROUP, author=BOB)
        await until(telegram, lambda far: len(far.written()) == 2)
        inbox.fail_next(SchemaError("odd"))
        telegram.say("very odd", author=BOB, chat=BOBS)
        await until(telegram, lambda far: len(far.written()) == 3)
        telegram.say("last")
        await inbox.next()
    shown = sorted((body["chat"]["id"], body["text"]) for body in telegram.written())
    expected = [(-5001, "Your code is 1234."), (4001, "Your code is 1234."), (4002, "This message could not be taken.")]
    assert expected == shown
    assert asked["message_id"] == telegram.written(-5001)[0]["reply_to_message"]["message_id"]


async def test_malformed_updates_are_left_out(tmp_path: Path) -> None:
    """Whatever they are; those beside them are taken, and all are confirmed."""
    odd: list[Any] = [
        {},
        {"message_id": "x", "chat": PRIVATE, "from": ANN, "text": "x"},
        {"message_id": 1, "chat": {"id": None}, "from": ANN, "text": "x"},
        {"message_id": 1, "chat": PRIVATE, "from": {"id": True}, "text": "x"},
        {"message_id": 1, "chat": PRIVATE, "from": ANN, "photo": [{}], "text": "x"},
        {"message_id": 1, "chat": GROUP, "from": ANN, "text": "x", "entities": [{"offset": "a"}]},
        {"message_id": 1, "chat": GROUP, "from": ANN, "text": "x", "entities": 5},
        {"message_id": 1, "chat": PRIVATE, "from": ANN, "text": "x", "reply_to_message": [1]},
    ]
    async with running(tmp_path) as (_, inbox, telegram):
        for body in odd:
            telegram.push("message", body)
        telegram.push("callback_query", {"id": 1})
        telegram.push("callback_query", {"message": {"chat": PRIVATE, "message_id": 1}, "data": "x", "id": "1"})
        telegram.push("from_the_future", {})
        telegram.allowed = None
        telegram.say("half \ud800 of one")
        got = await inbox.next()
        await until(telegram, lambda far: not [each for each in far.updates if "from_the_future" not in each])
    assert (Text("half \ufffd of one"),) == got.parts
    assert 1 == len(inbox.accepted)


async def test_what_was_not_kept_comes_again_and_nothing_is_confirmed_behind_it(tmp_path: Path) -> None:
    """Other chats go on; what they said comes twice and is known by its id."""
    async with running(tmp_path) as (_, inbox, telegram):
        inbox.fail_next(JournalUnavailable("full"))
        telegram.say("first")
        telegram.say("second")
        while ["first", "second"] != words(inbox):
            await inbox.next()
        await until(telegram, lambda far: not far.updates)
