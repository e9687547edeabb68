"""The terminal on the real path, in one process: a scripted model, the core, the view."""

from __future__ import annotations

import pytest
import trio

import fairlead
from fairlead import Tool, events
from fairlead.config import Config
from fairlead.testing import CountingTool, ScriptedProvider, calls
from fairlead_cli._terminal import TerminalChannel
from fairlead_cli._transcript import print_transcript
from fairlead_cli._view import TextView
from fairlead_cli._watcher import ChatWatcher

from .fakes import FakeScreen, TypedLines


@pytest.fixture(autouse=True)
def no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


async def chat(screen: FakeScreen, provider: ScriptedProvider, *tools: Tool) -> TerminalChannel:
    """One shot: the channel when it is over."""
    view = TextView(screen)
    terminal = TerminalChannel(None, view, message="hello", conversation="test")
    watcher = ChatWatcher(view, terminal)
    opened = fairlead.open(Config(), providers=[provider], tools=tools, channels=[terminal], observers=[watcher])
    async with opened as app:
        await app.serve(resume=False)
        records = await app.sessions.records("main/terminal//test")
        print_transcript(screen, records)
    return terminal


async def test_answer_with_a_tool() -> None:
    """The tool's line, the answer, and the transcript with versions."""
    screen = FakeScreen(terminal=True)
    provider = ScriptedProvider([calls(("count", {"n": 1}), text="Let me see."), "It is one."])
    terminal = await chat(screen, provider, CountingTool(outcome="one"))
    assert "answer" == terminal.outcome
    live, _, kept = screen.shown.partition("    1  ")
    assert "· count(n=1) → one\nIt is one.\n" in live
    for words in ("Let me see.", "· count(n=1)", "· count → one", "scripted/script: It is one.", "· answered"):
        assert words in kept


async def test_failed_turn_is_a_notice() -> None:
    """Nothing on standard output; the model's fault once, the notice and the next command beside it."""
    screen = FakeScreen()
    provider = ScriptedProvider([fairlead.errors.BadRequest("odd")])
    terminal = await chat(screen, provider)
    assert "notice" == terminal.outcome
    assert "did not answer (BadRequest)" in screen.noted
    assert screen.noted.endswith(": odd\nNo model could answer.\n  next: fairlead doctor\n")


async def test_questions_at_a_prompt(autojump_clock: trio.testing.MockClock) -> None:
    """Line after line, until the input ends; then the app has nothing more to serve."""
    screen, lines = FakeScreen(), TypedLines()
    terminal = TerminalChannel(lambda: lines, TextView(screen))
    for line in ("one", "two", None):
        lines.type(line)
    provider = ScriptedProvider(["first", "second"])
    async with fairlead.open(Config(), providers=[provider], channels=[terminal]) as app:
        await app.serve(resume=False)
    assert "first\nsecond\n" == screen.shown
    assert lines.closed


async def test_interrupted_turn_gives_the_prompt_back(autojump_clock: trio.testing.MockClock) -> None:
    """The core cancels the turn and says so."""
    screen, lines = FakeScreen(), TypedLines()
    terminal = TerminalChannel(lambda: lines, TextView(screen))
    provider = ScriptedProvider(["an endless story", "hello"], delay=3600)
    opened = fairlead.open(Config(), providers=[provider], channels=[terminal])
    async with opened as app, trio.open_nursery() as nursery:
        nursery.start_soon(app.serve)
        lines.type("a story")
        await trio.sleep(1)
        assert terminal.busy
        await terminal.interrupt()
        lines.type(None)
    assert "cancelled" in screen.noted
    assert "" == screen.shown


def test_transcript_shows_what_is_rare(capsys: pytest.CaptureFixture[str]) -> None:
    """Refusals, corrections, failed models and deliveries, rollbacks: each has its line."""
    made = (
        events.ModelFailed(turn="t", provider="p", model="m", error="Overloaded", detail="busy\x1b"),
        events.Corrected(turn="t", message=fairlead.Message("user", (fairlead.Text("again"),))),
        events.Decided(turn="t", boundary="tool_call", subject="c", effect="deny", rule="r", layer="app"),
        events.AnswerDelivered(turn="t", status="unknown", reason="it stopped"),
        events.RolledBack(to_version=2),
    )
    screen = FakeScreen()
    print_transcript(screen, [events.Record("s", version, event) for version, event in enumerate(made, 1)])
    assert [
        "    1  · p/m failed: Overloaded: busy\\x1b",
        "    2  · corrected: again",
        "    3~ · deny by rule 'r' (app) at tool_call",
        "    4~ · delivery unknown: it stopped",
        "    5  rolled back to version 2",
    ] == screen.shown.splitlines()
