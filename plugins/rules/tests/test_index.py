"""The index decides as reading every rule would, and more rules never widen what earlier ones denied."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import Address, Principal, Review, Settings, ToolCall, ToolSpec, Verdict
from fairlead_rules import Rules
from fairlead_rules._index import KNOWN_RESOURCES, Index
from fairlead_rules._options import parse_rules

from .naive import decide

TOOLS = ["a", "ab", "abc", "b"]
fields = st.sampled_from(["arguments.x", "arguments.y"])
conditions = st.one_of(
    st.fixed_dictionaries({"field": fields, "op": st.just("exists"), "value": st.booleans()}),
    st.fixed_dictionaries({"field": fields, "op": st.just("equals"), "value": st.integers(0, 2)}),
    st.fixed_dictionaries({"field": fields, "op": st.just("less"), "value": st.integers(0, 2)}),
)
scopes = st.fixed_dictionaries(
    {},
    optional={
        "agent": st.sampled_from(["main", "other"]),
        "channel": st.sampled_from(["kit", "mail"]),
        "principal": st.sampled_from(["kit:alice", "kit:bob"]),
        "role": st.sampled_from(["admin", "guest"]),
    },
)


@st.composite
def rules(draw: st.DrawFn, effects: Sequence[str] = ("allow", "deny", "ask", "revise")) -> dict[str, Any]:
    effect = draw(st.sampled_from(effects))
    rule: dict[str, Any] = {
        "effect": effect,
        "actions": draw(st.sampled_from([["tool_call"], ["tool_call"], ["tool_call"], ["message_in"]])),
        "layer": draw(st.sampled_from(["app", "agent", "channel", "person"])),
        "resources": draw(st.lists(st.sampled_from([*TOOLS, "*", "a*", "ab*", "c*"]), min_size=1, max_size=2)),
        "priority": draw(st.integers(-1, 1)),
        "scope": draw(scopes),
    }
    if effect == "revise":
        # Each revise rule sets the same argument to the same value, so that their order cannot matter.
        rule["revise"] = {"arguments": {"x": 1}}
    if rule["actions"] == ["tool_call"]:
        rule["conditions"] = draw(st.lists(conditions, max_size=2))
    elif effect == "revise":
        rule["actions"] = ["tool_call"]
    return rule


def named(drawn: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rule, "name": f"rule-{place}"} for place, rule in enumerate(drawn)]


people = st.none() | st.builds(
    Principal,
    st.sampled_from(["kit:alice", "kit:bob", "kit:carol"]),
    roles=st.lists(st.sampled_from(["admin", "guest"]), max_size=2).map(tuple),
)
reviews = st.builds(
    Review,
    st.just("tool_call"),
    st.builds(
        ToolCall,
        st.just("c1"),
        st.sampled_from([*TOOLS, "c1"]),
        st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 2) | st.just("word")),
    ),
    agent=st.sampled_from(["main", "other"]),
    principal=people,
    address=st.none() | st.builds(Address, st.sampled_from(["kit", "mail"])),
    tool=st.just(ToolSpec("a", "A tool.", effect="read")),
)


def ask(raw: Sequence[dict[str, Any]], review: Review) -> Sequence[Verdict]:
    policy = Rules(Settings("rules", {"rules": raw}))

    first = now(policy.review(review))
    assert first == now(policy.review(review)), "the kept plan must say what the new one said"
    return first


def now(answer: Coroutine[Any, Any, Sequence[Verdict]]) -> Sequence[Verdict]:
    """What an immediate policy answers: it never waits, so that no event loop is needed."""
    with pytest.raises(StopIteration) as done:
        answer.send(None)
    found: Sequence[Verdict] = done.value.value
    return found


def summary(verdicts: Sequence[Verdict]) -> list[tuple[str, str, str, Any]]:
    return [
        (one.layer, one.effect, "", one.revised.arguments if isinstance(one.revised, ToolCall) else None)
        for one in verdicts
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(rules(), max_size=12).map(named), reviews)
def test_index_decides_as_reading_every_rule_does(raw: list[dict[str, Any]], review: Review) -> None:
    """Random rules and crossings, against an evaluation that knows no index."""
    verdicts = ask(raw, review)
    assert decide(raw, review) == summary(verdicts)
    for verdict in verdicts:
        rule = raw[int(verdict.rule.partition(",")[0].removeprefix("rule-"))]
        assert rule["layer"] == verdict.layer


STRENGTH = {"deny": 3, "ask": 2, "revise": 1, "allow": 0}
COMBINED = {"none": -1, **STRENGTH}


def outcome(verdicts: Sequence[Verdict]) -> str:
    """As the engine combines layers: the strongest; a call needs an allow of the app, which is 'none' here."""
    strongest = max((one.effect for one in verdicts), key=STRENGTH.__getitem__, default="none")
    granted = any(one.layer == "app" and one.effect != "deny" for one in verdicts)
    return strongest if granted or strongest == "deny" else "deny"


@settings(max_examples=150, deadline=None)
@given(st.lists(rules(), max_size=8).map(named), rules(effects=["deny"]), reviews, st.integers(0, 8))
def test_added_denial_never_widens(raw: list[dict[str, Any]], denial: dict[str, Any], review: Review, at: int) -> None:
    """In any layer, at any priority and place."""
    more = [*raw[:at], {**denial, "name": "added"}, *raw[at:]]
    before, after = ask(raw, review), ask(more, review)
    assert COMBINED[outcome(before)] <= COMBINED[outcome(after)]


@settings(max_examples=100, deadline=None)
@given(st.lists(rules(), max_size=8).map(named), rules(), reviews)
def test_rule_of_a_lower_layer_never_widens(raw: list[dict[str, Any]], more: dict[str, Any], review: Review) -> None:
    """Whatever a person, channel or agent adds below the app at the same priority: a denial of the app stays."""
    lower = {**more, "name": "added", "layer": "person"}
    for verdict in ask(raw, review):
        if verdict.layer == "app":
            assert verdict in ask([*raw, lower], review)


@settings(max_examples=50, deadline=None)
@given(st.lists(rules(), max_size=8).map(named), reviews, st.randoms(use_true_random=False))
def test_order_of_the_rules_does_not_matter(raw: list[dict[str, Any]], review: Review, random: Any) -> None:
    """Priority and strength decide, not the place in the file."""
    shuffled = list(raw)
    random.shuffle(shuffled)
    assert summary(ask(raw, review)) == summary(ask(shuffled, review))


def test_many_names_do_not_fill_the_memory() -> None:
    """Models may ask for any tool; the plans that are kept are bounded."""
    rules = parse_rules([{"name": "all", "effect": "allow", "actions": ["tool_call"]}], "rules")
    index = Index("tool_call", rules, "rules")
    for number in range(10_000):
        name = f"tool_{number}"
        (verdict,) = index.decide(name, Review("tool_call", ToolCall("c", name, {})))
        assert "allow" == verdict.effect
    assert 0 < index.kept <= KNOWN_RESOURCES
