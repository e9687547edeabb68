"""What is sent, in which form, and what the channel knows of it afterwards."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fairlead import Address, Audio, Data, Delivery, File, Image, Text

from .far import ANN_HERE, FORUM_HERE, GROUP_HERE, answer, make_channel, opened, running
from .methods import BOT, GROUP
from .server import Fault, serving

NAME = f"@{BOT['username']}"


async def test_answer_is_formatted_and_named(tmp_path: Path) -> None:
    """Its id is the chat and the message; no preview of links."""
    async with running(tmp_path) as (channel, _, telegram):
        delivery = await channel.send(answer("**42** at https://example.org"))
        (shown,) = telegram.written()
    assert Delivery("sent", external_id=f"4001:{shown['message_id']}") == delivery
    assert "42 at https://example.org" == shown["text"]
    assert [{"type": "bold", "offset": 0, "length": 2}] == shown["entities"]
    assert {"is_disabled": True} == telegram.methods("sendMessage")[0]["link_preview_options"]


async def test_markup_that_telegram_cannot_read_goes_as_plain_words(tmp_path: Path) -> None:
    """Once: the error says that it surely has not arrived."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.fail("sendMessage", 400, 'Bad Request: can\'t parse entities: Unsupported start tag "x"')
        delivery = await channel.send(answer("**42**"))
        assert ["42"] == telegram.texts()
        first, second = telegram.methods("sendMessage")
        telegram.fail("sendMessage", 400, "Bad Request: can't parse entities: x")
        telegram.fail("sendMessage", 400, "Bad Request: can't parse entities: x")
        lost = await channel.send(answer("**43**"))
    assert "sent" == delivery.status
    assert ("HTML", None) == (first.get("parse_mode"), second.get("parse_mode"))
    assert ("failed", None) == (lost.status, lost.retry_after)


@pytest.mark.parametrize(
    ("replies", "group", "private"), [("groups", True, False), ("all", True, True), ("off", False, False)]
)
async def test_answer_points_to_its_question(tmp_path: Path, replies: str, group: bool, private: bool) -> None:  # noqa: FBT001  # columns
    """In groups, where several people ask; in its topic."""
    async with running(tmp_path, replies=replies) as (channel, inbox, telegram):
        asked = telegram.say("hi")
        await channel.send(answer("hello", replying=await inbox.next()))
        telegram.say(NAME, chat=GROUP)
        await channel.send(answer("hello", to=GROUP_HERE, replying=await inbox.next()))
        await channel.send(answer("topic", to=FORUM_HERE))
        pointing = [bool(body.get("reply_to_message")) for body in telegram.written()]
        threads = [body.get("message_thread_id") for body in telegram.written()]
    assert asked["message_id"]
    assert [private, group, False] == pointing
    assert [None, None, 7] == threads


