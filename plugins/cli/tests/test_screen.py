"""Two streams that may be one terminal."""

from __future__ import annotations

import io
import json

import pytest

from fairlead_cli._screen import Screen, paint

from .fakes import FakeScreen, Stream


def test_notes_do_not_run_into_the_answer() -> None:
    """On one terminal, an unfinished line is ended before another begins."""
    screen = FakeScreen(terminal=True)
    screen.write("half")
    screen.note("tool", "")
    screen.write(" an answer")
    screen.line("next")
    assert "half\ntool\n an answer\nnext\n" == screen.shown


def test_streams_that_go_elsewhere_are_left_alone() -> None:
    """A note adds no newline to an answer that goes into a file."""
    screen = FakeScreen()
    screen.write("half")
    screen.note("tool")
    screen.write(" an answer\n")
    assert ("half an answer\n", "tool\n") == (screen.shown, screen.noted)


def test_note_can_be_finished_later() -> None:
    """The line of a running tool gets its end when that is known."""
    screen = FakeScreen(terminal=True)
    screen.begin_note("· now()", "")
    assert screen.noting
    screen.end_note(" → 12:00", "")
    assert "· now() → 12:00\n" == screen.shown


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No escape sequence in a pipe, nor where NO_COLOR is set or the terminal is dumb."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[31mbad\x1b[0m" == paint("bad", "red", Stream(terminal=True))
    assert "bad" == paint("bad", "red", Stream())
    monkeypatch.setenv("TERM", "dumb")
    assert "bad" == paint("bad", "red", Stream(terminal=True))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "bad" == paint("bad", "red", Stream(terminal=True))


def test_mark_of_waiting_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes next takes its place; it is never in a pipe, and never in the middle of a line."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    screen = FakeScreen(terminal=True)
    screen.wait()
    screen.wait()
    screen.write("Half")
    screen.wait()
    assert "\x1b[2m…\x1b[0m\r\x1b[KHalf" == screen.output.getvalue()
    pipe = FakeScreen()
    pipe.wait()
    assert ("", "") == (pipe.shown, pipe.noted)


def test_json_is_one_line() -> None:
    """Readable in UTF-8, and the same value again."""
    screen = FakeScreen()
    screen.json({"text": "ü\n"})
    assert '{"text": "ü\\n"}\n' == screen.shown


def test_json_on_a_terminal_is_ascii() -> None:
    """JSON leaves C1 and bidi characters as they are; a terminal would obey them."""
    screen = FakeScreen(terminal=True)
    screen.json({"text": "\x9b2J\u202e"})
    assert screen.shown.isascii()
    assert {"text": "\x9b2J\u202e"} == json.loads(screen.shown)


def test_narrow_encoding_does_not_fail() -> None:
    """What the stream cannot encode is shown as an escape."""
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding="ascii"), Stream())
    screen.write("→ ü\n")
    assert b"\\u2192 \\xfc\n" == raw.getvalue()
