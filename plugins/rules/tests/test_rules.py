"""What a rule says, where, about whom, and how a faulty one is refused."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from fairlead import (
    Address,
    Audio,
    Data,
    File,
    Message,
    ModelRequest,
    Principal,
    Review,
    Settings,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Verdict,
)
from fairlead.errors import ConfigError
from fairlead.wire import build_validator
from fairlead_rules import Rules
from fairlead_rules.plugin import fairlead_policies

EXAMPLE: list[dict[str, Any]] = [
    {"name": "reading", "effect": "allow", "actions": ["tool_call"], "resources": ["read_*"]},
    {
        "name": "not-etc",
        "effect": "deny",
        "actions": ["tool_call"],
        "conditions": [
            {"field": "arguments.path", "op": "exists"},
            {"field": "arguments.path", "op": "under", "value": "/etc"},
        ],
        "reason": "nobody reads the machine's settings",
    },
    {"name": "short", "effect": "revise", "actions": ["model_request"], "revise": {"max_output_tokens": 100}},
    {
        "name": "no-hello",
        "effect": "revise",
        "actions": ["message_in", "message_out", "tool_result"],
        "revise": {"redact": {"from": ["hello", "words"]}},
    },
    {"name": "admins", "effect": "ask", "actions": ["tool_call"], "layer": "person", "scope": {"role": "admin"}},
]


def make(*rules: dict[str, Any]) -> Rules:
    return Rules(Settings("rules", {"rules": list(rules)}))


def call(tool: str = "shell", *, effect: Any = "once", **arguments: Any) -> Review:
    spec = ToolSpec(tool, "A tool.", effect=effect, isolation="host")
    return Review("tool_call", ToolCall("c1", tool, arguments), tool=spec)


async def decide(review: Review, *rules: dict[str, Any]) -> list[str]:
    """``layer:effect:rule`` of each verdict."""
    return [f"{one.layer}:{one.effect}:{one.rule}" for one in await make(*rules).review(review)]


def rule(effect: str = "allow", *conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": effect, "effect": effect, "actions": ["tool_call"], "conditions": list(conditions), **more}


async def test_plugin_makes_one_policy_of_its_table() -> None:
    """It speaks only where a rule does, never waits, and carries its own name."""
    (policy,) = fairlead_policies(Settings("house", {"rules": EXAMPLE[:2]}))
    assert frozenset({"tool_call"}) == policy.boundaries
    assert policy.immediate
    assert (Verdict("allow", "reading", policy="house"),) == await policy.review(call("read_file"))
    (finding,) = await policy.check()
    assert ("house", "2 rules, at tool_call") == (finding.subject, finding.detail)


async def test_verdicts_are_made_once() -> None:
    """A decision makes no objects of its own."""
    policy = make(EXAMPLE[0])
    assert (await policy.review(call("read_file")))[0] is (await policy.review(call("read_mail")))[0]


async def test_nothing_said_is_an_abstention() -> None:
    """The engine decides what follows from that."""
    assert [] == await decide(call("shell"), EXAMPLE[0])
    assert () == await make().review(call())


async def test_priority_decides_before_strength() -> None:
    """Within one layer."""
    broad, narrow = rule("deny"), rule("allow", resources=["shell"], priority=1)
    assert ["app:allow:allow"] == await decide(call(), broad, narrow)
    assert ["app:deny:deny"] == await decide(call(), broad, {**narrow, "priority": 0})
    assert ["app:deny:deny"] == await decide(call(), broad, {**narrow, "priority": -1})


async def test_each_layer_gives_at_most_one_verdict() -> None:
    """From the app down; the engine combines them."""
    layers = ("person", "app", "channel", "agent")
    rules = [rule("allow", name=f"{layer}{place}", layer=layer) for layer in layers for place in range(2)]
    found = await decide(call(), *rules)
    assert ["app:allow:app0", "agent:allow:agent0", "channel:allow:channel0", "person:allow:person0"] == found


@pytest.mark.parametrize(
    ("scope", "applies"),
    [
        ({}, True),
        ({"agent": "main"}, True),
        ({"agent": "other"}, False),
        ({"channel": "kit"}, True),
        ({"principal": "kit:alice"}, True),
        ({"principal": "kit:alice", "role": "admin", "agent": "main", "channel": "kit"}, True),
        ({"principal": "kit:alice", "role": "guest"}, False),
        ({"role": "adm"}, False),
    ],
)
async def test_scope_says_whom_a_rule_is_about(scope: dict[str, str], applies: bool) -> None:  # noqa: FBT001  # pytest fills it in by name
    """All that is given must match; nobody known matches no scope."""
    alice = Principal("kit:alice", roles=("staff", "admin"))
    subject = ToolCall("c1", "shell", {})
    known = Review("tool_call", subject, agent="main", principal=alice, address=Address("kit"))
    assert applies is bool(await decide(known, rule(scope=scope)))
    assert bool(not scope) is bool(await decide(Review("tool_call", subject), rule(scope=scope)))


async def test_resources_are_tools_models_or_agents() -> None:
    """By boundary."""
    said = Message("user", (Text("hi"),))
    reviews = [
        Review("message_in", said, agent="main"),
        Review("message_out", said, agent="main"),
        Review("model_request", ModelRequest("main", ())),
        Review("tool_call", ToolCall("c", "main", {})),
        Review("tool_result", ToolResult("c", "main")),
    ]
    every = {"name": "main", "effect": "allow", "actions": ["*"], "resources": ["main"]}
    for review in reviews:
        assert ["app:allow:main"] == await decide(review, every)
        assert [] == await decide(review, {**every, "resources": ["mai", "main_*"]})


@pytest.mark.parametrize(
    "tool", ["she\u0406l", "\uff53hell", "shell\u200b", "shell\n", "shell ", "", "x" * 65, "she/ll"]
)
async def test_name_that_no_tool_can_have_is_denied(tool: str) -> None:
    """A name that only looks like a tool's slips past the rules about that tool, so nothing may allow it."""
    found = await decide(call(tool), rule("allow", resources=["*"], priority=1_000_000))
    assert ["app:deny:rules: no name of a tool"] == found


