"""The policy engine: one decision out of many verdicts."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import trio
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import Message, Review, Text, ToolCall, Verdict
from fairlead._policy import PolicyEngine
from fairlead.testing import FakePolicy

CALL = Review("tool_call", ToolCall("c1", "add", {"a": 1}))
MESSAGE = Review("message_in", Message("user", (Text("hi"),)))
EFFECTS: tuple[Any, ...] = ("allow", "ask", "deny")
LAYERS: tuple[Any, ...] = ("app", "agent", "channel", "person")


def saying(*verdicts: Verdict) -> FakePolicy:
    return FakePolicy(lambda review: verdicts)


async def test_without_policies_messages_pass_and_calls_do_not() -> None:
    """Default deny for tools, default allow for everything else."""
    engine = PolicyEngine([])
    assert "allow" == (await engine.decide(MESSAGE)).effect
    decision = await engine.decide(CALL)
    assert ("deny", "default: no policy of the app layer allows this tool") == (decision.effect, decision.verdict.rule)


async def test_tool_of_the_host_is_allowed_unless_denied() -> None:
    """Handing a function to `open` is a grant; a deny still beats it."""
    assert "allow" == (await PolicyEngine([], granted=frozenset({"add"})).decide(CALL)).effect
    denying = PolicyEngine([saying(Verdict("deny", "no"))], granted=frozenset({"add"}))
    assert "deny" == (await denying.decide(CALL)).effect


@pytest.mark.parametrize(
    ("verdicts", "effect"),
    [
        (["allow", "deny"], "deny"),
        (["allow", "ask"], "ask"),
        (["ask"], "ask"),
        (["ask", "deny", "allow"], "deny"),
        (["allow", "allow"], "allow"),
        ([], "deny"),
    ],
)
async def test_strongest_verdict_results(verdicts: list[Any], effect: str) -> None:
    """Deny beats ask beats allow, whoever says it and in whatever order."""
    for order in (verdicts, verdicts[::-1]):
        engine = PolicyEngine([saying(Verdict(one, f"rule {one}")) for one in order])
        assert effect == (await engine.decide(CALL)).effect


@pytest.mark.parametrize("layer", LAYERS[1:])
async def test_lower_layer_never_grants(layer: Any) -> None:
    """An allow below the app layer confirms and does not widen."""
    engine = PolicyEngine([saying(Verdict("allow", "please", layer=layer))])
    assert "deny" == (await engine.decide(CALL)).effect


async def test_decision_names_rule_layer_and_policy() -> None:
    """So that a person can find what to change."""
    policy = FakePolicy(lambda review: [Verdict("deny", "quiet hours", layer="person")], name="hours")
    verdict = (await PolicyEngine([policy]).decide(CALL)).verdict
    assert ("quiet hours", "person", "hours") == (verdict.rule, verdict.layer, verdict.policy)


async def test_policy_that_raises_denies() -> None:
    """An evaluation error is a denial, also beside an allow."""
    told: list[str] = []
    broken = FakePolicy(lambda review: [Verdict("allow", str(1 // 0))], name="broken")
    engine = PolicyEngine([saying(Verdict("allow", "ok")), broken], notice=lambda subject, detail: told.append(subject))
    decision = await engine.decide(CALL)
    assert ("deny", "default: the policy failed", "broken") == (
        decision.effect,
        decision.verdict.rule,
        decision.verdict.policy,
    )
    assert ["policies/broken"] == told


async def test_policy_that_is_late_denies(autojump_clock: object) -> None:  # virtual time
    """A decision has a deadline."""

    async def forever(review: Review) -> list[Verdict]:
        await trio.sleep(36_000)
        return [Verdict("allow", review.boundary)]

    decision = await PolicyEngine([saying(Verdict("allow", "ok")), FakePolicy(forever)], seconds=5).decide(CALL)
    assert ("deny", "default: no answer in time") == (decision.effect, decision.verdict.rule)


async def test_revision_of_another_kind_denies() -> None:
    """A call cannot be revised into a message."""
    engine = PolicyEngine([saying(Verdict("revise", "odd", revised=Message("user", ())), Verdict("allow", "ok"))])
    assert "deny" == (await engine.decide(CALL)).effect


async def test_revised_subject_is_reviewed_again() -> None:
    """What one policy makes of a call, another one may deny."""

    def widen(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, ToolCall)
        return [
            Verdict("revise", "widen", revised=evolve(review.subject, arguments={"path": "/etc"})),
            Verdict("allow", "ok"),
        ]

    def guard(review: Review) -> list[Verdict]:
        assert isinstance(review.subject, ToolCall)
        return [Verdict("deny", "no /etc")] if review.subject.arguments.get("path") == "/etc" else []

    decision = await PolicyEngine([FakePolicy(widen), FakePolicy(guard)]).decide(CALL)
    assert ("deny", "no /etc") == (decision.effect, decision.verdict.rule)


async def test_policies_that_quarrel_deny() -> None:
    """Two policies that undo each other's revision never settle."""

    def toggle(value: int) -> FakePolicy:
        def revise(review: Review) -> list[Verdict]:
            assert isinstance(review.subject, ToolCall)
            if review.subject.arguments == {"a": value}:
                return []
            return [Verdict("revise", f"to {value}", revised=evolve(review.subject, arguments={"a": value}))]

        return FakePolicy(revise)

    engine = PolicyEngine([toggle(1), toggle(2), saying(Verdict("allow", "ok"))])
    assert "default: the policies revise each other" == (await engine.decide(CALL)).verdict.rule


async def test_explanation_has_every_verdict() -> None:
    """For people who ask why."""
    engine = PolicyEngine([saying(Verdict("allow", "a")), saying(Verdict("ask", "b", layer="agent"))])
    explanation = await engine.explain(CALL)
    assert ("b", ["a", "b"]) == (explanation.verdict.rule, [verdict.rule for verdict in explanation.verdicts])


verdicts = st.builds(
    Verdict,
    effect=st.sampled_from(EFFECTS),
    rule=st.sampled_from(["r1", "r2", "r3"]),
    layer=st.sampled_from(LAYERS),
)
policies = st.lists(st.lists(verdicts, max_size=4), max_size=5)


def decide(sets: list[list[Verdict]]) -> Literal["allow", "revise", "ask", "deny"]:
    async def main() -> Any:
        return (await PolicyEngine([saying(*one) for one in sets]).decide(CALL)).effect

    return trio.run(main)


@settings(max_examples=150, deadline=None)
@given(policies)
def test_result_is_the_strongest_of_all(sets: list[list[Verdict]]) -> None:
    """Deny > ask > allow, and nothing without a grant of the app layer, for any policies."""
    flat = [verdict for one in sets for verdict in one]
    effects = {verdict.effect for verdict in flat}
    granted = any(verdict.effect in ("allow", "ask") and verdict.layer == "app" for verdict in flat)
    expected = "deny" if "deny" in effects or not granted else "ask" if "ask" in effects else "allow"
    assert expected == decide(sets)


@settings(max_examples=150, deadline=None)
@given(policies, verdicts.filter(lambda verdict: verdict.layer != "app"))
def test_lower_layer_never_widens(sets: list[list[Verdict]], lower: Verdict) -> None:
    """Adding a verdict below the app layer gives the same or less."""
    strength = {"allow": 0, "ask": 1, "deny": 2}
    assert strength[decide([*sets, [lower]])] >= strength[decide(sets)]
