"""The turn: ask the model, run the tools that it wants, repeat, answer. A state machine over the session's fold.

It keeps nothing that the journal does not have, so a turn that another process left goes on here: calls without a
result are run or, where they must not run twice, become *unknown*; otherwise the model is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve, frozen

from fairlead import _events as ev
from fairlead._approvals import used_by
from fairlead._config import Agent, Limits
from fairlead._leaf import leaf, said
from fairlead._message import HOST, Message, Text, ToolCall, ToolResult, Usage, new_id
from fairlead._policy import denial_of, refusal_of
from fairlead._tools import CallContext, ToolEntry, result_of
from fairlead._work import ModelRequest, Progress, Review
from fairlead.errors import ProviderError, TurnFailed, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._approvals import Approvals
    from fairlead._contracts import Recall
    from fairlead._message import Address, Principal
    from fairlead._models import Answered, Link, ModelResolver
    from fairlead._policy import Decision, PolicyEngine
    from fairlead._session import Session
    from fairlead._tools import ToolRegistry
    from fairlead._work import Emit

__all__ = ["Engine", "Order", "Turn"]


@frozen
class Engine:
    """The parts that every turn of an app uses."""

    models: ModelResolver
    tools: ToolRegistry
    policy: PolicyEngine
    limits: Limits
    agents: Mapping[str, Agent]
    clock: Callable[[], float]
    notice: Callable[[str, str], None]
    recall: Recall | None = None


@frozen
class Order:
    """What whoever starts a turn wants of it."""

    messages: tuple[str, ...]
    """Ids of accepted messages."""
    emit: Emit | None = None
    progress: Callable[[Progress], None] | None = None
    model: str = ""
    """An explicit choice, which has no fallback unless it is an alias."""
    output_schema: Mapping[str, Any] | None = None
    turn: str = ""
    """The id of the turn, where whoever starts it must know it before."""
    accept: Callable[[str], str] | None = None
    """Says what is wrong with an answer's text; empty where it will do."""


_Ready = tuple[ToolCall, ToolEntry]
"""A call that may run."""