async def test_condition_that_cannot_be_evaluated_denies_or_does_not_allow() -> None:
    """A missing field makes a denial, a question and a revision deny; it never makes anything pass."""
    missing = {"field": "arguments.path", "op": "starts_with", "value": "/srv"}
    for effect in ("deny", "ask"):
        assert [f"app:deny:{effect}"] == await decide(call(), rule(effect, missing))
        assert [f"app:deny:{effect}"] == await decide(call(path=7), rule(effect, missing))
    assert ["app:deny:revise"] == await decide(call(), rule("revise", missing, revise={"arguments": {"a": 1}}))
    assert [] == await decide(call(), rule("allow", missing))
    (verdict,) = await make(rule("deny", missing)).review(call())
    assert "could not be evaluated: arguments.path missing" in verdict.reason


async def test_exists_guards_the_other_conditions_in_any_order() -> None:
    """What is surely not meant is not denied because something else cannot be read."""
    guard = {"field": "arguments.path", "op": "exists"}
    under = {"field": "arguments.path", "op": "under", "value": "/etc"}
    for conditions in ((guard, under), (under, guard)):
        assert [] == await decide(call(), rule("deny", *conditions))
        assert ["app:deny:deny"] == await decide(call(path="/etc/passwd"), rule("deny", *conditions))


async def test_broken_question_of_the_same_priority_denies() -> None:
    """A rule that asks, and one beside it that cannot be evaluated: the stronger answer counts."""
    broken = rule("ask", {"field": "arguments.n", "op": "less", "value": 3}, name="broken")
    assert ["app:deny:broken"] == await decide(call(), rule("ask"), broken)
    assert ["app:ask:ask"] == await decide(call(), rule("ask"), {**broken, "priority": -1})


