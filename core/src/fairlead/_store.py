"""What people do with sessions: list, read, fork, roll back, export, erase."""

from __future__ import annotations

import json
import secrets
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import evolve

from fairlead import _events as ev
from fairlead._codec import decode_event, unstructure
from fairlead._fold import fold
from fairlead._gate import Gate
from fairlead._leaf import said
from fairlead._message import Message, ToolResult, new_id
from fairlead._router import Router
from fairlead._schemas import check
from fairlead._session import RESERVED
from fairlead._tools import result_of
from fairlead._work import ModelRequest, Review
from fairlead.errors import JournalError, SchemaError, SessionNotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fairlead._contracts import Journal, SessionInfo
    from fairlead._fold import SessionState
    from fairlead._isolation import Isolator
    from fairlead._lanes import Lanes
    from fairlead._models import Answered, Link
    from fairlead._session import Session, Sessions
    from fairlead._turn import Engine

__all__ = ["SessionStore"]

_OWN = 100
"""Sessions of the core's own that may stand among those that are listed."""


class SessionStore:
    """The sessions of the journal. What changes a session takes its place in the lane like a turn."""

    def __init__(
        self, journal: Journal, sessions: Sessions, lanes: Lanes, engine: Engine, isolator: Isolator | None
    ) -> None:
        self._journal, self._sessions, self._lanes = journal, sessions, lanes
        self._engine, self._clock, self._isolator = engine, engine.clock, isolator

    async def list(self, owner: str | None = None, limit: int = 100) -> Sequence[SessionInfo]:
        """The sessions, last used first; those of one principal where `owner` is given."""
        own = _OWN if owner is None else 0
        found = await self._journal.sessions(owner=owner, limit=limit + own)
        return [info for info in found if not info.id.startswith(RESERVED)][: max(limit, 0)]

    async def records(self, session: str) -> Sequence[ev.Record]:
        """Everything that happened to a session. `SessionNotFound`."""
        records = () if session.startswith(RESERVED) else await self._journal.read(session)
        if not records:
            raise SessionNotFound(
                f"there is no session {session!r}", session=session, next_step="fairlead sessions list"
            )
        return records

    async def history(self, session: str) -> Sequence[Message | ToolResult]:
        """What the model sees of a session, after compaction; `records` has all that was said. `SessionNotFound`."""
        return fold(session, await self.records(session)).history

    async def full_text(self, session: str, call: str) -> str:
        """The whole text of a tool's result, also where it was cut for the model. `SessionNotFound`: no such call."""
        for record in await self.records(session):
            event = record.event
            if isinstance(event, ev.ToolReturned) and event.result.call == call:
                return event.full or event.result.text
        raise SessionNotFound(f"session {session!r} has no result of a call {call!r}", session=session)

    async def fork(self, session: str, at: int | None = None) -> str:
        """A new session that begins as a copy of this one, up to version `at`; its name.

        A turn that was open there is closed as cancelled in the copy. Nothing is delivered from a copy. Where the
        session has an address, the copy has one too: a conversation of its own in the same channel.
        """
        records = await self.records(session)
        version = records[-1].version if at is None else at
        _check_version(session, version, records[-1].version)
        kept = [record for record in records if record.version <= version]
        events = [_without_key(record.event) for record in kept]
        name, events[0] = _renamed(events[0])
        events += _closing(fold(session, kept), self._clock())
        events.append(ev.SessionForked(parent=session, parent_version=version, at=self._clock()))
        await self._journal.append(name, 0, events, pending=False)
        return name

    async def rollback(self, session: str, to: int) -> int:
        """Continue from version `to`; the new version. What lies between stays readable in the journal.

        Messages that wait for their turn go on waiting.

        `JournalError`: there is no such version, or it lies inside a turn.
        """
        ticket = self._lanes.enter(session)
        try:
            await ticket.wait()
            records = await self.records(session)
            _check_version(session, to, records[-1].version)
            then = fold(session, [record for record in records if record.version <= to])
            if _is_busy(then):
                clean = _last_clean(session, records, to)
                raise JournalError(
                    f"version {to} of session {session!r} lies inside a turn",
                    session=session,
                    next_step=f"fairlead sessions rollback {session} --to {clean}",
                )
            held = await self._sessions.get(session)
            state = held.state
            begun = state.turn.messages if state.turn is not None else ()
            waiting = [_without_key(accepted) for accepted in state.queue.values() if accepted.message.id not in begun]
            await held.append(ev.RolledBack(to_version=to, at=self._clock()), *_settled(then, records), *waiting)
            held.stale = True
            await held.reload()
            return held.state.version
        finally:
            self._lanes.leave(ticket)

    async def compact(self, session: str) -> ev.Compacted | None:
        """Let a summary stand for the older part of a session, as it happens by itself where a window fills.

        None: nothing of it would get shorter. The newest messages stay whole. `SessionNotFound`. `JournalError`: a turn
        is open that a dead process left. Since: 1.1.
        """
        async with self._at_rest(session) as held:
            state, engine = held.state, self._engine
            agent = engine.agents.get(state.agent) or next(iter(engine.agents.values()))
            made = await engine.compactor.make(
                state, engine.models.resolve(agent.model), partial(_ask, engine, held, agent.name), forced=True
            )
            if made is not None:
                await held.append(made)
            return made

    async def undo(self, session: str) -> int:
        """Take back the newest compaction: the model sees what stood there before; the new version.

        None follows by itself then, until one is asked for or a provider refuses what is too large.
        `SessionNotFound`. `JournalError`: nothing is compacted, or a turn is open. Since: 1.1.
        """
        async with self._at_rest(session) as held:
            if not held.state.compactions:
                next_step = f"fairlead sessions compact {session}"
                raise JournalError(f"session {session!r} is not compacted", session=session, next_step=next_step)
            await held.append(ev.CompactionUndone(at=self._clock()))
            return held.state.version

    @asynccontextmanager
    async def _at_rest(self, name: str) -> AsyncIterator[Session]:
        """A session in its lane, as the journal has it now, with no turn open and no other process at work in it."""
        ticket = self._lanes.enter(name)
        try:
            await ticket.wait()
            await self._journal.hold(name)
            await self.records(name)
            held = await self._sessions.get(name)
            held.stale = True
            await held.reload()
            if held.state.turn is not None:
                problem = f"a turn of session {name!r} is not finished"
                raise JournalError(problem, session=name, next_step="fairlead run, which finishes it")
            yield held
        finally:
            self._journal.release(name)
            self._lanes.leave(ticket)

    async def export(self, session: str) -> dict[str, Any]:
        """The whole session as JSON values. `SessionNotFound`."""
        records = await self.records(session)
        events = [
            {"version": record.version, "kind": record.event.kind, **unstructure(record.event)} for record in records
        ]
        return {"format": "fairlead-session/1", "session": session, "events": events}

    async def restore(self, document: Mapping[str, Any]) -> str:
        """Bring back what `export` gave, under its name. Nothing is delivered or run again. Since: 1.1.

        `SchemaError`: it is no such document. `VersionConflict`: there is a session of that name.
        """
        check("session-export", document)
        name, now = document["session"], self._clock()
        events = [_without_key(decode_event(json.dumps(raw))) for raw in document["events"]]
        if unknown := [raw["kind"] for raw, event in zip(document["events"], events, strict=True) if not event.kind]:
            raise SchemaError(f"this version knows no event of kind {unknown[0]!r}", schema="session-export")
        records = [ev.Record(name, version, event) for version, event in enumerate(events, 1)]
        await self._journal.append(name, 0, [*events, *_closing(fold(name, records), now)], pending=False)
        return str(name)

    async def erase(self, session: str) -> bool:
        """Remove a session for good, with the files that isolated tools have made in it. False where there is none."""
        ticket = self._lanes.enter(session)
        try:
            await ticket.wait()
            erased = await self._journal.erase(session)
            self._sessions.drop(session)
            if self._isolator is not None:
                await self._isolator.forget(session)
            return erased
        finally:
            self._lanes.leave(ticket)