async def test_answer_for_a_topic_that_is_gone_stands_in_the_open(tmp_path: Path) -> None:
    """The words are what counts."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.gone.add(7)
        delivery = await channel.send(answer("hello", to=FORUM_HERE))
        (shown,) = telegram.written(-1001234567890)
    assert ("sent", "hello", None) == (delivery.status, shown["text"], shown.get("message_thread_id"))


async def test_long_answer_is_several_messages(tmp_path: Path) -> None:
    """In order, none too long; the id has all of them, and the question is pointed to once."""
    text = "\n\n".join(f"**{number}** " + "\U0001f9ed" * 1000 for number in range(5))
    async with running(tmp_path, replies="all") as (channel, inbox, telegram):
        telegram.say("hi")
        delivery = await channel.send(answer(text, replying=await inbox.next()))
        shown = telegram.written()
    assert [True, *[False] * (len(shown) - 1)] == [bool(body.get("reply_to_message")) for body in shown]
    assert text.replace("**", "").replace("\n", "") == "".join(body["text"] for body in shown).replace("\n", "")
    assert f"4001:{'+'.join(str(body['message_id']) for body in shown)}" == delivery.external_id
    assert len(shown) > 2


async def test_files_are_sent(tmp_path: Path) -> None:
    """Each as what it is; a URL is left to Telegram; more than a picture may have goes as a file."""
    parts = (
        Text("look"),
        Image("image/png", b"\x89PNG", alt="a point"),
        Image("image/tiff", b"II"),
        Image("image/jpeg", url="https://example.org/p.jpg"),
        Audio("audio/ogg", b"OggS"),
        Audio("audio/mpeg", b"ID3"),
        Audio("audio/wav", b"RIFF"),
        File("a/b.csv", "text/csv", b"1,2\r\n--x\r\n"),
    )
    async with running(tmp_path) as (channel, _, telegram):
        delivery = await channel.send(answer(*parts))
        shown = telegram.written()
    assert "sent" == delivery.status
    kinds = [next(key for key in ("text", "photo", "voice", "audio", "document") if key in body) for body in shown]
    assert ["text", "photo", "document", "photo", "voice", "audio", "document", "document"] == kinds
    assert "a point" == shown[1]["caption"]
    assert "a_b.csv" == shown[-1]["document"]["file_name"]
    assert [part.data or b"fetched by Telegram" for part in parts[1:]] == [data for _, data in telegram.media]


async def test_data_is_shown_as_json(tmp_path: Path) -> None:
    """A value for programs, where there is no program."""
    async with running(tmp_path) as (channel, _, telegram):
        await channel.send(answer("see", Data({"a": 1})))
        (shown,) = telegram.written()
    assert ('see\n{\n "a": 1\n}', "json") == (shown["text"], shown["entities"][0]["language"])


@pytest.mark.parametrize("parts", [(), ("",), (" \n",), ("```\n```",)])
async def test_nothing_to_show_has_failed(tmp_path: Path, parts: tuple[str, ...]) -> None:
    """Telegram takes no empty message."""
    async with running(tmp_path) as (channel, _, telegram):
        delivery = await channel.send(answer(*parts))
        assert [] == telegram.calls[2:] or "getUpdates" == telegram.calls[-1][0]
    assert ("failed", None) == (delivery.status, delivery.retry_after)


@pytest.mark.parametrize("conversation", ["", "x", "4001\n", "٤", "9" * 30])
async def test_place_that_is_none_has_failed(tmp_path: Path, conversation: str) -> None:
    """Without a call, or with Telegram's own words."""
    async with running(tmp_path) as (channel, _, __):
        delivery = await channel.send(answer("x", to=Address("telegram", "1", conversation)))
    assert ("failed", None) == (delivery.status, delivery.retry_after) or conversation == "4001\n"
    assert delivery.reason or delivery.status == "sent"


TOO_MANY: dict[str, Any] = {"parameters": {"retry_after": 7}}


@pytest.mark.parametrize(
    ("fault", "status", "again", "arrived"),
    [
        (Fault("sendMessage", 429, {"ok": False, "description": "Too Many", **TOO_MANY}), "failed", 7.0, 0),
        (Fault("sendMessage", 403, {"ok": False, "description": "Forbidden: bot was blocked"}), "failed", None, 0),
        (Fault("sendMessage", 400, {"ok": False, "description": "Bad Request: chat not found"}), "failed", None, 0),
        (Fault("sendMessage", 401, {"ok": False, "description": "Unauthorized"}), "failed", None, 0),
        (Fault("sendMessage", 413, {}), "failed", None, 0),
        (Fault("sendMessage", 500, {"ok": False, "description": "Internal"}), "ambiguous", None, 0),
        (Fault("sendMessage", 502, {}, after=True), "ambiguous", None, 1),
        (Fault("sendMessage"), "ambiguous", None, 0),
        (Fault("sendMessage", after=True), "ambiguous", None, 1),
        (Fault("sendMessage", half=True), "ambiguous", None, 1),
        (Fault("sendMessage", raw=b"<html>"), "ambiguous", None, 1),
        (Fault("sendMessage", raw=b'{"ok": true}'), "ambiguous", None, 1),
        (Fault("sendMessage", raw=b'{"ok": true, "result": {"message_id": "x"}}'), "ambiguous", None, 1),
        (Fault("sendMessage", raw=b"[" * 100_000), "ambiguous", None, 1),
    ],
    ids=lambda value: f"{value.status or value.raw!r}" if isinstance(value, Fault) else None,
)
async def test_outcome_of_a_fault_is_what_can_be_known(
    tmp_path: Path, fault: Fault, status: str, again: float | None, arrived: int
) -> None:
    """Failed only where it has surely not arrived; nothing is tried again that may have."""
    async with running(tmp_path) as (channel, _, telegram):
        telegram.faults.append(fault)
        delivery = await channel.send(answer("hello"))
        assert arrived == len(telegram.texts())
    assert (status, again) == (delivery.status, delivery.retry_after)
    assert delivery.reason