async def test_question_names_who_may_answer_it() -> None:
    """People by their ids, and roles; nobody named is left to the core."""
    (verdict,) = await make(rule("ask", approvers=["telegram:1", "role:admin", "telegram:1"])).review(call())
    assert ("ask", ("telegram:1", "role:admin")) == (verdict.effect, verdict.approvers)
    (verdict,) = await make(rule("ask")).review(call())
    assert () == verdict.approvers


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"effect": "allow", "approvers": ["role:admin"]}, "approvers go with the effect ask at tool_call"),
        ({"effect": "ask", "approvers": ["role:admin"], "actions": ["*"]}, "approvers go with the effect ask"),
        ({"effect": "ask", "approvers": ["admin"]}, "or role:NAME, found 'admin'"),
        ({"effect": "ask", "approvers": ["role:"]}, "or role:NAME, found 'role:'"),
    ],
)
def test_approvers_that_could_not_approve_are_refused(raw: dict[str, Any], expected: str) -> None:
    """Whoever wrote them would wait for somebody who cannot come."""
    with pytest.raises(ConfigError, match=expected):
        make({"name": "r", "actions": ["tool_call"], **raw})


async def test_revision_sets_arguments() -> None:
    """Whatever the model sent; where they are so already, the rule is silent and others may speak."""
    revise = rule("revise", revise={"arguments": {"dry_run": True}})
    (verdict,) = await make(revise, rule("allow")).review(call(path="/x"))
    assert "revise" == verdict.effect
    assert isinstance(verdict.revised, ToolCall)
    assert {"path": "/x", "dry_run": True} == verdict.revised.arguments
    assert ["app:allow:allow"] == await decide(call(path="/x", dry_run=True), revise, rule("allow"))
    assert ["app:revise:revise"] == await decide(call(path="/x", dry_run=1), revise, rule("allow"))


async def test_arguments_that_are_no_object_cannot_be_set() -> None:
    """The model sent something that is no JSON object."""
    review = Review("tool_call", ToolCall("c", "shell", "{not json"))
    assert ["app:deny:revise"] == await decide(review, rule("revise", revise={"arguments": {"a": 1}}))


async def test_redaction_reaches_every_place_that_holds_words() -> None:
    """Text, JSON at any depth, names and descriptions of media; the longer word goes first."""
    parts = (
        Text("key sk-12 and sk-123"),
        Data({"a": ["sk-12", 1, {"b": "x sk-123"}]}),
        File("sk-12.txt", "text/plain", b"sk-12"),
        Audio("audio/ogg", b"", transcript="say sk-12"),
    )
    redact = {"from": ["sk-12", "sk-123"], "to": "***"}
    raw = {"name": "keys", "effect": "revise", "actions": ["tool_result"], "revise": {"redact": redact}}
    (verdict,) = await make(raw).review(Review("tool_result", ToolResult("c", "shell", parts)))
    assert isinstance(verdict.revised, ToolResult)
    text, data, file, audio = verdict.revised.parts
    assert isinstance(text, Text)
    assert isinstance(data, Data)
    assert isinstance(file, File)
    assert isinstance(audio, Audio)
    assert "key *** and ***" == text.text
    assert {"a": ["***", 1, {"b": "x ***"}]} == data.value
    assert ("***.txt", "say ***") == (file.name, audio.transcript)
    assert () == await make(raw).review(Review("tool_result", verdict.revised))


async def test_revisions_of_one_priority_add_up() -> None:
    """One message may hold what two rules redact; the verdict names both."""
    raw = [
        {"name": word, "effect": "revise", "actions": ["message_out"], "revise": {"redact": {"from": word}}}
        for word in ("alpha", "beta", "gamma")
    ]
    said = Message("assistant", (Text("alpha and beta"),))
    (verdict,) = await make(*raw).review(Review("message_out", said))
    assert "alpha, beta" == verdict.rule
    assert isinstance(verdict.revised, Message)
    assert "[redacted] and [redacted]" == verdict.revised.text
    assert (said.id, said.role) == (verdict.revised.id, verdict.revised.role)


async def test_output_of_models_is_limited() -> None:
    """Where the request has no limit, or a higher one."""
    raw = {"name": "short", "effect": "revise", "actions": ["model_request"], "revise": {"max_output_tokens": 100}}
    for asked, expected in ((None, True), (200, True), (100, False), (50, False)):
        review = Review("model_request", ModelRequest("m", (), max_output_tokens=asked))
        assert expected is bool(await make(raw).review(review))


