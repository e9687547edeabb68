"""A conversation as text and as JSON lines."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from attrs import evolve

from fairlead import Address, Data, Draft, File, Image, Outbound, Text, Usage
from fairlead.types import Progress
from fairlead.wire import structure
from fairlead_cli._view import JsonView, TextView

from .fakes import FakeScreen

HERE = Address("terminal", conversation="test")


def draft(text: str = "", **tools: tuple[str, str]) -> Draft:
    """A draft with tools: call id to (status, detail)."""
    made = [
        {"call": call, "tool": call.rstrip("0123456789"), "status": status, "detail": detail, "arguments": {"x": 1}}
        for call, (status, detail) in tools.items()
    ]
    raw = {"id": "turn", "address": {"channel": "terminal"}, "text": text, "tools": made}
    return structure(raw, Draft)


def answer(*parts: Any, kind: Literal["answer", "notice"] = "answer") -> Outbound:
    return Outbound("turn", HERE, tuple(Text(part) if isinstance(part, str) else part for part in parts), kind=kind)


@pytest.fixture(autouse=True)
def no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def test_answer_grows_on_a_terminal() -> None:
    """Each draft adds what is new; the answer adds the rest and ends the line."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    for text in ("It", "It is", "It is 391"):
        view.grow(draft(text))
    view.finish(answer("It is 391."))
    assert "It is 391.\n" == screen.shown


def test_answer_that_differs_from_its_draft_is_shown_whole() -> None:
    """A policy may revise an answer, a second model may begin anew: nobody has to guess which words count."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft("The key is 1234"))
    view.finish(answer("The key is hidden."))
    assert "The key is 1234\nThe key is hidden.\n" == screen.shown


def test_pipe_gets_the_final_answer_only() -> None:
    """What is piped cannot be taken back."""
    screen = FakeScreen()
    view = TextView(screen)
    view.grow(draft("The key is 1234"))
    view.finish(answer("The key is hidden."))
    assert ("The key is hidden.\n", "") == (screen.shown, screen.noted)


def test_tool_line_is_completed() -> None:
    """One running tool has a line at once, and gets its end there."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft(now=("running", "")))
    assert "· now(x=1)" == screen.shown
    view.grow(draft(now=("done", "12:00")))
    view.grow(draft("Noon.", now=("done", "12:00")))
    view.finish(answer("Noon."))
    assert "· now(x=1) → 12:00\nNoon.\n" == screen.shown


def test_place_of_a_call_is_shown_where_there_is_evidence() -> None:
    """Only then: a call without evidence ran in the host, whatever anybody says."""
    proof = {
        "level": "container",
        "container": "3f2a9c81d0b4" + "0" * 52,
        "image": "sha256:" + "a" * 64,
        "network": "none",
    }
    tool = Progress("c1", "python", "done", "7919", {}, proof)
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(Draft("turn", HERE, tools=(tool,)))
    assert "  ran in a container: container 3f2a9c81d0b4, image aaaaaaaaaaaa, network none\n" in screen.shown
    for nothing in ({}, {"level": "host"}, {"level": "moon\x1b[2J"}):
        screen = FakeScreen(terminal=True)
        TextView(screen).grow(Draft("turn", HERE, tools=(evolve(tool, evidence=nothing),)))
        assert "ran" not in screen.shown


def test_command_that_helps_stands_below_a_call_that_failed() -> None:
    """Whole, also where the reason is longer than its line."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft(python=("running", "")))
    view.grow(draft(python=("failed", f"{'no engine ' * 30}Next: sudo systemctl start docker")))
    assert "…\n  next: sudo systemctl start docker\n" in screen.shown


def test_tools_at_once_have_a_line_each_when_they_are_done() -> None:
    """In the order in which they end."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft(now1=("running", ""), now2=("running", "")))
    view.grow(draft(now1=("running", ""), now2=("done", "b")))
    view.grow(draft(now1=("failed", "broken"), now2=("done", "b")))
    assert "· now(x=1) → b\n· now(x=1) ✗ broken\n" == screen.shown


