"""The desk: takes messages in, runs their turns in their lanes, and lets the outbox answer.

Everything between a channel's inbound message (or a host's question) and the end of its turn passes here once.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, get_args

import trio
from attrs import astuple, evolve

from fairlead import _events as ev
from fairlead._approval_text import read_choice
from fairlead._approvals import Approvals
from fairlead._contracts import Inbox, Journal
from fairlead._leaf import own_fault, said
from fairlead._message import Data, Message, Origin, new_id, stamp
from fairlead._outbox import DraftBoard
from fairlead._turn import Engine, Order, Turn
from fairlead._work import Draft, Inbound, Receipt, Review, WorkClass
from fairlead.errors import DuplicateKey, JournalError, JournalUnavailable, SchemaError, TurnCancelled, VersionConflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fairlead._contracts import Channel
    from fairlead._lanes import Lanes, Ticket
    from fairlead._message import Address
    from fairlead._modes import Modes
    from fairlead._observers import Observers
    from fairlead._outage import Outage
    from fairlead._outbox import Outbox
    from fairlead._router import Router
    from fairlead._session import Session, Sessions

__all__ = ["ChannelInbox", "Desk"]

_TRIES = 25
"""How often an append is repeated after another process was faster."""


class Desk:
    """One per app."""

    def __init__(
        self,
        engine: Engine,
        *,
        journal: Journal,
        sessions: Sessions,
        lanes: Lanes,
        modes: Modes,
        router: Router,
        outbox: Outbox,
        observers: Observers,
        outage: Outage,
        turns: trio.Nursery,
    ) -> None:
        self.engine, self.sessions, self.lanes, self.outage, self._modes = engine, sessions, lanes, outage, modes
        seconds, clock = engine.limits.approval_seconds, engine.clock
        self.approvals = Approvals(
            sessions, journal, engine.policy, outbox, lanes, seconds=seconds, clock=clock, take_up=self._take_up
        )
        self._journal, self._shared = journal, type(journal).hold is not Journal.hold
        self._router, self._outbox, self._observers, self._turns = router, outbox, observers, turns
        self.stopping = self.closed = self.serving = False
        self.later: list[str] = []
        """Sessions to take up once this process serves."""
        self.busy = 0
        """Tasks of the desk that have not ended."""
        self.asked: set[str] = set()
        """Ids of messages whose caller waits in this process."""
        self._behind: set[str] = set()
        """Sessions in which something waits behind a question."""
        self._idle = trio.Event()
        self._joining = modes.joining if modes.steers else None

    # -- in

    async def take(self, session: Session, accepted: ev.MessageAccepted, agent: str) -> None:
        """Journal a message, and the end of those that it ousts. Their notices go out in the lane.

        `DuplicateKey`, `JournalUnavailable`; another writer is waited out.
        """
        first = partial(self._modes.ousted, session, accepted) if self._modes.make_room else None
        for _ in range(_TRIES):
            events: tuple[ev.Event, ...] = (accepted,)
            if session.state.version == 0 and not session.state.agent:
                author = accepted.message.author
                owner = author.id if author is not None else ""
                started = ev.SessionStarted(agent=agent, address=accepted.address, owner=owner, at=accepted.at)
                events = (started, accepted)
            try:
                return await session.append(*events, first=first)
            except VersionConflict:
                await session.reload()
        raise _overrun(session.state.id)

    async def receive(self, inbound: Inbound) -> Receipt:
        """The inbox of all channels: check, route, journal, and start the turn's task."""
        if self.stopping:
            raise JournalUnavailable("the app is stopping", next_step="deliver the message again later")
        _check_inbound(inbound, self.engine.limits.message_bytes)
        self.outage.refuse()
        address, author = inbound.address, inbound.author
        agent = self._router.agent_for(address, author)
        name = self._router.session_for(agent, address)
        origin = Origin("channel", address.channel, author.id)
        message = Message("user", stamp(inbound.parts, origin), author=author)
        if (choice := read_choice(inbound.parts)) is not None:
            review = Review("message_in", message, name, agent, author, address)
            return await self.approvals.answer(choice, review, address.channel)
        session = await self.sessions.get(name)
        accepted = ev.MessageAccepted(
            message=message,
            address=address,
            external_id=inbound.external_id,
            work_class=inbound.work_class,
            priority=inbound.priority,
            key=_key(inbound),
            at=self.engine.clock(),
        )
        waiting = max(len(session.state.queue), session.users)  # also those that are being journalled just now
        waiting -= len(session.running.messages) - 1 if session.running is not None else 0
        if not self._modes.takes(accepted, waiting):
            self._observers.raise_notice("inbox", f"session {session.state.id!r} is full", session=session.state.id)
            notice = f"{waiting} messages are waiting already; this one was not taken."
            return Receipt("refused", session.state.id, notice=notice)
        doubtful = self._modes.make_room and session.state.queue and accepted.key
        known = await self._journal.find(accepted.key) if doubtful else None
        if known is not None:  # nothing makes room for what came before
            return Receipt("duplicate", known)
        session.users += 1
        try:
            await self.take(session, accepted, agent)
        except DuplicateKey as error:
            return Receipt("duplicate", await self._journal.find(error.key) or session.state.id)
        finally:
            session.users -= 1
        self._modes.interrupt(session, accepted)
        self.start(session, inbound.work_class, message.id, priority=inbound.priority)
        return Receipt("accepted", session.state.id, message.id)

    # -- turns

    def start(
        self, session: Session, work_class: WorkClass, message: str | None, failures: int = 0, priority: int = 0
    ) -> None:
        """Take the next place in the lane and serve one message there; None serves whatever was left unfinished."""
        ticket = self.lanes.enter(session.state.id, work_class, priority)
        self.busy += 1
        self._turns.start_soon(self._serve, session, ticket, message, failures)

    async def resume(self, name: str) -> None:
        """Go on with a session that a dead process left."""
        session = await self.sessions.get(name)
        session.stale = True  # what was folded before may be older than what the dead process wrote
        await session.reload()
        self._observers.raise_notice("resume", f"taking over session {name!r}", level="info", session=name)
        self.start(session, "interactive", None)

    def _take_up(self, session: Session) -> None:
        """It was decided about here, and so belongs to this process now: whoever had it may be dead."""
        if session.running is None and self.serving and not self.stopping:
            self.start(session, "interactive", None)
        elif session.running is None:
            self.later.append(session.state.id)

    async def begin_work(self, session: Session) -> None:
        """At the head of the lane: wait for another process that is at work in the session, and read what it wrote."""
        name = session.state.id
        patience = [(_AT_ONCE, "waits for it"), (self.engine.limits.seconds, "takes the work over")]
        for seconds, then in patience if self._shared else ():
            with trio.move_on_after(seconds):
                await self._journal.hold(name)
                break
            await session.reload(look=True)
            turn = session.state.turn
            if seconds == patience[-1][0] and turn is not None and turn.until > self.engine.clock():
                patience.append(patience[-1])  # for people, who may take longer than a turn
                continue
            text = f"session {name!r} is at work in another process; this one {then}"
            self._observers.raise_notice("desk", text, level="info", session=name)
        if session.stale or session.state.turn is not None or session.state.outbox:
            session.stale = True
            await session.reload()

    def end_work(self, session: Session, ticket: Ticket) -> None:
        """Whether it began or not."""
        self._journal.release(session.state.id)
        self.lanes.leave(ticket)
        if session.resend > 0:
            self._turns.start_soon(self._resend, session, ticket.work_class, session.resend)
            session.resend = -1.0

    async def settle(self, session: Session, order: Order, *, waited_for: bool) -> ev.TurnEnded:
        """Run one turn in the lane that the caller holds.

        Cancelled from outside, it ends where somebody `waited_for` it, and else stays open for the next process. Where
        another process wrote to the session meanwhile, it begins again with what is there now. `TurnCancelled`: the
        message is there no more.
        """
        for _ in range(_TRIES):
            if session.stale:
                await session.reload()
            if order.messages[0] not in session.state.queue:
                return await self._ended_elsewhere(session.state.id, order.messages[0])
            left = session.state.turn
            if left is not None and order.messages[0] not in left.messages:
                await self._serve_one(session, left.messages)  # what a dead process left comes to its end first
                continue
            if left is not None or len(order.messages) > 1:  # of several, some may have ended by themselves
                here = left.messages if left is not None else filter(session.state.queue.__contains__, order.messages)
                order = evolve(order, messages=tuple(here))
            ended = await self._run(session, order, waited_for=waited_for)
            if ended is not None:
                return ended
        raise _overrun(session.state.id)

    async def _run(self, session: Session, order: Order, *, waited_for: bool) -> ev.TurnEnded | None:
        """The end of one turn, or None where another process wrote to the session first."""
        turn = Turn(self.engine, session, order, self.approvals)
        try:
            return await turn.run()
        except VersionConflict:
            session.stale = True
            return None
        except JournalError:
            raise
        except BaseException as error:
            try:
                fault = await own_fault(error)
            except trio.Cancelled:
                if waited_for:
                    await self.give_up(turn)
                raise
            # A fault of ours: the message must have an end all the same.
            self._observers.raise_notice("turn", f"broke with {said(fault)}", level="error")
            session.stale = True  # what it noted may be what no journal can hold
            ended = await turn.end("failed", reason="internal", notice="An internal error ended the turn.")
            if waited_for:
                raise
            return ended

    async def _ended_elsewhere(self, name: str, message: str) -> ev.TurnEnded:
        ended: ev.TurnEnded | None = None
        for record in reversed(await self._journal.read(name)):
            event = record.event
            if ended is None and isinstance(event, ev.TurnEnded) and message in event.messages:
                ended = event
                if event.answer is not None or event.outcome != "answered":
                    return event
            elif ended is not None and isinstance(event, ev.ModelAnswered) and event.turn == ended.turn:
                return evolve(ended, answer=event.message)
        raise TurnCancelled("the message was erased, or rolled back, before its turn came", session=name)

    async def give_up(self, turn: Turn) -> None:
        """Journal that a turn was cancelled; but one that the app's stop cut off is left for the next process."""
        if self.stopping:
            return
        with trio.move_on_after(_LAST_WORDS, shield=True):
            await turn.end("cancelled", reason="cancelled")

    async def drain(self, seconds: float) -> None:
        """Wait until no turn runs, at most that long. One that waits for people is left to the next process."""
        with trio.move_on_after(seconds):
            await self.wait_idle()

    async def wait_idle(self) -> None:
        while self.busy > self.approvals.waiting:
            self._idle = trio.Event()
            await self._idle.wait()

    def cancel(self, name: str) -> bool:
        """Cancel the turn that runs in a session, or the next one, where a message waits. False where there is none."""
        session = self.sessions.peek(name)
        if session is None:
            return False
        if session.running is not None:
            session.running.stop("cancelled")
            return True
        session.cancel_next = next(iter(session.state.queue), "")
        return bool(session.cancel_next)

    def session_at(self, address: Address) -> list[str]:
        """Names that the sessions of an address may have: one for each agent."""
        return [self._router.session_for(agent, address) for agent in self.engine.agents]

    async def _serve(self, session: Session, ticket: Ticket, message: str | None, failures: int) -> None:
        session.users += 1
        try:
            await ticket.wait()
            await self.begin_work(session)
            if message is None or message in session.state.queue:
                await self.serve_older(session, message)
            if message in session.state.queue:
                await self._serve_one(session, self._together(session, message))
            await self._deliver(session)
        except JournalError as error:
            self.come_back(session, error, ticket, failures)
        except BaseException as error:  # noqa: BLE001  # a fault in one session must not end the others; its message stays
            text = f"a turn broke with {said(await own_fault(error))}"
            self._observers.raise_notice("turn", text, level="error", session=session.state.id)
        finally:
            self.end_work(session, ticket)
            session.users -= 1
            self.busy -= 1
            if self.busy <= self.approvals.waiting:
                self._idle.set()

    def come_back(self, session: Session, error: JournalError, ticket: Ticket, failures: int = 0) -> None:
        """Serve a session again whose journal failed: nobody else would."""
        pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
        text = f"{error.problem}; tried again in {pause:g} s"
        self._observers.raise_notice("journal", text, level="error", session=session.state.id)

        async def later() -> None:
            await trio.sleep(pause)
            if not self.stopping:  # else the next process takes it over
                self.start(session, ticket.work_class, None, failures + 1, ticket.priority)

        if not self.stopping:
            self._turns.start_soon(later)

    async def _deliver(self, session: Session) -> None:
        """Send what is owed, in order: where one must be tried again later, the others wait with it."""
        for turn in tuple(session.state.outbox) if not session.resend else ():
            session.resend = await self._outbox.deliver(session, turn)
            if session.resend:
                return

    async def _resend(self, session: Session, work_class: WorkClass, pause: float) -> None:
        await trio.sleep(pause)
        session.resend = 0.0
        if not self.stopping:  # else the next process takes it over
            self.start(session, work_class, None)

    def go_on(self, session: Session) -> None:
        """Serve what is left behind a question; but not what another process has taken in and serves itself."""
        name = session.state.id
        if name in self._behind and name not in self.lanes and not self.stopping:
            self._behind.discard(name)
            self.start(session, "interactive", None)

    async def serve_older(self, session: Session, message: str | None) -> None:
        """Finish in its order what came before a message, and was left by a failure or another process; None: all."""
        for older in tuple(session.state.queue):
            if older == message:
                return
            if older in self.asked:  # a question has its own task, which goes on behind it
                self._behind.add(session.state.id)
                return
            if older in session.state.queue:  # it may have shared the turn of another one
                await self._serve_one(session, self._together(session, older))

    def _together(self, session: Session, message: str) -> tuple[str, ...]:
        return self._modes.collected(session, message) if self._modes.collects else (message,)

    async def _serve_one(self, session: Session, messages: tuple[str, ...]) -> None:
        address = session.state.queue[messages[0]].address
        channel = self._outbox.channel(address)
        if channel is not None and address is not None and channel.capabilities.streaming:
            await self._settle_shown(session, messages, channel, address)
        else:
            await self.settle(session, Order(messages, joining=self._joining), waited_for=False)
        await self._deliver(session)

    async def _settle_shown(
        self, session: Session, messages: tuple[str, ...], channel: Channel, address: Address
    ) -> None:
        """A turn whose growing answer the channel shows."""
        accepted = session.state.queue[messages[-1]]
        left = session.state.turn
        turn = left.id if left is not None and messages[0] in left.messages else new_id()
        draft = Draft(turn, address, in_reply_to=accepted.external_id)
        board = DraftBoard(channel, draft, session.state.id, self._observers)
        board.author = accepted.message.author
        order = Order(messages, board.emit, board.progress, turn=turn, joining=self._joining, joined=board.answers)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.run)
            try:
                await self.settle(session, order, waited_for=False)
            except Exception as error:  # noqa: BLE001  # raised again below, where no nursery wraps it
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        await board.finish()


