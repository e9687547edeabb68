"""An answer that grows is one message, and in the end it is the answer."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import trio
import trio.testing

from fairlead import Address, Data, Draft, Image
from fairlead_telegram import _pace, _sender
from fairlead_telegram._channel import TelegramChannel
from fairlead_telegram._pace import Pace

from .far import ANN_HERE, FORUM_HERE, GROUP_HERE, answer, running, until
from .methods import GROUP
from .server import Fault


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace has a test of its own."""
    monkeypatch.setattr(_pace, "SECONDS", 0.05)
    monkeypatch.setattr(_sender, "EDIT_PAUSE", 0.05)


async def show(channel: TelegramChannel, *texts: str, key: str = "turn-1", to: Address = ANN_HERE) -> None:
    for text in texts:
        await channel.preview(Draft(key, to, text))


async def test_draft_becomes_the_answer(tmp_path: Path) -> None:
    """One message is seen, in its last form; before there was text, that somebody types."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "", " ", "**Fo", "**Forty**")
        assert ["Forty"] == telegram.texts()
        delivery = await channel.send(answer("**42**"))
        (shown,) = telegram.written()
        assert ("42", [(4001, "typing")]) == (shown["text"], telegram.actions)
    assert f"4001:{shown['message_id']}" == delivery.external_id
    assert ["sendMessage", *["editMessageText"] * 3] == [
        method for method, _ in telegram.calls if method in ("sendMessage", "editMessageText")
    ]


async def test_answer_that_is_shown_already_costs_nothing(tmp_path: Path) -> None:
    """And one that is edited into itself has arrived."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "42")
        first = await channel.send(answer("42"))
        assert 1 == len(telegram.methods("editMessageText"))
        await show(channel, "43", key="turn-2")
        channel._sender._shown.clear()  # type: ignore[union-attr]  # noqa: SLF001  # as after a restart
        second = await channel.send(answer("43", key="turn-2"))
        assert ["42", "43"] == telegram.texts()
    assert ["sent", "sent"] == [first.status, second.status]


async def test_draft_whose_last_edit_was_lost_is_edited_again(tmp_path: Path) -> None:
    """What is shown may be the lost one, though the answer is the one before it."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "42")
        telegram.fail("editMessageText", after=True)
        await show(channel, "42 or so")
        assert ["42 or so"] == telegram.texts()
        await channel.send(answer("42"))
        assert ["42"] == telegram.texts()


async def test_draft_of_a_chat_that_moved_is_left_behind(tmp_path: Path) -> None:
    """Its number may be another message's there."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.chats[-1009] = {"id": -1009, "type": "supergroup"}
        await show(channel, "Fo", to=GROUP_HERE)
        telegram.chats[-5001] = {**GROUP, "migrated": -1009}
        delivery = await channel.send(answer("42", to=GROUP_HERE))
        assert ("sent", ["42"]) == (delivery.status, telegram.texts(-1009))


async def test_draft_is_known_after_a_crash(tmp_path: Path) -> None:
    """The program was killed while an answer grew: the next one finishes the same message."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "Fo")
        async with running(tmp_path, telegram) as (other, __, ___):
            await show(other, "Forty")
            delivery = await other.send(answer("42"))
        assert ["42"] == telegram.texts()
    assert "sent" == delivery.status


async def test_long_answer_begins_in_the_draft(tmp_path: Path) -> None:
    """A draft shows the end of what is too long for one message."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "begin " + "word " * 1500 + "end")
        assert telegram.texts()[0].startswith("… ")
        assert telegram.texts()[0].endswith("end")
        await channel.send(answer("begin " + "word " * 1500 + "end"))
        assert ["begin", "end"] == [telegram.texts()[0][:5], telegram.texts()[-1][-3:]]
        assert 2 == len(telegram.texts())


async def test_answer_without_words_takes_the_draft_away(tmp_path: Path) -> None:
    """A picture cannot become of it."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "drawing")
        await channel.send(answer(Image("image/png", b"\x89PNG")))
        assert ["photo"] == [key for body in telegram.written() for key in ("text", "photo") if key in body]


async def test_draft_that_somebody_has_removed_is_no_fault(tmp_path: Path) -> None:
    """The answer is a message of its own then."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "Fo")
        telegram.messages[4001].clear()
        delivery = await channel.send(answer("42"))
        assert ["42"] == telegram.texts()
    assert "sent" == delivery.status