def test_progress_of_a_tool_is_shown() -> None:
    """What it says of itself, on lines of its own."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft(fetch=("running", "")))
    view.grow(draft(fetch=("running", "50 %")))
    view.grow(draft(fetch=("denied", "by rule 'x'")))
    assert "· fetch(x=1)\n· fetch: 50 %\n· fetch(x=1) ✗ by rule 'x'\n" == screen.shown


def test_tools_go_to_standard_error() -> None:
    """A pipe gets the answer, the person sees the tools."""
    screen = FakeScreen()
    view = TextView(screen)
    view.grow(draft(now=("running", "")))
    view.grow(draft("Noon.", now=("done", "12:00")))
    view.finish(answer("Noon."))
    assert ("Noon.\n", "· now(x=1) → 12:00\n") == (screen.shown, screen.noted)


def test_quiet_shows_answers_and_errors_only() -> None:
    """For scripts that want the text."""
    screen = FakeScreen()
    view = TextView(screen, quiet=True)
    view.grow(draft(now=("done", "12:00")))
    view.note("something")
    view.note("broken", level="error")
    view.finish(answer("Noon."))
    assert ("Noon.\n", "broken\n") == (screen.shown, screen.noted)


def test_notice_is_no_answer() -> None:
    """It goes to standard error: a script that takes the output for an answer gets none."""
    screen = FakeScreen()
    TextView(screen).finish(answer("No model could answer.", kind="notice"))
    assert ("", "No model could answer.\n") == (screen.shown, screen.noted)


def test_what_models_and_tools_say_is_escaped() -> None:
    """In answers, names, arguments, results and notices."""
    screen = FakeScreen(terminal=True)
    view = TextView(screen)
    view.grow(draft("\x1b[2J", **{"x\x1b": ("done", "\x1b]0;title\x07")}))
    view.finish(answer("\x1b[2J\u202e"))
    view.finish(answer("\x9bm", kind="notice"))
    view.note("\x1bc")
    assert "\x1b" not in screen.shown
    assert "\x9b" not in screen.shown
    assert "\\x1b[2J\\u202e" in screen.shown


def test_parts_that_are_no_text_are_named() -> None:
    """A terminal shows words."""
    screen = FakeScreen()
    image = Image("image/png", url="https://example.org/a.png", alt="a cat")
    TextView(screen).finish(answer("See:", image, File("a.pdf", "application/pdf", b"x"), Data({"a": 1})))
    expected = 'See:\n[image image/png: a cat https://example.org/a.png]\n[file a.pdf application/pdf]\n{"a": 1}\n'
    assert expected == screen.shown


def test_json_lines_tell_each_change_once() -> None:
    """Tools when they change, drafts when they grow, then the turn and the answer."""
    screen = FakeScreen()
    view = JsonView(screen)
    view.grow(draft(now=("running", "")))
    view.grow(draft("No", now=("done", "12:00")))
    view.grow(draft("No", now=("done", "12:00")))
    view.ended("answered", "", Usage(3, 4))
    view.finish(answer("Noon."))
    lines = [json.loads(line) for line in screen.shown.splitlines()]
    assert ["tool", "tool", "draft", "turn", "answer"] == [line["type"] for line in lines]
    assert ("running", "done") == (lines[0]["status"], lines[1]["status"])
    assert {"x": 1} == lines[1]["arguments"]
    assert {"input_tokens": 3, "output_tokens": 4} == lines[3]["usage"]
    assert {"type": "answer", "id": "turn", "session": "", "text": "Noon."} == lines[4]


def test_json_answer_has_its_other_parts() -> None:
    """As the schema of messages has them."""
    screen = FakeScreen()
    JsonView(screen).finish(answer("See:", Image("image/png", url="https://example.org/a.png")))
    parts = json.loads(screen.shown)["parts"]
    assert ["text", "image"] == [part["type"] for part in parts]


def test_failure_is_told_once_with_the_next_command() -> None:
    """The notice repeats no words that stand directly above it; where they were not shown, it has them."""
    screen = FakeScreen()
    view = TextView(screen)
    view.failed("openai", "ConnectionFailed", "no connection")
    view.finish(answer("No model could answer: no connection", kind="notice"))
    first = "· openai did not answer (ConnectionFailed): no connection\n"
    assert f"{first}No model could answer.\n  next: fairlead doctor\n" == screen.noted
    view.failed("openai", "ConnectionFailed", "no connection.")
    view.finish(answer("No model could answer: no connection. Try again in 3 seconds (12:00:03 UTC)", kind="notice"))
    assert screen.noted.endswith(
        "\nNo model could answer. Try again in 3 seconds (12:00:03 UTC).\n  next: fairlead doctor\n"
    )
    screen = FakeScreen()
    view = TextView(screen, quiet=True)
    view.failed("openai", "ConnectionFailed", "no connection")
    view.finish(answer("No model could answer: no connection", kind="notice"))
    assert "No model could answer: no connection\n" == screen.noted


def test_turns_of_a_conversation_are_kept_apart() -> None:
    """An empty line on a terminal; none in a pipe."""
    for terminal, expected in ((True, "One.\n\nTwo.\n\n"), (False, "One.\nTwo.\n")):
        screen = FakeScreen(terminal=terminal)
        view = TextView(screen, spaced=True)
        view.finish(answer("One."))
        view.finish(answer("Two."))
        assert expected == screen.shown
