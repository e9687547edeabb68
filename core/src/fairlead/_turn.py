"""The turn: ask the model, run the tools that it wants, repeat, answer. A state machine over the session's fold.

It keeps nothing that the journal does not have, so a turn that another process left goes on here: calls without a
result are run or, where they must not run twice, become *unknown*; otherwise the model is asked.
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import trio
from attrs import evolve, frozen

from fairlead import _events as ev
from fairlead._approvals import used_by
from fairlead._asking import Asking
from fairlead._config import Agent, Limits
from fairlead._leaf import leaf
from fairlead._message import HOST, Message, Text, ToolCall, ToolResult, Usage, new_id
from fairlead._policy import denial_of, refusal_of, rule_of
from fairlead._tools import CallContext, ToolEntry, result_of
from fairlead._work import Progress
from fairlead.errors import TurnFailed, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._approvals import Approvals
    from fairlead._compaction import Compactor
    from fairlead._contracts import Recall
    from fairlead._models import Answered, ModelResolver
    from fairlead._policy import PolicyEngine
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
    compactor: Compactor
    recall: Recall | None = None
    max_events: int | None = None


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
    joining: Callable[[Session], Sequence[ev.MessageAccepted]] | None = None
    """The messages that wait and join the turn that runs."""
    joined: Callable[[ev.MessageAccepted], None] | None = None
    """Is told of the last one that did: the turn answers it."""


_Ready = tuple[ToolCall, ToolEntry]
"""A call that may run."""


class Turn(Asking):
    """One turn of one session. Whoever runs it holds the session's lane."""

    def __init__(self, engine: Engine, session: Session, order: Order, approvals: Approvals) -> None:
        super().__init__(engine, session, order)
        self._approvals = approvals
        state = session.state
        resumes = state.turn is not None and state.turn.messages == order.messages
        self.id = state.turn.id if resumes and state.turn is not None else order.turn or new_id()
        left = state.turn if resumes and state.turn is not None and not state.turn.waits else None
        self._begun: set[str] = set(left.calls) if left is not None else set()
        """Calls that may have had an effect."""

    async def run(self) -> ev.TurnEnded:
        """Drive the turn to its end and journal it. Only cancellation and a failing journal come out as exceptions."""
        limits = self._engine.limits
        self.scope = trio.CancelScope(deadline=trio.current_time() + limits.seconds)
        self._session.running = self
        try:
            with self.scope:
                if self._session.cancel_next in self.messages:
                    self.stop("cancelled")
                try:
                    return await self._drive()
                except TurnFailed as failure:
                    return await self.end("failed", reason=failure.reason, notice=failure.problem)
            if self.why in _CANCELLED:
                return await self.end("cancelled", reason=self.why, notice=_CANCELLED[self.why])
            if self.why:
                text = f"The turn was stopped: nothing went on for {limits.stall_seconds:g} s."
                return await self.end("failed", reason=self.why, notice=text)
            return await self.end("failed", reason="time", notice=f"The turn was stopped after {limits.seconds:g} s.")
        finally:
            self._session.running = None  # only now: until its end is journalled nobody else may end its messages

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
            # Not those that were erased, or that joined while they were being journalled, which then failed.
            messages=turn.messages
            if turn is not None
            else tuple(filter(session.state.queue.__contains__, self.messages)),
            outcome=outcome,
            answer=answer,
            address=self._address,
            in_reply_to=self._reply_to,
            reason=reason,
            usage=usage,
            at=now,
        )
        if outcome == "answered" or ended.messages:
            await self._append(*events, *results, ended, own=outcome == "answered")
        return ended

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
            if self._order.joining is not None:
                await self._steer(())
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
        """Let policies see the messages, then start. Where none passes, the turn ends before the model sees a word."""
        if self._engine.max_events and self._is_full(self._engine.max_events):
            notice = "This session is as long as it may become. Begin a new one, or ask the operator to put it away."
            return await self.end("refused", reason="sessions.max_events", notice=notice)
        revised: tuple[Message, ...] = ()
        if self._engine.policy.watches("message_in"):
            revised, refused = await self._let_in(self._accepted)
            if len(refused) == len(self.messages):
                last, verdict = refused.pop()
                self._turn_away(refused)
                self._answers((last.message.id,))
                return await self.end("refused", reason=rule_of(verdict), notice=refusal_of(verdict))
            if refused:
                self._turn_away(refused)
                self._answers(tuple([each.message.id for each in self._accepted]))
        if len(self._accepted) < len(self.messages):  # read again meanwhile: one of them was not journalled after all
            raise VersionConflict("a message of the turn is gone", session=self._session.state.id)
        self._session.note(ev.TurnStarted(turn=self.id, messages=self.messages, revised=revised, at=self._now()))
        return None

    def _is_full(self, most: int) -> bool:
        """The operator hears of it from nine tenths on."""
        name, version = self._session.state.id, self._session.state.version
        if version >= most * 9 // 10:
            next_step = f"fairlead sessions archive {name}"
            self._engine.notice("sessions", f"{name!r} has {version} events, at most {most}; next: {next_step}")
        return version >= most

    # -- the answer

    async def _answer(self, answered: Answered) -> ev.TurnEnded:
        event = self._answered_event(answered)
        if not self._engine.policy.watches("message_out"):
            return await self.end("answered", events=(event,))
        decision = await self._decide("message_out", answered.message)
        self._note_decision(decision, answered.message.id, "message_out")
        if not decision.passes:
            self._session.note(event)
            return await self.end("refused", reason=rule_of(decision.verdict), notice=denial_of(decision))
        revised = evolve(decision.subject, role="assistant", calls=()) if decision.effect == "revise" else None
        return await self.end("answered", events=(event,), answer=revised)

    # -- tools

    async def _steer(self, left: Sequence[_Ready]) -> bool:
        """Let in what has arrived meanwhile; whether something has. The calls in `left` are skipped then."""
        joined, revised = await self._arrivals()
        if joined:
            events: list[ev.Event] = []
            for call, _ in left:
                self._reject(call, "skipped", "skipped for an incoming message", events)
            for event in events:
                self._session.note(event)
            self._join(joined, revised)
        return bool(joined)

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
        decision = await self._decide("tool_call", call, entry)
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
        batches: list[list[_Ready]] = []
        for one in ready:
            if batches and one[1].spec.parallel and batches[-1][0][1].spec.parallel:
                batches[-1].append(one)
            else:
                batches.append([one])
        for step, batch in enumerate(batches):
            if self._order.joining is not None and await self._steer(list(chain.from_iterable(batches[step:]))):
                return
            await self._run_together(batch)

    async def _run_together(self, batch: list[_Ready]) -> None:
        if len(batch) == 1:
            await self._run_one(batch[0])
        else:
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
            partial(self._moved, call),
        )
        started = trio.current_time()
        result, full = await engine.tools.run(entry, call, context)
        if engine.policy.watches("tool_result"):
            result, full = await self._review_result(result, full, entry)
        self._show(call, "failed" if result.error else "done", result.text, result.evidence)
        await self._append(self._returned(result, full, trio.current_time() - started))

    async def _review_result(self, result: ToolResult, full: str, entry: ToolEntry) -> tuple[ToolResult, str]:
        decision = await self._decide("tool_result", result, entry)
        self._note_decision(decision, result.call, "tool_result")
        if not decision.passes:
            return evolve(result, parts=(Text(denial_of(decision), HOST),), error="denied", cut=0), ""
        if decision.effect == "revise":
            return evolve(decision.subject, call=result.call, tool=result.tool), ""
        return result, full

    def _returned(self, result: ToolResult, full: str = "", seconds: float = 0.0) -> ev.ToolReturned:
        return ev.ToolReturned(turn=self.id, result=result, full=full, seconds=seconds, at=self._now())

    # -- small things

    def _show(self, call: ToolCall, status: Any, detail: str, evidence: Mapping[str, Any] | None = None) -> None:
        if self._order.progress is not None:
            told = Progress(call.id, call.tool, status, detail[:_DETAIL], call.arguments, evidence or {})
            self._order.progress(told)

    def _moved(self, call: ToolCall, detail: str) -> None:
        self.moves += 1
        self._show(call, "running", detail)

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
_CANCELLED = {"cancelled": "The turn was cancelled.", "interrupted": "A newer message interrupted this answer."}
