"""`fairlead chat` at a real terminal: questions, Ctrl-C, Ctrl-D."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from ..providers.fake_servers import Answer, Says, calculate_then_say
from .programs import Home

if TYPE_CHECKING:
    from .conftest import MakeHome

CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


def stall_at_stories(body: dict[str, Any]) -> Answer:
    """A model that never comes to the end of a story."""
    asked = str(body["messages"][-1]["content"])
    return Says("Once ", "upon a time", breaks="stall") if "story" in asked else Says("You said: ", asked)


def test_question_answer_and_leave(openai_home: MakeHome) -> None:
    """The prompt, the tool's line, the streamed answer; the arrow up brings the question back; Ctrl-D leaves with 0."""
    with openai_home(calculate_then_say).sit("chat") as at:
        at.expect("> ")
        at.type("What is 17 * 23?\n")
        at.expect('· calculate(expression="17 * 23") → 391\n')
        assert "The result is 391.\n\n" == at.expect("> ")
        at.type(UP + " Really?\n")
        at.expect("What is 17 * 23? Really?\n")
        at.expect("The result is 391.\n\n> ")
        at.type(CTRL_D)
        assert 0 == at.wait()


def test_ctrl_c_cancels_the_turn_and_not_the_program(openai_home: MakeHome) -> None:
    """What was shown stays, the prompt returns, and the conversation goes on."""
    with openai_home(stall_at_stories).sit("chat") as at:
        at.expect("> ")
        at.type("Tell me a story\n")
        at.expect("Once upon a time")
        at.type(CTRL_C)
        assert "cancelled" in at.expect("> ")
        at.type("hello\n")
        at.expect("You said: hello\n")
        at.expect("> ")
        at.type(CTRL_D)
        assert 0 == at.wait()


def test_ctrl_c_at_the_prompt_throws_the_line_away_and_twice_leaves(openai_home: MakeHome) -> None:
    """Half a line is not sent, and not kept for the next one."""
    with openai_home(stall_at_stories).sit("chat") as at:
        at.expect("> ")
        at.type("half a li")
        at.expect("half a li")
        at.type(CTRL_C)
        at.expect("(Ctrl-C again, or Ctrl-D, leaves)\n> ")
        at.type("hello\n")
        at.expect("You said: hello\n")
        at.expect("> ")
        at.type(CTRL_C)
        at.expect("leaves)\n> ")
        at.type(CTRL_C)
        assert 0 == at.wait()


def test_without_readline_the_terminal_itself_edits(openai_home: MakeHome) -> None:
    """Some Pythons have none: questions, Ctrl-C and Ctrl-D do the same there."""
    home = openai_home(stall_at_stories)
    modules = home.path / "modules"
    modules.mkdir()
    (modules / "readline.py").write_text('raise ImportError("this Python has no readline")\n', "utf-8")
    with Home(home.path, {**home.variables, "PYTHONPATH": str(modules)}).sit("chat") as at:
        at.expect("> ")
        at.type("half a li" + CTRL_C)
        at.expect("\n(Ctrl-C again, or Ctrl-D, leaves)\n> ")
        at.type("Tell me a story\n")
        at.expect("Once upon a time")
        at.type(CTRL_C)
        assert "cancelled" in at.expect("> ")
        at.type("hello\n")
        at.expect("You said: hello\n\n> ")
        at.type(CTRL_D)
        assert 0 == at.wait()


def test_terminal_is_given_back_after_sigterm(openai_home: MakeHome) -> None:
    """The code is the shell's for that signal, and the terminal echoes again."""
    import termios  # noqa: PLC0415  # the other tests run without it

    with openai_home(stall_at_stories).sit("chat") as at:
        before = termios.tcgetattr(at.terminal)
        at.expect("> ")
        at.signal(signal.SIGTERM)
        assert 128 + signal.SIGTERM == at.wait()
        assert before == termios.tcgetattr(at.terminal)


def test_ctrl_c_during_one_shot_exits_with_130(openai_home: MakeHome) -> None:
    """The turn is cancelled in the journal; a script sees the interrupt."""
    home = openai_home(stall_at_stories)
    with home.sit("chat", "--session", "tale", "Tell me a story") as at:
        at.expect("Once upon a time")
        at.type(CTRL_C)
        assert 130 == at.wait()
    shown = home.run("sessions", "show", "main/terminal//tale").stdout
    assert "cancelled" in shown


def test_conversation_goes_on_where_it_was(openai_home: MakeHome) -> None:
    """--session by name, --continue for the last one: the model sees what was said before."""

    def count(body: dict[str, Any]) -> Answer:
        return Says(str(sum(message["role"] == "user" for message in body["messages"])))

    home = openai_home(count)
    assert ["1\n", "2\n", "3\n"] == [
        home.run("chat", *options, "hello").stdout
        for options in (
            ("--session", "work"),
            ("--session", "main/terminal//work"),
            ("--continue",),
        )
    ]
