"""Two living processes on one session: each message is answered once, and no tool runs for a turn that is another's.

Two apps on one file stand for the processes where none has to die; their locks belong to open files, and so keep apps
apart as well.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import fairlead
from fairlead import App, ModelAnswer, ModelRequest, Settings, ToolResult
from fairlead.config import Config, Limits
from fairlead.events import NoticeRaised, ToolReturned, TurnEnded
from fairlead.testing import CountingTool, RecordingObserver, ScriptedProvider, calls
from fairlead_sqlite import SqliteMemory

CHILD = Path(__file__).parent / "shared_child.py"


@asynccontextmanager
async def process(
    directory: Path,
    provider: ScriptedProvider,
    tool: CountingTool | None = None,
    seen: RecordingObserver | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[App]:
    config = Config(data_dir=directory, limits=limits or Limits())
    workers: dict[str, Any] = {"tools": [tool] if tool else [], "observers": [seen] if seen else []}
    memory = SqliteMemory(Settings("sqlite", {}, directory))
    async with fairlead.open(config, providers=[provider], memories=[memory], **workers) as app:
        yield app


async def results(app: App) -> list[str]:
    records = await app.sessions.records("shared")
    return [record.event.result.error for record in records if isinstance(record.event, ToolReturned)]


async def test_second_waits_for_the_turn_of_the_first(tmp_path: Path) -> None:
    """Its question is answered after the first one's, whose tool ran once and whose outcome nobody doubted."""
    began, go = trio.Event(), trio.Event()

    async def held(_: object) -> str:
        began.set()
        await go.wait()
        return "done"

    tool, other, seen = CountingTool("slow", held, effect="once"), CountingTool("slow"), RecordingObserver()
    first = ScriptedProvider([calls(("slow", {})), "the first answer"])
    second = ScriptedProvider(["the second answer"])
    replies: dict[str, str] = {}

    async def ask(app: App, words: str) -> None:
        replies[words] = (await app.ask(words, session="shared")).text

    async with process(tmp_path, first, tool) as one, process(tmp_path, second, other, seen) as two:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, one, "first")
            await began.wait()
            nursery.start_soon(ask, two, "second")
            notice = await seen.wait_for(NoticeRaised)
            assert "is at work in another process; this one waits for it" in notice.detail
            assert {} == replies
            go.set()
        assert {"first": "the first answer", "second": "the second answer"} == replies
        assert (1, 0) == (len(tool.calls), len(other.calls))
        assert [""] == await results(two)
        assert ["first", "", "done", "the first answer", "second"] == [one.text for one in second.requests[0].history]


async def test_many_questions_to_both_are_answered_once_each(tmp_path: Path) -> None:
    """Whoever comes first, and whatever the other one's copy of the session knew."""
    tool, other = CountingTool("look", effect="once"), CountingTool("look", effect="once")

    def answer(request: ModelRequest) -> ModelAnswer | str:
        """By what there is, and not by how often it was asked: a model is asked again where another message came."""
        return "answer" if isinstance(request.history[-1], ToolResult) else calls(("look", {}))

    async def ask(app: App) -> None:
        assert "answer" == (await app.ask("?", session="shared")).text

    async with (
        process(tmp_path, ScriptedProvider([answer], repeat=True), tool) as one,
        process(tmp_path, ScriptedProvider([answer], repeat=True), other) as two,
    ):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask, one)
                nursery.start_soon(ask, two)
        ended = [record.event for record in await one.sessions.records("shared") if isinstance(record.event, TurnEnded)]
        assert Counter({"answered": 40}) == Counter(event.outcome for event in ended)
        assert 40 == len({event.messages for event in ended}) == len(tool.calls) + len(other.calls)
        assert Counter({"": 40}) == Counter(await results(two))


@contextmanager
def child(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, in the middle of its call."""
    command = [sys.executable, str(CHILD), str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as made:
        try:
            assert made.stdout is not None
            assert "began\n" == made.stdout.readline()
            yield made
        finally:
            made.kill()


async def test_turn_of_one_that_was_killed_is_taken_over_at_once(tmp_path: Path) -> None:
    """Its call may have had its effect: it is unknown, and never made again."""
    tool = CountingTool("slow", effect="once")
    with child(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        async with process(tmp_path, ScriptedProvider(["for the first", "for the second"]), tool) as app:
            assert "for the second" == (await app.ask("second", session="shared")).text
            assert (["unknown"], []) == (await results(app), tool.calls)


async def test_one_that_stands_still_is_overtaken_and_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    """After the time that a turn may take. What it then wants to write has no place any more."""
    tool, seen = CountingTool("slow", effect="once"), RecordingObserver()
    provider = ScriptedProvider(["for the first", "for the second"])
    with child(tmp_path) as other:
        other.send_signal(signal.SIGSTOP)
        async with process(tmp_path, provider, tool, seen, Limits(seconds=0.2)) as app:
            assert "for the second" == (await app.ask("second", session="shared")).text
            assert (["unknown"], []) == (await results(app), tool.calls)
            notices = [event.detail for event in seen.events(NoticeRaised)]
            assert any("takes the work over" in notice for notice in notices)
            before = await app.sessions.records("shared")
            other.send_signal(signal.SIGCONT)
            out, _ = await trio.to_thread.run_sync(other.communicate, "\n")
            assert "for the first\n" == out  # it found the end that its turn had, and made no other one
            assert before == await app.sessions.records("shared")


async def test_whoever_is_cancelled_while_it_waits_is_cancelled(tmp_path: Path) -> None:
    """The message has its end in the journal, and the other process is not disturbed."""
    provider = ScriptedProvider(["not asked"])
    with child(tmp_path) as other:
        async with process(tmp_path, provider) as app:
            with trio.move_on_after(0.3) as scope:  # real time: the other process has its own clock
                await app.ask("second", session="shared")
            assert scope.cancelled_caught
            out, _ = await trio.to_thread.run_sync(other.communicate, "\n")
            assert "the first answer\n" == out
            records = await app.sessions.records("shared")
            ended = [record.event.outcome for record in records if isinstance(record.event, TurnEnded)]
            assert ["cancelled", "answered"] == ended
            assert [] == list(provider.requests)


@pytest.mark.parametrize("kill", [True, False], ids=["by its death", "by closing"])
async def test_hold_is_let_go(tmp_path: Path, *, kill: bool) -> None:
    """Nothing has to be cleaned up by anybody."""
    if kill:
        with child(tmp_path) as other:
            other.kill()
            other.wait()
    for _ in range(2):
        async with process(tmp_path, ScriptedProvider(["a", "b"], repeat=True)) as app:
            with trio.fail_after(5):
                await app.ask("?", session="another")
                await app.ask("?", session="shared")
