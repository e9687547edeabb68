"""Several people in one turn: nobody gains rights by company. What one of them may not do is not done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from attrs import evolve

from fairlead._message import Principal
from fairlead._policy import Decision
from fairlead._work import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead._events import MessageAccepted
    from fairlead._policy import PolicyEngine
    from fairlead._work import Review

    Authors = Sequence[Principal | None]

__all__ = ["authors_of", "decide_for_all", "together"]


def authors_of(messages: Sequence[MessageAccepted]) -> Authors:
    """Who speaks in the messages, each once. None is the host application."""
    found: list[Principal | None] = []
    for each in messages:
        found += [author for author in each.authors or (each.message.author,) if author not in found]
    return found


def together(authors: Authors) -> Principal | None:
    """For whom the tools of a turn work. Several people are one of their own, with the roles that all of them have.

    So what tools keep for one person is not read or written in a turn of several.
    """
    if len(authors) == 1:
        return authors[0]
    people = [author for author in authors if author is not None]
    ids = sorted({person.id for person in people})
    roles = tuple(role for role in people[0].roles if all(role in person.roles for person in people))
    names = dict.fromkeys(person.name or person.id for person in people)
    return Principal(ids[0] if len(ids) == 1 else f"company:{json.dumps(ids)}", ", ".join(names), roles)


async def decide_for_all(policy: PolicyEngine, review: Review, authors: Authors) -> Decision:
    """One decision for each author; the strongest counts: deny, ask, revise, allow.

    What is revised for one is reviewed again for all.
    """
    if len(authors) == 1:  # the engine itself reviews again what it has revised
        alone = review.principal is authors[0]
        return await policy.decide(review if alone else evolve(review, principal=authors[0]))
    subject = review.subject
    asked: Decision | None = None
    revised: Decision | None = None
    for _ in range(_ROUNDS):
        before = review.subject
        for author in authors:
            decision = await policy.decide(evolve(review, principal=author))
            if decision.effect == "deny":
                return evolve(decision, subject=subject)
            if decision.effect == "ask":
                asked = decision
            if decision.effect == "revise" or decision.subject != review.subject:
                revised, review = decision, evolve(review, subject=decision.subject)
        if review.subject is before:
            return evolve(asked or revised or decision, subject=before)
    return Decision("deny", _QUARREL, subject)


_ROUNDS = 4
_QUARREL = Verdict("deny", "default: the policies revise each other", reason="the policies do not settle")
