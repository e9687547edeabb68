"""`fairlead chat` as a process: arguments, pipes, JSON, servers, faults."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..providers.fake_servers import Fails, Says, calculate_then_say
from .programs import SECONDS, Home

if TYPE_CHECKING:
    from .conftest import MakeHome

QUESTION = "What is 17 * 23, and what day of the week is 2027-03-01?"


def test_first_command_of_the_readme(home: Home) -> None:
    """With nothing but the installation: both tools are really called, and the answer has both results."""
    done = home.run("chat", QUESTION)
    assert (0, True, True) == (done.returncode, "391" in done.stdout, "Monday" in done.stdout), done
    lines = [line for line in done.stderr.splitlines() if line.startswith("· ")]
    assert ["· calculate", "· weekday"] == sorted(line.partition("(")[0] for line in lines), done.stderr
    assert any(line.endswith("→ 391") for line in lines)
    assert "\x1b" not in done.stdout + done.stderr


def test_message_from_a_pipe(home: Home) -> None:
    """All of standard input is the message; --quiet leaves the answer alone."""
    done = home.run("chat", "--quiet", stdin="What is\n17 * 23?\n")
    assert (0, "") == (done.returncode, done.stderr)
    assert "391" in done.stdout


def test_empty_pipe_is_wrong_usage(home: Home) -> None:
    """Nothing is asked, and what to type is said."""
    done = home.run("chat", stdin=" \n")
    assert (2, "") == (done.returncode, done.stdout)
    assert "next: fairlead chat" in done.stderr


def test_installed_script_is_the_same_command(home: Home) -> None:
    """`fairlead` is on the path of the environment."""
    script = shutil.which("fairlead", path=str(Path(sys.executable).parent))
    assert script is not None
    done = subprocess.run([script, "--version"], capture_output=True, text=True, env=home.environment, check=True)
    assert "fairlead 0.1.0\n" == done.stdout


def test_json_lines(openai_home: MakeHome) -> None:
    """Tools, drafts, the turn with its usage, the answer: each line is an object with a type."""
    done = openai_home(calculate_then_say).run("chat", "--json", "What is 17 * 23?")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (0, "") == (done.returncode, done.stderr)
    assert {"tool", "draft", "turn", "answer"} == {line["type"] for line in lines}
    tool = next(line for line in lines if line["type"] == "tool" and line["status"] == "done")
    assert ("calculate", {"expression": "17 * 23"}, "391") == (tool["tool"], tool["arguments"], tool["detail"])
    assert ("answer", "The result is 391.") == (lines[-1]["type"], lines[-1]["text"])
    assert lines[-1]["session"].startswith("main/terminal//")
    turn = next(line for line in lines if line["type"] == "turn")
    assert {"input_tokens": 240, "output_tokens": 14}.items() <= turn["usage"].items()


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_compatible_server_is_asked_and_calls_tools(vendor: str, request: pytest.FixtureRequest) -> None:
    """Streaming, a call of a tool with its line, and the answer that needs it."""
    make: MakeHome = request.getfixturevalue(f"{vendor}_home")
    done = make(calculate_then_say).run("chat", "What is 17 * 23?")
    assert (0, "The result is 391.\n") == (done.returncode, done.stdout)
    assert '· calculate(expression="17 * 23") → 391\n' == done.stderr


def test_failed_answer_exits_with_1(openai_home: MakeHome) -> None:
    """The reason goes to standard error; standard output stays empty."""
    done = openai_home([Fails(401, {"error": {"message": "Incorrect API key", "type": "invalid_request_error"}})]).run(
        "chat", "--model", "openai/fake-large", "hello"
    )
    assert (1, "") == (done.returncode, done.stdout)
    assert "No model could answer" in done.stderr


def test_what_a_model_says_cannot_command_the_terminal(openai_home: MakeHome) -> None:
    """Escape sequences and bidi controls arrive spelled out."""
    done = openai_home([Says("\x1b]0;owned\x07", "\u202egnp.exe")]).run("chat", "hello")
    assert "\\x1b]0;owned\\x07\\u202egnp.exe\n" == done.stdout


def test_plugin_that_is_missing_does_not_stop_the_rest(home: Home) -> None:
    """It is told, with the next command; the answer comes."""
    home.configure("[tools.calculator]\n[tools.nothing]\n")
    done = home.run("chat", "What is 17 * 23?")
    assert (0, "17 * 23 = 391.\n") == (done.returncode, done.stdout)
    assert "tools/nothing" in done.stderr


def test_unknown_names_are_wrong_usage(home: Home) -> None:
    """Of a model, an agent, or a session of another channel."""
    for option, value in (("--model", "nobody/gpt"), ("--agent", "nobody"), ("--session", "main/webhook/a/b")):
        done = home.run("chat", option, value, "hello")
        assert (2, "") == (done.returncode, done.stdout), done
        assert "next: fairlead" in done.stderr


def test_narrow_encoding_shows_escapes(openai_home: MakeHome) -> None:
    """A terminal without UTF-8 gets what it can show, and no traceback."""
    home = openai_home([Says("→ ü")])
    home = Home(home.path, {**home.variables, "PYTHONIOENCODING": "ascii"})
    assert "\\u2192 \\xfc\n" == home.run("chat", "hello").stdout


def test_reader_that_goes_away_is_no_fault(home: Home) -> None:
    """`fairlead chat hello | true` prints no traceback, and no word that a person would have to mend something."""
    for arguments in (("schema", "config"), ("chat", "hello"), ("chat", "--json", "hello")):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "fairlead_cli", *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.PIPE,
                cwd=home.path,
                env=home.environment,
                timeout=SECONDS,
                check=False,
            )
        finally:
            os.close(writing)
        assert (1, b"") == (done.returncode, done.stderr)
