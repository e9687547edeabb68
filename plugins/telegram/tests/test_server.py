"""The Telegram of the tests is what python-telegram-bot, as it is, takes for the real one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from telegram import (
    Bot,
    Chat,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    LinkPreviewOptions,
    ReplyParameters,
    Update,
)
from telegram.constants import ParseMode
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)
from telegram.ext import ApplicationBuilder, CallbackQueryHandler, MessageHandler, filters

from .methods import ANN, GROUP
from .server import TOKEN, FakeTelegram, serving, wait_until

CHAT = ANN["id"]


@pytest.fixture
def telegram() -> Iterator[FakeTelegram]:
    with serving() as made:
        yield made


@asynccontextmanager
async def library(telegram: FakeTelegram, token: str = TOKEN) -> AsyncIterator[Bot]:
    bot = Bot(token, base_url=f"{telegram.url}/bot", base_file_url=f"{telegram.url}/file/bot")
    async with bot:
        yield bot


async def drive(telegram: FakeTelegram, use: Callable[[Bot], Awaitable[Any]]) -> Any:
    """Use the library in a thread with a loop of its own kind."""

    async def run() -> Any:
        async with library(telegram) as bot:
            return await use(bot)

    return await trio.to_thread.run_sync(asyncio.run, run())


async def test_bot_knows_itself(telegram: FakeTelegram) -> None:
    """Every field that the library wants of a user is there."""
    me = await drive(telegram, lambda bot: bot.get_me())
    assert (telegram.me["id"], "fairlead_test_bot", True) == (me.id, me.username, me.is_bot)


@pytest.mark.parametrize(
    ("text", "mode", "plain", "written"),
    [
        ("<b>a <i>b</i></b> &lt;c&gt;", ParseMode.HTML, "a b <c>", "<b>a <i>b</i></b> &lt;c&gt;"),
        ("\U0001f9ed <code>x</code>", ParseMode.HTML, "\U0001f9ed x", "\U0001f9ed <code>x</code>"),
        (
            '<pre><code class="language-py">x = 1</code></pre>',
            ParseMode.HTML,
            "x = 1",
            '<pre><code class="py">x = 1</code></pre>',
        ),
        ('<a href="https://e.org/">l</a>', ParseMode.HTML, "l", '<a href="https://e.org/">l</a>'),
        ("<blockquote>q\nr</blockquote>", ParseMode.HTML, "q\nr", "<blockquote>q\nr</blockquote>"),
        ("*a* _b_ ~c~ ||d|| `e` 1\\.5", ParseMode.MARKDOWN_V2, "a b c d e 1.5", None),
        ("[l](https://e.org/)", ParseMode.MARKDOWN_V2, "l", '<a href="https://e.org/">l</a>'),
    ],
)
async def test_markup_is_read_as_the_library_reads_it(
    telegram: FakeTelegram, text: str, mode: str, plain: str, written: str | None
) -> None:
    """The library writes the entities back as HTML, by their places in code units."""
    sent = await drive(telegram, lambda bot: bot.send_message(CHAT, text, parse_mode=mode))
    assert plain == sent.text
    if written is None:
        written = '<b>a</b> <i>b</i> <s>c</s> <span class="tg-spoiler">d</span> <code>e</code> 1.5'
    assert written == sent.text_html


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("<b>a", ParseMode.HTML, 'Can\'t find end tag corresponding to start tag "b"'),
        ("<x>a</x>", ParseMode.HTML, 'Unsupported start tag "x" at byte offset 0'),
        ("<b>a</i>", ParseMode.HTML, 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("1.5", ParseMode.MARKDOWN_V2, "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("*a", ParseMode.MARKDOWN_V2, "Can't find end of Bold entity at byte offset"),
    ],
)
async def test_markup_that_does_not_parse_is_refused(telegram: FakeTelegram, text: str, mode: str, words: str) -> None:
    """In the words of the real server."""
    with pytest.raises(BadRequest) as caught:
        await drive(telegram, lambda bot: bot.send_message(CHAT, text, parse_mode=mode))
    assert f"can't parse entities: {words}".lower() in caught.value.message.lower()


async def test_length_counts_utf_16_after_the_markup(telegram: FakeTelegram) -> None:
    """4,096 code units pass, whatever their tags take; one more does not."""
    await drive(telegram, lambda bot: bot.send_message(CHAT, f"<b>{'x' * 4096}</b>", parse_mode=ParseMode.HTML))
    await drive(telegram, lambda bot: bot.send_message(CHAT, "\U0001f9ed" * 2048))
    for text in ("x" * 4097, "\U0001f9ed" * 2048 + "x"):
        with pytest.raises(BadRequest, match="Message is too long"):
            await drive(telegram, partial(Bot.send_message, chat_id=CHAT, text=text))


async def test_message_is_edited_and_deleted(telegram: FakeTelegram) -> None:
    """The same text again is an error of its own kind."""

    async def use(bot: Bot) -> Any:
        sent = await bot.send_message(CHAT, "a", link_preview_options=LinkPreviewOptions(is_disabled=True))
        edited = await bot.edit_message_text("b", CHAT, sent.message_id)
        with pytest.raises(BadRequest, match="Message is not modified"):
            await bot.edit_message_text("b", CHAT, sent.message_id)
        with pytest.raises(BadRequest, match="Message to edit not found"):
            await bot.edit_message_text("b", CHAT, 999_999)
        deleted = await bot.delete_message(CHAT, sent.message_id)
        return edited, deleted

    edited, deleted = await drive(telegram, use)
    assert ("b", True, []) == (edited.text, deleted, telegram.texts())


async def test_answer_points_to_its_question(telegram: FakeTelegram) -> None:
    """Reply parameters, topics and actions."""
    question = telegram.say("hello?", chat=GROUP)

    async def use(bot: Bot) -> Any:
        await bot.send_chat_action(GROUP["id"], "typing")
        with pytest.raises(BadRequest, match="Message to be replied not found"):
            await bot.send_message(GROUP["id"], "x", reply_parameters=ReplyParameters(999_999))
        return await bot.send_message(
            GROUP["id"], "hello!", reply_parameters=ReplyParameters(question["message_id"]), message_thread_id=7
        )

    sent = await drive(telegram, use)
    assert (question["message_id"], 7) == (sent.reply_to_message.message_id, sent.message_thread_id)
    assert [(GROUP["id"], "typing")] == telegram.actions


async def test_updates_are_kept_until_they_are_confirmed(telegram: FakeTelegram) -> None:
    """The same again without an offset; those below the offset never again; a negative one forgets all but the last."""
    for text in ("one", "two", "three"):
        telegram.say(text)

    async def use(bot: Bot) -> list[list[str | None]]:
        first = await bot.get_updates()
        again = await bot.get_updates(limit=2)
        rest = await bot.get_updates(offset=first[0].update_id + 1)
        last = await bot.get_updates(offset=-1)
        none = await bot.get_updates(offset=last[-1].update_id + 1, timeout=0)
        return [[update.message.text for update in each if update.message] for each in (first, again, rest, last, none)]

    expected = [["one", "two", "three"], ["one", "two"], ["two", "three"], ["three"], []]
    assert expected == await drive(telegram, use)


async def test_question_for_news_is_answered_when_there_are_some(telegram: FakeTelegram) -> None:
    """Long polling; only kinds that were asked for."""

    async def use(bot: Bot) -> Any:
        asking = asyncio.create_task(bot.get_updates(timeout=10, allowed_updates=["message"]))
        await asyncio.to_thread(wait_until, telegram, lambda far: far.methods("getUpdates"))
        telegram.push("my_chat_member", {})
        telegram.say("here I am")
        return await asking

    (update,) = await drive(telegram, use)
    assert "here I am" == update.message.text


@pytest.mark.filterwarnings("ignore:Deprecated since version v22.2")  # the library warns of itself
async def test_faults_are_what_the_library_takes_them_for(telegram: FakeTelegram) -> None:
    """429, 403, 409, 5xx, a move to a supergroup, a connection that is cut, half an answer."""
    found: list[type[TelegramError]] = []
    telegram.fail("sendMessage", 429, "Too Many Requests: retry after 7", parameters={"retry_after": 7})
    telegram.fail("sendMessage", 403, "Forbidden: bot was blocked by the user")
    telegram.fail("sendMessage", 409, "Conflict: terminated by other getUpdates request")
    telegram.fail("sendMessage", 502, "Bad Gateway")
    moved = {"migrate_to_chat_id": -1009}
    telegram.fail("sendMessage", 400, "Bad Request: group chat was upgraded to a supergroup chat", parameters=moved)
    telegram.fail("sendMessage")
    for _ in range(6):
        with pytest.raises(TelegramError) as caught:
            await drive(telegram, lambda bot: bot.send_message(CHAT, "x"))
        found.append(type(caught.value))
    telegram.fail("sendMessage", half=True)
    with pytest.raises(NetworkError):
        await drive(telegram, lambda bot: bot.send_message(CHAT, "half"))
    assert [RetryAfter, Forbidden, Conflict, NetworkError, ChatMigrated, NetworkError] == found
    assert ["half"] == telegram.texts()


async def test_wrong_token_is_refused(telegram: FakeTelegram) -> None:
    """401, which the library has a class for."""

    async def run() -> None:
        async with library(telegram, "123456789:another"):
            pass

    with pytest.raises(InvalidToken):
        await trio.to_thread.run_sync(asyncio.run, run())


async def test_files_go_both_ways(telegram: FakeTelegram) -> None:
    """Uploads of each kind; a download by the path that `getFile` gives."""
    file_id = telegram.store(b"\x00\xff\r\n--bytes", "f1")

    async def use(bot: Bot) -> Any:
        photo = await bot.send_photo(CHAT, b"\x89PNG\r\n\x1a\n", caption="<b>look</b>", parse_mode=ParseMode.HTML)
        audio = await bot.send_audio(CHAT, b"ID3", filename="song.mp3")
        voice = await bot.send_voice(CHAT, b"OggS")
        document = await bot.send_document(CHAT, b"a,b\n1,2\n", filename="table.csv")
        with pytest.raises(BadRequest, match="Wrong file_id"):
            await bot.get_file("no-such-file")
        data = await (await bot.get_file(file_id)).download_as_bytearray()
        return photo, audio, voice, document, bytes(data)

    photo, audio, voice, document, data = await drive(telegram, use)
    assert ("look", "song.mp3", "table.csv") == (photo.caption, audio.audio.file_name, document.document.file_name)
    assert voice.voice.file_size == 4
    assert b"\x00\xff\r\n--bytes" == data
    assert [b"\x89PNG\r\n\x1a\n", b"ID3", b"OggS", b"a,b\n1,2\n"] == [data for _, data in telegram.media]


async def test_application_of_the_library_polls_and_answers_presses(telegram: FakeTelegram) -> None:
    """Its own loop, handlers and keyboards."""
    done: list[str] = []
    pressed_once = asyncio.Event()

    async def ask(update: Update, _: Any) -> None:
        assert update.effective_message is not None
        button = InlineKeyboardButton("yes", callback_data="y" * 64)
        await update.effective_message.reply_text("sure?", reply_markup=InlineKeyboardMarkup([[button]]))
        telegram.press(telegram.written()[-1])

    async def pressed(update: Update, _: Any) -> None:
        assert update.callback_query is not None
        await update.callback_query.answer("noted")
        assert isinstance(update.effective_chat, Chat)
        done.append(str(update.callback_query.data))
        pressed_once.set()

    async def run() -> None:
        builder = ApplicationBuilder().token(TOKEN).base_url(f"{telegram.url}/bot")
        async with builder.build() as application:
            application.add_handler(MessageHandler(filters.TEXT, ask))
            application.add_handler(CallbackQueryHandler(pressed))
            assert application.updater is not None
            await application.updater.start_polling(timeout=5)
            await application.start()
            telegram.say("hello")
            async with asyncio.timeout(10):
                await pressed_once.wait()
            await application.updater.stop()
            await application.stop()

    await trio.to_thread.run_sync(asyncio.run, run())
    assert ["y" * 64] == done
    assert [{"answered": True, "text": "noted"}] == list(telegram.queries.values())


async def test_application_of_the_library_is_reached_by_webhook(telegram: FakeTelegram) -> None:
    """Set, told with the secret, shown, and taken away; while it is set nobody polls."""
    heard: list[str] = []
    heard_once = asyncio.Event()

    async def hear(update: Update, _: Any) -> None:
        assert update.effective_message is not None
        heard.append(str(update.effective_message.text))
        heard_once.set()

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            port = found.getsockname()[1]
        builder = ApplicationBuilder().token(TOKEN).base_url(f"{telegram.url}/bot")
        async with builder.build() as application:
            application.add_handler(MessageHandler(filters.TEXT, hear))
            assert application.updater is not None
            telegram.reached_at = f"http://127.0.0.1:{port}/hook"
            url = "https://example.org/hook"
            await application.updater.start_webhook(
                "127.0.0.1", port, "hook", webhook_url=url, secret_token="s3cret", allowed_updates=["message"]
            )
            await application.start()
            assert url == (await application.bot.get_webhook_info()).url
            with pytest.raises(Conflict, match="webhook is active"):
                await application.bot.get_updates()
            telegram.say("hello")
            async with asyncio.timeout(10):
                await heard_once.wait()
            await application.updater.stop()
            await application.bot.delete_webhook()
            assert not (await application.bot.get_webhook_info()).url
            await application.stop()

    await trio.to_thread.run_sync(asyncio.run, run())
    assert ["hello"] == heard
    assert [] == telegram.updates