WRONG: list[tuple[str, Sequence[dict[str, Any]], str]] = [
    ("a name twice", [rule(), rule()], "stands twice"),
    ("a star inside", [rule(resources=["re*d"])], "only at the end"),
    ("a look-alike", [rule(resources=["she\u0406l"])], "ASCII"),
    ("an unknown field", [rule("allow", {"field": "args.path", "op": "exists"})], "no field is named 'args.path'"),
    ("a hidden field", [rule("allow", {"field": "arguments.__class__.", "op": "exists"})], "no field is named"),
    ("no field", [rule("allow", {"op": "equals", "value": 1})], "needs a field"),
    ("no value", [rule("allow", {"field": "tool", "op": "equals"})], "needs a value"),
    ("a relative directory", [rule("allow", {"field": "arguments.p", "op": "under", "value": "srv"})], "absolute"),
    ("a NUL", [rule("allow", {"field": "arguments.p", "op": "under", "value": "/a\0"})], "absolute"),
    ("operators", [rule("allow", {"field": "arguments.c", "op": "command", "value": "git;ls"})], "plain words"),
    ("a word for a number", [rule("allow", {"field": "arguments.n", "op": "less", "value": "3"})], "takes a number"),
    ("in without a list", [rule("allow", {"field": "tool", "op": "in", "value": "a"})], "takes a list"),
    ("an unknown effect", [rule("allow", {"op": "effect", "value": "write"})], "an effect is one of"),
    ("a field elsewhere", [rule("allow", {"field": "text", "op": "exists"})], "exists only at message_in"),
    ("arguments everywhere", [rule("allow", {"field": "arguments.a", "op": "exists"}, actions=["*"])], "tool_call"),
    ("nothing to revise", [rule("revise")], "needs the key revise"),
    ("revise with allow", [rule("allow", revise={"arguments": {"a": 1}})], "goes with the effect revise"),
    ("redaction that stays", [rule("revise", revise={"redact": {"from": "a", "to": "ba"}})], "shall replace"),
    ("a limit on a tool", [rule("revise", revise={"max_output_tokens": 1})], "exists only at model_request"),
]


@pytest.mark.parametrize(("rules", "words"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_wrong_rule_is_refused_with_its_place(rules: Sequence[dict[str, Any]], words: str) -> None:
    """When the policy is made, not when it decides."""
    good = rule("allow", name="good")
    with pytest.raises(ConfigError) as caught:
        make(good, *rules)
    assert words in str(caught.value)
    assert f"policies.rules.rules.{len(rules)}" == caught.value.path


def manifest() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files("fairlead_rules") / "fairlead-plugin.json").read_text("utf-8"))
    return found


def test_schema_of_the_manifest_takes_the_examples() -> None:
    """And refuses what it does not know."""
    validator = build_validator(manifest()["settings"])
    assert validator.is_valid({"rules": EXAMPLE})
    assert validator.is_valid({})
    refused: list[dict[str, Any]] = [
        {"rule": []},
        {"rules": [{"name": "x"}]},
        {"rules": [{**EXAMPLE[0], "effect": "permit"}]},
        {"rules": [{**EXAMPLE[0], "actions": ["tools"]}]},
        {"rules": [{**EXAMPLE[0], "resources": []}]},
        {"rules": [{**EXAMPLE[0], "scope": {"user": "x"}}]},
        {"rules": [{**EXAMPLE[0], "conditions": [{"op": "matches", "field": "tool", "value": ".*"}]}]},
    ]
    for wrong in refused:
        assert not validator.is_valid(wrong), wrong


async def test_example_of_the_readme_works() -> None:
    """It fits the schema, makes a policy, and decides as the text says."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    table = tomllib.loads(readme.partition("```toml\n")[2].partition("```")[0])["policies"]["rules"]
    assert build_validator(manifest()["settings"]).is_valid(table)
    policy = Rules(Settings("rules", table))
    decided = [
        (tool, [verdict.effect for verdict in await policy.review(call(tool, path=path))])
        for tool, path in (("now", ""), ("read_file", "/srv/a"), ("read_file", "/etc/passwd"), ("pay_bill", ""))
    ]
    assert [("now", ["allow"]), ("read_file", ["allow"]), ("read_file", ["deny"]), ("pay_bill", [])] == decided