class Turn:
    """One turn of one session. Whoever runs it holds the session's lane."""

    def __init__(self, engine: Engine, session: Session, order: Order, approvals: Approvals) -> None:
        self._engine, self._session, self._order, self._approvals = engine, session, order, approvals
        state = session.state
        self._accepted = [state.queue[message] for message in order.messages]
        first = self._accepted[0]
        self._principal: Principal | None = first.message.author
        self._address: Address | None = first.address
        self._reply_to = first.external_id
        self._agent = engine.agents.get(state.agent) or next(iter(engine.agents.values()))
        self._tools = engine.tools.specs(self._agent)
        resumes = state.turn is not None and state.turn.messages == order.messages
        self.id = state.turn.id if resumes and state.turn is not None else order.turn or new_id()
        left = state.turn if resumes and state.turn is not None and not state.turn.waits else None
        self._begun: set[str] = set(left.calls) if left is not None else set()
        """Calls that may have had an effect."""
        self._steps = 0
        """Answers that the turn had when the model was last asked."""

    async def run(self) -> ev.TurnEnded:
        """Drive the turn to its end and journal it. Only cancellation and a failing journal come out as exceptions."""
        with trio.CancelScope(deadline=trio.current_time() + self._engine.limits.seconds) as scope:
            self._session.scope = scope
            if self._session.cancel_next in self._order.messages:
                scope.cancel()
            try:
                return await self._drive()
            except TurnFailed as failure:
                return await self.end("failed", reason=failure.reason, notice=failure.problem)
            finally:
                self._session.scope = None
        if trio.current_time() >= scope.deadline:
            text = f"The turn was stopped after {self._engine.limits.seconds:g} s."
            return await self.end("failed", reason="time", notice=text)
        return await self.end("cancelled", reason="cancelled", notice="The turn was cancelled.")

    async def end(
        self,
        outcome: Any,
        *,
        reason: str = "",
        notice: str = "",
        answer: Message | None = None,
        events: Sequence[ev.Event] = (),
    ) -> ev.TurnEnded:
        """Journal the end: calls without a result get one, so that no call is ever left open."""
        session, now = self._session, self._engine.clock()
        if session.stale and outcome != "answered":
            await session.reload()
        turn = session.state.turn
        if turn is not None and turn.id != self.id:
            turn = None  # a message that never reached its turn ends while another one's runs
        left = [] if turn is None or outcome == "answered" else list(turn.calls.values())
        results = [
            ev.ToolReturned(turn=self.id, result=result_of(call, self._left_as(call), "The turn ended first."), at=now)
            for call in left
        ]
        if notice and answer is None:
            answer = Message("assistant", (Text(notice, HOST),))
        usage = turn.usage if turn is not None else Usage()
        for event in events:  # not yet in the fold
            if isinstance(event, ev.ModelAnswered):
                usage = usage + event.usage
        ended = ev.TurnEnded(
            turn=self.id,
            messages=self._order.messages,
            outcome=outcome,
            answer=answer,
            address=self._address,
            in_reply_to=self._reply_to,
            reason=reason,
            usage=usage,
            at=now,
        )
        if outcome == "answered" or self._order.messages[0] in session.state.queue:  # else it was erased
            await self._append(*events, *results, ended, own=outcome == "answered")
        return ended

    async def _append(self, *happened: ev.Event, own: bool = True) -> None:
        """Append, after others too. `VersionConflict`: `own` events have no place, as the turn is open no more."""
        session = self._session
        for last in (False, False, False, True):
            if session.stale:
                await session.reload()
            answered = isinstance(happened[0], ev.ModelAnswered)  # what follows it has no place before it
            if own and not all(self._fits(event) for event in (happened[:1] if answered else happened)):
                raise VersionConflict(f"turn {self.id!r} went on elsewhere", session=session.state.id)
            try:
                return await session.append(*happened)
            except VersionConflict:
                if last:
                    raise
        return None

    def _fits(self, event: ev.Event) -> bool:
        """Whether an event has its place in the turn as the journal has it now."""
        turn = self._session.state.turn
        if turn is None or turn.id != self.id:
            return False
        if isinstance(event, ev.ToolReturned):
            return event.result.call in turn.calls
        if isinstance(event, ev.ApprovalUsed):
            return any(asked.request.id == event.id and not asked.used for asked in turn.asked.values())
        return not isinstance(event, ev.ModelAnswered) or turn.steps == self._steps

    def _left_as(self, call: ToolCall) -> str:
        if call.id not in self._begun:
            return "skipped"
        entry = self._engine.tools.find(call.tool)
        return "unknown" if entry is not None and entry.spec.effect == "once" else "cancelled"

    async def _drive(self) -> ev.TurnEnded:
        if self._session.state.turn is None:
            refused = await self._begin()
            if refused is not None:
                return refused
        elif self._session.state.turn.calls:
            await self._run_approved(await self._review_calls())
        while True:
            self._check_limits()
            answered = await self._ask_model()
            message = answered.message
            if message.calls:
                await self._take_calls(answered)
                continue
            wrong = self._fault(answered)
            if not wrong:
                return await self._answer(answered)
            correction = ev.Corrected(turn=self.id, message=Message("user", (Text(wrong, HOST),)), at=self._now())
            await self._append(self._answered_event(answered), correction)
            self._check_corrections(wrong)

    # -- the beginning

    async def _begin(self) -> ev.TurnEnded | None:
        """Let policies see the messages, then start. A refusal ends the turn before the model has seen a word."""
        revised = []
        if self._engine.policy.watches("message_in"):
            for accepted in self._accepted:
                decision = await self._engine.policy.decide(self._review("message_in", accepted.message))
                self._note_decision(decision, accepted.message.id, "message_in")
                if not decision.passes:
                    return await self._refuse(decision)
                if decision.effect == "revise":
                    first = accepted.message
                    revised.append(evolve(decision.subject, id=first.id, role="user", author=first.author, calls=()))
        self._session.note(
            ev.TurnStarted(turn=self.id, messages=self._order.messages, revised=tuple(revised), at=self._now())
        )
        return None

    async def _refuse(self, decision: Decision) -> ev.TurnEnded:
        verdict = decision.verdict
        return await self.end("refused", reason=f"{verdict.layer}:{verdict.rule}", notice=refusal_of(decision))

    # -- the model

    async def _ask_model(self) -> Answered:
        order, engine, session = self._order, self._engine, self._session
        self._steps = session.state.turn.steps if session.state.turn is not None else 0
        try:
            chain = engine.models.resolve(order.model or self._agent.model)
        except Exception as error:
            raise TurnFailed(str(error), session=session.state.id, turn=self.id, reason="provider") from error
        ref = chain[0].ref  # said here, so that asking the first link copies nothing
        request = ModelRequest(
            ref.model,
            session.state.history,
            self._agent.instructions,
            self._tools,
            session.state.id,
            ref.credential,
            order.output_schema,
            options=ref.options,
        )
        if engine.policy.watches("model_request"):
            decision = await engine.policy.decide(self._review("model_request", request))
            self._note_decision(decision, request.id, "model_request")
            if not decision.passes:
                raise TurnFailed(denial_of(decision), session=session.state.id, turn=self.id, reason="policy")
            request = decision.subject
        # Words may be shown while they come only where no policy wants to see the whole answer first.
        emit = None if engine.policy.watches("message_out") else order.emit
        try:
            return (await engine.models.generate(chain, request, emit, self._note_failure)).without(
                session.state.called
            )
        except ProviderError as error:
            text = f"No model could answer: {error.problem}"
            raise TurnFailed(text, session=session.state.id, turn=self.id, reason="provider") from error

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

    async def _answer(self, answered: Answered) -> ev.TurnEnded:
        event = self._answered_event(answered)
        if not self._engine.policy.watches("message_out"):
            return await self.end("answered", events=(event,))
        decision = await self._engine.policy.decide(self._review("message_out", answered.message))
        self._note_decision(decision, answered.message.id, "message_out")
        if not decision.passes:
            self._session.note(event)
            verdict = decision.verdict
            return await self.end("refused", reason=f"{verdict.layer}:{verdict.rule}", notice=denial_of(decision))
        revised = evolve(decision.subject, role="assistant", calls=()) if decision.effect == "revise" else None
        return await self.end("answered", events=(event,), answer=revised)

    # -- tools

    async def _take_calls(self, answered: Answered) -> None:
        """Decide about each call, make answer and decisions durable, then run what may run."""
        ready: list[_Ready] = []
        events: list[ev.Event] = []
        for call in answered.message.calls[:_CALLS]:
            await self._prepare(call, ready, events)
        for call in answered.message.calls[_CALLS:]:
            text = f"At most {_CALLS} calls of one answer are made; this one was not. Ask for it again."
            self._reject(call, "denied", text, events)
        await self._append(self._answered_event(answered), *events)
        self._check_corrections("the arguments of tool calls stayed invalid")
        await self._run_approved(ready)

    async def _run_approved(self, ready: list[_Ready]) -> None:
        """Run the calls of an answer once nobody has to be asked any more, decided anew where somebody was."""
        while (turn := self._session.state.turn) is not None and turn.waits:
            await self._approvals.wait(self._session)
            ready = await self._review_calls()
        await self._run_all(ready)

    async def _review_calls(self) -> list[_Ready]:
        """Calls that wait, or that another process left: what must not happen twice is unknown, the rest is decided."""
        turn = self._session.state.turn
        if turn is None or turn.id != self.id:
            raise VersionConflict(f"turn {self.id!r} ended elsewhere", session=self._session.state.id)
        ready: list[_Ready] = []
        events: list[ev.Event] = []
        for call in list(turn.calls.values()):
            entry = self._engine.tools.find(call.tool)
            once = entry is not None and entry.spec.effect == "once" and not entry.worker.remembers
            if once and not turn.waits:  # while some call waits, none of them has begun
                text = "The program stopped while this call ran. It may or may not have taken effect; do not repeat it."
                events.append(self._returned(result_of(call, "unknown", text)))
            else:
                await self._prepare(call, ready, events)
        if events:
            await self._append(*used_by(turn, ready, events, self._now()), *events)
        return ready

    async def _prepare(self, call: ToolCall, ready: list[_Ready], events: list[ev.Event]) -> None:
        """Sort one call: it may run, or it has a result that says why not."""
        engine = self._engine
        entry = engine.tools.find(call.tool)
        if entry is None or entry.spec not in self._tools:
            known = ", ".join(spec.name for spec in self._tools) or "none"
            text = f"There is no tool {call.tool!r}. The tools are: {known}"
            self._reject(call, "denied", text, events)
            return
        wrong = engine.tools.fault(entry, call.arguments)
        if wrong:
            self._reject(call, "invalid", f"The call was not made: {wrong}", events)
            return
        turn = self._session.state.turn
        if turn is not None and turn.asked and (denial := self._approvals.denial(turn, call, events)):
            self._reject(call, "denied", denial, events)
            return
        decision = await engine.policy.decide(self._review("tool_call", call, entry))
        events.append(self._decided(decision, call.id, "tool_call"))
        if decision.effect == "deny":
            self._reject(call, "denied", denial_of(decision), events)
            return
        if decision.effect != "allow":
            call = evolve(decision.subject, id=call.id, tool=call.tool)
            wrong = engine.tools.fault(entry, call.arguments)
            if wrong:
                self._reject(call, "denied", f"A policy revised the call into one that is invalid: {wrong}", events)
                return
        one, who = (call, entry), self._principal
        if decision.effect != "ask" or await self._approvals.given(decision, one, self._session, who, events):
            ready.append(one)

    def _reject(self, call: ToolCall, error: str, text: str, events: list[ev.Event]) -> None:
        self._show(call, "denied" if error == "denied" else "failed", text)
        events.append(self._returned(result_of(call, error, text)))

    async def _run_all(self, ready: list[_Ready]) -> None:
        """Calls that may run beside each other do; the others run alone, in the order of the answer."""
        together: list[_Ready] = []
        for one in ready:
            if one[1].spec.parallel:
                together.append(one)
                continue
            await self._run_together(together)
            together = []
            await self._run_one(one)
        await self._run_together(together)

    async def _run_together(self, batch: list[_Ready]) -> None:
        if len(batch) == 1:
            await self._run_one(batch[0])
        elif batch:
            try:
                async with trio.open_nursery() as nursery:
                    for one in batch:
                        nursery.start_soon(self._run_one, one)
            except ExceptionGroup as group:  # the journal failed for one or more of them
                raise leaf(group.exceptions[0]) from group

    async def _run_one(self, ready: _Ready) -> None:
        (call, entry), engine = ready, self._engine
        self._begun.add(call.id)
        self._show(call, "running", "")
        context = CallContext(
            self._session.state.id,
            self._principal,
            engine.recall,
            engine.clock,
            (lambda detail: self._show(call, "running", detail)) if self._order.progress is not None else None,
        )
        started = trio.current_time()
        result, full = await engine.tools.run(entry, call, context)
        if engine.policy.watches("tool_result"):
            result, full = await self._review_result(result, full, entry)
        self._show(call, "failed" if result.error else "done", result.text, result.evidence)
        await self._append(self._returned(result, full, trio.current_time() - started))

    async def _review_result(self, result: ToolResult, full: str, entry: ToolEntry) -> tuple[ToolResult, str]:
        decision = await self._engine.policy.decide(self._review("tool_result", result, entry))
        self._note_decision(decision, result.call, "tool_result")
        if not decision.passes:
            return evolve(result, parts=(Text(denial_of(decision), HOST),), error="denied", cut=0), ""
        if decision.effect == "revise":
            return evolve(decision.subject, call=result.call, tool=result.tool), ""
        return result, full

    def _returned(self, result: ToolResult, full: str = "", seconds: float = 0.0) -> ev.ToolReturned:
        return ev.ToolReturned(turn=self.id, result=result, full=full, seconds=seconds, at=self._now())

    # -- small things

    def _now(self) -> float:
        return self._engine.clock()

    def _show(self, call: ToolCall, status: Any, detail: str, evidence: Mapping[str, Any] | None = None) -> None:
        if self._order.progress is not None:
            told = Progress(call.id, call.tool, status, detail[:_DETAIL], call.arguments, evidence or {})
            self._order.progress(told)

    def _review(self, boundary: Any, subject: Any, entry: ToolEntry | None = None) -> Review:
        tool = entry.spec if entry is not None else None
        return Review(boundary, subject, self._session.state.id, self._agent.name, self._principal, self._address, tool)

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
        if decision.effect != "allow":
            self._session.note(self._decided(decision, subject, boundary))

    def _check_limits(self) -> None:
        turn, limits = self._session.state.turn, self._engine.limits
        if turn is None:
            return
        if turn.steps >= limits.steps:
            text = f"The turn was stopped after {turn.steps} model calls (limits.steps = {limits.steps})."
            raise TurnFailed(text, session=self._session.state.id, turn=self.id, reason="steps")
        used = turn.usage.input_tokens + turn.usage.output_tokens
        if limits.tokens is not None and used >= limits.tokens:
            text = f"The turn was stopped after {used} tokens (limits.tokens = {limits.tokens})."
            raise TurnFailed(text, session=self._session.state.id, turn=self.id, reason="tokens")

    def _check_corrections(self, wrong: str) -> None:
        turn = self._session.state.turn
        if turn is not None and turn.corrections > self._engine.limits.corrections:
            text = f"The model was corrected {turn.corrections} times without success; last: {wrong}"
            raise TurnFailed(text, session=self._session.state.id, turn=self.id, reason="arguments")


_CALLS = 128
"""Calls of one answer that are made. No task asks for more; a model that loops does."""
_DETAIL = 200
"""Characters of a tool's progress or result that are shown while a turn runs."""
