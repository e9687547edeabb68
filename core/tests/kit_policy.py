"""A policy that keeps every promise, and the kit with all its hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from attrs import evolve

from fairlead import Message, ModelRequest, Policy, Principal, Review, Text, ToolCall, ToolResult, ToolSpec, Verdict
from fairlead.testing import PolicyConformance
from fairlead.types import Boundary

__all__ = ["SECRET", "HousePolicy", "PolicyKit", "calling"]

SECRET = "house-secret-5d1f"
ADMIN, GUEST = Principal("kit:alice", "Alice", ("admin",)), Principal("kit:bob", "Bob")


class HousePolicy(Policy):
    """Allows admins to read, asks before writing, keeps /etc closed, and takes greetings out of what is said."""

    immediate: ClassVar[bool] = True
    boundaries: frozenset[Boundary] = frozenset(
        {"message_in", "model_request", "tool_call", "tool_result", "message_out"}
    )

    def __init__(self, directory: Path, *, closed: bool = False) -> None:
        self.name = "house"
        self.directory = directory
        self.closed = closed

    async def review(self, review: Review) -> Sequence[Verdict]:
        return self.judge(review)

    def judge(self, review: Review) -> Sequence[Verdict]:
        subject = review.subject
        if isinstance(subject, ToolCall):
            return self.judge_call(review, subject)
        if isinstance(subject, ModelRequest):
            return (Verdict("revise", "short", revised=self.shorten(subject)),)
        revised = self.revise(subject)
        return () if revised == subject else (Verdict("revise", "no-greetings", revised=revised),)

    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        if self.closed:
            return (Verdict("deny", "closed", reason="the house is closed"),)
        if self.is_private(call):
            return (Verdict("deny", "no-etc", reason="nobody reads the settings of the machine"),)
        if call.tool == "write_file":
            return (Verdict("ask", "writing", reason="writing needs an approval"),)
        return (Verdict("allow", "reading"),) if call.tool == "read_file" and self.may(review) else ()

    def may(self, review: Review) -> bool:
        return review.principal is not None and "admin" in review.principal.roles

    def is_private(self, call: ToolCall) -> bool:
        arguments = call.arguments
        return isinstance(arguments, dict) and str(arguments.get("path", "")).startswith("/etc")

    def shorten(self, request: ModelRequest) -> ModelRequest:
        return evolve(request, max_output_tokens=100)

    def revise(self, subject: Message | ToolResult) -> Message | ToolResult:
        return evolve(
            subject, parts=tuple(self.clean(part) if isinstance(part, Text) else part for part in subject.parts)
        )

    def clean(self, part: Text) -> Text:
        return evolve(part, text=part.text.replace("hello", "***"))


def calling(tool: str, path: str, principal: Principal | None = ADMIN) -> Review:
    spec = ToolSpec(tool, "A tool.", isolation="host")
    return Review("tool_call", ToolCall("c1", tool, {"path": path}), "s1", "main", principal, tool=spec)


class PolicyKit(PolicyConformance):
    """Every hook."""

    make: Callable[[Path], HousePolicy] = HousePolicy

    async def make_worker(self, tmp_path: Path) -> Policy:
        return type(self).make(tmp_path)

    async def make_narrower(self, tmp_path: Path) -> Policy:
        made = type(self).make(tmp_path)
        made.closed = True
        return made

    async def reviews(self) -> Sequence[Review]:
        mine = [calling("write_file", "/x"), calling("read_file", "/x"), calling("read_file", "/x", GUEST)]
        return [*await super().reviews(), *mine, *await self.denied()]

    async def denied(self) -> Sequence[Review]:
        return [calling(tool, "/etc/passwd", who) for tool in ("read_file", "write_file") for who in (ADMIN, GUEST)]

    async def lesser(self) -> Sequence[tuple[Review, Review]]:
        return [
            (calling(tool, "/x"), calling(tool, "/x", who))
            for tool in ("read_file", "write_file", "shell")
            for who in (GUEST, None)
        ]

    async def secrets(self) -> Sequence[str]:
        return [SECRET]
