"""The side of a turn that asks the model: the request, room for it in the model's window, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from fairlead import _events as ev
from fairlead._answering import Answering
from fairlead._gate import Gate
from fairlead._leaf import said
from fairlead._message import Text
from fairlead._work import Delta, ModelRequest
from fairlead.errors import ContextOverflow, ProviderError, TurnFailed, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairlead._models import Answered, Link
    from fairlead._session import Session
    from fairlead._turn import Engine, Order
    from fairlead._work import Emit

__all__ = ["Asking"]


class Asking(Answering):
    """The side of a turn that faces the model."""

    def __init__(self, engine: Engine, session: Session, order: Order) -> None:
        super().__init__(engine, session, order)
        self._tools = engine.tools.specs(self._agent)
        self._steps = 0
        """Answers that the turn had when the model was last asked."""
        self._probed: set[str] = set()
        """Providers that rest, and that this turn has asked all the same."""

    async def _ask_model(self) -> Answered:
        order, engine, session = self._order, self._engine, self._session
        self._steps = session.state.turn.steps if session.state.turn is not None else 0
        try:
            chain = engine.models.resolve(order.model or self._agent.model)
        except Exception as error:
            raise TurnFailed(str(error), session=session.state.id, turn=self.id, reason="provider") from error
        try:
            if engine.compactor.looks(session.state):
                await self._make_room(chain)
            try:
                answered = await self._ask(chain, self._request(chain[0]), self._emit, widen=False)
            except ContextOverflow as overflow:  # room in this window first, a larger one second
                known = None if await self._make_room(chain, overflow) else overflow.limit or 0
                answered = await self._ask(chain, self._request(chain[0]), self._emit, too_small=known)
            return answered.without(session.state.called)
        except ProviderError as error:
            text = f"No model could answer: {error.problem}"
            if isinstance(error, ContextOverflow):
                text += " Nothing more can be left out: begin a new session, or take a model with a larger window."
            raise TurnFailed(text, session=session.state.id, turn=self.id, reason="provider") from error

    def _request(self, link: Link) -> ModelRequest:
        """As it goes to the first link, so that asking it copies nothing."""
        ref, session = link.ref, self._session.state
        return ModelRequest(
            ref.model,
            session.history,
            self._agent.instructions,
            self._tools,
            session.id,
            ref.credential,
            self._order.output_schema,
            options=ref.options,
        )

    async def _make_room(self, chain: Sequence[Link], overflow: ContextOverflow | None = None) -> bool:
        """Compact the session where it must be. False where nothing changed."""
        limit, forced = (overflow.limit, True) if overflow is not None else (None, False)
        made = await self._engine.compactor.make(self._session.state, chain, self._ask, forced=forced, limit=limit)
        if made is not None:
            await self._append(made)
        return made is not None

    async def _ask(
        self, chain: Sequence[Link], request: ModelRequest, emit: Emit | None = None, **more: Any
    ) -> Answered:
        """Ask a chain, past the policies."""
        policy, gate = self._engine.policy, None
        if policy.watches("model_request"):
            gate = Gate(policy, self._review("model_request", request), self._authors, self._note_decision)
        return await self._engine.models.generate(
            chain, request, emit or self._tick, self._note_failure, gate, self._probed, **more
        )

    async def _tick(self, _: Delta) -> None:
        """Nobody is shown a summary; but it goes on."""
        self.moves += 1

    async def _emit(self, delta: Delta) -> None:
        self.moves += 1
        # Words may be shown while they come only where no policy wants to see the whole answer first.
        if self._order.emit is not None and not self._engine.policy.watches("message_out"):
            await self._order.emit(delta)

    def _note_failure(self, link: Link, error: BaseException, partial: str) -> None:
        detail = error.problem if isinstance(error, ProviderError) else ""
        self._session.note(
            ev.ModelFailed(
                turn=self.id,
                provider=link.ref.provider,
                model=link.ref.model,
                error=type(error).__name__,
                detail=detail,
                partial=partial,
                credential=link.ref.credential,
                at=self._now(),
            )
        )
        if not isinstance(error, ProviderError):
            self._engine.notice(f"providers/{link.ref.provider}", f"raised {said(error)}")

    def _answered_event(self, answered: Answered) -> ev.ModelAnswered:
        return ev.ModelAnswered(
            turn=self.id,
            message=answered.message,
            provider=answered.provider,
            model=answered.model,
            usage=answered.usage,
            finish=answered.finish,
            at=self._now(),
        )

    def _fault(self, answered: Answered) -> str:
        """Why the answer will not do, in words for the model."""
        message = answered.message
        first = message.parts[0] if message.parts else None
        if first is None or not (message.text.strip() or len(message.parts) > 1 or not isinstance(first, Text)):
            return "Your answer was empty. Answer the last message, or use a tool."
        return self._order.accept(message.text) if self._order.accept is not None else ""

    async def _append(self, *happened: ev.Event, own: bool = True) -> None:
        """Append, after others too. `VersionConflict`: `own` events have no place, as the turn is open no more."""
        session = self._session
        for last in (False, False, False, True):
            if session.stale:
                await session.reload()
            if not own:
                happened = tuple([_of_known(event, session.state.queue) for event in happened])
            elif not self._fit(happened):
                raise VersionConflict(f"turn {self.id!r} went on elsewhere", session=session.state.id)
            try:
                return await session.append(*happened)
            except VersionConflict:
                if last:
                    raise
        return None

    def _fit(self, happened: Sequence[ev.Event]) -> bool:
        if isinstance(happened[0], ev.ModelAnswered):  # what follows it has no place before it
            return self._fits(happened[0])
        return all(map(self._fits, happened))

    def _fits(self, event: ev.Event) -> bool:
        """Whether an event has its place in the turn as the journal has it now."""
        turn = self._session.state.turn
        if turn is None or turn.id != self.id or turn.messages != self.messages:
            return False
        if isinstance(event, ev.ToolReturned):
            return event.result.call in turn.calls
        if isinstance(event, ev.ApprovalUsed):
            return any(asked.request.id == event.id and not asked.used for asked in turn.asked.values())
        return not isinstance(event, ev.ModelAnswered | ev.Compacted) or turn.steps == self._steps


def _of_known(event: ev.Event, queue: Mapping[str, ev.MessageAccepted]) -> ev.Event:
    """The end of a turn without messages that joined it and then could not be journalled: they come again."""
    if not isinstance(event, ev.TurnEnded) or all(name in queue for name in event.messages):
        return event
    return evolve(event, messages=tuple([name for name in event.messages if name in queue]))
