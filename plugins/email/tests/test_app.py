"""An agent with a mailbox: in this process, and as `fairlead run` whose servers, or which itself, are killed."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

import fairlead
from fairlead import events as ev
from fairlead.config import Config, PluginConfig
from fairlead.testing import CountingTool, RecordingObserver, ScriptedProvider, calls

from .far import ANN
from .post import text_of
from .town import BOT, SECONDS, Person, Town, pause, run, thinking, toml, town

REHEARSAL = """
[providers.rehearsal]

[models]
default = "rehearsal/rehearsal"
"""
SLOW = """
[providers.openai]
base_url = "{url}"
api_key = "x"

[models]
default = "openai/m"
"""
TRUSTED = ("email:ann@example.net",)


@asynccontextmanager
async def agent(
    place: Town, directory: Path, model: ScriptedProvider, *tools: CountingTool
) -> AsyncIterator[tuple[fairlead.App, RecordingObserver]]:
    """An app with the channel, which was loaded by its entry point."""
    table = PluginConfig("channels", "email", isolation="host", options=place.table)
    observer = RecordingObserver()
    async with (
        fairlead.open(
            Config(data_dir=directory, plugins=(table,)), providers=[model], tools=tools, observers=[observer]
        ) as app,
        trio.open_nursery() as nursery,
    ):
        assert [("channels/email", "ready")] == [(report.plugin, report.status) for report in app.reports]
        nursery.start_soon(app.serve)
        with trio.fail_after(SECONDS):
            await observer.wait_for(ev.NoticeRaised)
        yield app, observer
        app.stop()


async def test_agent_with_a_tool_answers_by_mail(tmp_path: Path) -> None:
    """The question, the call, the result, and the answer in the thread; what follows is the same session."""
    model = ScriptedProvider([calls(("count", {"what": "ships"})), "There are **3** ships.", "Yes, 3."])
    tool = CountingTool(outcome="3")
    with town() as place:
        ann = Person(place, ANN)
        async with agent(place, tmp_path, model, tool) as (_, seen):
            asked = await trio.to_thread.run_sync(ann.write, "How many ships?", "Ships")
            (answer,) = await trio.to_thread.run_sync(ann.wait_for, 1)
            again = await trio.to_thread.run_sync(
                ann.write, f"Really?\n\nOn 1 March, Bot wrote:\n> {text_of(answer)}", "Re: Ships", answer
            )
            second = (await trio.to_thread.run_sync(ann.wait_for, 2))[1]
            delivered = await seen.wait_for(ev.AnswerDelivered, 2)
            sessions = {record.session for record in seen.records if isinstance(record.event, ev.MessageAccepted)}
    assert ("There are **3** ships.", "Yes, 3.") == (text_of(answer), text_of(second))
    assert ("Re: Ships", asked, again) == (answer["Subject"], answer["In-Reply-To"], second["In-Reply-To"])
    assert f"<{delivered.external_id}>" == second["Message-ID"]
    page = answer.get_body(("html",))
    assert page is not None
    assert "<strong>3</strong>" in page.get_content()
    assert [{"what": "ships"}] == [call.arguments for call in tool.calls]
    assert ["Subject: Ships\n\nHow many ships?", "Really?"] == [
        one.text for one in model.requests[2].history if isinstance(one, fairlead.Message) and one.role == "user"
    ]
    assert 1 == len(sessions)


async def test_own_answers_and_bounces_are_not_answered(tmp_path: Path) -> None:
    """A program that answers at once ends the exchange, and does not begin one."""
    model = ScriptedProvider(["first", "second"])
    with town() as place:
        ann, robot = Person(place, ANN), Person(place, "no-reply@example.net")
        async with agent(place, tmp_path, model):
            await trio.to_thread.run_sync(robot.write, "Your ticket was received.")
            await trio.to_thread.run_sync(ann.write, "hello")
            await trio.to_thread.run_sync(ann.wait_for, 1)
        assert [] == robot.inbox()
    assert 1 == model.answered


async def test_restart_of_the_mail_server_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Dovecot is stopped while the model thinks; the post office is away when the answer is ready."""
    reached, free = trio.Event(), trio.Event()

    async def slow(_: object) -> str:
        reached.set()
        await free.wait()
        return "here it is"

    with town() as place:
        ann = Person(place, ANN)
        async with agent(place, tmp_path, ScriptedProvider([slow, "and this"])) as (app, seen):
            await trio.to_thread.run_sync(ann.write, "take your time")
            await reached.wait()
            await trio.to_thread.run_sync(place.dovecot.stop)
            await trio.to_thread.run_sync(place.post.stop)
            free.set()
            with trio.fail_after(SECONDS):
                await seen.wait_for(ev.AnswerSending, 2)  # the first try has failed
            await trio.to_thread.run_sync(place.dovecot.start)
            await trio.to_thread.run_sync(place.post.start)
            await trio.to_thread.run_sync(ann.wait_for, 1)
            await trio.to_thread.run_sync(ann.write, "more")
            found = await trio.to_thread.run_sync(ann.wait_for, 2)
            statuses = [event.status for event in seen.events(ev.AnswerDelivered)]
            assert app.reports[0].error is None
        await trio.to_thread.run_sync(place.dovecot.stop)
        await trio.to_thread.run_sync(place.dovecot.start)
        assert 2 == len(ann.inbox())
    assert ["here it is", "and this"] == [text_of(mail) for mail in found]
    assert statuses[0] == "sent"


