"""The gate before a model: policies review each single request, and learn what it used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from fairlead._company import decide_for_all
from fairlead._message import Usage, new_id
from fairlead._policy import denial_of, rule_of
from fairlead.errors import TurnFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from fairlead._company import Authors
    from fairlead._policy import Decision, PolicyEngine
    from fairlead._work import ModelInfo, ModelRequest, Review

__all__ = ["Gate"]


class Gate:
    """Of one step of a turn, which may ask several models."""

    def __init__(
        self, policy: PolicyEngine, blank: Review, authors: Authors, note: Callable[[Decision, str, Any], None]
    ) -> None:
        """`blank`: a review of the turn, with any subject."""
        self._policy, self._blank, self._authors, self._note = policy, blank, authors, note
        self._passed: Review | None = None

    async def admit(self, request: ModelRequest, provider: str, info: ModelInfo | None) -> ModelRequest:
        """The request as it may be sent. `TurnFailed`: a policy denies it."""
        if self._passed is not None:  # one request is one crossing, with an id of its own
            request = evolve(request, id=new_id())
        review = evolve(self._blank, subject=request, provider=provider, model=info)
        decision: Decision | None = None
        try:
            decision = await decide_for_all(self._policy, review, self._authors)
        finally:
            if decision is None or not decision.passes:  # whoever let it pass learns that it was not sent
                alone = decision is not None and len(self._authors) == 1
                await self._tell(review, Usage(), but=decision.verdict.policy if decision is not None and alone else "")
        self._note(decision, request.id, "model_request")
        if not decision.passes:
            raise TurnFailed(denial_of(decision), session=review.session, reason=f"policy:{rule_of(decision.verdict)}")
        if decision.effect == "revise":
            request = evolve(decision.subject, id=request.id)
        self._passed = evolve(review, subject=request)
        return request

    async def settle(self, usage: Usage | None) -> None:
        """Tell what the request used that was admitted last; each author's account hears of it."""
        assert self._passed is not None, "only what was admitted is settled"
        await self._tell(self._passed, usage)

    async def _tell(self, review: Review, usage: Usage | None, but: str = "") -> None:
        for author in self._authors:
            await self._policy.settle(evolve(review, principal=author), usage, but=but)
