"""Telegram in a whole app: an agent that uses a tool answers in the chat; killed at any moment it answers once."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Data, ModelAnswer, Text
from fairlead import events as ev
from fairlead.config import Config, PluginConfig
from fairlead.testing import CountingTool, FakePolicy, RecordingObserver, ScriptedProvider, calls

from .far import until
from .life import Home
from .methods import BOB, BOBS
from .server import TOKEN, FakeTelegram, Fault, serving, wait_until


@asynccontextmanager
async def serve(
    tmp_path: Path, model: ScriptedProvider, **more: Any
) -> AsyncIterator[tuple[FakeTelegram, fairlead.App, RecordingObserver]]:
    """An app with one bot, which was loaded by its entry point."""
    observer = RecordingObserver()
    allow = FakePolicy(lambda review: fairlead.Verdict("allow", "all") if review.boundary == "tool_call" else None)
    policies = [allow, *more.pop("policies", ())]
    with serving() as telegram:
        options = {"token": fairlead.Secret(TOKEN), "api_url": telegram.url, "poll_seconds": 5}
        table = PluginConfig("channels", "telegram", options=options, isolation="host")
        config = Config(plugins=(table,), data_dir=tmp_path)
        async with (
            fairlead.open(config, providers=[model], policies=policies, observers=[observer], **more) as app,
            trio.open_nursery() as nursery,
        ):
            assert [("channels/telegram", "ready")] == [(report.plugin, report.status) for report in app.reports]
            nursery.start_soon(app.serve)
            with trio.fail_after(20):
                yield telegram, app, observer
                app.stop()


async def test_agent_that_uses_a_tool_answers_in_the_chat(tmp_path: Path) -> None:
    """One question, one message, whose growth was seen; the journal knows that it was delivered."""
    tool = CountingTool("clock", "noon")
    model = ScriptedProvider([calls(("clock", {})), "It is **noon** now"], stream="words")
    async with serve(tmp_path, model, tools=[tool]) as (telegram, _, seen):
        asked = telegram.say("what time is it?")
        delivered = await seen.wait_for(ev.AnswerDelivered)
        (shown,) = telegram.written()
    assert ("It is noon now", [{"type": "bold", "offset": 6, "length": 4}]) == (shown["text"], shown["entities"])
    assert ("sent", f"4001:{shown['message_id']}") == (delivered.status, delivered.external_id)
    assert 1 == len(tool.calls)
    assert asked["message_id"] < shown["message_id"]


async def test_button_that_an_agent_shows_is_pressed_and_answered(tmp_path: Path) -> None:
    """The part goes through the core as it is; the press comes back as words of who pressed."""
    choice = Data({"buttons": [[{"text": "Yes", "value": "yes, do it"}]]})
    model = ScriptedProvider([ModelAnswer((Text("Shall I?"), choice)), "done"])
    async with serve(tmp_path, model) as (telegram, _, seen):
        telegram.say("please")
        await seen.wait_for(ev.AnswerDelivered)
        (shown,) = telegram.written()
        telegram.press(shown)
        await seen.wait_for(ev.AnswerDelivered, 2)
    assert "yes, do it" == next(iter(reversed(model.requests[1].history))).text


async def test_call_that_is_asked_about_is_approved_by_a_press(tmp_path: Path) -> None:
    """The question with its buttons, the press, the call, the answer; a second press finds nothing."""
    tool = CountingTool("pay", "paid", effect="once", parameters={"type": "object"})
    model = ScriptedProvider([calls(("pay", {"to": "*Bob*"})), "it is paid"])
    ask = FakePolicy(lambda _: fairlead.Verdict("ask", "careful"), ["tool_call"])
    async with serve(tmp_path, model, tools=[tool], policies=[ask]) as (telegram, _, seen):
        telegram.say("please")
        await seen.wait_for(ev.AnswerDelivered)
        (shown,) = telegram.written()
        assert '"to": "*Bob*"' in shown["text"]
        (query, _) = telegram.press(shown), telegram.press(shown, 0, 1)
        await until(telegram, lambda far: "it is paid" in far.texts())
        await until(telegram, lambda far: far.queries[query])
        assert "pay is approved" in telegram.queries[query]["text"]
    assert 1 == len(tool.calls)


async def test_long_code_goes_on_in_the_next_message(tmp_path: Path) -> None:
    """The core hands in the whole answer, and each message of it is code."""
    lines = "\n".join(f"    line_{number} = *a* _b_" for number in range(400))
    model = ScriptedProvider([f"Here:\n```python\n{lines}\n```"])
    async with serve(tmp_path, model) as (telegram, _, seen):
        telegram.say("a long program, please")
        delivered = await seen.wait_for(ev.AnswerDelivered)
        shown = telegram.written()
    assert [["pre"]] * 3 == [[entity["type"] for entity in body["entities"]] for body in shown]
    assert f"Here:\n{lines}" == "\n".join(body["text"] for body in shown)
    assert ("sent", 3) == (delivered.status, len(delivered.external_id.split("+")))


async def test_same_update_again_is_no_second_turn(tmp_path: Path) -> None:
    """Telegram repeats what was not confirmed."""
    model = ScriptedProvider(["one", "two"])
    async with serve(tmp_path, model) as (telegram, _, seen):
        body = telegram.say("hello")
        telegram.push("message", body)
        await seen.wait_for(ev.AnswerDelivered)
        telegram.say("and now?")
        await seen.wait_for(ev.AnswerDelivered, 2)
        assert ["one", "two"] == telegram.texts()


async def test_answer_waits_while_telegram_asks_for_it(tmp_path: Path) -> None:
    """429: tried again by the core, at the time that Telegram names."""
    model = ScriptedProvider(["42"])
    async with serve(tmp_path, model) as (telegram, _, seen):
        for method in ("sendMessage", "sendMessage"):
            telegram.fail(method, 429, "Too Many Requests: retry after 1", parameters={"retry_after": 1})
        telegram.say("hello")
        delivered = await seen.wait_for(ev.AnswerDelivered)
        assert ["42"] == telegram.texts()
    assert "sent" == delivered.status


async def test_blocked_bot_is_told_to_nobody_and_known_to_the_operator(tmp_path: Path) -> None:
    """403 is final."""
    async with serve(tmp_path, ScriptedProvider(["42"])) as (telegram, _, seen):
        telegram.blocked.add(4001)
        telegram.say("hello")
        delivered = await seen.wait_for(ev.AnswerDelivered)
    assert ("failed", "sendMessage: Forbidden: bot was blocked by the user") == (delivered.status, delivered.reason)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def answered(telegram: FakeTelegram, sums: dict[str, str]) -> bool:
    texts = telegram.texts()
    return all(any(result in text for text in texts) for result in sums.values())


async def test_killed_again_and_again_it_answers_each_message_once(home: Home) -> None:
    """SIGKILL at several moments between the question and the answer, and the server restarts beside it.

    What the reader sees twice would be a doubled answer; what he never sees must be known to the journal as unknown.
    """
    sums = {f"What is {number} * 1000 + 7?": str(number * 1000 + 7) for number in range(11, 17)}
    moments = ["getUpdates", "getUpdates", "sendChatAction", "sendMessage", "editMessageText", "sendMessage"]
    with serving() as telegram:
        home.configure(telegram)
        for question, moment in zip(sums, moments, strict=True):
            with home.serving() as process:
                await until(telegram, lambda far: far.methods("getUpdates"))
                telegram.say(question)
                count = len(telegram.methods(moment))
                await trio.to_thread.run_sync(
                    wait_until, telegram, lambda far, m=moment, c=count: len(far.methods(m)) > c, 3.0
                )
                process.kill()
            telegram.stop()
            telegram.start()
        with home.serving() as process:
            await trio.to_thread.run_sync(
                wait_until, telegram, lambda far: answered(far, sums) and not far.updates, 15.0
            )
            assert 0 == await trio.to_thread.run_sync(home.stop, process)
        audit = home.run("sessions", "audit")
        counts = Counter(text for text in telegram.texts() if any(result in text for result in sums.values()))
    missing = [question for question, result in sums.items() if not any(result in text for text in counts)]
    assert not [text for text, count in counts.items() if count > 1]
    assert len(missing) <= home.shown.count("is unknown"), (missing, audit, home.shown)
    assert TOKEN.partition(":")[2] not in home.shown + audit


async def test_killed_between_the_send_and_the_journal_it_is_unknown_and_not_repeated(home: Home) -> None:
    """The message has arrived, nobody wrote that down: the operator is told, and the reader sees it once."""
    with serving() as telegram:
        home.configure(telegram, more="streaming = false")
        free = threading.Event()
        telegram.faults.append(Fault("sendMessage", after=True, hold=free))
        with home.serving() as process:
            telegram.say("What is 6 * 7?")
            await until(telegram, lambda far: far.methods("sendMessage"))
            process.send_signal(signal.SIGKILL)
            process.wait()
        free.set()
        await until(telegram, lambda far: far.texts())
        with home.serving() as process:
            telegram.say("What is 6 * 8?")
            await until(telegram, lambda far: "48" in "".join(far.texts()))
            assert 0 == await trio.to_thread.run_sync(home.stop, process)
        assert ["6 * 7 = 42.", "6 * 8 = 48."] == telegram.texts()
    assert "is unknown: the program stopped while it was sending" in home.shown


async def test_killed_before_the_answer_it_answers_after_the_restart(home: Home) -> None:
    """The message was accepted; its turn is finished by the next process."""
    with serving() as telegram:
        home.configure(telegram)
        free = threading.Event()
        telegram.faults.append(Fault("sendMessage", hold=free, lost=True))  # the draft's
        with home.serving() as process:
            telegram.say("What is 6 * 7?")
            await until(telegram, lambda far: far.methods("sendMessage"))
            process.kill()
        free.set()
        with home.serving() as process:
            await until(telegram, lambda far: far.texts())
            assert 0 == await trio.to_thread.run_sync(home.stop, process)
        assert ["6 * 7 = 42."] == telegram.texts()


async def test_stranger_reads_a_code_and_reaches_no_model(home: Home) -> None:
    """The notice stands where he wrote; whom the operator has let in is answered."""
    with serving() as telegram:
        home.configure(telegram)
        with home.serving() as process:
            for text in ("What is 6 * 7?", "Hello?", "And now?"):
                telegram.say(text, author=BOB, chat=BOBS)
            telegram.say("What is 6 * 8?")
            await until(telegram, lambda far: far.texts(4001)[-1:] == ["6 * 8 = 48."] and not far.updates)
            assert 0 == await trio.to_thread.run_sync(home.stop, process)
    notices = telegram.texts(4002)
    assert notices
    for notice in notices:
        assert "42" not in notice.partition("code")[0]
        assert "contacts" in notice


async def test_isolated_it_has_a_handle_and_the_host_puts_the_token_in(home: Home) -> None:
    """In a process of its own: the token goes into the address on the way out, to the one host that is granted."""
    with serving() as telegram:
        home.configure(telegram, "process", f'hosts = ["127.0.0.1:{telegram.port}"]')
        telegram.store(b"abc", "f1")
        with home.serving() as process:
            telegram.say("What is 6 * 7?", document={"file_id": "f1", "file_name": "x.bin"})
            await until(telegram, lambda far: "42" in "".join(far.texts()))
            assert 0 == await trio.to_thread.run_sync(home.stop, process)
        doctor = home.run("doctor")
    assert "it is @fairlead_test_bot" in doctor
    assert "was out at 127.0.0.1" in home.shown
    assert TOKEN.partition(":")[2] not in home.shown + doctor