_PAUSES = (1.0, 5.0, 30.0)
"""Seconds until a session is served again whose journal failed: nobody else would come back to it."""
_AT_ONCE = 1.0
"""Seconds of waiting for another process after which it is told."""
_LAST_WORDS = 5.0
"""Seconds for journalling the end of a turn that was cancelled."""


class ChannelInbox(Inbox):
    """The inbox of one channel: it can speak for that channel only."""

    def __init__(self, desk: Desk, channel: str, ready: Callable[[str, str], None]) -> None:
        self._desk, self._channel, self._ready = desk, channel, ready

    async def accept(self, inbound: Inbound) -> Receipt:
        if inbound.address.channel != self._channel:
            inbound = evolve(inbound, address=evolve(inbound.address, channel=self._channel))
        try:
            return await self._desk.receive(inbound)
        except JournalUnavailable:
            self._desk.outage.tell(inbound)
            raise

    def ready(self, where: str) -> None:
        self._ready(self._channel, where)

    async def cancel(self, address: Address) -> bool:
        address = evolve(address, channel=self._channel)
        await trio.lowlevel.checkpoint()
        cancelled = [self._desk.cancel(name) for name in self._desk.session_at(address)]
        return any(cancelled)


def _overrun(session: str) -> JournalUnavailable:
    problem = f"session {session!r} was written by others {_TRIES} times in a row"
    return JournalUnavailable(problem, session=session, next_step="send the message again")


