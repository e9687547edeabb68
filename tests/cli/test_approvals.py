"""Approvals with real processes: typed at a terminal, denied in a pipe, given by the operator beside what runs."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .programs import Home, Program

SUM = 'use calculate {"expression": "17 * 23"}'
RULES = """
[[policies.rules.rules]]
name = "careful"
effect = "ask"
actions = ["tool_call"]
resources = ["calculate"]
reason = "sums are dear"
"""
TERMINAL = '[channels.terminal]\nconversation = "desk"\n\n'
ONLY_ROOT = 'approvers = ["role:root"]\n'


def asked(at: Program) -> str:
    """The id in the next question."""
    at.expect("/approve ")
    return at.expect("\n").strip()


def waiting(home: Home) -> list[dict[str, Any]]:
    done = home.run("approvals", "list", "--json")
    assert 0 == done.returncode, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_in_a_pipe_nobody_can_answer_and_it_is_denied_at_once(home: Home) -> None:
    """The question is shown, and why it came to nothing."""
    home.configure(RULES)
    done = home.run("chat", stdin=SUM)
    assert "May calculate run for terminal:" in done.stderr
    assert "did not approve this call: nobody can answer here" in done.stdout + done.stderr
    assert "391" not in done.stdout
    assert [] == waiting(home)


def test_typed_at_the_terminal(home: Home) -> None:
    """One approved, one denied with a reason; between them a word for nobody, and the prompt is there for all."""
    home.configure(RULES)
    with home.sit("chat") as at:
        at.expect("> ")
        at.type(SUM + "\n")
        name = asked(at)
        at.expect("> ")
        at.type("/approve abcdefghijkmnp\n")
        at.expect("there is no approval 'abcdefghijkmnp'")
        at.expect("> ")
        at.type(f"/approve {name}\n")
        at.expect(f"calculate is approved ({name}).")
        at.expect("391")
        at.expect("> ")
        at.type(SUM + "\n")
        name = asked(at)
        at.expect("> ")
        at.type(f"/deny {name} not now\n")
        at.expect("did not approve this call: not now")
        at.expect("> ")
        at.type("\x04")
        assert 0 == at.wait()


@pytest.mark.parametrize("leave", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_leaving_the_question_denies_it_or_cancels_the_turn(leave: str, home: Home) -> None:
    """Nothing waits for somebody who has gone."""
    home.configure(RULES)
    with home.sit("chat") as at:
        at.expect("> ")
        at.type(SUM + "\n")
        asked(at)
        at.expect("> ")
        at.type(leave)
        if leave == "\x03":
            at.expect("The turn was cancelled.")
            at.expect("> ")
            at.type("\x04")
        assert 0 == at.wait()
    assert [] == waiting(home)


@pytest.mark.parametrize("verb", ["allow", "deny"])
def test_operator_decides_beside_a_chat_that_waits(verb: str, home: Home) -> None:
    """The chat notices within about a second, and a second decision hears whose the first one was."""
    home.configure(RULES)
    with home.sit("chat", SUM) as at:
        name = asked(at)
        shown = home.run("approvals", "show", name)
        assert '"expression": "17 * 23"' in shown.stdout
        (request,) = waiting(home)
        assert (name, "calculate") == (request["id"], request["tool"])
        done = home.run("approvals", verb, name.upper(), "--reason", "as I like")
        word = "approved" if verb == "allow" else "denied"
        assert (0, f"calculate is {word} ({name}).\n") == (done.returncode, done.stdout), done.stderr
        at.expect("391" if verb == "allow" else "did not approve this call: as I like")
        assert 0 == at.wait()
        again = home.run("approvals", "allow", name)
        assert 1 == again.returncode
        assert f"was already decided: {word} by cli:" in again.stderr
        assert "next: fairlead approvals list" in again.stderr


def test_operator_decides_for_a_gateway_that_was_killed(home: Home) -> None:
    """While nobody serves; the next process makes the call."""
    home.configure(TERMINAL + RULES + ONLY_ROOT)
    with home.start("run") as at:
        at.expect("terminal")
        at.type(SUM + "\n")
        name = asked(at)
        at.type(f"/approve {name}\n")
        at.expect(f"approval {name!r} is not yours to decide")
        at.signal(signal.SIGKILL)
        at.wait()
    assert [name] == [each["id"] for each in waiting(home)]
    assert 0 == home.run("approvals", "allow", name).returncode
    with home.start("run") as at:
        at.expect("391")
        at.signal(signal.SIGTERM)
        assert 0 == at.wait()
    audit = home.run("sessions", "audit")
    assert 0 == audit.returncode, audit.stdout


def test_nothing_waits(home: Home) -> None:
    """In words, and for scripts."""
    assert "Nothing waits for an approval." in home.run("approvals", "list").stderr
    assert "[]\n" == home.run("approvals", "list", "--json").stdout
    done = home.run("approvals", "show", "nothing")
    assert (1, True) == (done.returncode, "no approval 'nothing' waits" in done.stderr)


def test_explain_says_who_may_approve(home: Home) -> None:
    """So that a rule can be tried before it is needed."""
    home.configure(RULES + ONLY_ROOT)
    done = home.run("policy", "explain", "calculate")
    assert "calculate(): ask" in done.stdout
    assert "which waits for an approval by role:root" in done.stdout
    plain = json.loads(home.run("policy", "explain", "calculate", "--json").stdout)
    assert ["role:root"] == plain["approvers"]
