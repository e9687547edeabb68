"""The questions that a condition can ask, and the surprises that must not be in the answers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import Address, Message, Principal, Review, Settings, Text, ToolCall, ToolResult, ToolSpec
from fairlead_rules import Rules

YES, NO, DENIED = "yes", "no", "denied"


def answer(condition: dict[str, Any], review: Review, *, effect: str = "ask") -> str:
    """What a rule with that condition says: it applies, it does not, or it denies as it cannot be evaluated."""
    raw = {"name": "r", "effect": effect, "actions": [review.boundary], "conditions": [condition]}
    verdicts = trio.run(Rules(Settings("rules", {"rules": [raw]})).review, review)
    if not verdicts:
        return NO
    return YES if verdicts[0].effect == effect else DENIED


def call(**arguments: Any) -> Review:
    return Review("tool_call", ToolCall("c1", "shell", arguments), tool=ToolSpec("shell", "x", effect="idempotent"))


@pytest.mark.parametrize(
    ("op", "value", "found", "expected"),
    [
        ("equals", 1, 1, YES),
        ("equals", 1, 1.0, YES),
        ("equals", 1, True, NO),
        ("equals", "1", 1, NO),
        ("equals", {"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, YES),
        ("equals", {"a": [1]}, {"a": [True]}, NO),
        ("not_equals", "a", "b", YES),
        ("not_equals", 0, False, YES),
        ("in", ["a", 1], "a", YES),
        ("in", ["a", 1], True, NO),
        ("starts_with", ["a", "b"], "bc", YES),
        ("starts_with", "a", "b", NO),
        ("starts_with", "a", 7, DENIED),
        ("contains", "b", "abc", YES),
        ("contains", "x", ["x"], YES),
        ("contains", 1, [True], NO),
        ("contains", "x", 7, DENIED),
        ("contains", 1, "1", DENIED),
        ("less", 3, 2.5, YES),
        ("less", 3, 3, NO),
        ("less", 3, "2", DENIED),
        ("less", 3, True, DENIED),
        ("greater", 3, 4, YES),
        ("greater", 3, float("nan"), DENIED),
        ("exists", True, None, YES),
        ("exists", False, 1, NO),
    ],
)
def test_question_about_an_argument(op: str, value: Any, found: Any, expected: str) -> None:
    """As JSON compares: true is not 1, and a word is no number."""
    condition = {"field": "arguments.x", "op": op, "value": value}
    assert expected == answer(condition, call(x=found))
    assert (YES if (op, value) == ("exists", False) else NO if op == "exists" else DENIED) == answer(condition, call())
    assert (expected if expected == YES else NO) == answer(condition, call(x=found), effect="allow")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/files", YES),
        ("/srv/files/", YES),
        ("/srv/files/a/b.txt", YES),
        ("/srv//files/./a", YES),
        ("//srv/files/a", YES),
        ("///srv/files/a", YES),
        ("/opt/../srv/files/a", YES),
        ("/srv/files/../files/a", YES),
        ("/srv/files/../../etc/passwd", NO),
        ("/srv/files/..", NO),
        ("/srv/filesystem", NO),
        ("/srv/file", NO),
        ("/", NO),
        ("/../../srv/files/a", YES),
        ("/srv/files/%2e%2e/x", YES),
        ("srv/files/a", DENIED),
        ("../srv/files", DENIED),
        ("~/files", DENIED),
        ("", DENIED),
        ("/srv/files/\0/../../etc/passwd", DENIED),
        (["/srv/files"], DENIED),
        (7, DENIED),
    ],
)
def test_path_below_a_directory(path: Any, expected: str) -> None:
    """By the text: .. is resolved, and only absolute paths are judged."""
    condition = {"field": "arguments.path", "op": "under", "value": "/srv/files/"}
    assert expected == answer(condition, call(path=path))
    assert (YES if expected == YES else NO) == answer(condition, call(path=path), effect="allow")


def test_root_holds_every_absolute_path() -> None:
    """Also itself."""
    condition = {"field": "arguments.path", "op": "under", "value": ["/nowhere", "/"]}
    assert [YES, YES] == [answer(condition, call(path=path)) for path in ("/", "/etc/passwd")]


ALLOWED = [
    "git status",
    "git status --short -- src/a.py",
    "  git   status ",
    "git status 'a file'",
    'git "status"',
    ["git", "status"],
    ["git", "status", "--short"],
]
NOT_ALLOWED = [
    "git status && rm -rf /",
    "git status; rm -rf /",
    "git status;rm",
    "git status | sh",
    "git status || true",
    "git status & rm",
    "git status &",
    "git status > /etc/passwd",
    "git status < x",
    "git status $(rm x)",
    "git status ${IFS}x",
    "git status $HOME",
    "git status `rm x`",
    'git status "$(rm x)"',
    "git status 'a;b'",
    "git status\nrm -rf /",
    "git status\r\nrm",
    "git status\trm",
    "git status # a comment",
    "git status #",
    "git status \\\nrm",
    "git status \\; rm",
    "git status (rm)",
    "git status {a,b}",
    "git status *",
    "git status ?",
    "git status [a]",
    "git status ~root",
    "git status !!",
    "git status 'open",
    "git status\0rm",
    "git status\x0brm",
    "git status\u2028rm",
    "git status\u00a0rm",
    "git\u00a0status",
    "GIT_PAGER=rm git status",
    "git -c core.pager=rm status",
    "git statusx",
    "gitstatus",
    "git",
    "/opt/git status",
    "./git status",
    "g\u0456t status",
    "\uff47it status",
    "env git status",
    "",
    " ",
    [],
    ["git", "status", "; rm"],
    ["git status"],
    ["git", 7],
    [["git", "status"]],
    7,
    None,
    {"git": "status"},
]
GIT_STATUS = {"field": "arguments.command", "op": "command", "value": "git status"}


@pytest.mark.parametrize("command", ALLOWED, ids=repr)
def test_command_that_is_allowed(command: Any) -> None:
    """It equals the words or begins with them."""
    assert YES == answer(GIT_STATUS, call(command=command), effect="allow")


@pytest.mark.parametrize("command", NOT_ALLOWED, ids=repr)
def test_command_that_does_more_is_not_allowed(command: Any) -> None:
    """Allowing `git status` allows nothing beside it: no operator, substitution, newline, comment or look-alike."""
    assert NO == answer(GIT_STATUS, call(command=command), effect="allow")


@pytest.mark.parametrize(
    "command", ["rm -rf /", "/bin/rm x", "../bin/rm x", "ls && rm x", "ls\nrm x", "$(echo rm) x", "X=1 rm", "r\\m x", 7]
)
def test_denied_command_is_denied_also_where_it_cannot_be_read(command: Any) -> None:
    """What holds operators may hold the denied command, so it is denied as well."""
    condition = {"field": "arguments.command", "op": "command", "value": ["shutdown", "rm"]}
    assert YES == answer(condition, call(command=command), effect="deny")
    assert NO == answer(condition, call(command="ls -l"), effect="deny")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="git staus;&|$`(){}<>\n#'\"\\ =x", max_size=20))
def test_allowed_text_is_one_plain_command(tail: str) -> None:
    """Whatever follows: where it is allowed, a shell sees the words and nothing else."""
    if YES == answer(GIT_STATUS, call(command=f"git status{tail}"), effect="allow"):
        assert not set(tail) & set(";&|$`(){}<>\n#\\")
        assert not tail or tail[0] in " '\""


def test_effect_of_the_tool() -> None:
    """As its spec declares it; an unknown tool cannot be judged."""
    condition = {"op": "effect", "value": ["idempotent", "once"]}
    assert YES == answer(condition, call())
    assert NO == answer({"op": "effect", "value": "read"}, call())
    assert DENIED == answer(condition, Review("tool_call", ToolCall("c1", "shell", {})))


def test_fields_below_and_beside_the_subject() -> None:
    """Objects by key, lists by number; people and places as the review has them."""
    alice = Principal("kit:alice", "Alice", ("admin",))
    where = Address("kit", "bot", "room", "thread")
    message = Review("message_in", Message("user", (Text("hello"),)), "s1", "main", alice, where)
    known: dict[str, Any] = {
        "text": "hello",
        "session": "s1",
        "agent": "main",
        "principal.id": "kit:alice",
        "principal.name": "Alice",
        "address.channel": "kit",
        "address.account": "bot",
        "address.conversation": "room",
        "address.thread": "thread",
    }
    for field, value in known.items():
        assert YES == answer({"field": field, "op": "equals", "value": value}, message), field
    assert YES == answer({"field": "principal.roles", "op": "contains", "value": "admin"}, message)
    nobody = Review("message_in", Message("user", (Text("hello"),)))
    assert DENIED == answer({"field": "principal.id", "op": "equals", "value": "kit:alice"}, nobody)
    assert DENIED == answer({"field": "address.channel", "op": "equals", "value": "kit"}, nobody)
    failed = Review("tool_result", ToolResult("c", "shell", error="timeout"))
    assert YES == answer({"field": "error", "op": "equals", "value": "timeout"}, failed)
    deep = call(a={"b": [{"c": 1}]})
    assert YES == answer({"field": "arguments.a.b.0.c", "op": "equals", "value": 1}, deep)
    for path in ("arguments.a.b.1.c", "arguments.a.b.-1", "arguments.a.b.x", "arguments.a.b.0.c.d", "arguments.z"):
        assert DENIED == answer({"field": path, "op": "equals", "value": 1}, deep), path
