"""Policies that break a promise of boundaries, verdicts and revisions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import evolve

from fairlead import Message, ModelRequest, Review, Text, ToolCall, ToolResult, ToolSpec, Verdict

from .kit_policy import HousePolicy
from .kit_policy_mutants import UNSTEADY, PolicyMutant, into, words_of

__all__ = ["VERDICTS"]

VERDICTS: list[PolicyMutant] = []
breaks = partial(into, VERDICTS)


@breaks("boundaries_are_declared", "among the five")
class WantsAnotherPlace(HousePolicy):
    boundaries = frozenset({*HousePolicy.boundaries, "everywhere"})  # type: ignore[arg-type]  # that is the fault

    async def review(self, review: Review) -> Sequence[Verdict]:
        return self.judge(review)


@breaks("boundaries_are_a_frozen_set", "a frozenset")
class HasASet(HousePolicy):
    async def open(self) -> None:
        self.boundaries = set(HousePolicy.boundaries)  # type: ignore[assignment]  # that is the fault


@breaks("boundaries_stay_the_same", "fixed from open() on", *UNSTEADY)
class LosesInterest(HousePolicy):
    count = 0

    async def review(self, review: Review) -> Sequence[Verdict]:
        self.count += 1
        if self.count == 100:
            self.boundaries = HousePolicy.boundaries - {"message_out"}
        return self.judge(review)


@breaks("flags_are_plain_and_stay", "True or False")
class IsImmediateAsANumber(HousePolicy):
    immediate = 1  # type: ignore[assignment]  # that is the fault


@breaks("verdicts_are_well_formed", "one verdict a layer")
class SaysItTwice(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return [*super().judge(review)] * 2


@breaks("answer_is_a_sequence", "an empty sequence", "immediate_policy_answers_without_a_loop")
class Generates(HousePolicy):
    async def review(self, review: Review) -> Sequence[Verdict]:
        return (verdict for verdict in self.judge(review))  # type: ignore[return-value]  # that is the fault


@breaks("verdicts_can_be_written", "can be written")
class QuotesHalfACharacter(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return [evolve(verdict, reason="\ud83d") for verdict in super().judge(review)]


@breaks("verdicts_carry_no_other_policy", "names the policy")
class SpeaksForOthers(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return [evolve(verdict, policy="rules") for verdict in super().judge(review)]


@breaks("rules_have_names_for_people", "one line of at most 200")
class NamesRulesByWords(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return [evolve(verdict, rule=f"rule for {words_of(review)[:300]}") for verdict in super().judge(review)]


@breaks("asks_only_about_tool_calls", "at tool_call alone")
class AsksEverywhere(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        if review.boundary == "message_out" and review.principal is not None:
            return (Verdict("ask", "may-i"),)
        return super().judge(review)


@breaks("reasons_hold_no_control_characters", "no control characters")
class Quotes(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        words = words_of(review)[:100].encode("utf-8", "replace").decode()
        return [evolve(verdict, reason=f"because of {words}") for verdict in super().judge(review)]


@breaks("reasons_are_short", "at most 4000")
class QuotesAll(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        words = "".join(char for char in words_of(review) if char.isalnum() and char.isascii())
        return [evolve(verdict, reason=f"because of {words}") for verdict in super().judge(review)]


@breaks("revising_comes_to_an_end", "settles within")
class AddsAWord(HousePolicy):
    def clean(self, part: Text) -> Text:
        return evolve(part, text=f"{part.text}!")


@breaks("revised_subjects_can_be_written", "can be written")
class CutsCharacters(HousePolicy):
    def clean(self, part: Text) -> Text:
        return evolve(part, text=part.text.replace("hello", "\ud83d"))


@breaks("revised_requests_keep_calls_and_results_together", "a result for each call")
class CutsHistories(HousePolicy):
    def shorten(self, request: ModelRequest) -> ModelRequest:
        return evolve(super().shorten(request), history=request.history[-3:])


@breaks("revised_requests_offer_no_more_tools", "offers no more tools")
class AddsATool(HousePolicy):
    def shorten(self, request: ModelRequest) -> ModelRequest:
        names = {spec.name for spec in request.tools}
        more = () if "shell" in names else (ToolSpec("shell", "Runs anything.", isolation="host"),)
        return evolve(super().shorten(request), tools=(*request.tools, *more))


@breaks("revised_messages_keep_their_author_and_calls", "keeps its author")
class ForgetsTheAuthor(HousePolicy):
    def revise(self, subject: Message | ToolResult) -> Message | ToolResult:
        revised = super().revise(subject)
        return evolve(revised, author=None) if isinstance(revised, Message) else revised


@breaks("revised_results_keep_their_error", "keeps its error")
class ForgivesErrors(HousePolicy):
    def revise(self, subject: Message | ToolResult) -> Message | ToolResult:
        revised = super().revise(subject)
        return evolve(revised, error="") if isinstance(revised, ToolResult) else revised


@breaks("revising_changes_a_copy", "leaves the subject alone")
class TidiesPaths(HousePolicy):
    def is_private(self, call: ToolCall) -> bool:
        path = call.arguments.get("path") if isinstance(call.arguments, dict) else None
        if isinstance(path, list) and "/x" in path:
            path.sort(key=str)
            path.append("/z")
        return super().is_private(call)
