"""The semantics of rules once more, without an index: read every rule, every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fairlead import Review, ToolCall

STRONGEST_FIRST = ("deny", "ask", "revise", "allow")
LAYERS = ("app", "agent", "channel", "person")

Answer = tuple[str, str, str, Any]
"""Layer, effect, rule, revised arguments."""


def decide(rules: Sequence[dict[str, Any]], review: Review) -> list[Answer]:
    """What the rules say about a tool call."""
    found = []
    for layer in LAYERS:
        own = [rule for rule in rules if rule.get("layer", "app") == layer and _is_about(rule, review)]
        answer = _of_layer(layer, own, review)
        if answer is not None:
            found.append(answer)
    return found


def _of_layer(layer: str, rules: Sequence[dict[str, Any]], review: Review) -> Answer | None:
    for priority in sorted({rule.get("priority", 0) for rule in rules}, reverse=True):
        said = [(rule, _state(rule, review)) for rule in rules if rule.get("priority", 0) == priority]
        strength = {"error": "deny"}
        speaking = [(strength.get(state, rule["effect"]), rule, state) for rule, state in said if state != "no"]
        for effect in STRONGEST_FIRST:
            those = [(rule, state) for own, rule, state in speaking if own == effect]
            if not those:
                continue
            if effect == "revise":
                return _revised(layer, [rule for rule, _ in those], review)
            return layer, effect, "", None
    return None


def _revised(layer: str, rules: Sequence[dict[str, Any]], review: Review) -> Answer:
    assert isinstance(review.subject, ToolCall)
    arguments = dict(review.subject.arguments)
    for rule in rules:
        arguments.update(rule["revise"]["arguments"])
    return layer, "revise", "", arguments


def _is_about(rule: dict[str, Any], review: Review) -> bool:
    assert isinstance(review.subject, ToolCall)
    if review.boundary not in rule["actions"] and "*" not in rule["actions"]:
        return False
    tool = review.subject.tool
    patterns = rule.get("resources", ["*"])
    return any(tool.startswith(one[:-1]) if one.endswith("*") else tool == one for one in patterns)


def _state(rule: dict[str, Any], review: Review) -> str:
    scope = rule.get("scope", {})
    person = review.principal
    states = []
    if "agent" in scope:
        states.append(review.agent == scope["agent"])
    if "channel" in scope:
        states.append(review.address is not None and review.address.channel == scope["channel"])
    if "principal" in scope:
        states.append(person is not None and person.id == scope["principal"])
    if "role" in scope:
        states.append(person is not None and scope["role"] in person.roles)
    answers: list[bool | None] = [*states, *(_holds(one, review) for one in rule.get("conditions", []))]
    if False in answers:
        return "no"
    if None in answers:
        return "no" if rule["effect"] == "allow" else "error"
    if rule["effect"] == "revise":
        assert isinstance(review.subject, ToolCall)
        wanted = rule["revise"]["arguments"]
        return "no" if {**review.subject.arguments, **wanted} == review.subject.arguments else "yes"
    return "yes"


def _holds(condition: dict[str, Any], review: Review) -> bool | None:
    """None: cannot be evaluated. Knows ``exists``, ``equals`` and ``less`` on one argument."""
    assert isinstance(review.subject, ToolCall)
    name = condition["field"].removeprefix("arguments.")
    arguments = review.subject.arguments
    if condition["op"] == "exists":
        return (name in arguments) is condition.get("value", True)
    if name not in arguments:
        return None
    if condition["op"] == "equals":
        return bool(arguments[name] == condition["value"])
    return bool(arguments[name] < condition["value"]) if isinstance(arguments[name], int) else None
