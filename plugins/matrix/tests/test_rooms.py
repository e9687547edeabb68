"""What is said in rooms, and which of it is handed in: against a real homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fairlead import Inbound, Text
from fairlead.testing import FakeInbox
from fairlead_matrix._channel import MatrixChannel

from .far import Person, World, joined, make_channel, next_of, running


@asynccontextmanager
async def listening(
    world: World, directory: Path, bot: Person, inbox: FakeInbox | None = None, **options: Any
) -> AsyncIterator[tuple[MatrixChannel, FakeInbox]]:
    channel = make_channel(world.synapse.url, directory, access_token=bot.token, **options)
    async with running(channel, inbox) as hearing:
        yield channel, hearing


def words(inbound: Inbound) -> list[str]:
    return [part.text if isinstance(part, Text) else repr(part) for part in inbound.parts]


async def test_direct_message_says_who_and_where(world: World, tmp_path: Path) -> None:
    """Everything said where two are alone is for the channel; its author is known by the whole user id."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id, is_direct=True)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        event = await ann.say(room, "hello")
        got = await next_of(inbox)
    assert (f"matrix:{ann.user_id}", ("direct",)) == (got.author.id, got.author.roles)
    assert ("matrix", bot.user_id, room, "") == (
        got.address.channel,
        got.address.account,
        got.address.conversation,
        got.address.thread,
    )
    assert event == got.external_id


GROUP_CASES: list[tuple[dict[str, Any], str | None]] = [
    ({"body": "hello all"}, None),
    ({"body": "hello all", "m.mentions": {"user_ids": ["BOT"]}}, "hello all"),
    ({"body": "Robbie: what time is it?"}, "what time is it?"),
    ({"body": "robbie, what time is it?"}, "what time is it?"),
    ({"body": "what says Robbie to that?"}, "what says Robbie to that?"),
    ({"body": "BOT what time is it?"}, "what time is it?"),
    ({"body": "Robbie"}, "Robbie"),
    ({"body": "robbies are not meant"}, None),
    ({"body": "see R", "formatted_body": 'see <a href="https://matrix.to/#/BOT">R</a>'}, "see R"),
    ({"body": "hello all", "m.mentions": {"room": True}}, None),
]


async def test_in_a_group_only_mentions_are_handed_in(world: World, tmp_path: Path) -> None:
    """By the list of mentions, a link, the user id or the display name; the name before the words is left out."""
    ann, bob, bot = await world.person(), await world.person("bob"), await world.person("bot")
    await bot.call("PUT", f"/_matrix/client/v3/profile/{bot.user_id}/displayname", {"displayname": "Robbie"})
    room = await ann.make_room(bot.user_id, bob.user_id)
    await bot.join(room)
    await bob.join(room)
    seen = []
    async with listening(world, tmp_path, bot) as (_, inbox):
        for content, _ in GROUP_CASES:
            text = {key: _with(value, bot.user_id) for key, value in content.items()}
            await ann.put(room, {"msgtype": "m.text", **text})
        await bob.say(room, "Robbie: that is all")
        while (got := await next_of(inbox)).parts != (Text("that is all"),):
            seen += words(got)
    assert [found for _, found in GROUP_CASES if found] == seen
    assert ("group",) == got.author.roles


def _with(value: Any, user_id: str) -> Any:
    if isinstance(value, str):
        return value.replace("BOT", user_id)
    return {"user_ids": [user_id]} if "user_ids" in value else value


@pytest.mark.parametrize(("groups", "expected"), [("all", ["one", "two"]), ("off", ["two"])])
async def test_groups_by_option(world: World, tmp_path: Path, groups: str, expected: list[str]) -> None:
    """All of it, or nothing at all."""
    ann, bob, bot = await world.person(), await world.person("bob"), await world.person("bot")
    crowd, pair = await ann.make_room(bot.user_id, bob.user_id), await ann.make_room(bot.user_id)
    for room in (crowd, pair):
        await bot.join(room)
    await bob.join(crowd)
    seen: list[str] = []
    async with listening(world, tmp_path, bot, groups=groups) as (_, inbox):
        await ann.put(crowd, {"msgtype": "m.text", "body": "one", "m.mentions": {"user_ids": [bot.user_id]}})
        while expected[: len(seen)] == seen and len(seen) < len(expected) - 1:
            seen += words(await next_of(inbox))
        await ann.say(pair, "two")
        seen += words(await next_of(inbox))
    assert expected == seen


