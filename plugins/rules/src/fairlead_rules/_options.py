"""Rules from the plugin's table, which the manifest's schema has already seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairlead import Verdict
from fairlead.errors import ConfigError
from fairlead_rules._conditions import compile_condition
from fairlead_rules._fields import ALL, TOOLS
from fairlead_rules._revision import Revision
from fairlead_rules._rule import Rule, in_scope

if TYPE_CHECKING:
    from fairlead import Review

__all__ = ["parse_rules"]


def parse_rules(raw: Sequence[Mapping[str, Any]], policy: str) -> tuple[Rule, ...]:
    """The rules in their order. `ConfigError`: the first that is wrong, with its place and what was expected."""
    rules: dict[str, Rule] = {}
    for place, one in enumerate(raw):
        name = one["name"]
        try:
            if name in rules:
                raise ValueError("the name stands twice; decisions name their rule, so each needs its own")  # noqa: TRY301  # one handler adds the place
            rules[name] = _parse_rule(one, policy)
        except ValueError as error:
            raise ConfigError(f"rule {name!r}: {error}", path=f"policies.{policy}.rules.{place}") from None
    return tuple(rules.values())


def _parse_rule(raw: Mapping[str, Any], policy: str) -> Rule:
    effect, layer = raw["effect"], raw.get("layer", "app")
    actions = ALL if "*" in raw["actions"] else frozenset(raw["actions"])
    scope = raw.get("scope", {})
    tests = [in_scope(key, scope[key]) for key in sorted(scope)]
    tests += _parse_conditions(raw.get("conditions", ()), actions, allows=effect == "allow")
    asked = dict.fromkeys(one.get("field", one["op"]) for one in raw.get("conditions", ()))
    broken = f"it could not be evaluated: {', '.join(asked) or 'arguments'} missing, or not of the kind that it expects"
    return Rule(
        name=raw["name"],
        effect=effect,
        layer=layer,
        priority=int(raw.get("priority", 0)),
        actions=actions,
        resources=_parse_resources(raw.get("resources", ("*",)), actions),
        scope=scope,
        tests=tuple(tests),
        verdict=Verdict(
            effect, raw["name"], layer, raw.get("reason", ""), policy=policy, approvers=_parse_approvers(raw, actions)
        ),
        broken=Verdict("deny", raw["name"], layer, broken, policy=policy),
        revision=_parse_revision(raw, actions),
    )


def _parse_conditions(
    raw: Sequence[Mapping[str, Any]], actions: frozenset[str], *, allows: bool
) -> list[Callable[[Review], bool]]:
    tests = []
    for place, one in enumerate(raw):
        try:
            boundaries, test = compile_condition(one, allows=allows)
        except ValueError as error:
            raise ValueError(f"condition {place}: {error}") from None
        if not actions <= boundaries:
            what = one.get("field", one["op"])
            raise ValueError(f"condition {place}: {what!r} {_only(boundaries)}, found {_list(actions - boundaries)}")
        tests.append(test)
    return tests


def _only(boundaries: frozenset[str]) -> str:
    return f"exists only at {_list(boundaries)}" if boundaries else "exists nowhere"


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def _parse_resources(raw: Sequence[str], actions: frozenset[str]) -> tuple[str, ...]:
    for pattern in raw:
        if "*" in pattern[:-1]:
            raise ValueError(f"a * stands only at the end of a resource, found {pattern!r}")
        # A letter that only looks like another one would make a rule that never speaks.
        if actions & TOOLS and not pattern.isascii():
            raise ValueError(f"names of tools have ASCII letters only, found {pattern!r}")
    return tuple(dict.fromkeys(raw))


def _parse_approvers(raw: Mapping[str, Any], actions: frozenset[str]) -> tuple[str, ...]:
    approvers = tuple(dict.fromkeys(raw.get("approvers", ())))
    if approvers and (raw["effect"] != "ask" or actions != {"tool_call"}):
        raise ValueError("approvers go with the effect ask at tool_call: only calls of tools wait for an approval")
    for each in approvers:
        if each == "role:" or ":" not in each:
            raise ValueError(f"an approver is a principal's id, such as telegram:123, or role:NAME, found {each!r}")
    return approvers


def _parse_revision(raw: Mapping[str, Any], actions: frozenset[str]) -> Revision | None:
    if raw["effect"] != "revise":
        if "revise" in raw:
            raise ValueError(f"revise goes with the effect revise, found {raw['effect']!r}")
        return None
    if "revise" not in raw:
        raise ValueError("the effect revise needs the key revise: what shall be changed")
    changes = raw["revise"]
    redact = changes.get("redact", {"from": ()})
    words = (redact["from"],) if isinstance(redact["from"], str) else tuple(redact["from"])
    revision = Revision(
        changes.get("arguments", {}),
        tuple(sorted(words, key=len, reverse=True)),
        redact.get("to", "[redacted]"),
        changes.get("max_output_tokens"),
    )
    for word in words:
        if word in revision.replacement:
            raise ValueError(f"the replacement {revision.replacement!r} holds {word!r}, which it shall replace")
    if not actions <= revision.boundaries:
        raise ValueError(f"this change {_only(revision.boundaries)}, found {_list(actions - revision.boundaries)}")
    return revision