async def test_last_edit_is_tried_again_where_it_was_lost(tmp_path: Path) -> None:
    """The same edit twice is one; lost for good, it is open what is shown."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "Fo")
        telegram.fail("editMessageText", after=True)
        delivery = await channel.send(answer("42"))
        assert ["42"] == telegram.texts()
        await show(channel, "Fo", key="turn-2")
        telegram.faults += [Fault("editMessageText", 502, {}), *[Fault("editMessageText")] * 2]
        lost = await channel.send(answer("43", key="turn-2"))
        busy = {"parameters": {"retry_after": 3}}
        telegram.fail("editMessageText", 429, "Too Many Requests", **busy)
        later = await channel.send(answer("43", key="turn-2"))
        good = await channel.send(answer("43", key="turn-2"))
        assert ["42", "43"] == telegram.texts()
    assert ["sent", "ambiguous", "failed", "sent"] == [each.status for each in (delivery, lost, later, good)]
    assert 3.0 == later.retry_after


async def test_draft_that_may_be_there_is_not_begun_again(tmp_path: Path) -> None:
    """What may stay behind has no words in it, for it gets them only once its number is known."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.fail("sendMessage", half=True)
        await show(channel, "Fo", "Forty", "Forty-two")
        await channel.send(answer("42"))
        assert ["…", "42"] == telegram.texts()


async def test_draft_that_is_refused_is_given_up(tmp_path: Path) -> None:
    """Unless Telegram only asks for a pause, which is then kept."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.fail("sendMessage", 403, "Forbidden")
        await show(channel, "Fo", "Forty")
        assert 1 == len(telegram.methods("sendMessage"))
        telegram.fail("sendMessage", 429, "Too Many Requests", parameters={"retry_after": 2})
        await show(channel, "Fo", key="turn-2")
        began = trio.current_time()
        await show(channel, "Forty", key="turn-2")
        assert trio.current_time() - began > 1.5
        assert ["Forty"] == telegram.texts()


async def test_draft_under_way_is_not_cut_off(tmp_path: Path) -> None:
    """Cancelled while Telegram answers: its number is known all the same, so the answer takes its place."""
    async with running(tmp_path) as (channel, _, telegram):
        free = threading.Event()
        telegram.faults.append(Fault("sendMessage", hold=free))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(show, channel, "Fo")
            await until(telegram, lambda far: far.methods("sendMessage"))
            nursery.cancel_scope.cancel()
            free.set()
        await channel.send(answer("42"))
        assert ["42"] == telegram.texts()


async def test_draft_keeps_to_its_place(tmp_path: Path) -> None:
    """In its topic, below its question; an address of nobody is left alone."""
    async with running(tmp_path) as (channel, _, telegram):
        asked = telegram.message("hi", chat=telegram.chats[-1001234567890])
        await channel.preview(
            Draft("turn-1", FORUM_HERE, in_reply_to=f"-1001234567890:{asked['message_id']}", text="a")
        )
        await channel.preview(Draft("turn-1", Address("telegram", "1", "nowhere"), "b"))
        (shown,) = telegram.written()
    assert (7, asked["message_id"]) == (shown["message_thread_id"], shown["reply_to_message"]["message_id"])


async def test_data_below_a_draft_are_buttons(tmp_path: Path) -> None:
    """The last edit brings them."""
    async with running(tmp_path) as (channel, _, telegram):
        await show(channel, "Which?")
        await channel.send(answer("Which?", Data({"buttons": [[{"text": "this"}]]})))
        (shown,) = telegram.written()
    assert "this" == shown["reply_markup"]["inline_keyboard"][0][0]["text"]


async def test_pace_is_one_a_second_and_twenty_a_minute_in_groups(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chats do not wait for each other."""
    monkeypatch.undo()
    pace, at = Pace(), []
    began = trio.current_time()
    for chat in (4001, -5001, 4001, -5001, 4002):
        await pace.wait(chat)
        pace.spend(chat)
        at.append(round(trio.current_time() - began))
    assert [0, 0, 1, 3, 3] == at
    pace.hold(4001, 60)
    await pace.wait(4001)
    assert 63 == round(trio.current_time() - began)


async def test_group_has_its_own_pace(tmp_path: Path) -> None:
    """A draft there is edited every three seconds; what comes between is left out by the core."""
    async with running(tmp_path) as (channel, _, telegram):
        began = trio.current_time()
        await show(channel, "a", "b", to=GROUP_HERE)
        assert 2.9 < trio.current_time() - began < 6
        assert ["b"] == telegram.texts()