async def test_room_that_grows_becomes_a_group_and_back(world: World, tmp_path: Path) -> None:
    """Who is there is looked at again when it changes."""
    ann, bob, bot = await world.person(), await world.person("bob"), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        await ann.say(room, "just us")
        first = await next_of(inbox)
        await ann.invite(room, bob.user_id)
        await bob.join(room)
        await ann.say(room, "not for the channel")
        await ann.say(room, f"{bot.user_id}: for the channel")
        second = await next_of(inbox)
        await ann.call("POST", f"/_matrix/client/v3/rooms/{room}/kick", {"user_id": bob.user_id})
        await ann.say(room, "just us again")
        third = await next_of(inbox)
    got = [first, second, third]
    assert [["just us"], ["for the channel"], ["just us again"]] == [words(each) for each in got]
    assert [("direct",), ("group",), ("direct",)] == [each.author.roles for each in got]


async def test_thread_is_part_of_the_address(world: World, tmp_path: Path) -> None:
    """And the reply that a thread's message pretends to be, for old clients, is none."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        root = await ann.say(room, "a beginning")
        thread: dict[str, Any] = {"rel_type": "m.thread", "event_id": root, "is_falling_back": True}
        await ann.put(
            room,
            {"msgtype": "m.text", "body": "going on", "m.relates_to": {**thread, "m.in_reply_to": {"event_id": root}}},
        )
        outside, inside = await next_of(inbox), await next_of(inbox)
    assert ("", root, "") == (outside.address.thread, inside.address.thread, inside.reply_to)


async def test_reply_comes_without_the_quoted_words(world: World, tmp_path: Path) -> None:
    """As clients wrote them until version 1.13 of the specification; a person's own quotation stays."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        first = await ann.say(room, "one")
        relation: dict[str, Any] = {"m.relates_to": {"m.in_reply_to": {"event_id": first}}}
        await ann.say(room, f"> <{ann.user_id}> one\n> more of it\n\ntwo\n> quoted", **relation)
        await ann.say(room, f"> <{ann.user_id}> no reply at all")
        got = [await next_of(inbox) for _ in range(3)]
    assert [["one"], ["two\n> quoted"], [f"> <{ann.user_id}> no reply at all"]] == [words(each) for each in got]
    assert ["", first, ""] == [each.reply_to for each in got]


async def test_what_is_not_said_by_a_person_is_ignored(world: World, tmp_path: Path) -> None:
    """Notices, own messages (also from another session), reactions, redacted messages and other people's events."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        await ann.put(room, {"msgtype": "m.notice", "body": "a program speaks"})
        await bot.say(room, "typed by the operator in the bot's own name")
        first = await ann.say(room, "one")
        relation = {"rel_type": "m.annotation", "event_id": first, "key": "+1"}
        await ann.put(room, {"m.relates_to": relation}, kind="m.reaction")
        await ann.put(room, {"msgtype": "org.example.dance", "body": "unknown"})
        await ann.put(room, {"msgtype": "m.text", "body": "   "})
        await ann.call("PUT", f"/_matrix/client/v3/rooms/{room}/redact/{first}/r1", {})
        await ann.put(room, {"msgtype": "m.emote", "body": "waves"})
        got = [words(await next_of(inbox)) for _ in range(2)]
    assert [["one"], [f"* {ann.user_id.partition(':')[0][1:]} waves"]] == got


@pytest.mark.parametrize(
    ("edits", "expected"), [("ignore", ["teh time?", "end"]), ("answer", ["teh time?", "the time?", "end"])]
)
async def test_edited_message(world: World, tmp_path: Path, edits: str, expected: list[str]) -> None:
    """Nothing new; or, by option, a message of its own, in the first one's thread. Never of somebody else's words."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot, edits=edits) as (_, inbox):
        root = await bot.say(room, "root")
        thread: dict[str, Any] = {"m.relates_to": {"rel_type": "m.thread", "event_id": root}}
        first = await ann.say(room, "teh time?", **thread)
        for target in (first, root):
            new = {"msgtype": "m.text", "body": "the time?"}
            relation = {"rel_type": "m.replace", "event_id": target}
            edit = {"msgtype": "m.text", "body": "* the time?", "m.new_content": new, "m.relates_to": relation}
            await ann.put(room, edit)
        await ann.say(room, "end", **thread)
        got = [await next_of(inbox) for _ in expected]
    assert expected == [words(each)[0] for each in got]
    assert {root} == {each.address.thread for each in got}
    assert [first] * (len(expected) - 2) == [each.reply_to for each in got[1:-1]]


# -- what was said before, and meanwhile


