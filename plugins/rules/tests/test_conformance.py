"""The rules keep the promises of a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from fairlead import Policy, Principal, Review, Settings, ToolCall, ToolSpec
from fairlead.testing import PolicyConformance
from fairlead_rules.plugin import fairlead_policies

RULES: list[dict[str, Any]] = [
    {
        "name": "reading",
        "effect": "allow",
        "actions": ["tool_call"],
        "resources": ["read_*"],
        "scope": {"role": "admin"},
    },
    {"name": "asking", "effect": "ask", "actions": ["tool_call"], "resources": ["write_*"]},
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
    {"name": "no-shell", "effect": "deny", "actions": ["tool_call"], "resources": ["shell"], "layer": "agent"},
]
NARROWER: dict[str, Any] = {"name": "closed", "effect": "deny", "actions": ["tool_call"], "scope": {"role": "admin"}}
ADMIN = Principal("kit:alice", "Alice", ("admin",))


def calling(tool: str, **arguments: Any) -> Review:
    spec = ToolSpec(tool, "A tool.", isolation="host")
    return Review("tool_call", ToolCall("c1", tool, arguments), "s1", "main", ADMIN, tool=spec)


class TestRules(PolicyConformance):
    async def make_worker(self, tmp_path: Path) -> Policy:
        return fairlead_policies(Settings("house", {"rules": RULES}))[0]

    async def make_narrower(self, tmp_path: Path) -> Policy:
        return fairlead_policies(Settings("house", {"rules": [*RULES, NARROWER]}))[0]

    async def reviews(self) -> Sequence[Review]:
        mine = [calling("read_file", path="/home/x"), calling("write_file", path="/etc/passwd"), calling("shell")]
        return [*await super().reviews(), *mine]

    async def denied(self) -> Sequence[Review]:
        paths = ("/etc", "/etc/passwd", "/home/../etc/passwd", "/etc//x", "/./etc/x")
        return [*(calling("read_file", path=path) for path in paths), calling("shell", command="ls")]

    async def lesser(self) -> Sequence[tuple[Review, Review]]:
        """Nobody, and somebody without the role, may less."""
        reviews = [calling("write_file", path="/x"), calling("shell"), calling("read_file", path="/home/x")]
        guest = Principal("kit:bob", "Bob")
        return [(review, evolve(review, principal=who)) for review in reviews for who in (guest, None)]
