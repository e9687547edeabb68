"""The messages that a turn answers, those that join it while it runs, and what the policies say of all that it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from fairlead import _events as ev
from fairlead._company import authors_of, decide_for_all, together
from fairlead._modes import own_end
from fairlead._policy import refusal_of, rule_of
from fairlead._session import Running
from fairlead._work import Review
from fairlead.errors import VersionConflict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from fairlead._company import Authors
    from fairlead._message import Message
    from fairlead._policy import Decision
    from fairlead._session import Session
    from fairlead._tools import ToolEntry
    from fairlead._turn import Engine, Order
    from fairlead._work import Verdict

    Refused = tuple[ev.MessageAccepted, Verdict]

__all__ = ["Answering"]


class Answering(Running):
    """The side of a turn that faces the people."""

    id: str

    def __init__(self, engine: Engine, session: Session, order: Order) -> None:
        self._engine, self._session, self._order = engine, session, order
        self._agent = engine.agents.get(session.state.agent) or next(iter(engine.agents.values()))
        self._answers(order.messages)

    def _answers(self, messages: tuple[str, ...]) -> None:
        """Which messages the turn answers, and so whose it is."""
        self.messages = messages
        last = self._session.state.queue[messages[-1]]
        self._address, self._reply_to = last.address, last.external_id
        self._authors: Authors = (last.message.author,)
        self._principal = last.message.author
        if len(messages) > 1 or last.authors:
            self._authors = authors_of(self._accepted)
            self._principal = together(self._authors)

    @property
    def _accepted(self) -> list[ev.MessageAccepted]:
        queue = self._session.state.queue
        return [queue[message] for message in self.messages if message in queue]

    async def _let_in(self, arriving: Sequence[ev.MessageAccepted]) -> tuple[tuple[Message, ...], list[Refused]]:
        """Those of the messages that policies revise, and those that they refuse. Each is its own author's."""
        revised, refused = [], []
        for accepted in arriving:
            first = accepted.message
            review = evolve(self._review("message_in", first), principal=first.author)
            decision = await decide_for_all(self._engine.policy, review, authors_of((accepted,)))
            self._note_decision(decision, first.id, "message_in")
            if not decision.passes:
                refused.append((accepted, decision.verdict))
            elif decision.effect == "revise":
                revised.append(evolve(decision.subject, id=first.id, role="user", author=first.author, calls=()))
        return tuple(revised), refused

    def _turn_away(self, refused: Sequence[Refused]) -> None:
        """Let messages end by themselves, whose company goes on."""
        for accepted, verdict in refused:
            if accepted.message.id in self._session.state.queue:
                self._session.note(own_end(accepted, "refused", rule_of(verdict), refusal_of(verdict), self._now()))

    async def _arrivals(self) -> tuple[list[ev.MessageAccepted], tuple[Message, ...]]:
        """What has arrived meanwhile and may join, and what policies made of it. What they refuse ends by itself.

        `VersionConflict`: the turn has not begun, as the session has it now.
        """
        order, session = self._order, self._session
        joined = list(order.joining(session)) if order.joining is not None else []
        revised: tuple[Message, ...] = ()
        if joined and self._engine.policy.watches("message_in"):
            revised, refused = await self._let_in(joined)
            self._turn_away(refused)
            joined = [each for each in joined if each.message.id in session.state.queue]
        turn = session.state.turn
        if joined and (turn is None or turn.id != self.id or turn.messages != self.messages):
            raise VersionConflict("the session was read again meanwhile", session=session.state.id)
        return joined, revised

    def _join(self, joined: list[ev.MessageAccepted], revised: tuple[Message, ...]) -> None:
        names = tuple([each.message.id for each in joined])
        self._session.note(ev.TurnSteered(turn=self.id, messages=names, revised=revised, at=self._now()))
        self._answers((*self.messages, *names))
        if self._order.joined is not None:
            self._order.joined(joined[-1])

    def _now(self) -> float:
        return self._engine.clock()

    def _review(self, boundary: Any, subject: Any, entry: ToolEntry | None = None) -> Review:
        tool = entry.spec if entry is not None else None
        return Review(boundary, subject, self._session.state.id, self._agent.name, self._principal, self._address, tool)

    def _decide(self, boundary: Any, subject: Any, entry: ToolEntry | None = None) -> Awaitable[Decision]:
        return decide_for_all(self._engine.policy, self._review(boundary, subject, entry), self._authors)

    def _decided(self, decision: Decision, subject: str, boundary: Any) -> ev.Decided:
        verdict = decision.verdict
        return ev.Decided(
            turn=self.id,
            boundary=boundary,
            subject=subject,
            effect=decision.effect,
            rule=verdict.rule,
            layer=verdict.layer,
            policy=verdict.policy,
            reason=verdict.reason,
            at=self._now(),
        )

    def _note_decision(self, decision: Decision, subject: str, boundary: Any) -> None:
        if decision.effect != "allow" or decision.verdict.reason:  # an allowance that says why is worth a line
            self._session.note(self._decided(decision, subject, boundary))