def test_run_killed_between_taking_a_mail_and_answering_it_answers_once(tmp_path: Path) -> None:
    """SIGKILL while the model thinks: the next life answers what was taken, once, and takes nothing twice."""
    with town() as place, thinking() as model:
        ann = Person(place, ANN)
        with run(tmp_path, toml(place.table, TRUSTED, SLOW.format(url=model.url))) as running:
            for number in range(2):
                ann.write(f"number {number}", subject=f"Thread {number}")
            for _ in range(2):
                assert model.asked.acquire(timeout=SECONDS)
            assert -signal.SIGKILL == running.end(signal.SIGKILL)
            ann.write("number 2", subject="Thread 2")
            model.go_on.set()
            running.start()
            ann.wait_for(3)
            ann.write("number 3", subject="Thread 3")
            found = ann.wait_for(4)
            assert 0 == running.end(signal.SIGTERM)
            audit = running.command("sessions", "audit")
        assert 4 == len(ann.inbox())
    texts = sorted(text_of(mail).rpartition("\n")[2] for mail in found)
    assert ["number 0", "number 1", "number 2", "number 3"] == texts
    assert 0 == audit.returncode, audit.stdout + audit.stderr


def test_run_killed_at_any_moment_answers_nothing_twice(tmp_path: Path) -> None:
    """Each once, but for those whose end was on the wire; those are known as unknown, and not sent again."""
    chance = random.Random(3)  # noqa: S311  # moments, not secrets
    with town() as place:
        ann = Person(place, ANN)
        with run(tmp_path, toml(place.table, TRUSTED, REHEARSAL)) as running:
            for life in range(3):
                for number in range(4):
                    ann.write(f"What is {10 * life + number} + 100?", subject="")
                threading.Event().wait(chance.uniform(0.0, 0.5))
                assert -signal.SIGKILL == running.end(signal.SIGKILL)
                running.start()
            ann.write("What is 500 + 100?", subject="")
            last = SECONDS / 0.05
            while last > 0 and "500 + 100 = 600" not in " ".join(text_of(mail) for mail in ann.inbox()):
                last -= 1
                pause()
            assert 0 == running.end(signal.SIGTERM)
            audit = running.command("sessions", "audit")
        found = [text_of(mail) for mail in ann.inbox()]
    asked = {10 * life + number for life in range(3) for number in range(4)} | {500}
    answered = [int(text.split()[0]) for text in found]
    assert len(set(answered)) == len(answered), found
    assert set(answered) <= asked
    assert len(asked) - len(answered) <= 2, "so short a time is rarely hit"
    assert 0 == audit.returncode, audit.stdout + audit.stderr


def test_stranger_gets_a_code_and_an_unproven_one_nothing(tmp_path: Path) -> None:
    """The policy denies at the boundary; doctor shows what was held."""
    with town() as place:
        ann, eve = Person(place, ANN), Person(place, "eve@example.com")
        with run(tmp_path, toml(place.table, TRUSTED, REHEARSAL)) as running:
            forged = f"From: {ANN}\r\nTo: {BOT}\r\nSubject: x\r\n\r\nWhat is 1 + 1?\r\n"
            place.dovecot.put(BOT, forged.encode())
            eve.write("What is 2 + 2?")
            (notice,) = eve.wait_for(1)
            ann.write("What is 3 + 3?", subject="")
            found = ann.wait_for(1)
            doctor = running.command("doctor")
            assert 0 == running.end(signal.SIGTERM)
    assert "refused by 'contacts'" in text_of(notice)
    assert "code" in text_of(notice)
    assert ["3 + 3 = 6"] == [text_of(mail).rstrip(".") for mail in found]
    assert "ann@example.net: its sender is not proven" in " ".join(doctor.stdout.split())
