"""The promises of a policy."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import trio

from fairlead._contracts import Policy
from fairlead._message import Address, Message, Origin, Principal, Text, ToolCall, ToolResult
from fairlead._work import ModelRequest, Review, ToolSpec, Verdict
from fairlead.testing._fakes import EVERYWHERE
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, within

__all__ = ["PolicyConformance"]

REVIEW, VERDICT = "fairlead.Policy.review", "fairlead.Verdict"
EFFECTS = {"allow", "revise", "ask", "deny"}
LAYERS = {"app", "agent", "channel", "person"}
DEADLINE = 5.0
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
        promise(declared and declared <= EVERYWHERE, "some of the five are declared", source=source, seen=declared)
        covered = {review.boundary for review in await self.reviews()}
        promise(declared <= covered, "reviews() covers each of them", source=source, seen=declared - covered)

    async def test_verdicts_are_well_formed(self, tmp_path: Path) -> None:
        """Effect and layer from the list, a rule with a name, at most one verdict a layer."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                verdicts = await policy.review(review)
                layers = Counter(verdict.layer for verdict in verdicts)
                words = "at most one verdict a layer"
                promise(all(count == 1 for count in layers.values()), words, source=REVIEW, seen=verdicts)
                for verdict in verdicts:
                    promise(isinstance(verdict, Verdict), "it answers with verdicts", source=REVIEW, seen=verdict)
                    promise(verdict.effect in EFFECTS, "the effect is one of four", source=VERDICT, seen=verdict)
                    promise(verdict.layer in LAYERS, "the layer is one of four", source=VERDICT, seen=verdict)
                    promise(verdict.rule, "it names the rule that decided", source=VERDICT, seen=verdict)

    async def test_revision_is_of_the_same_kind(self, tmp_path: Path) -> None:
        """``revise`` alone brings the subject as it may pass; calls and results keep their id."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                for verdict in await policy.review(review):
                    wanted = type(review.subject) if verdict.effect == "revise" else type(None)
                    right = type(verdict.revised) is wanted
                    promise(right, "revised goes with revise alone, and is of its kind", source=VERDICT, seen=verdict)
                    if isinstance(verdict.revised, ToolCall | ToolResult):
                        kept = _identity(verdict.revised) == _identity(review.subject)
                        promise(kept, "a revision keeps call and tool", source=VERDICT, seen=verdict)

    async def test_same_review_gives_the_same_verdicts(self, tmp_path: Path) -> None:
        """Asked again, in the other order, by another instance: it keeps no count of what it saw."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as policy:
                reviews = await self.asked(policy)
                first = [tuple(await policy.review(review)) for review in reviews]
                second = [tuple(await policy.review(review)) for review in reversed(reviews)][::-1]
            async with self.worker(tmp_path) as another:
                third = [tuple(await another.review(review)) for review in reviews]
        promise(first == second == third, "the same review gives the same verdicts", source=REVIEW, seen=first)

    async def test_reviews_at_once_do_not_mix(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time."""
        async with self.opened(tmp_path) as policy:
            reviews = await self.asked(policy)
            alone = [tuple(await policy.review(review)) for review in reviews]
            together: dict[int, tuple[Verdict, ...]] = {}

            async def ask(place: int) -> None:
                together[place] = tuple(await policy.review(reviews[place]))

            async with trio.open_nursery() as nursery:
                for place in range(len(reviews)):
                    nursery.start_soon(ask, place)
        seen = [together[place] for place in range(len(reviews))]
        promise(alone == seen, "reviews at once have the verdicts they have alone", source=REVIEW, seen=seen)

    async def test_review_ends_in_time(self, tmp_path: Path) -> None:
        """No answer in time is a denial: each review, also of long text, has all of the default limit to itself."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                with within(DEADLINE, f"a review ends in {DEADLINE} s", source=REVIEW):
                    await policy.review(review)

    async def test_subject_is_left_alone(self, tmp_path: Path) -> None:
        """A policy answers with a revision; it changes nothing by itself."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                before = copy.deepcopy(review)
                await policy.review(review)
                promise(before == review, "a policy leaves the subject alone", source=REVIEW, seen=review)

    async def test_cancelled_review_lets_go(self, tmp_path: Path) -> None:
        """A turn that is cancelled does not wait for its policies, and the next review has its verdicts."""
        async with self.opened(tmp_path) as policy:
            review = (await self.asked(policy))[0]
            before = tuple(await policy.review(review))
            with within(1, "a cancelled review lets go at once", source=REVIEW), trio.CancelScope() as scope:
                scope.cancel()
                await policy.review(review)
            after = tuple(await policy.review(review))
        promise(before == after, "a cancelled review leaves nothing behind", source=REVIEW, seen=(before, after))


def sample_reviews(text: str) -> list[Review]:
    """A review for each boundary about that text, with a known person and with nobody."""
    said = Message("user", (Text(text, Origin("channel", "kit", "kit:alice")),), id="m1")
    answer = Message("assistant", (Text(text, Origin("provider", "kit")),), id="m2")
    call = ToolCall("c1", "read_file", {"path": text}, Origin("provider", "kit"))
    result = ToolResult("c1", "read_file", (Text(text, Origin("tool", "read_file")),))
    spec = ToolSpec("read_file", "Reads a file.", effect="read", isolation="host")
    request = ModelRequest("script", (said,), "Be brief.", (spec,), "s1", id="r1")
    alice, room = Principal("kit:alice", "Alice", ("admin",)), Address("kit", "bot", "room")
    unreadable = ToolCall("c2", "read_file", text, Origin("provider", "kit"))
    return [
        Review("message_in", said, "s1", "main", alice, room),
        Review("model_request", request, "s1", "main", alice, room),
        Review("tool_call", call, "s1", "main", alice, room, spec),
        Review("tool_result", result, "s1", "main", alice, room, spec),
        Review("message_out", answer, "s1", "main", alice, room),
        Review("message_in", said),
        Review("model_request", request),
        Review("tool_call", call, tool=spec),
        Review("tool_call", unreadable, tool=spec),
        Review("tool_result", result, tool=spec),
        Review("message_out", answer),
    ]


def _identity(subject: object) -> tuple[str, str] | None:
    if isinstance(subject, ToolCall):
        return subject.id, subject.tool
    return (subject.call, subject.tool) if isinstance(subject, ToolResult) else None
