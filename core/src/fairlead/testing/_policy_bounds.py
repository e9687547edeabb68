"""What a policy promises of time, of odd and hostile subjects, and of being cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from fairlead._contracts import Policy
from fairlead._message import Message, Text, ToolCall, ToolResult
from fairlead._work import Finding, Review
from fairlead.testing._policy_base import REVIEW, SECONDS, PolicyBase, core_of
from fairlead.testing._policy_reviews import (
    SPEC,
    of_any_arguments,
    of_any_parts,
    of_any_results,
    of_anybody,
    of_anything_large,
    of_conversation,
    of_odd_tools,
    of_worst_patterns,
    sample_reviews,
)
from fairlead.testing._worker_kit import needs, promise, same, within

__all__ = ["BoundChecks"]

IMMEDIATE = "fairlead.Policy.immediate"
CHECK = "fairlead.Policy.check"
DEEP = 2000
"""Brackets: more than Python's recursion takes, less than a parser refuses."""
AT_ONCE = 20


class BoundChecks(PolicyBase):
    """Deadlines, hostile subjects, cancellation."""

    # -- time

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
                promise(not waited, "an immediate policy never awaits", IMMEDIATE, review)
                same(before, tuple(await policy.review(review)), "a cancelled review leaves nothing behind", REVIEW)

    async def test_reviews_under_load_end_in_time(self, tmp_path: Path) -> None:
        """Twenty sessions at once, each with all the reviews: each single one has `limits.review_seconds`."""
        slowest = 0.0
        async with self.opened(tmp_path) as policy:
            reviews = (await self.asked(policy))[:30]

            async def ask() -> None:
                nonlocal slowest
                for review in reviews:
                    began = trio.current_time()
                    await policy.review(review)
                    slowest = max(slowest, trio.current_time() - began)

            async with trio.open_nursery() as nursery:
                for _ in range(AT_ONCE):
                    nursery.start_soon(ask)
        promise(slowest <= SECONDS, f"a review ends in {SECONDS} s, also under load", "fairlead.Policy.review", slowest)

    async def test_large_subjects_are_reviewed_in_time(self, tmp_path: Path) -> None:
        """What a person can paste and a tool can give, a history of a thousand messages, three hundred tools."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_anything_large())

    async def test_worst_patterns_are_reviewed_in_time(self, tmp_path: Path) -> None:
        """Words that let careless regular expressions run for ever."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_worst_patterns())

    @needs("immediate")
    async def test_immediate_policy_answers_without_a_loop(self, tmp_path: Path) -> None:
        """`immediate`: the core keeps no clock for it, so not even a checkpoint is allowed."""
        async with self.opened(tmp_path) as policy:
            for review in await self.asked(policy, [*await self.reviews(), *of_conversation()]):
                promise(answers_at_once(policy, review), "an immediate policy never awaits", IMMEDIATE, review)

    # -- odd and hostile subjects

    async def test_unknown_tools_are_reviewed(self, tmp_path: Path) -> None:
        """Models invent names, and names that look like known ones; there is no spec then."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_odd_tools())

    async def test_anybody_is_reviewed(self, tmp_path: Path) -> None:
        """Nobody at all, an id that looks like two, a thousand roles; from nowhere, and from odd places."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_anybody())

    async def test_any_kind_of_part_is_reviewed(self, tmp_path: Path) -> None:
        """Pictures, files, data, several texts, and nothing."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_any_parts())

    async def test_any_arguments_are_reviewed(self, tmp_path: Path) -> None:
        """No object, no JSON, other types than the schema has: policies come before the tool."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_any_arguments())

    async def test_any_result_and_any_spec_is_reviewed(self, tmp_path: Path) -> None:
        """Each error, each effect, each place."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_any_results())

    async def test_conversations_are_reviewed(self, tmp_path: Path) -> None:
        """Requests with calls and results in their history, answers that call tools."""
        async with self.opened(tmp_path) as policy:
            await self.judge_all(policy, of_conversation())

    async def test_what_cannot_be_written_harms_nothing(self, tmp_path: Path) -> None:
        """Half characters and values of no JSON: an answer or an exception, in time, and then all is as before."""
        half = "hello \ud83d words"
        odd = [
            Review("message_in", Message("user", (Text(half),), id="m1")),
            Review("message_out", Message("assistant", (Text(half),), id="m2")),
            Review("tool_result", ToolResult("c1", "read_file", (Text(half),)), tool=SPEC),
            *(
                Review("tool_call", ToolCall("c1", "read_file", value), tool=SPEC)
                for value in ({"path": half}, {half: 1})
            ),
            Review("tool_call", ToolCall("c1", "read_file", {"path": float("nan")}), tool=SPEC),
        ]
        await self.harmless(tmp_path, odd)

    async def test_deep_arguments_harm_nothing(self, tmp_path: Path) -> None:
        """Deeper than recursion goes: an answer or an exception, in time, and then all is as before."""
        deep: Any = "/x"
        for _ in range(DEEP):
            deep = {"path": [deep]}
        await self.harmless(tmp_path, [Review("tool_call", ToolCall("c1", "read_file", deep), tool=SPEC)])

    async def harmless(self, tmp_path: Path, odd: Sequence[Review]) -> None:
        """Each has an end, and what is asked afterwards is answered as before."""
        async with self.opened(tmp_path) as policy:
            usual = await self.asked(policy, sample_reviews("hello"))
            before = [core_of(await policy.review(review)) for review in usual]
            for review in await self.asked(policy, odd):
                ends = within(SECONDS, "a review ends, whatever it is about", REVIEW)
                with ends, suppress(Exception):  # an exception counts as a denial
                    await policy.review(review)
            after = [core_of(await policy.review(review)) for review in usual]
        same(before, after, "what nobody can review changes nothing", REVIEW)

    # -- cancellation, and what doctor sees

    async def test_cancelled_reviews_leave_nothing_behind(self, tmp_path: Path) -> None:
        """Cancelled at each of the first turns of the scheduler, then asked again."""
        async with self.opened(tmp_path) as policy:
            for review in (await self.asked(policy))[::5]:
                before = core_of(await policy.review(review))
                for steps in range(6):
                    await cut_review(policy, review, steps)
                    after = core_of(await policy.review(review))
                    same(before, after, "a cancelled review leaves nothing behind", REVIEW)

    async def test_cancelled_review_harms_no_other(self, tmp_path: Path) -> None:
        """Others wait for the same lock, the same lookup, the same answer."""
        async with self.opened(tmp_path) as policy:
            for review in (await self.asked(policy))[::5]:
                before, seen = core_of(await policy.review(review)), list[object]()

                async def ask(review: Review = review, seen: list[object] = seen) -> None:
                    seen.append(core_of(await policy.review(review)))

                with within(SECONDS, "the others get their answers", REVIEW):
                    async with trio.open_nursery() as nursery:
                        for steps in range(4):
                            nursery.start_soon(cut_review, policy, review, steps)
                            nursery.start_soon(ask)
                same([before] * 4, seen, "a cancelled review harms no other", REVIEW)

    async def test_check_answers_in_every_state(self, tmp_path: Path) -> None:
        """Before the first review, beside others, and afterwards."""
        async with self.opened(tmp_path) as policy:
            await self.checked(policy)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(self.work, policy)
                    await trio.lowlevel.checkpoint()
                    await self.checked(policy)
            await self.checked(policy)

    async def checked(self, policy: Policy) -> None:
        """Doctor gets findings."""
        with within(10, "check() answers", CHECK):
            found: Sequence[object] = await policy.check()
        wrong = [one for one in found if not isinstance(one, Finding) or not (one.ok or one.next_step)]
        promise(not wrong, "check() gives findings, a bad one with its next_step", CHECK, wrong)


def answers_at_once(policy: Policy, review: Review) -> bool:
    """Whether the review is done in one step, without the event loop."""
    answer: Any = policy.review(review)
    if hasattr(answer, "__await__"):
        steps = answer.__await__()
        try:
            next(steps)
        except StopIteration:
            return True
        steps.close()
    return False


async def cut_review(policy: Policy, review: Review, steps: int) -> None:
    """Ask, and cancel it after so many turns of the scheduler."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cut)
            await policy.review(review)
            nursery.cancel_scope.cancel()