def _key(inbound: Inbound) -> str:
    """What makes an event of a platform the same event: its id and where it was said."""
    if not inbound.external_id:
        return ""
    address = inbound.address
    # Names and ids are strangers' words: a line break in one of them must not look like the next part.
    parts = (address.channel, address.account, address.conversation, inbound.external_id)
    return "\n".join(part.replace("\\", "\\\\").replace("\n", "\\n") for part in parts)


def _check_inbound(inbound: Inbound, max_bytes: int) -> None:
    """Hold a channel to its contract. `SchemaError`: what was found."""
    if not inbound.parts:
        raise SchemaError("expected at least one part, found none", schema="inbound", path="/parts")
    if inbound.work_class not in _WORK_CLASSES:
        problem = f"found work class {inbound.work_class!r}, expected one of {', '.join(_WORK_CLASSES)}"
        raise SchemaError(problem, schema="inbound", path="/work_class")
    if type(inbound.priority) is not int:
        problem = f"expected an integer as priority, found {inbound.priority!r}"
        raise SchemaError(problem, schema="inbound", path="/priority")
    try:
        size = sum(len(text.encode("utf-8")) for text in _texts(inbound))
    except UnicodeEncodeError:
        raise SchemaError("expected valid Unicode, found a lone surrogate", schema="inbound") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise SchemaError(f"expected JSON values as data: {error}", schema="inbound", path="/parts") from None
    except AttributeError as error:
        raise SchemaError(f"expected text in all names and ids: {error}", schema="inbound") from None
    if not inbound.author.id:
        # Its notes and sessions would be those of all others without one.
        raise SchemaError("expected an id of the author, found none", schema="inbound", path="/author/id")
    size += sum(len(getattr(part, "data", None) or b"") for part in inbound.parts)
    if size > max_bytes:
        raise SchemaError(
            f"found a message of {size} bytes, at most {max_bytes} are taken",
            schema="inbound",
            path="/parts",
            next_step="raise limits.message_bytes",
        )


_WORK_CLASSES = get_args(WorkClass)


def _texts(inbound: Inbound) -> Iterator[str]:
    """Everything that the journal will have to write."""
    address, author = inbound.address, inbound.author
    yield from (inbound.external_id, inbound.reply_to, author.id, author.name, *author.roles)
    yield from (address.account, address.conversation, address.thread)
    for part in inbound.parts:
        if isinstance(part, Data):
            yield json.dumps(part.value, ensure_ascii=False, allow_nan=False)
        else:
            yield from (value for value in astuple(part, recurse=False) if isinstance(value, str))