async def test_time_that_runs_out_leaves_it_open(tmp_path: Path) -> None:
    """The request was written; the message may be there."""
    async with running(tmp_path) as (channel, _, telegram):
        channel._api.call_seconds = 0.2  # type: ignore[union-attr]  # noqa: SLF001  # half a minute otherwise
        free = threading.Event()
        telegram.faults.append(Fault("sendMessage", hold=free))
        delivery = await channel.send(answer("hello"))
        free.set()
    assert "ambiguous" == delivery.status
    assert "did not answer" in delivery.reason


async def test_server_that_is_gone_is_tried_again_ever_later(tmp_path: Path) -> None:
    """There was no connection, so it surely has not arrived."""
    with serving() as telegram:
        channel = make_channel(telegram, tmp_path)
    async with opened(channel):
        again = [(await channel.send(answer("x"))).retry_after for _ in range(5)]
    assert [2.0, 8.0, 32.0, 128.0, 300.0] == again


async def test_later_messages_of_an_answer_wait_their_turn(tmp_path: Path) -> None:
    """What stands before them is there, so the answer cannot be tried anew; a fault leaves it open."""
    async with running(tmp_path) as (channel, _, telegram):
        busy = {"ok": False, "description": "Too Many", "parameters": {"retry_after": 0}}
        hold = Fault("sendPhoto", 429, busy)
        telegram.faults += [hold, hold]
        delivery = await channel.send(answer("look", Image("image/png", b"\x89PNG")))
        assert ["look", ""] == telegram.texts()
        telegram.fail("sendPhoto", 400, "Bad Request: IMAGE_PROCESS_FAILED")
        half = await channel.send(answer("look", Image("image/png", b"\x89PNG"), key="turn-2"))
        assert [] == telegram.faults
    assert "sent" == delivery.status
    assert ("ambiguous", "message 2: ") == (half.status, half.reason[:11])


async def test_edit_replaces_all_messages_of_an_answer(tmp_path: Path) -> None:
    """Longer ones grow, shorter ones shrink; what is not there cannot be edited."""
    long = "a" * 5000
    async with running(tmp_path) as (channel, _, telegram):
        first = await channel.send(answer("short"))
        second = await channel.edit(first, answer(long))
        assert [4096, 904] == [len(text) for text in telegram.texts()]
        third = await channel.edit(second, answer("short again"))
        assert ["short again"] == telegram.texts()
        same = await channel.edit(third, answer("short again"))
        nowhere = await channel.edit(Delivery("sent", external_id="4001:99999"), answer("x"))
        nothing = await channel.edit(Delivery("sent", external_id="odd"), answer("x"))
    assert [first.external_id] * 2 == [third.external_id, same.external_id]
    assert ["failed", "failed"] == [nowhere.status, nothing.status]


async def test_nothing_is_sent_before_it_is_open(tmp_path: Path) -> None:
    """It says so, and may be asked again."""
    with serving() as telegram:
        channel = make_channel(telegram, tmp_path)
        delivery = await channel.send(answer("x", to=ANN_HERE))
    assert ("failed", 1.0) == (delivery.status, delivery.retry_after)
