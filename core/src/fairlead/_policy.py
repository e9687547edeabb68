"""The policy engine: asks the policies at a boundary and makes one decision of their verdicts.

Strength: deny > ask > revise > allow. A tool call needs a grant of the app layer, an allow or an ask; everything else
passes where nobody objects. Lower layers (agent, channel, person) narrow: what they allow or ask never grants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import trio
from attrs import evolve, frozen

from fairlead._contracts import Policy
from fairlead._leaf import own_fault, said
from fairlead._message import sound
from fairlead._work import Review, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fairlead._message import Usage
    from fairlead._work import Boundary

__all__ = ["Decision", "Explanation", "PolicyEngine", "denial_of", "refusal_of", "rule_of"]

_STRENGTH = {"deny": 3, "ask": 2, "revise": 1, "allow": 0}
_GRANTS = ("allow", "ask")
_LAYERS = ("app", "agent", "channel", "person")
_ROUNDS = 4
"""How often policies may revise one subject before it counts as a quarrel."""

_UNOPPOSED = Verdict("allow", "default: nobody objects")
_GRANTED = Verdict("allow", "host: the application supplied this tool")
_NOT_ALLOWED = Verdict(
    "deny", "default: no policy of the app layer allows this tool", reason="no rule allows this tool"
)


@frozen
class Decision:
    """What results at a boundary."""

    effect: Literal["allow", "revise", "ask", "deny"]
    verdict: Verdict
    """The one that decided: its rule, layer and policy."""
    subject: Any
    """As it may pass, after ``ask`` once it is approved; after ``deny``, as it was."""

    @property
    def passes(self) -> bool:
        return self.effect in ("allow", "revise")


@frozen
class Explanation:
    """A decision with everything that was said, for people."""

    verdict: Verdict
    verdicts: tuple[Verdict, ...]


def _unheard(subject: str, detail: str) -> None:
    """Where an engine's notices go that nobody listens to."""


