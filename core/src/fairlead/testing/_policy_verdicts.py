"""What a policy promises of the form of its verdicts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from attrs import evolve

from fairlead._codec import unstructure
from fairlead._contracts import Policy
from fairlead._message import Message, Text, ToolCall, ToolResult, is_json, sound
from fairlead._work import Boundary, ModelRequest, Review, Verdict
from fairlead.testing._policy_base import EFFECTS, LAYERS, REVIEW, VERDICT, PolicyBase
from fairlead.testing._policy_reviews import (
    SPEC,
    gist,
    identity,
    of_any_arguments,
    of_anything_large,
    of_conversation,
    sample_reviews,
)
from fairlead.testing._worker_kit import promise, same

__all__ = ["VerdictChecks"]

BOUNDARIES, REASON, REVISED = "fairlead.Policy.boundaries", "fairlead.Verdict.reason", "fairlead.Verdict.revised"
ROUNDS = 3
"""Revisions of revisions, until nothing changes: the engine takes more for a quarrel."""
LONGEST_REASON = 4000
"""Characters. A reason is in words, for a person and for a model."""
STRANGE = "\x1b[2J\x07 \u202e\u2066 \x00 \r look"
"""Characters that move a cursor, or turn text around, where a reason is shown."""
PLACES = ("host", "process", "container", "kernel")


class VerdictChecks(PolicyBase):
    """Boundaries, verdicts, reasons and revisions."""

    # -- where it wants to be asked

    async def test_boundaries_are_declared(self, tmp_path: Path) -> None:
        """A policy is asked only where it wants to be, and the sample has a review for each of these places."""
        async with self.opened(tmp_path) as policy:
            declared = frozenset(policy.boundaries)
            same(declared, frozenset(policy.boundaries), "boundaries are fixed from open() on", BOUNDARIES)
        promise(declared <= {*get_args(Boundary)}, "they are among the five", BOUNDARIES, declared)
        covered = {review.boundary for review in await self.reviews()}
        promise(declared <= covered, "reviews() covers each of them", BOUNDARIES, declared - covered)

    async def test_boundaries_are_a_frozen_set(self, tmp_path: Path) -> None:
        """The engine reads them once: a set that grows later would be a promise that nobody hears."""
        async with self.opened(tmp_path) as policy:
            seen = policy.boundaries
        promise(isinstance(seen, frozenset), "boundaries are a frozenset", BOUNDARIES, type(seen))

    async def test_boundaries_stay_the_same(self, tmp_path: Path) -> None:
        """After reviews, and in another instance."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as policy:
                before = frozenset(policy.boundaries)
                await self.work(policy)
                same(before, policy.boundaries, "boundaries are fixed from open() on", BOUNDARIES)
            async with self.worker(tmp_path) as another:
                same(before, another.boundaries, "boundaries come from the settings alone", BOUNDARIES)

    async def test_flags_are_plain_and_stay(self, tmp_path: Path) -> None:
        """The engine reads `immediate` and `names_itself` when it likes."""
        source = "fairlead.Policy.immediate"
        async with self.opened(tmp_path) as policy:
            before = policy.immediate, policy.names_itself
            await self.work(policy)
            same(before, (policy.immediate, policy.names_itself), "they are fixed", source)
        promise(all(isinstance(each, bool) for each in before), "they are True or False", source, before)

    # -- verdicts

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

    async def test_answer_is_a_sequence(self, tmp_path: Path) -> None:
        """An abstention is an empty one: not None, and nothing that can be read only once."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                seen: object = await policy.review(review)
                promise(isinstance(seen, Sequence), "an abstention is an empty sequence", REVIEW, seen)

    async def test_verdicts_can_be_written(self, tmp_path: Path) -> None:
        """The journal keeps rule, reason and policy: they are Unicode text."""
        async with self.opened(tmp_path) as policy:
            for verdicts in [await policy.review(review) for review in await self.asked(policy)]:
                for verdict in verdicts:
                    texts: tuple[object, ...] = (verdict.rule, verdict.reason, verdict.policy)
                    right = all(isinstance(text, str) and sound(text) == text for text in texts)
                    promise(right, "rule, reason and policy can be written", VERDICT, verdict)

    async def test_verdicts_carry_no_other_policy(self, tmp_path: Path) -> None:
        """The engine fills in the name, unless the policy names itself: then it is its own."""
        source = "fairlead.Verdict.policy"
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                for verdict in await policy.review(review):
                    right = verdict.policy == policy.name or not (verdict.policy or policy.names_itself)
                    promise(right, f"a verdict names the policy {policy.name!r} or none", source, verdict)

    async def test_rules_have_names_for_people(self, tmp_path: Path) -> None:
        """On one line, at most 200 characters; not the text that was reviewed."""
        source = "fairlead.Verdict.rule"
        async with self.opened(tmp_path) as policy:
            for verdicts in await self.judge_all(policy, [*await self.reviews(), *sample_reviews(STRANGE)]):
                for verdict in verdicts:
                    right = verdict.rule.isprintable() and len(verdict.rule) <= 200  # noqa: PLR2004  # as it says
                    promise(right, "the name of a rule is one line of at most 200 characters", source, verdict)

    async def test_asks_only_about_tool_calls(self, tmp_path: Path) -> None:
        """An approval is bound to a call: anywhere else nobody could give it."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy):
                verdicts = await policy.review(review)
                wrong = review.boundary != "tool_call" and [one for one in verdicts if one.effect == "ask"]
                promise(not wrong, "it asks at tool_call alone", "fairlead.Verdict.effect", wrong)

    async def test_reasons_hold_no_control_characters(self, tmp_path: Path) -> None:
        """They are shown to people, as they are: what was reviewed must not move their cursor."""
        strange = [*sample_reviews(STRANGE), Review("tool_call", ToolCall("c1", STRANGE, {STRANGE: STRANGE}))]
        async with self.opened(tmp_path) as policy:
            for verdicts in await self.judge_all(policy, strange):
                for verdict in verdicts:
                    odd = [
                        char
                        for char in verdict.reason
                        if char not in "\n\t" and char in STRANGE and not char.isprintable()
                    ]
                    promise(not odd, "a reason has no control characters of what it is about", REASON, verdict)

    async def test_reasons_are_short(self, tmp_path: Path) -> None:
        """Also where the subject is long."""
        async with self.opened(tmp_path) as policy:
            for verdicts in await self.judge_all(policy, of_anything_large()):
                for verdict in verdicts:
                    size = len(verdict.reason)
                    promise(size <= LONGEST_REASON, f"a reason has at most {LONGEST_REASON} characters", REASON, size)

    # -- revisions

    async def revisions(self, policy: Policy, *, more: Sequence[Review] = ()) -> list[tuple[Review, Verdict]]:
        """Each revision of the sample, beside what it revises."""
        found = []
        for review in await self.asked(policy, [*await self.reviews(), *of_conversation(), *more]):
            found += [(review, one) for one in await self.judge(policy, review) if one.effect == "revise"]
        return found

    async def test_revising_comes_to_an_end(self, tmp_path: Path) -> None:
        """A revised subject is reviewed again: soon there is nothing more to revise."""
        async with self.opened(tmp_path) as policy:
            for review, verdict in await self.revisions(policy):
                current, last = review, verdict
                for _ in range(ROUNDS):
                    current = evolve(current, subject=last.revised or current.subject)
                    again = [one for one in await self.judge(policy, current) if one.effect == "revise"]
                    changed = [one for one in again if one.revised != current.subject]
                    if not changed:
                        break
                    last = changed[0]
                else:
                    promise(None, f"a revision settles within {ROUNDS} rounds", REVISED, last)

    async def test_revised_subjects_can_be_written(self, tmp_path: Path) -> None:
        """They go on into the journal, or to a model: Unicode, and JSON."""
        async with self.opened(tmp_path) as policy:
            for _, verdict in await self.revisions(policy, more=of_any_arguments()):
                text = "".join(map(str, gist(verdict.revised)))
                plain = isinstance(verdict.revised, ModelRequest) or is_json(unstructure(verdict.revised))
                promise(plain and sound(text) == text, "a revised subject can be written", REVISED, verdict)

    async def test_revised_requests_keep_calls_and_results_together(self, tmp_path: Path) -> None:
        """Providers refuse a history in which one of the two is missing."""
        async with self.opened(tmp_path) as policy:
            for review, verdict in await self.revisions(policy):
                if isinstance(verdict.revised, ModelRequest) and isinstance(review.subject, ModelRequest):
                    pairs = paired(verdict.revised)
                    promise(pairs, "a revised history has a result for each call", REVISED, verdict)

    async def test_revised_requests_offer_no_more_tools(self, tmp_path: Path) -> None:
        """Nor any in a weaker place: a revision narrows."""
        async with self.opened(tmp_path) as policy:
            for review, verdict in await self.revisions(policy):
                if isinstance(verdict.revised, ModelRequest) and isinstance(review.subject, ModelRequest):
                    floors = {spec.name: PLACES.index(spec.isolation) for spec in review.subject.tools}
                    wider = [
                        spec.name
                        for spec in verdict.revised.tools
                        if floors.get(spec.name, len(PLACES)) > PLACES.index(spec.isolation)
                    ]
                    promise(not wider, "a revised request offers no more tools", REVISED, wider)

    async def test_revised_messages_keep_their_author_and_calls(self, tmp_path: Path) -> None:
        """Whose words they are is no matter of form, and each call waits for its own result."""
        async with self.opened(tmp_path) as policy:
            for review, verdict in await self.revisions(policy):
                if isinstance(verdict.revised, Message) and isinstance(review.subject, Message):
                    before, after = (
                        (one.author, [(call.id, call.tool) for call in one.calls])
                        for one in (review.subject, verdict.revised)
                    )
                    same(before, after, "a revised message keeps its author and its calls", REVISED)

    async def test_revised_results_keep_their_error(self, tmp_path: Path) -> None:
        """What failed is not made to look as if it had not."""
        failed = [
            Review("tool_result", ToolResult("c1", "read_file", (Text("hello, these words"),), error), tool=SPEC)
            for error in ("failed", "denied", "unknown")
        ]
        async with self.opened(tmp_path) as policy:
            for review, verdict in await self.revisions(policy, more=failed):
                if isinstance(verdict.revised, ToolResult) and isinstance(review.subject, ToolResult):
                    right = verdict.revised.error or not review.subject.error
                    promise(right, "a revised result keeps its error", REVISED, verdict)

    async def test_revising_changes_a_copy(self, tmp_path: Path) -> None:
        """The subject is the journal's: arguments, history and options stay as they were."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy, [*of_conversation(), *of_any_arguments(), *sample_reviews("hello")]):
                before = copy.deepcopy(review)
                await self.judge(policy, review)
                same(before, review, "a policy leaves the subject alone", REVIEW)


def paired(request: ModelRequest) -> bool:
    """Whether each call of the history has its result after it, and each result its call before it."""
    waiting: list[str] = []
    for entry in request.history:
        if isinstance(entry, ToolResult):
            if entry.call not in waiting:
                return False
            waiting.remove(entry.call)
        else:
            if waiting:
                return False
            waiting = [call.id for call in entry.calls]
    return not waiting