async def _ask(engine: Engine, held: Session, agent: str, chain: Sequence[Link], request: ModelRequest) -> Answered:
    """Ask between two turns: nobody in particular has asked, and what fails or is denied is told to the operator."""

    def failed(link: Link, error: BaseException, _: str) -> None:
        engine.notice("compaction", f"{link.ref.provider}/{link.ref.model} failed with {said(error)}")

    gate = None
    if engine.policy.watches("model_request"):
        blank = Review("model_request", request, held.state.id, agent)
        gate = Gate(engine.policy, blank, (None,), lambda *_: None)
    return await engine.models.generate(chain, request, None, failed, gate)


def _is_busy(state: SessionState) -> bool:
    """Whether a turn is open or a message waits for one."""
    return bool(state.turn or state.queue)


def _settled(then: SessionState, records: Sequence[ev.Record]) -> list[ev.Event]:
    """What became later of the answers that were then on their way: nobody may send them again."""
    return [
        record.event
        for record in records
        if isinstance(record.event, ev.AnswerDelivered) and record.event.turn in then.outbox
    ]


def _renamed(first: ev.Event) -> tuple[str, ev.Event]:
    """A name for a copy, and the first event as the copy has it."""
    if not isinstance(first, ev.SessionStarted) or first.address is None:
        return new_id(), first
    address = evolve(first.address, conversation=f"{first.address.conversation}~{secrets.token_hex(4)}", thread="")
    return Router.session_for(first.agent, address), evolve(first, address=address)


def _check_version(session: str, version: int, last: int) -> None:
    if not 0 < version <= last:
        raise JournalError(
            f"session {session!r} has versions 1 to {last}, found {version}",
            session=session,
            next_step=f"fairlead sessions show {session}",
        )


def _last_clean(session: str, records: Sequence[ev.Record], before: int) -> int:
    for version in range(before - 1, 0, -1):
        if not _is_busy(fold(session, [record for record in records if record.version <= version])):
            return version
    return 1


def _without_key(event: ev.Event) -> ev.Event:
    """Keys are unique in a journal: the copy has none."""
    return (
        evolve(event, key="") if isinstance(event, ev.MessageAccepted | ev.ApprovalRequested) and event.key else event
    )


def _closing(state: SessionState, now: float) -> list[ev.Event]:
    """Events after which nothing of the state is open."""
    closing: list[ev.Event] = [ev.AnswerDelivered(turn=turn, status="unknown", at=now) for turn in state.outbox]
    if state.turn is not None:
        turn = state.turn
        for call in turn.calls.values():
            result = result_of(call, "cancelled", "The session was forked here.")
            closing.append(ev.ToolReturned(turn=turn.id, result=result, at=now))
        closing.append(ev.TurnEnded(turn=turn.id, messages=turn.messages, outcome="cancelled", reason="fork", at=now))
    open_turn = set(state.turn.messages) if state.turn is not None else set()
    for message in state.queue:
        if message not in open_turn:
            ended = ev.TurnEnded(turn=new_id(), messages=(message,), outcome="cancelled", reason="fork", at=now)
            closing.append(ended)
    return closing
