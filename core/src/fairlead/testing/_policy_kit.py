"""The promises of a policy."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import trio

from fairlead._contracts import Policy
from fairlead._message import Address, Message, Origin, Principal, Text, ToolCall, ToolResult
from fairlead._work import Boundary, ModelRequest, Review, ToolSpec, Verdict
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, same, within

__all__ = ["PolicyConformance"]

REVIEW, VERDICT = "fairlead.Policy.review", "fairlead.Verdict"
EFFECTS = {"allow", "revise", "ask", "deny"}
LAYERS = {"app", "agent", "channel", "person"}
SECONDS = 5
"""`limits.review_seconds` of the default configuration."""


class PolicyConformance(WorkerConformance[Policy]):
    """Subclass it and override `make_worker`; `reviews` where the policy looks for something special."""

    async def reviews(self) -> Sequence[Review]:
        """Override to add reviews on which your policy decides.

        As it is: each boundary, with harmless and hostile words, with and without a known person.
        """
        return [review for text in ("hello", *HOSTILE_TEXTS) for review in sample_reviews(text)]

    async def asked(self, policy: Policy) -> list[Review]:
        return [review for review in await self.reviews() if review.boundary in policy.boundaries]

    async def test_boundaries_are_declared(self, tmp_path: Path) -> None:
        """A policy is asked only where it wants to be, and the sample has a review for each of these places."""
        source = "fairlead.Policy.boundaries"
        async with self.opened(tmp_path) as policy:
            declared = frozenset(policy.boundaries)
            same(declared, frozenset(policy.boundaries), "boundaries are fixed from open() on", source)
        promise(declared <= {*get_args(Boundary)}, "they are among the five", source, declared)
        covered = {review.boundary for review in await self.reviews()}
        promise(declared <= covered, "reviews() covers each of them", source, declared - covered)

    async def test_verdicts_are_well_formed(self, tmp_path: Path) -> None:
        """At most one a layer, a rule with a name; ``revise`` alone brings the subject as it may pass."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                verdicts = await policy.review(review)
                layers = [verdict.layer for verdict in verdicts]
                promise(len(layers) == len(set(layers)), "at most one verdict a layer", REVIEW, verdicts)
                for verdict in verdicts:
                    promise(isinstance(verdict, Verdict), "it answers with verdicts", REVIEW, verdict)
                    right = verdict.effect in EFFECTS and verdict.layer in LAYERS
                    promise(right, "effect and layer are of the list", VERDICT, verdict)
                    promise(verdict.rule, "it names the rule that decided", VERDICT, verdict)
                    wanted = type(review.subject) if verdict.effect == "revise" else type(None)
                    right = type(verdict.revised) is wanted
                    promise(right, "revised goes with revise alone, and is of its kind", VERDICT, verdict)
                    if verdict.effect == "revise":
                        kept = identity(review.subject) == identity(verdict.revised)
                        promise(kept, "a revision keeps the id, the call and the tool", VERDICT, verdict)

    async def test_same_review_gives_the_same_verdicts(self, tmp_path: Path) -> None:
        """Asked again in the other order, several at a time, by another instance; and the subject is left alone."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as policy:
                reviews = await self.asked(policy)
                before = copy.deepcopy(reviews)
                first = [tuple(await policy.review(review)) for review in reviews]
                second = [tuple(await policy.review(review)) for review in reversed(reviews)][::-1]
                together: dict[int, tuple[Verdict, ...]] = {}

                async def ask(place: int) -> None:
                    together[place] = tuple(await policy.review(reviews[place]))

                async with trio.open_nursery() as nursery:
                    for place in range(len(reviews)):
                        nursery.start_soon(ask, place)
            async with self.worker(tmp_path) as another:
                third = [tuple(await another.review(review)) for review in reviews]
        for seen in (second, third, [together[place] for place in range(len(reviews))]):
            same(first, seen, "the same review gives the same verdicts", REVIEW)
        same(before, reviews, "a policy leaves the subject alone", REVIEW)

    async def test_review_ends_in_time(self, tmp_path: Path) -> None:
        """No answer in time is a denial; one that calls itself immediate never waits; a cancelled one lets go."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                with within(SECONDS, "a review ends", REVIEW):
                    before = tuple(await policy.review(review))
                with within(1, "a cancelled review lets go at once", REVIEW), trio.CancelScope() as scope:
                    scope.cancel()
                    await policy.review(review)
                waited = scope.cancelled_caught and policy.immediate
                promise(not waited, "an immediate policy never awaits", "fairlead.Policy.immediate", review)
                same(before, tuple(await policy.review(review)), "a cancelled review leaves nothing behind", REVIEW)


def sample_reviews(text: str) -> list[Review]:
    """A review for each boundary about that text, with a known person and with nobody."""
    said = Message("user", (Text(text, Origin("channel", "kit", "kit:alice")),), id="m1")
    answer = Message("assistant", (Text(text, Origin("provider", "kit")),), id="m2")
    call = ToolCall("c1", "read_file", {"path": text}, Origin("provider", "kit"))
    unreadable = ToolCall("c2", "read_file", text, Origin("provider", "kit"))
    result = ToolResult("c1", "read_file", (Text(text, Origin("tool", "read_file")),))
    spec = ToolSpec("read_file", "Reads a file.", effect="read", isolation="host")
    request = ModelRequest("script", (said,), "Be brief.", (spec,), "s1", id="r1")
    alice, room = Principal("kit:alice", "Alice", ("admin",)), Address("kit", "bot", "room")
    known: dict[str, Any] = {"session": "s1", "agent": "main", "principal": alice, "address": room}
    return [
        *(Review("message_in", said, **who) for who in ({}, known)),
        *(Review("model_request", request, **who) for who in ({}, known)),
        *(Review("tool_call", call, **who, tool=spec) for who in ({}, known)),
        *(Review("tool_result", result, **who, tool=spec) for who in ({}, known)),
        *(Review("message_out", answer, **who) for who in ({}, known)),
        Review("tool_call", unreadable, tool=spec),
    ]


def identity(subject: object) -> tuple[object, ...]:
    return tuple(getattr(subject, name, None) for name in ("id", "call", "tool", "role"))
