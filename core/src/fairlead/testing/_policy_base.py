"""What the checks of a policy are written with: the hooks that authors override, and asking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fairlead._contracts import Policy
from fairlead._policy import PolicyEngine
from fairlead._work import Review, Verdict
from fairlead.testing._policy_reviews import gist, identity, sample_reviews
from fairlead.testing._worker_kit import HOSTILE_TEXTS, LifeConformance, promise, within

__all__ = ["EFFECTS", "IMPORTABLE", "LAYERS", "REVIEW", "SECONDS", "STRENGTH", "VERDICT", "PolicyBase", "core_of"]

REVIEW, VERDICT = "fairlead.Policy.review", "fairlead.Verdict"
EFFECTS = {"allow", "revise", "ask", "deny"}
LAYERS = {"app", "agent", "channel", "person"}
STRENGTH = {"deny": 3, "ask": 2, "revise": 1, "allow": 0}
"""What beats what, as in the engine."""
IMPORTABLE = "a class outside of functions"
"""What another process needs to find it."""
SECONDS = 5
"""`limits.review_seconds` of the default configuration."""


class PolicyBase(LifeConformance[Policy]):
    """The hooks. `PolicyConformance` lists them."""

    async def reviews(self) -> Sequence[Review]:
        """Override to add reviews on which your policy decides.

        As it is: each boundary, with harmless and hostile words, with and without a known person.
        """
        return [review for text in ("hello", *HOSTILE_TEXTS) for review in sample_reviews(text)]

    async def denied(self) -> Sequence[Review]:
        """Override: reviews that this policy must deny."""
        raise NotImplementedError

    async def make_narrower(self, tmp_path: Path) -> Policy:
        """Override: as `make_worker`, with one rule more that denies or asks, or with less allowed."""
        raise NotImplementedError

    async def lesser(self) -> Sequence[tuple[Review, Review]]:
        """Override: pairs that differ in authority alone; the second has less: a stranger, a wider path, no role."""
        raise NotImplementedError

    async def asked(self, policy: Policy, reviews: Iterable[Review] | None = None) -> list[Review]:
        """Those of the reviews (of `reviews()` without any) that the core would ask this policy about."""
        given = await self.reviews() if reviews is None else reviews
        return [review for review in given if review.boundary in policy.boundaries]

    async def has(self, name: str, tmp_path: Path) -> bool:
        """A hook that is overridden; or the policy declares it; or another process can find this class."""
        if name == "immediate":
            async with self.far_side(tmp_path):
                return bool((await self.make_worker(tmp_path)).immediate)
        if name == IMPORTABLE:
            return "<locals>" not in type(self).__qualname__
        return await super().has(name, tmp_path)

    def why_not(self, name: str) -> str:
        """In words."""
        return "this class stands inside a function" if name == IMPORTABLE else super().why_not(name)

    async def judge(self, policy: Policy, review: Review) -> tuple[Verdict, ...]:
        """The verdicts, which come in time, without an exception, and are well formed."""
        seen: Any = "no answer"
        with within(SECONDS, "a review ends", REVIEW):
            try:
                seen = tuple(await policy.review(review))
            except Exception as error:  # noqa: BLE001  # whatever it is, it is no answer
                seen = error
        right = isinstance(seen, tuple) and all(isinstance(one, Verdict) for one in seen)
        promise(right, "a review answers with verdicts, also about what is odd", REVIEW, (seen, review))
        verdicts: tuple[Verdict, ...] = seen
        fault = next(filter(None, (fault_of(verdict, review) for verdict in verdicts)), "")
        promise(not fault, f"a verdict is well formed: {fault}", VERDICT, verdicts)
        return verdicts

    async def judge_all(self, policy: Policy, reviews: Iterable[Review]) -> list[tuple[Verdict, ...]]:
        """The same for many, one after the other."""
        return [await self.judge(policy, review) for review in await self.asked(policy, reviews)]

    async def decide(self, policies: Sequence[Policy], review: Review) -> str:
        """What results of all of them: ``deny``, ``ask``, ``revise`` or ``allow``."""
        return (await PolicyEngine(policies).decide(review)).effect

    async def work(self, worker: Policy) -> list[object]:
        """Review everything."""
        return [verdict for review in await self.asked(worker) for verdict in await worker.review(review)]


def fault_of(verdict: Verdict, review: Review) -> str:
    """What is wrong with a verdict, or nothing."""
    if verdict.effect not in EFFECTS or verdict.layer not in LAYERS:
        return "effect and layer are of the list"
    if not verdict.rule:
        return "it names the rule that decided"
    wanted = type(review.subject) if verdict.effect == "revise" else type(None)
    if type(verdict.revised) is not wanted:
        return "revised goes with revise alone, and is of its kind"
    if verdict.revised is not None and identity(verdict.revised) != identity(review.subject):
        return "a revision keeps the id, the call and the tool"
    return ""


def core_of(verdicts: Iterable[Verdict]) -> list[tuple[Any, ...]]:
    """What was decided, without ids."""
    return [
        (verdict.effect, verdict.rule, verdict.layer, verdict.reason, gist(verdict.revised)) for verdict in verdicts
    ]
