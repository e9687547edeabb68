"""Matrix in a whole app: what a person sees in the room, with a scripted model and a real homeserver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import fairlead
from fairlead import events as ev
from fairlead.config import Config, PluginConfig
from fairlead.testing import RecordingObserver, ScriptedProvider, calls

from .far import PASSWORD, Person, World, until


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@asynccontextmanager
async def serving(
    world: World, directory: Path, bot: Person, script: Sequence[Any], **options: Any
) -> AsyncIterator[tuple[fairlead.App, RecordingObserver]]:
    """An app that serves one account, which was loaded by its entry point."""
    given = {"homeserver": world.synapse.url, "user": bot.user_id, "password": fairlead.Secret(PASSWORD), **options}
    table = PluginConfig("channels", "matrix", isolation="host", options=given)
    config, observer = Config(plugins=(table,), data_dir=directory), RecordingObserver()
    model = ScriptedProvider(script, stream="words")
    async with (
        fairlead.open(config, providers=[model], tools=[add], observers=[observer]) as app,
        trio.open_nursery() as nursery,
    ):
        assert [("channels/matrix", "ready")] == [(report.plugin, report.status) for report in app.reports]
        nursery.start_soon(app.serve)
        with trio.fail_after(60):
            notice = await observer.wait_for(ev.NoticeRaised)
        assert f"listening at {world.synapse.url} as {bot.user_id}" == notice.detail
        with trio.fail_after(120):
            yield app, observer
            app.stop()


async def test_agent_with_a_tool_answers_in_the_room(world: World, tmp_path: Path) -> None:
    """A person invites it, asks, and reads one answer, which grew by editing."""
    ann, bot = await world.person(), await world.person("bot")
    script = [calls(("add", {"a": 17, "b": 23}), text="Let me see."), "It is **40**, as you can see."]
    async with serving(world, tmp_path, bot, script, edit_seconds=0) as (_, seen):
        room = await ann.make_room(bot.user_id)
        await ann.say(room, "What is 17 + 23?")
        delivered = await seen.wait_for(ev.AnswerDelivered)
        texts = await ann.reads(room, bot.user_id)
        (content,) = await ann.seen(room, bot.user_id)
    assert ("sent", ["It is **40**, as you can see."]) == (delivered.status, texts)
    assert "<p>It is <strong>40</strong>, as you can see.</p>" == content["formatted_body"]


async def test_each_thread_is_a_session_of_its_own(world: World, tmp_path: Path) -> None:
    """And is answered inside."""
    ann, bot = await world.person(), await world.person("bot")
    async with serving(world, tmp_path, bot, ["outside", "inside"]) as (_, seen):
        room = await ann.make_room(bot.user_id)
        root = await ann.say(room, "one")
        first = await seen.wait_for(ev.AnswerDelivered)
        relation = {"rel_type": "m.thread", "event_id": root}
        await ann.put(room, {"msgtype": "m.text", "body": "two", "m.relates_to": relation})
        second = await seen.wait_for(ev.AnswerDelivered, 2)
        contents = await ann.seen(room, bot.user_id)
    assert ["outside", "inside"] == [content["body"] for content in contents]
    assert [None, root] == [content.get("m.relates_to", {}).get("event_id") for content in contents]
    assert first.external_id != second.external_id
    assert 2 == len({record.session for record in seen.records if isinstance(record.event, ev.AnswerDelivered)})


async def test_long_answer_comes_in_pieces(world: World, tmp_path: Path) -> None:
    """The draft becomes the first of them."""
    ann, bot = await world.person(), await world.person("bot")
    long = " ".join(f"word{number}" for number in range(100))
    async with serving(world, tmp_path, bot, [long], edit_seconds=0, max_chars=300) as (_, seen):
        room = await ann.make_room(bot.user_id)
        await ann.say(room, "tell me")
        await seen.wait_for(ev.AnswerDelivered)
        texts = await ann.reads(room, bot.user_id, 3)
    assert long == " ".join(texts)
    assert all(len(text) <= 300 for text in texts)


async def test_homeserver_restarts_in_the_middle_of_turns(world: World, tmp_path: Path) -> None:
    """What was asked before, while it was away, and after it came back: answered, each once."""
    ann, bot = await world.person(), await world.person("bot")
    asked, free = trio.Event(), trio.Event()

    async def slow(request: Any) -> str:
        asked.set()
        await free.wait()
        return f"answer to {request.history[-1].text}"

    async with serving(world, tmp_path, bot, [slow] * 4) as (_, seen):
        room = await ann.make_room(bot.user_id)
        await ann.say(room, "one")
        await asked.wait()
        await ann.say(room, "two")
        await seen.wait_for(ev.MessageAccepted, 2)
        await trio.to_thread.run_sync(world.synapse.stop)
        free.set()
        await seen.wait_for(ev.AnswerSending)
        await trio.to_thread.run_sync(world.synapse.start)
        await ann.say(room, "three")
        await ann.say(room, "four")
        last = await seen.wait_for(ev.AnswerDelivered, 4)
        texts = await ann.reads(room, bot.user_id, 4)
    assert ["answer to one", "answer to two", "answer to three", "answer to four"] == texts
    assert "sent" == last.status


async def test_homeserver_that_is_killed_forgets_nothing(world: World, tmp_path: Path) -> None:
    """SIGKILL again and again while people talk: each message is answered, and once."""
    ann, bot = await world.person(), await world.person("bot")
    script = [lambda request: f"answer to {request.history[-1].text}"] * 6
    async with serving(world, tmp_path, bot, script, edit_seconds=0) as (_, seen):
        room = await ann.make_room(bot.user_id)
        for number in range(2):
            for part in "abc":
                await ann.say(room, f"{number}{part}")
            await trio.to_thread.run_sync(_kill_and_start, world)
        await seen.wait_for(ev.AnswerDelivered, 6)

        async def settled() -> list[str] | None:
            texts = [content["body"] for content in await ann.seen(room, bot.user_id)]
            return texts if len(texts) >= 6 else None

        texts = await until(settled)
    assert [f"answer to {number}{part}" for number in range(2) for part in "abc"] == texts


def _kill_and_start(world: World) -> None:
    world.synapse.stop(hard=True)
    world.synapse.start()
