"""Buttons below an answer: shown to one person, pressed once, and a press is a message of that person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead import Data, Principal, Receipt, Text
from fairlead.errors import JournalUnavailable

from .far import ANN_HERE, GROUP_HERE, answer, running, until
from .methods import ANN, BOB, BOT, GROUP
from .server import FakeTelegram

LONG = "yes, and " * 50
BUTTONS = Data({"buttons": [[{"text": "Yes", "value": LONG}, {"text": "No"}], [{"text": "Maybe", "value": "perhaps"}]]})
NAME = f"@{BOT['username']}"


def labels(telegram: FakeTelegram, number: int = -1) -> list[list[str]]:
    rows = telegram.written()[number].get("reply_markup", {}).get("inline_keyboard", [])
    return [[button["text"] for button in row] for row in rows]


async def told(telegram: FakeTelegram, query: str) -> str:
    await until(telegram, lambda far: far.queries[query])
    return str(telegram.queries[query]["text"] or "")


async def test_press_is_a_message(tmp_path: Path) -> None:
    """With the button's value, of any length, from who pressed; the buttons are then gone."""
    async with running(tmp_path) as (channel, inbox, telegram):
        delivery = await channel.send(answer("Sure?", BUTTONS))
        assert [["Yes", "No"], ["Maybe"]] == labels(telegram)
        query = telegram.press(telegram.written()[0])
        got = await inbox.next()
        assert "" == await told(telegram, query)
        assert [] == labels(telegram)
    assert ((Text(LONG),), ANN_HERE) == (got.parts, got.address)
    assert Principal("telegram:4001", "Ann Lee", ("direct",)) == got.author
    assert delivery.external_id == got.reply_to
    assert f"{delivery.external_id}:press:{query}" == got.external_id


