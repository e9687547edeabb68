"""What the policies share that break one promise each."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from attrs import frozen

from fairlead import ModelRequest, Review, Text, ToolCall, Verdict

from .kit_policy import HousePolicy

__all__ = ["DENIAL", "UNSTEADY", "PolicyMutant", "Waiting", "into", "words_of"]

UNSTEADY = (
    "same_review_gives_the_same_verdicts",
    "equal_review_gives_the_same_verdicts",
    "order_of_reviews_does_not_matter",
    "number_of_reviews_does_not_matter",
    "many_at_once_decide_alike",
    "ids_do_not_matter",
    "chance_does_not_decide",
    "restart_decides_alike",
    "other_processes_decide_alike",
    "two_policies_do_not_disturb_each_other",
    "review_ends_in_time",
    "cancelled_reviews_leave_nothing_behind",
    "cancelled_review_harms_no_other",
    "order_of_keys_does_not_matter",
    "less_authority_never_gets_more",
    "what_must_be_denied_is_denied",
    "what_cannot_be_written_harms_nothing",
    "deep_arguments_harm_nothing",
    "narrower_settings_never_allow_more",
)
"""Who does not decide alike is found in many ways."""


@frozen
class PolicyMutant:
    """`words`: of the promise that is then broken. `also`: the checks that may see it too."""

    check: str
    words: str
    make: Callable[[Path], HousePolicy]
    also: frozenset[str]


P = type[HousePolicy]


def into(mutants: list[PolicyMutant], check: str, words: str, *also: str) -> Callable[[P], P]:
    def add(cls: P) -> P:
        mutants.append(PolicyMutant(f"test_{check}", words, cls, frozenset(f"test_{name}" for name in also)))
        return cls

    return add


def words_of(review: Review) -> str:
    subject = review.subject
    if isinstance(subject, ToolCall):
        return (
            json.dumps(subject.arguments, ensure_ascii=False, sort_keys=True)
            if len(str(subject.arguments)) < 10**6
            else ""
        )
    parts = subject.instructions if isinstance(subject, ModelRequest) else subject.parts
    return parts if isinstance(parts, str) else "".join(part.text for part in parts if isinstance(part, Text))


DENIAL = Verdict("deny", "odd", reason="it is odd")


class Waiting(HousePolicy):
    """Takes a few turns of the scheduler."""

    immediate = False

    async def review(self, review: Review) -> Sequence[Verdict]:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        return self.judge(review)