class PolicyEngine:
    """The policies of one app, in the configured order."""

    def __init__(
        self,
        policies: Sequence[Policy],
        *,
        granted: frozenset[str] = frozenset(),
        seconds: float = 5.0,
        notice: Callable[[str, str], None] = _unheard,
    ) -> None:
        """`granted`: names of tools that the host application itself supplied."""
        self._at: dict[str, tuple[Policy, ...]] = {}
        for policy in policies:
            for boundary in policy.boundaries:
                self._at[boundary] = (*self._at.get(boundary, ()), policy)
        asked = self._at.get("model_request", ())
        self._settlers = tuple(policy for policy in asked if type(policy).settle is not Policy.settle)
        self._granted, self._seconds, self._notice = granted, seconds, notice

    def watches(self, boundary: Boundary) -> bool:
        """Whether any policy wants to be asked there."""
        return boundary in self._at

    async def decide(self, review: Review) -> Decision:
        """One decision about one crossing. Never raises for what policies do: their errors deny."""
        policies = self._at.get(review.boundary)
        if policies is None:
            return _settle(self._default(review), review, revised=False)
        if all(policy.immediate for policy in policies):
            return await self._rounds(policies, review)
        decision = None
        with trio.move_on_after(self._seconds):
            decision = await self._rounds(policies, review)
        if decision is None:
            late = Verdict("deny", "default: no answer in time", reason=f"the policies took over {self._seconds:g} s")
            self._notice("policies", f"no decision at {review.boundary} within {self._seconds:g} s")
            return _settle(late, review, revised=False)
        return decision

    async def explain(self, review: Review) -> Explanation:
        """The decision and every verdict, without any revision applied."""
        verdicts: list[Verdict] = []
        for policy in self._at.get(review.boundary, ()):
            verdicts.extend(await self._ask(policy, review))
        decision = await self.decide(review)
        return Explanation(decision.verdict, tuple(verdicts))

    async def settle(self, review: Review, usage: Usage | None, *, but: str = "") -> None:
        """Tell the policies that keep an account what a model request used. Never raises for what they do.

        `but`: the one that denied it.
        """
        for policy in self._settlers:
            if but and policy.name == but:
                continue
            try:
                with trio.move_on_after(self._seconds, shield=True) as scope:
                    await policy.settle(review, usage)
                fault = "took too long" if scope.cancelled_caught else ""
            except BaseException as error:  # noqa: BLE001  # what was used is used, whatever a policy makes of it
                fault = said(await own_fault(error))
            if fault:
                self._notice(f"policies/{policy.name}", f"settle failed: {fault}")

    async def _rounds(self, policies: tuple[Policy, ...], review: Review) -> Decision:
        last: Verdict | None = None
        for _ in range(_ROUNDS):
            strongest, granted, change = await self._strongest(policies, review)
            if strongest is None or strongest.effect == "allow":
                outcome = granted or self._default(review)
                if outcome.effect == "deny" or last is None:
                    return _settle(outcome, review, revised=False)
                return _settle(last, review, revised=True)
            if strongest.effect == "ask" and granted is None and self._default(review).effect == "deny":
                strongest = _NOT_ALLOWED  # what no approval could grant is not asked for
            if change is None or strongest.effect == "deny":
                return _settle(strongest, review, revised=False)
            last = change  # also below an ask: what is approved is what will run
            review = evolve(review, subject=change.revised or review.subject)
        quarrel = Verdict("deny", "default: the policies revise each other", reason="the policies do not settle")
        return _settle(quarrel, review, revised=False)

    async def _strongest(
        self, policies: tuple[Policy, ...], review: Review
    ) -> tuple[Verdict | None, Verdict | None, Verdict | None]:
        """The strongest verdict, the first grant of the app layer, and the strongest that changes something."""
        strongest: Verdict | None = None
        granted: Verdict | None = None
        change: Verdict | None = None
        rank = best = -1
        for policy in policies:
            for verdict in await self._ask(policy, review):
                effect = verdict.effect
                if granted is None and effect in _GRANTS and verdict.layer == "app":
                    granted = verdict
                if effect == "revise" and verdict.revised == review.subject:
                    continue  # satisfied: this round it has nothing to change
                mine = _STRENGTH[effect] * 4 + 3 - _LAYERS.index(verdict.layer)
                if mine > rank:
                    strongest, rank = verdict, mine
                if effect == "revise" and mine > best:
                    change, best = verdict, mine
        return strongest, granted, change

    async def _ask(self, policy: Policy, review: Review) -> Sequence[Verdict]:
        try:
            verdicts = tuple(await policy.review(review))  # a generator can be read only once
            for verdict in verdicts:
                _check(verdict, review)
        except BaseException as error:  # noqa: BLE001  # whatever a policy raises is a denial
            self._notice(f"policies/{policy.name}", f"failed at {review.boundary}: {said(await own_fault(error))}")
            return (Verdict("deny", "default: the policy failed", reason="a policy failed", policy=policy.name),)
        if not policy.names_itself:
            return [verdict if verdict.policy else evolve(verdict, policy=policy.name) for verdict in verdicts]
        return verdicts

    def _default(self, review: Review) -> Verdict:
        if review.boundary != "tool_call":
            return _UNOPPOSED
        return _GRANTED if review.subject.tool in self._granted else _NOT_ALLOWED  # type: ignore[union-attr]  # the subject of a tool_call is a ToolCall


def _check(verdict: Verdict, review: Review) -> None:
    """`TypeError`: the engine, the journal or the next boundary could do nothing with it."""
    effect = verdict.effect
    if effect not in _STRENGTH or verdict.layer not in _LAYERS:
        raise TypeError(f"rule {verdict.rule!r} has the effect {effect!r} in the layer {verdict.layer!r}")
    text = verdict.rule + verdict.reason + verdict.policy  # once: this is on the path of every call
    if type(text) is not str or not (text.isascii() or sound(text) is text):
        raise TypeError(f"expected text that can be written, found {text!r}")
    if effect == "revise" and type(verdict.revised) is not type(review.subject):
        found = type(verdict.revised).__name__
        raise TypeError(f"rule {verdict.rule!r} revised a {type(review.subject).__name__} into a {found}")


def refusal_of(verdict: Verdict) -> str:
    """Why a message goes no further, in words for its sender."""
    return f"This was refused by {verdict.rule!r}" + (f": {verdict.reason}" if verdict.reason else ".")


def denial_of(decision: Decision) -> str:
    """Why something does not pass, in words for the model and the sender."""
    verdict = decision.verdict
    if decision.effect == "ask":
        return f"Rule {verdict.rule!r} asks for an approval, which can be given for calls of tools only."
    if not verdict.policy:  # no rule that somebody wrote: the engine's own default
        return f"Denied: {verdict.reason or verdict.rule}."
    return f"Denied by rule {verdict.rule!r} of layer {verdict.layer!r}." + (
        f" {verdict.reason}" if verdict.reason else ""
    )


def _settle(verdict: Verdict, review: Review, *, revised: bool) -> Decision:
    return Decision("revise" if revised else verdict.effect, verdict, review.subject)


def rule_of(verdict: Verdict) -> str:
    return f"{verdict.layer}:{verdict.rule}"