@pytest.mark.parametrize(("row", "column", "value"), [(0, 1, "No"), (1, 0, "perhaps")])
async def test_value_is_the_label_where_there_is_none(tmp_path: Path, row: int, column: int, value: str) -> None:
    """And each button has its own."""
    async with running(tmp_path) as (channel, inbox, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        telegram.press(telegram.written()[0], row, column)
        assert (Text(value),) == (await inbox.next()).parts


async def test_second_press_is_none(tmp_path: Path) -> None:
    """A double tap is one decision; both are answered."""
    async with running(tmp_path) as (channel, inbox, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        message = dict(telegram.written()[0])
        first, second = telegram.press(message), telegram.press(message, 0, 1)
        assert ["", "These buttons are no longer in use."] == [await told(telegram, each) for each in (first, second)]
    assert 1 == len(inbox.accepted)


async def test_press_that_comes_again_is_one_message(tmp_path: Path) -> None:
    """It has its id, also where the journal was away the first time."""
    async with running(tmp_path) as (channel, inbox, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        inbox.fail_next(JournalUnavailable("full"))
        query = telegram.press(telegram.written()[0])
        await inbox.next()
        await told(telegram, query)
    assert 1 == len(inbox.accepted)


async def test_buttons_of_a_group_are_for_who_asked(tmp_path: Path) -> None:
    """Others are told so; their press says nothing."""
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.say(NAME, chat=GROUP, author=BOB)
        await channel.send(answer("Sure?", BUTTONS, to=GROUP_HERE, replying=await inbox.next()))
        message = telegram.written()[0]
        wrong = telegram.press(message, person=ANN)
        assert "These buttons are for somebody else." == await told(telegram, wrong)
        telegram.press(message, person=BOB)
        got = await inbox.next()
    assert ("telegram:4002", GROUP_HERE, (Text(LONG),)) == (got.author.id, got.address, got.parts)
    assert 2 == len(inbox.accepted)


async def test_buttons_for_nobody_known_are_words(tmp_path: Path) -> None:
    """In a group where nobody remembers who asked, anybody could press."""
    async with running(tmp_path) as (channel, _, telegram):
        await channel.send(answer("Sure?", BUTTONS, to=GROUP_HERE))
        assert (["Sure?", "• Yes\n• No\n• Maybe"], []) == (telegram.texts(), labels(telegram))


async def test_buttons_for_a_chat_that_speaks_are_words(tmp_path: Path) -> None:
    """An anonymous administrator would press in his own name."""
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.say(NAME, chat=GROUP, sender_chat=GROUP)
        await channel.send(answer("Sure?", BUTTONS, to=GROUP_HERE, replying=await inbox.next()))
        assert [] == labels(telegram)


async def test_buttons_survive_a_restart(tmp_path: Path) -> None:
    """What they say is kept in a file, which others cannot read."""
    async with running(tmp_path) as (channel, _, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        message = telegram.written()[0]
        (file,) = (tmp_path / "telegram").iterdir()
        assert 0o700 == file.parent.stat().st_mode & 0o777
        async with running(tmp_path, telegram) as (_, inbox, __):
            telegram.press(message)
            assert (Text(LONG),) == (await inbox.next()).parts


@pytest.mark.parametrize("data", ["", "x", "nobody-knows-this-key:0", "{key}:99", "{key}:-1", "{key}:x", "{key}"])
async def test_forged_press_says_nothing(tmp_path: Path, data: str) -> None:
    """Altered clients send what they like."""
    async with running(tmp_path) as (channel, inbox, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        message = telegram.written()[0]
        key = message["reply_markup"]["inline_keyboard"][0][0]["callback_data"].partition(":")[0]
        forged = data.format(key=key) or " "
        assert "These buttons are no longer in use." == await told(telegram, telegram.press(message, data=forged))
    assert [] == inbox.accepted


async def test_buttons_of_one_chat_cannot_be_pressed_in_another(tmp_path: Path) -> None:
    """Also by the same person."""
    async with running(tmp_path) as (channel, _, telegram):
        await channel.send(answer("Sure?", BUTTONS))
        data = telegram.written()[0]["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        elsewhere = telegram.message("x", author=BOT, chat=GROUP)
        assert "no longer in use" in await told(telegram, telegram.press(elsewhere, data=data))


async def test_data_of_another_form_are_no_buttons(tmp_path: Path) -> None:
    """They are shown as what they are."""
    odd: list[Any] = [
        {"buttons": "x"},
        {"buttons": [["x"]]},
        {"buttons": [[{"text": ""}]]},
        {"buttons": [[{"text": "a", "value": 1}]]},
        {"buttons": [[]]},
        {"buttons": [[{"text": "a"}]], "more": 1},
    ]
    async with running(tmp_path) as (channel, _, telegram):
        for number, value in enumerate(odd):
            await channel.send(answer(Data(value), key=f"turn-{number}"))
        assert [[]] * len(odd) == [labels(telegram, number) for number in range(len(odd))]
        assert all('"buttons"' in text for text in telegram.texts())
        await channel.send(answer(Data({"buttons": [[{"text": "a" * 300}]]}), key="alone"))
        assert ("…", [["a" * 64]]) == (telegram.texts()[-1], labels(telegram))


ASKED = Data({"approval": "abcdefghijkmnp", "decisions": ["allow", "deny"]})
"""As the core asks for an approval."""


async def test_approval_is_asked_with_two_buttons(tmp_path: Path) -> None:
    """A press is what a person would type; the core's words come as Telegram's own notice, and the buttons go."""
    async with running(tmp_path) as (channel, inbox, telegram):
        await channel.send(answer("May it run?", ASKED))
        assert [["Approve", "Deny"]] == labels(telegram)
        inbox.fail_next(Receipt("accepted", notice="it is approved"))
        query = telegram.press(telegram.written()[0])
        assert "it is approved" == await told(telegram, query)
        await until(telegram, lambda _: not labels(telegram))
        await channel.send(answer("May it?", ASKED, key="second"))
        telegram.press(telegram.written()[1], 0, 1)
        got = await inbox.next()
    assert (Text("/deny abcdefghijkmnp"),) == got.parts
    assert ["May it run?", "May it?"] == telegram.texts()


async def test_buttons_of_an_approval_stay_for_who_may_press_them(tmp_path: Path) -> None:
    """In a group everybody may try, and the core says who may: the others are told, and nobody else sees it."""
    async with running(tmp_path) as (channel, inbox, telegram):
        telegram.say(NAME, chat=GROUP, author=BOB)
        await channel.send(answer("May it run?", ASKED, to=GROUP_HERE, replying=await inbox.next()))
        message = telegram.written()[0]
        inbox.fail_next(Receipt("refused", notice="that is not yours to decide"))
        assert "that is not yours to decide" == await told(telegram, telegram.press(message, person=BOB))
        assert [["Approve", "Deny"]] == labels(telegram)
        telegram.press(message, person=ANN)
        got = await inbox.next()
    assert ("telegram:4001", (Text("/approve abcdefghijkmnp"),)) == (got.author.id, got.parts)
    assert ["May it run?"] == telegram.texts()


async def test_news_about_an_approval_have_no_buttons(tmp_path: Path) -> None:
    """It is over."""
    async with running(tmp_path) as (channel, _, telegram):
        await channel.send(answer("Nobody approved it.", Data({"approval": "abcdefghijkmnp", "decision": "expired"})))
        assert (["Nobody approved it."], []) == (telegram.texts(), labels(telegram))