async def test_history_before_the_first_start_is_not_answered(world: World, tmp_path: Path) -> None:
    """The stream begins where it is."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    await ann.say(room, "long ago")
    async with listening(world, tmp_path, bot) as (_, inbox):
        await ann.say(room, "now")
        assert ["now"] == words(await next_of(inbox))


async def test_what_was_said_meanwhile_is_handed_in_after_a_restart(world: World, tmp_path: Path) -> None:
    """In order, and once: also where it is more than the server tells in one answer."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    await bot.join(room)
    async with listening(world, tmp_path, bot) as (_, inbox):
        await ann.say(room, "before")
        await next_of(inbox)
    said = [f"meanwhile {number}" for number in range(180)]
    for text in said:
        await ann.say(room, text)
    async with listening(world, tmp_path, bot, inbox) as (_, _):
        got = [words(await next_of(inbox))[0] for _ in said]
        await ann.say(room, "after")
        last = words(await next_of(inbox))
    assert said == got
    assert ["after"] == last
    assert 182 == len(inbox.accepted)


async def test_invitation_and_what_was_said_with_it(world: World, tmp_path: Path) -> None:
    """The first words often come before the channel does; what stood there before the invitation is history."""
    ann, bot = await world.person(), await world.person("bot")
    async with listening(world, tmp_path, bot):
        pass
    room = await ann.make_room()
    await ann.say(room, "a secret of long ago")
    await ann.invite(room, bot.user_id)
    for number in range(70):
        await ann.say(room, f"hello {number}")
    async with listening(world, tmp_path, bot) as (_, inbox):
        await joined(ann, room, bot.user_id)
        await ann.say(room, "are you there?")
        got = [words(await next_of(inbox))[0] for _ in range(71)]
    assert [*(f"hello {number}" for number in range(70)), "are you there?"] == got


async def test_open_room_that_is_joined_by_hand_has_no_history(world: World, tmp_path: Path) -> None:
    """Without an invitation what counts is the entrance."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(preset="public_chat")
    await ann.say(room, "long ago")
    async with listening(world, tmp_path, bot, groups="all") as (_, inbox):
        await bot.join(room)
        await ann.say(room, "welcome")
        assert ["welcome"] == words(await next_of(inbox))


@pytest.mark.parametrize(
    ("options", "comes"),
    [
        ({}, True),
        ({"invites": "all"}, True),
        ({"invites": "off"}, False),
        ({"invites": "listed"}, False),
        ({"invites": "listed", "invite_from": ["localhost"]}, True),
        ({"invites": "listed", "invite_from": ["@somebody:localhost"]}, False),
        ({"invites": "listed", "invite_from": ["ANN"]}, True),
        ({"invites": "off", "invite_from": ["ANN"]}, False),
    ],
)
async def test_invitations_by_option(world: World, tmp_path: Path, options: dict[str, Any], *, comes: bool) -> None:
    """Joined, or left as they are for a person to decide."""
    ann, bot = await world.person(), await world.person("bot")
    if "invite_from" in options:
        options = {**options, "invite_from": [each.replace("ANN", ann.user_id) for each in options["invite_from"]]}
    known = await ann.make_room(bot.user_id)
    await bot.join(known)
    async with listening(world, tmp_path, bot, **options) as (_, inbox):
        room = await ann.make_room(bot.user_id)
        await ann.say(known, "done")
        await next_of(inbox)
        if comes:
            await joined(ann, room, bot.user_id)
            await ann.say(room, "hello")
            assert ["hello"] == words(await next_of(inbox))
    members = await ann.call("GET", f"/_matrix/client/v3/rooms/{room}/joined_members")
    assert comes == (bot.user_id in members["joined"])


async def test_invitation_of_the_time_before_the_first_start_is_accepted(world: World, tmp_path: Path) -> None:
    """So the first start needs no order of steps."""
    ann, bot = await world.person(), await world.person("bot")
    room = await ann.make_room(bot.user_id)
    async with listening(world, tmp_path, bot) as (_, inbox):
        await joined(ann, room, bot.user_id)
        await ann.say(room, "hello")
        assert ["hello"] == words(await next_of(inbox))


async def test_room_that_was_left_disturbs_no_other(world: World, tmp_path: Path) -> None:
    """Thrown out right after something was said there."""
    ann, bot = await world.person(), await world.person("bot")
    rooms = [await ann.make_room(bot.user_id) for _ in range(2)]
    for room in rooms:
        await bot.join(room)
    async with listening(world, tmp_path, bot):
        pass
    await ann.say(rooms[0], "too late")
    await ann.call("POST", f"/_matrix/client/v3/rooms/{rooms[0]}/kick", {"user_id": bot.user_id})
    await ann.say(rooms[1], "hello")
    async with listening(world, tmp_path, bot) as (_, inbox):
        assert ["hello"] == words(await next_of(inbox))
