"""The webhook in a whole app: from a signed request to the answer, with a scripted model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

import fairlead
from fairlead import events as ev
from fairlead.config import Config, PluginConfig
from fairlead.testing import CountingTool, FakePolicy, RecordingObserver, ScriptedProvider, calls

from .far import SECRET, Sender, message, receiving

README = Path(__file__).resolve().parents[1] / "README.md"


@asynccontextmanager
async def serving(
    model: ScriptedProvider, **options: Any
) -> AsyncIterator[tuple[Sender, fairlead.App, RecordingObserver]]:
    """An app that serves one webhook, which was loaded by its entry point."""
    observer = RecordingObserver()
    workers = {name: options.pop(name) for name in ("tools", "policies") if name in options}
    table = PluginConfig("channels", "webhook", options={"secret": fairlead.Secret(SECRET), "port": 0, **options})
    async with (
        fairlead.open(Config(plugins=(table,)), providers=[model], observers=[observer], **workers) as app,
        httpx2.AsyncClient(trust_env=False, timeout=10) as client,
        trio.open_nursery() as nursery,
    ):
        assert [("channels/webhook", "ready")] == [(report.plugin, report.status) for report in app.reports]
        nursery.start_soon(app.serve)
        notice = await observer.wait_for(ev.NoticeRaised)
        with trio.fail_after(10):
            yield Sender(notice.detail.rpartition(" ")[2], client, time.time()), app, observer
            app.stop()


async def test_message_is_answered_in_the_response() -> None:
    """One request, one turn; the same request again is a duplicate and costs nothing."""
    model = ScriptedProvider(["391, and a Monday"])
    async with serving(model) as (sender, _, _):
        first = await sender.post(message("What is 17 * 23?", wait=30))
        second = await sender.post(message("What is 17 * 23?", wait=30))
    assert (200, "answered", "391, and a Monday") == (
        first.status_code,
        first.json()["status"],
        first.json()["text"],
    )
    assert (200, "duplicate", first.json()["session"]) == (
        second.status_code,
        second.json()["status"],
        second.json()["session"],
    )
    assert 1 == model.answered


async def test_message_is_answered_at_the_reply_url() -> None:
    """The journal knows that it was delivered."""
    async with receiving() as receiver, serving(ScriptedProvider(["42"]), reply_url=receiver.url) as (sender, _, seen):
        response = await sender.post(message())
        delivered = await seen.wait_for(ev.AnswerDelivered)
    assert 202 == response.status_code
    assert ("sent", ["42"]) == (delivered.status, receiver.texts)
    assert ["m1"] == [value["in_reply_to"] for value in receiver.shown.values()]


async def test_answer_streams_through_the_whole_path() -> None:
    """Words of the model reach the reader as they come; joined they are the answer."""
    model = ScriptedProvider(["one two three"], stream="words")
    async with serving(model) as (sender, _, _), sender.listen(message(wait=30)) as event:
        events = [await event()]
        while events[-1][0] != "answer":
            events.append(await event())
    shown = ""
    for name, value in events:
        if name == "draft":
            shown = value.get("text", shown + value.get("delta", ""))
    assert "accepted" == events[0][0]
    assert "one two three" == events[-1][1]["text"]
    assert "one two three".startswith(shown)


async def test_answer_without_a_place_to_go_is_kept_in_the_session() -> None:
    """It has failed, with the reason, and nothing of it is lost."""
    async with serving(ScriptedProvider(["42"])) as (sender, app, seen):
        session = (await sender.post(message())).json()["session"]
        delivered = await seen.wait_for(ev.AnswerDelivered)
        history = await app.sessions.history(session)
    assert "failed" == delivered.status
    assert "no reply_url is configured" in delivered.reason
    assert ["hello", "42"] == [one.text for one in history]


async def test_stop_tells_the_waiting_sender_and_lets_the_turn_end() -> None:
    """202 for who waits; the turn goes on in its time of grace, and its answer takes the other way."""
    reached, free = trio.Event(), trio.Event()

    async def slow(_: object) -> str:
        reached.set()
        await free.wait()
        return "42"

    found: list[httpx2.Response] = []
    async with (
        receiving() as receiver,
        trio.open_nursery() as nursery,
        serving(ScriptedProvider([slow]), reply_url=receiver.url) as (sender, app, seen),
    ):

        async def ask() -> None:
            found.append(await sender.post(message(wait=60)))
            free.set()

        nursery.start_soon(ask)
        await reached.wait()
        app.stop()
        delivered = await seen.wait_for(ev.AnswerDelivered)
    assert [202] == [response.status_code for response in found]
    assert ("sent", ["42"]) == (delivered.status, receiver.texts)


async def test_channel_without_a_secret_is_reported_with_the_way_out() -> None:
    """The app opens without it; the report says which key and which command."""
    async with fairlead.open(Config(plugins=(PluginConfig("channels", "webhook"),))) as app:
        (report,) = app.reports
    assert ("failed", "channels/webhook") == (report.status, report.plugin)
    assert "channels.webhook.secret" in str(report.error)
    assert "openssl rand -hex 32" in str(report.error)


def shell_lines() -> str:
    """The README's block with curl."""
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return next(block for block in blocks if "curl" in block)


def in_shell(lines: str, env: Mapping[str, str]) -> str:
    shown: str = subprocess.check_output(["sh", "-euc", lines], env={**os.environ, **env}, text=True)
    return shown


@pytest.fixture
def programs() -> None:
    """What the README's lines call."""
    for program in ("curl", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {program}")


async def test_lines_of_the_readme_send_a_message(programs: None) -> None:
    """As they stand, but for the port."""
    async with serving(ScriptedProvider(["391"])) as (sender, _, _):
        lines = shell_lines().replace("http://127.0.0.1:8080/messages", sender.url)
        shown = await trio.to_thread.run_sync(in_shell, lines, {"FAIRLEAD_WEBHOOK_SECRET": SECRET})
    assert '"status":"answered"' in shown
    assert '"text":"391"' in shown


async def test_question_for_an_approval_is_the_first_answer_and_the_next_message_decides() -> None:
    """Whoever waits is shown what is asked; the answer then goes to the URL, as for everybody who waits no more."""
    tool = CountingTool("pay", "paid", effect="once", parameters={"type": "object"})
    model = ScriptedProvider([calls(("pay", {"to": "Bob"})), "it is paid"])
    asks = FakePolicy(lambda _: fairlead.Verdict("ask", "careful"), ["tool_call"])
    async with (
        receiving() as receiver,
        serving(model, reply_url=receiver.url, tools=[tool], policies=[asks]) as (sender, _, seen),
    ):
        question = (await sender.post(message("Pay Bob", wait=30))).json()
        assert "May pay run for webhook:ann" in question["text"]
        name = question["text"].split("/approve ")[1].split("\n")[0]
        decided = await sender.post(message(f"/approve {name}", id="m2", wait=30))
        assert (202, f"pay is approved ({name}).") == (decided.status_code, decided.json()["notice"])
        await seen.wait_for(ev.AnswerDelivered, 2)
    assert (["it is paid"], 1) == (receiver.texts, len(tool.calls))
