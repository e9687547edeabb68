"""Policies that break a promise of decisions and bounds, and the check that finds each."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import trio

from fairlead import Finding, Message, ModelRequest, Review, Text, ToolCall, ToolResult, Verdict
from fairlead.errors import FairleadError

from .kit_policy import SECRET, HousePolicy
from .kit_policy_hashes import DrawsFromASet
from .kit_policy_mutants import DENIAL, UNSTEADY, PolicyMutant, Waiting, into, words_of

__all__ = ["DECISIONS", "LeavesFilesOpen"]

DECISIONS: list[PolicyMutant] = []
breaks = partial(into, DECISIONS)
breaks("other_processes_decide_alike", "in another process as well")(DrawsFromASet)


@breaks("same_review_gives_the_same_verdicts", "the same review gives", *UNSTEADY)
class CountsToSeven(HousePolicy):
    count = 0

    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        self.count += 1
        return super().judge_call(review, call) if self.count % 7 else (DENIAL,)


@breaks("equal_review_gives_the_same_verdicts", "the same review gives", *UNSTEADY)
class KnowsObjects(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        first = self.__dict__.setdefault("first", {})
        subject = review.subject
        known = first.setdefault((review.boundary, words_of(review), review.principal), subject)
        return super().judge(review) if known is subject else (DENIAL,)


@breaks("order_of_reviews_does_not_matter", "in any order", *UNSTEADY)
class RemembersTheLast(HousePolicy):
    last = ""

    def judge(self, review: Review) -> Sequence[Verdict]:
        before, self.last = self.last, review.boundary
        wrong = before == "message_out" and review.boundary == "message_in" and not review.session
        return (DENIAL,) if wrong else super().judge(review)


@breaks("number_of_reviews_does_not_matter", "each time")
class TiresOfIt(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        counts = self.__dict__.setdefault("counts", {})
        key = (review.boundary, words_of(review), review.principal)
        counts[key] = counts.get(key, 0) + 1
        return super().judge(review) if counts[key] < 90 else (DENIAL,)


@breaks("many_at_once_decide_alike", "also beside others", *UNSTEADY)
class HasOneDesk(Waiting):
    desk: Review

    async def review(self, review: Review) -> Sequence[Verdict]:
        self.desk = review
        await super().review(review)
        return [verdict for verdict in self.judge(self.desk) if verdict.effect != "revise"]


@breaks("order_of_keys_does_not_matter", "order of the arguments")
class LooksAtTheFirst(HousePolicy):
    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        first = next(iter(call.arguments), "path") if isinstance(call.arguments, dict) else "path"
        return (DENIAL,) if first == "a" else super().judge_call(review, call)


@breaks("ids_do_not_matter", "whatever its ids")
class DecidesById(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        subject = review.subject
        name = subject.call if isinstance(subject, ToolResult) else subject.id
        return (DENIAL,) if name[-1] in "13579bdf" and len(name) > 9 else super().judge(review)


@breaks("chance_does_not_decide", "no luck", "other_processes_decide_alike")
class DrawsLots(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return (DENIAL,) if random.getstate()[1][1] % 2 else super().judge(review)


@breaks("restart_decides_alike", "after a restart as well", *UNSTEADY)
class CountsItsStarts(HousePolicy):
    async def open(self) -> None:
        kept = self.directory / "starts"
        self.starts = len(kept.read_text()) if kept.exists() else 0
        kept.write_text("x" * (self.starts + 1))

    def judge(self, review: Review) -> Sequence[Verdict]:
        return (DENIAL,) if self.starts % 2 else super().judge(review)


@breaks("what_must_be_denied_is_denied", "more arguments open nothing")
class ExpectsOneArgument(HousePolicy):
    def is_private(self, call: ToolCall) -> bool:
        return super().is_private(call) and len(call.arguments) == 1


@breaks("narrower_settings_never_allow_more", "never allow more")
class OpensWhenItCloses(HousePolicy):
    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        if self.closed and call.tool == "write_file":
            return (Verdict("allow", "closed"),)
        return super().judge_call(review, call)


@breaks("less_authority_never_gets_more", "who may less")
class TrustsStrangers(HousePolicy):
    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        if call.tool == "shell" and review.principal is None:
            return (Verdict("allow", "nobody-is-no-stranger"),)
        return super().judge_call(review, call)


@breaks("two_policies_do_not_disturb_each_other", "whoever else is closed")
class SharesItsState(HousePolicy):
    shut: ClassVar[bool] = False

    async def open(self) -> None:
        type(self).shut = False

    async def close(self) -> None:
        type(self).shut = True

    def judge(self, review: Review) -> Sequence[Verdict]:
        return (DENIAL,) if self.shut else super().judge(review)


# -- bounds


class Slow(HousePolicy):
    """Takes its time."""

    immediate = False

    def seconds(self, review: Review) -> float:
        return 0.0

    async def review(self, review: Review) -> Sequence[Verdict]:
        await trio.sleep(self.seconds(review))  # real time: none, the clock jumps
        return self.judge(review)


@breaks(
    "review_ends_in_time",
    "a review ends",
    "rules_have_names_for_people",
    "revising_comes_to_an_end",
    "revised_subjects_can_be_written",
    "revised_requests_keep_calls_and_results_together",
    "revised_requests_offer_no_more_tools",
    "revised_messages_keep_their_author_and_calls",
    "revised_results_keep_their_error",
    "reviews_under_load_end_in_time",
    "cancelled_review_harms_no_other",
    "many_at_once_decide_alike",
)
class ThinksAboutQuotes(Slow):
    def seconds(self, review: Review) -> float:
        return 6.0 if '"quotes"' in words_of(review) or "'and'" in words_of(review) else 0.0


@breaks("reviews_under_load_end_in_time", "also under load")
class ServesOneAtATime(Slow):
    def __init__(self, directory: Path, *, closed: bool = False) -> None:
        super().__init__(directory, closed=closed)
        self.lock = trio.Lock()

    async def review(self, review: Review) -> Sequence[Verdict]:
        async with self.lock:
            await trio.sleep(0.3)  # real time: none, the clock jumps
            return self.judge(review)


@breaks("large_subjects_are_reviewed_in_time", "a review ends", "reasons_are_short")
class ReadsSlowly(Slow):
    def seconds(self, review: Review) -> float:
        return len(words_of(review)) / 30_000


@breaks("worst_patterns_are_reviewed_in_time", "a review ends")
class MatchesBrackets(Slow):
    def seconds(self, review: Review) -> float:
        return 1.01 ** min(words_of(review).count("("), 1000)


@breaks("immediate_policy_answers_without_a_loop", "never awaits", "review_ends_in_time")
class ClaimsToBeQuick(Waiting):
    immediate = True


@breaks("unknown_tools_are_reviewed", "also about what is odd", "reasons_hold_no_control_characters")
class ExpectsASpec(HousePolicy):
    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        if review.tool is None:
            raise FairleadError("no such tool")
        return super().judge_call(review, call)


@breaks("anybody_is_reviewed", "also about what is odd", "narrower_settings_never_allow_more")
class KnowsAFewRoles(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        if review.principal is not None and len(review.principal.roles) > 100:
            raise FairleadError("too many roles")
        return super().judge(review)


@breaks("any_kind_of_part_is_reviewed", "also about what is odd")
class ExpectsWords(HousePolicy):
    def revise(self, subject: Message | ToolResult) -> Message | ToolResult:
        if not isinstance(subject.parts[0], Text):
            raise TypeError("expected words")
        return super().revise(subject)


@breaks(
    "any_arguments_are_reviewed",
    "also about what is odd",
    "revising_changes_a_copy",
    "revised_subjects_can_be_written",
)
class ExpectsObjects(HousePolicy):
    def is_private(self, call: ToolCall) -> bool:
        if call.arguments == "null":
            raise TypeError("expected an object")
        return super().is_private(call)


@breaks("any_result_and_any_spec_is_reviewed", "also about what is odd")
class KnowsThreePlaces(HousePolicy):
    def judge_call(self, review: Review, call: ToolCall) -> Sequence[Verdict]:
        if review.tool is not None and review.tool.isolation == "kernel":
            raise KeyError("kernel")
        return super().judge_call(review, call)


@breaks(
    "conversations_are_reviewed",
    "also about what is odd",
    "immediate_policy_answers_without_a_loop",
    "revising_changes_a_copy",
    "revising_comes_to_an_end",
    "revised_subjects_can_be_written",
    "revised_requests_keep_calls_and_results_together",
    "revised_requests_offer_no_more_tools",
    "revised_messages_keep_their_author_and_calls",
    "revised_results_keep_their_error",
)
class ExpectsMessages(HousePolicy):
    def shorten(self, request: ModelRequest) -> ModelRequest:
        if any(isinstance(entry, ToolResult) for entry in request.history):
            raise TypeError("expected messages")
        return super().shorten(request)


@breaks("what_cannot_be_written_harms_nothing", "changes nothing")
class BreaksAtHalfCharacters(HousePolicy):
    broken = False

    def judge(self, review: Review) -> Sequence[Verdict]:
        try:
            words_of(review).encode("utf-8")
        except UnicodeEncodeError:
            self.broken = True
        except RecursionError:
            pass
        return (DENIAL,) if self.broken else super().judge(review)


@breaks("deep_arguments_harm_nothing", "changes nothing")
class BreaksInTheDeep(HousePolicy):
    broken = False

    def is_private(self, call: ToolCall) -> bool:
        try:
            json.dumps(call.arguments)
        except RecursionError:
            self.broken = True
        return self.broken or super().is_private(call)


@breaks("cancelled_reviews_leave_nothing_behind", "leaves nothing behind", *UNSTEADY)
class RemembersInterruptions(Waiting):
    begun = False

    async def review(self, review: Review) -> Sequence[Verdict]:
        await trio.lowlevel.checkpoint()
        if self.begun:
            return (DENIAL,)
        self.begun = True
        await trio.lowlevel.checkpoint()
        self.begun = False
        return self.judge(review)


@breaks("cancelled_review_harms_no_other", "the others get their answers")
class WaitsForTheFirst(HousePolicy):
    immediate = False
    first: trio.Event | None = None

    async def review(self, review: Review) -> Sequence[Verdict]:
        if self.first is not None:
            await self.first.wait()
            return self.judge(review)
        event = self.first = trio.Event()
        try:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
            event.set()
        finally:
            self.first = None
        return self.judge(review)


@breaks("check_answers_in_every_state", "reviews go on", "secrets_are_never_shown")
class IsTooBusyToTell(HousePolicy):
    asked = False

    async def review(self, review: Review) -> Sequence[Verdict]:
        self.asked = True
        return self.judge(review)

    async def check(self) -> Sequence[Finding]:
        if self.asked:
            raise FairleadError("reviews go on")
        return ()


@breaks("check_says_how_it_is", "says what and how")
class IsVague(HousePolicy):
    async def check(self) -> Sequence[Finding]:
        return [Finding("house", ok=True, detail="")]


@breaks("secrets_are_never_shown", "by nothing but `reveal`")
class ShowsItsSecret(HousePolicy):
    def __repr__(self) -> str:
        return f"HousePolicy(secret={SECRET!r})"


@breaks("making_has_no_effects_and_opening_can_be_repeated", "made without effects")
class WritesWhenItIsMade(HousePolicy):
    def __init__(self, directory: Path, *, closed: bool = False) -> None:
        super().__init__(directory, closed=closed)
        (directory / "lock").touch()


@breaks("closing_twice_is_safe", "already closed")
class ClosesOnce(HousePolicy):
    gone = False

    async def close(self) -> None:
        if self.gone:
            raise FairleadError("already closed")
        self.gone = True


@breaks("opening_and_closing_leaves_nothing_behind", "lets go of everything")
class LeavesFilesOpen(HousePolicy):
    leaked: ClassVar[list[int]] = []

    async def open(self) -> None:
        self.leaked.append(os.open(os.devnull, os.O_RDONLY))
