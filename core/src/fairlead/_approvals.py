"""Approvals: a call that a policy asks about waits until somebody who may has decided, or its time is over.

What is approved is named by a digest of all that will run. It is computed again before the call is made; an approval of
anything else is void. Each is good for one start: `ApprovalUsed` is journalled before the call is made.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio
from attrs import evolve

from fairlead import _events as ev
from fairlead._approval_text import digest_of, key_of, new_approval_id, question_of
from fairlead._fold import EXPIRED, fold
from fairlead._leaf import leaf, own_fault
from fairlead._message import sound
from fairlead._policy import refusal_of
from fairlead._work import Receipt
from fairlead.errors import ApprovalRefused, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fairlead._approval_text import Choice
    from fairlead._contracts import Journal
    from fairlead._fold import OpenTurn
    from fairlead._lanes import Lanes
    from fairlead._message import Principal, ToolCall
    from fairlead._outbox import Outbox
    from fairlead._policy import Decision, PolicyEngine
    from fairlead._session import Session, Sessions
    from fairlead._tools import ToolEntry
    from fairlead._work import Review

    Ready = tuple[ToolCall, ToolEntry]
    Events = list[ev.Event]

__all__ = ["Approvals", "used_by"]

_LOOK_SECONDS = 1.0
"""How often a turn that waits looks for what other processes have decided."""
_TRIES = 25
_MANY = 10**9
_REASON_CHARS = 1000


class Approvals:
    """Those of one app."""

    def __init__(
        self,
        sessions: Sessions,
        journal: Journal,
        policy: PolicyEngine,
        outbox: Outbox,
        lanes: Lanes,
        *,
        seconds: float,
        clock: Callable[[], float],
        take_up: Callable[[Session], None],
    ) -> None:
        """`take_up`: goes on with a session that was decided about, where this process is not at it."""
        self._sessions, self._journal, self._policy, self._outbox, self._lanes = (
            sessions,
            journal,
            policy,
            outbox,
            lanes,
        )
        self._seconds, self._clock, self._take_up = seconds, clock, take_up
        self._open: dict[str, str] = {}
        """Session by approval, of the turns that wait in this process; the journal knows the others."""
        self._news: dict[str, trio.Event] = {}
        """By session, of the same turns: something was decided."""
        self._deciding = trio.Lock()
        self.waiting = 0
        """Turns of channels that do nothing but wait for people."""

    # -- asking

    async def given(
        self, decision: Decision, ready: Ready, session: Session, who: Principal | None, events: Events
    ) -> bool:
        """Whether an approval was given for exactly this call. Else `events` gets what asks for it, if it is not asked.

        One that is used up counts only for a tool that remembers the call, and then has no second effect.
        """
        (call, entry), turn, now = ready, session.state.turn, self._clock()
        asked, whose = turn.asked.get(call.id) if turn is not None else None, who.id if who is not None else ""
        expires = now + self._seconds
        if asked is not None and (not asked.used or entry.worker.remembers):
            same = await self._digest(ready, session, whose, asked.request.expires)
            if asked.request.digest == same:
                return asked.granted
        if asked is not None and not asked.used:
            events.append(ev.ApprovalDecided(id=asked.request.id, granted=False, reason="changed", at=now))
        name = new_approval_id()
        request = ev.ApprovalRequested(
            turn=turn.id if turn is not None else "",
            id=name,
            call=call.id,
            tool=call.tool,
            arguments=call.arguments,
            principal=whose,
            digest=await self._digest(ready, session, whose, expires),
            approvers=decision.verdict.approvers,
            expires=expires,
            key=key_of(name),
            at=now,
        )
        shown = question_of(request, decision.verdict, self._seconds, entry.worker.level)
        events.append(evolve(request, shown=shown))
        return False

    async def _digest(self, ready: Ready, session: Session, whose: str, expires: float) -> str:
        (call, entry), spec = ready, ready[1].spec
        try:
            identity = await entry.worker.identity()
        except BaseException as error:  # noqa: BLE001  # it cannot run now; once it can, this is another digest
            identity = f"unknown: {type(await own_fault(error)).__name__}"
        tool = [call.tool, spec.description, spec.parameters, spec.effect]
        where = [entry.worker.level, spec.isolation, identity]
        return digest_of([tool, call.arguments, where, session.state.id, whose, expires])

    def denial(self, turn: OpenTurn, call: ToolCall, events: Events) -> str:
        """Why a call that was asked for is not made, in words for the model; empty where it may still be.

        `events` gets that it is too late, where nobody has decided.
        """
        asked = turn.asked.get(call.id)
        if asked is None or asked.used:
            return ""
        decided, now = asked.decided, self._clock()
        if decided is not None and not decided.granted:
            why = f": {decided.reason}" if decided.reason else "."
            return f"{decided.by or 'nobody'} did not approve this call{why}"
        if now < asked.request.expires:
            return ""
        if decided is not None:
            return "The approval expired before it could be used, so this call was not made."
        events.append(ev.ApprovalDecided(id=asked.request.id, granted=False, reason=EXPIRED, at=now))
        return f"Nobody approved this call within {self._seconds:g} s, so it was not made."

    # -- waiting

    async def wait(self, session: Session) -> None:
        """Show the questions, and return when nothing is left to decide. A turn's time stands still meanwhile."""
        name, running, turn = session.state.id, session.running, session.state.turn
        assert running is not None, "it is a turn that runs"
        assert turn is not None, "it is a turn that waits"
        scope, running.patient = running.scope, True
        left, scope.deadline = scope.deadline - trio.current_time(), inf
        served = session.state.queue[turn.messages[0]].address is not None
        ids = {asked.request.id: name for asked in turn.asked.values()}
        self._open |= ids
        self.waiting += served
        self._lanes.pause(name)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._show, session)
                await self._until_decided(session)
                nursery.cancel_scope.cancel()
            await self._lanes.unpause(name).wait()
        except ExceptionGroup as group:  # the journal failed
            raise leaf(group.exceptions[0]) from group
        finally:
            scope.deadline, running.patient = trio.current_time() + left, False
            self.waiting -= served
            for each in ids:
                self._open.pop(each, None)

    async def _show(self, session: Session) -> None:
        for key in [key for key, unsent in session.state.outbox.items() if unsent.kind == "question"]:
            pause = await self._outbox.deliver(session, key)
            while pause:
                await trio.sleep(pause)
                pause = await self._outbox.deliver(session, key)

    async def _until_decided(self, session: Session) -> None:
        news = self._news
        while (turn := session.state.turn) is not None:
            news[session.state.id], now = trio.Event(), self._clock()
            left = max((each.request.expires - now for each in turn.asked.values() if each.decided is None), default=0)
            if left <= 0:
                return
            with trio.move_on_after(min(_LOOK_SECONDS, left)):
                await news[session.state.id].wait()
            await session.reload(look=True)

    # -- deciding

    async def answer(self, choice: Choice, review: Review, where: str) -> Receipt:
        """What a person said in a channel, which is a message like any other of that person: policies see it first."""
        decision, who = await self._policy.decide(review), review.principal
        assert who is not None, "an inbound message has its author"
        if not decision.passes:
            return Receipt("refused", review.session, notice=refusal_of(decision.verdict))
        try:
            request = await self.decide(choice, who, where)
        except ApprovalRefused as error:
            return Receipt("refused", review.session, notice=error.problem)
        notice = f"{request.tool} is {'approved' if choice.granted else 'denied'} ({request.id})."
        return Receipt("accepted", review.session, notice=notice)

    async def decide(self, choice: Choice, by: Principal, where: str, *, trusted: bool = False) -> ev.ApprovalRequested:
        """Journal a decision, and let the turn go on; what was asked for. `trusted`: whoever it is may.

        `ApprovalRefused`: it is unknown, decided, expired or void, or not for this person to decide.
        """
        approval, granted, now = choice.id, choice.granted, self._clock()
        reason = sound(choice.reason[:_REASON_CHARS])
        name = self._open.get(approval) or await self._journal.find(key_of(approval))
        if name is None:
            raise _refused(f"there is no approval {approval!r}", approval)
        async with self._deciding:  # or two taps at once would both be the first
            for _ in range(_TRIES):
                session = await self._sessions.get(name)
                await session.reload(look=True)
                asked = session.state.turn.approval(approval) if session.state.turn is not None else None
                if asked is None or asked.decided is not None:
                    raise _refused(await self._fate(name, approval), approval)
                if now >= asked.request.expires:
                    raise _refused(f"approval {approval!r} has expired", approval)
                if not (trusted or _may(by, asked.request, granted=granted)):
                    raise _refused(f"approval {approval!r} is not yours to decide; nothing has changed", approval)
                made = ev.ApprovalDecided(id=approval, granted=granted, by=by.id, where=where, reason=reason, at=now)
                try:
                    await session.append(made)
                except VersionConflict:
                    continue
                self._news.get(name, trio.Event()).set()
                self._take_up(session)
                return asked.request
        raise _refused(f"approval {approval!r} could not be written; try again", approval)

    async def _fate(self, session: str, approval: str) -> str:
        """What became of an approval that is open no more."""
        for record in await self._journal.read(session):
            event = record.event
            if isinstance(event, ev.ApprovalDecided) and event.id == approval:
                nobody = "as its time is over" if event.reason == EXPIRED else "as what would run has changed"
                word, who = "approved" if event.granted else "denied", f"by {event.by}" if event.by else nobody
                return f"approval {approval!r} was already decided: {word} {who}"
        return f"approval {approval!r} is void: its turn has ended"

    async def open(self) -> Sequence[ev.Record]:
        """What waits for a decision now, oldest first: each `ApprovalRequested` in its session."""
        found: list[ev.Record] = []
        for info in await self._journal.sessions(limit=_MANY):
            records = await self._journal.read(info.id) if info.pending else ()
            turn = fold(info.id, records).turn
            ids = [] if turn is None else [each.request.id for each in turn.asked.values() if each.decided is None]
            found += [each for each in records if isinstance(each.event, ev.ApprovalRequested) and each.event.id in ids]
        return sorted(found, key=lambda record: record.event.at)


def _may(by: Principal, request: ev.ApprovalRequested, *, granted: bool) -> bool:
    """Whether a person may decide so. Whose turn it is may always say no to it."""
    if by.id == request.principal and not (granted and request.approvers):
        return True
    roles = {f"role:{role}" for role in by.roles}
    return any(each in roles if each.startswith("role:") else each == by.id for each in request.approvers)


def _refused(problem: str, approval: str) -> ApprovalRefused:
    return ApprovalRefused(problem, approval=approval, next_step="fairlead approvals list")


def used_by(turn: OpenTurn, ready: Sequence[Ready], events: Sequence[ev.Event], now: float) -> list[ev.Event]:
    """What to journal before `events`, where nothing waits any more: calls that are ready use up approvals."""
    over = {event.id for event in events if isinstance(event, ev.ApprovalDecided)}
    left = [each for each in turn.asked.values() if each.request.call in turn.calls and not each.used]
    waits = any(each.decided is None and each.request.id not in over for each in left)
    if waits or any(isinstance(event, ev.ApprovalRequested) for event in events):
        return []
    begin = {call.id for call, _ in ready}
    return [ev.ApprovalUsed(turn=turn.id, id=each.request.id, at=now) for each in left if each.request.call in begin]
