"""A running app: what a host can ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

import trio
from attrs import frozen

from fairlead import _events as ev
from fairlead._approval_text import Choice
from fairlead._desk import ChannelInbox
from fairlead._leaf import own_fault, said
from fairlead._message import HOST, Message, Origin, Principal, Text, ToolCall, Usage, new_id, stamp
from fairlead._session import RESERVED
from fairlead._store import SessionStore
from fairlead._structured import Wanted
from fairlead._turn import Order, Turn
from fairlead._work import Finding, Review
from fairlead.errors import ConfigError, InvalidResult, JournalError, TurnCancelled, TurnError, TurnFailed, TurnRefused

if TYPE_CHECKING:
    from fairlead._config import Config
    from fairlead._contracts import Channel, Tool
    from fairlead._desk import Desk
    from fairlead._lanes import Ticket
    from fairlead._message import Address, Part
    from fairlead._observers import Observers
    from fairlead._plugins import PluginReport
    from fairlead._policy import Explanation
    from fairlead._session import Session
    from fairlead._work import Emit, ModelInfo, ToolSpec
    from fairlead._workers import Crew

    Content = str | Sequence[Part]

__all__ = ["App", "Reply"]

T = TypeVar("T")
_BACKOFF = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds before a channel that failed is run again."""
_CLAIM_SECONDS = 10.0
"""How often a serving app looks for sessions that a dead process left."""
_CHECK_SECONDS = 10.0


@frozen
class Reply:
    """The answer to one question."""

    text: str
    message: Message
    session: str
    turn: str
    usage: Usage


class _Question(TypedDict, total=False):
    """What `App.ask` takes beside the words and the type of the answer."""

    session: str | None
    agent: str | None
    principal: Principal | None
    model: str | None
    emit: Emit | None


class App:
    """A running app. Made by `fairlead.open`; it belongs to the task that opened it."""

    def __init__(self, config: Config, crew: Crew, desk: Desk, observers: Observers) -> None:
        self.config = config
        self._crew, self._desk, self._observers = crew, desk, observers
        self._stop = trio.Event()
        self._serving = False
        self.sessions = SessionStore(crew.journal, desk.sessions, desk.lanes, desk.engine, crew.isolator)

    @property
    def reports(self) -> tuple[PluginReport, ...]:
        """What became of each enabled plugin."""
        return tuple(self._crew.reports)

    @property
    def tools(self) -> tuple[ToolSpec, ...]:
        """The tools of all agents."""
        return self._desk.engine.tools.specs()

    def worker_of(self, tool: str) -> Tool | None:
        """The worker that offers a tool: `Worker.level` says where it runs, `Worker.evidence` proves it."""
        entry = self._desk.engine.tools.find(tool)
        return entry.worker if entry is not None else None

    # -- asking

    @overload
    async def ask(self, content: Content, *, returns: None = None, **question: Unpack[_Question]) -> Reply: ...
    @overload
    async def ask(self, content: Content, *, returns: type[T], **question: Unpack[_Question]) -> T: ...
    async def ask(  # all by keyword; each is one thing that a question may say
        self,
        content: Content,
        *,
        session: str | None = None,
        agent: str | None = None,
        principal: Principal | None = None,
        model: str | None = None,
        returns: type[T] | None = None,
        emit: Emit | None = None,
    ) -> Reply | T:
        """One turn: a message in, an answer out. Turns of one session run one by one, in the order of the calls.

        `session`: its name; a new one where it is None. `model`: an alias or ``provider/model`` for this turn.
        `returns`: a type with a JSON Schema (an attrs class, say) that the answer is turned into. `emit` is awaited
        with each `Delta`.

        `TurnRefused`, `TurnFailed`, `InvalidResult`, `JournalUnavailable`. Cancelled: journalled as cancelled.
        """
        if self._desk.closed:
            raise RuntimeError("the app is closed: ask inside of `async with fairlead.open(...)`")
        if session is not None and session.startswith(RESERVED):
            raise ValueError(f"expected a name that does not begin with {RESERVED!r}, found {session!r}")
        wanted = Wanted(returns) if returns is not None else None
        held = await self._desk.sessions.get(session or new_id())
        name = self._agent_name(agent, held)
        message = self._message(content, principal)
        order = Order(
            (message.id,),
            emit,
            model=model or "",
            output_schema=wanted.schema if wanted else None,
            accept=wanted.fault if wanted else None,
        )
        ended = await self._run_turn(held, name, message, order)
        if ended.outcome != "answered":
            raise _error_of(ended, held, wanted)
        answer = ended.answer or held.state.items[-1]
        assert isinstance(answer, Message), "an answered turn ends with a message"
        if wanted is not None:
            wrong = wanted.fault(answer.text)  # once more: a policy may have revised it
            if wrong:
                raise InvalidResult(wrong, session=held.state.id, turn=ended.turn, text=answer.text)
            return wanted.value  # type: ignore[return-value]  # an accepted answer has set it
        return Reply(answer.text, answer, held.state.id, ended.turn, ended.usage)

    async def _run_turn(self, held: Session, agent: str, message: Message, order: Order) -> ev.TurnEnded:
        desk = self._desk
        accepted = ev.MessageAccepted(message=message, at=desk.engine.clock())
        held.users += 1
        desk.asked.add(message.id)
        try:
            await desk.take(held, accepted, agent)
            ticket = desk.lanes.enter(held.state.id)
            try:
                await self._wait_place(ticket, held, order)
                return await desk.settle(held, order, waited_for=True)
            except JournalError as error:
                desk.come_back(held, error, ticket)
                raise
            finally:
                desk.end_work(held, ticket)
                desk.go_on(held)
        finally:
            held.users -= 1
            desk.asked.discard(message.id)

    async def _wait_place(self, ticket: Ticket, held: Session, order: Order) -> None:
        try:
            await ticket.wait()
            await self._desk.begin_work(held)
            if next(iter(held.state.queue), "") != order.messages[0]:
                await self._desk.serve_older(held, order.messages[0])
        except trio.Cancelled:
            await self._desk.give_up(Turn(self._desk.engine, held, order, self._desk.approvals))
            raise

    def _agent_name(self, agent: str | None, held: Session) -> str:
        agents = self._desk.engine.agents
        if agent is None:
            return held.state.agent or next(iter(agents))
        if agent not in agents:
            known = ", ".join(agents)
            raise ConfigError(f"there is no agent {agent!r}; the agents are: {known}", path="agents")
        if held.state.agent not in ("", agent):
            raise ConfigError(
                f"session {held.state.id!r} is held by agent {held.state.agent!r}, not by {agent!r}",
                next_step="ask in another session",
            )
        return agent

    @staticmethod
    def _message(content: str | Sequence[Part], principal: Principal | None) -> Message:
        origin = Origin("host", principal=principal.id) if principal is not None else HOST
        parts = stamp((Text(content),) if isinstance(content, str) else content, origin)
        return Message("user", parts, author=principal)

    # -- serving

    async def serve(self, *, resume: bool = True) -> None:
        """Run all channels. Returns after `stop`, or when every channel has come to its end and no turn runs.

        `resume`: take over, now and later, the sessions that a process left which has died.
        """
        if self._serving:
            raise RuntimeError("the app serves already")
        self._serving = self._desk.serving = True
        claimed = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                if resume:
                    nursery.start_soon(self._claim, claimed)
                else:
                    claimed.set()
                nursery.start_soon(self._desk.outage.watch)
                nursery.start_soon(self._run_channels, nursery.cancel_scope, claimed)
                await self._stop.wait()
                self._desk.stopping = True
                nursery.cancel_scope.cancel()
        finally:
            self._serving = self._desk.serving = False
        await self._desk.drain(self.config.limits.grace_seconds)

    def stop(self) -> None:
        """Take nothing new, and let turns come to their end for `limits.grace_seconds`.

        What is left then, another process finishes. Immediate; may be called more than once.
        """
        self._stop.set()

    async def cancel(self, session: str) -> bool:
        """Cancel the turn that runs in a session, or the next one where it waits. False where there is none."""
        await trio.lowlevel.checkpoint()
        return self._desk.cancel(session)

    # -- approvals

    async def approvals(self) -> Sequence[ev.Record]:
        """What waits for a person's decision, oldest first: each `ApprovalRequested` in its session."""
        return await self._desk.approvals.open()

    async def decide(
        self, approval: str, *, allow: bool, by: Principal, reason: str = "", where: str = "host"
    ) -> ev.ApprovalRequested:
        """Decide about an approval; what was asked for. It is the host that says who decides: nothing is asked of `by`.

        `ApprovalRefused`: it is unknown, already decided, expired or void.
        """
        choice = Choice(approval.lower(), allow, reason)
        return await self._desk.approvals.decide(choice, by, where, trusted=True)

    async def _run_channels(self, scope: trio.CancelScope, claimed: trio.Event) -> None:
        async with trio.open_nursery() as nursery:
            for channel in self._crew.channels.values():
                nursery.start_soon(self._run_channel, channel)
        await claimed.wait()  # also an app without channels finishes what a dead process left
        await self._desk.wait_idle()
        self._stop.set()
        scope.cancel()

    async def _run_channel(self, channel: Channel) -> None:
        inbox = ChannelInbox(self._desk, channel.name, self._channel_ready)
        failures = 0
        while True:
            began = trio.current_time()
            try:
                await channel.run(inbox)
            except BaseException as error:  # noqa: BLE001  # one channel's fault is not the others'
                fault = await own_fault(error)
                failures = 1 if trio.current_time() - began > _BACKOFF[-1] else failures + 1
                pause = _BACKOFF[min(failures, len(_BACKOFF)) - 1]
                text = f"stopped with {said(fault)}; runs again in {pause:g} s"
                self._observers.raise_notice(f"channels/{channel.name}", text, level="error")
                await trio.sleep(pause)
            else:
                return

    def _channel_ready(self, channel: str, where: str) -> None:
        self._observers.raise_notice(f"channels/{channel}", f"listening at {where}", level="info")

    async def _claim(self, claimed: trio.Event) -> None:
        while True:
            try:
                for name in (*await self._crew.journal.claim(), *self._desk.later):
                    await self._resume(name)
                self._desk.later.clear()
            except BaseException as error:  # noqa: BLE001  # looking again later is all that can be done
                self._observers.raise_notice("resume", said(await own_fault(error)), level="error")
            claimed.set()
            await trio.sleep(_CLAIM_SECONDS)

    async def _resume(self, name: str) -> None:
        """Go on with one session; one that cannot be read is not the others' concern, which are claimed as well."""
        try:
            await self._desk.resume(name)
        except BaseException as error:  # noqa: BLE001  # see above
            text = f"session {name!r}: {said(await own_fault(error))}"
            self._observers.raise_notice("resume", text, level="error", session=name)

    # -- looking

    async def models(self) -> dict[str, tuple[ModelInfo, ...]]:
        """The models of each provider."""
        return await self._desk.engine.models.infos()

    @property
    def health(self) -> Sequence[ev.ProviderHealth]:
        """What stands against the providers, their credentials and their models; nothing where all are well.

        Since: 1.1.
        """
        return self._desk.engine.models.log.health.entries

    async def reset_health(self, provider: str) -> Sequence[ev.ProviderHealth]:
        """Let a provider be asked as if it had never failed; what stood against it. Since: 1.1."""
        return await self._desk.engine.models.log.reset(provider)

    async def explain(
        self,
        call: ToolCall,
        *,
        agent: str | None = None,
        principal: Principal | None = None,
        address: Address | None = None,
    ) -> Explanation:
        """What the policies would decide about a tool call, and all that they say."""
        entry = self._desk.engine.tools.find(call.tool)
        name = agent or next(iter(self._desk.engine.agents))
        review = Review("tool_call", call, "", name, principal, address, entry.spec if entry else None)
        return await self._desk.engine.policy.explain(review)

    async def check(self) -> tuple[Finding, ...]:
        """How every enabled plugin and every worker is."""
        findings = [*map(_finding_of, self.reports), *self._desk.outage.findings()]
        findings += self._desk.engine.models.log.findings()
        for worker in self._crew.opened:
            subject = worker.name or type(worker).__name__
            with trio.move_on_after(_CHECK_SECONDS) as scope:
                try:
                    findings.extend(await worker.check())
                except BaseException as error:  # noqa: BLE001  # a check that fails is a finding
                    fault = type(await own_fault(error)).__name__
                    findings.append(Finding(subject, ok=False, detail=f"its check raised {fault}"))
            if scope.cancelled_caught:
                findings.append(Finding(subject, ok=False, detail=f"its check took over {_CHECK_SECONDS:g} s"))
        return tuple(findings)


def _error_of(ended: ev.TurnEnded, held: Session, wanted: Wanted[Any] | None) -> TurnError:
    """The error that stands for a turn without an answer."""
    notice = ended.answer.text if ended.answer is not None else "The turn was cancelled."
    session, turn = held.state.id, ended.turn
    if ended.outcome == "refused":
        return TurnRefused(notice, session=session, turn=turn, rule=ended.reason)
    if ended.outcome == "cancelled":
        return TurnCancelled(notice, session=session, turn=turn)
    if wanted is not None and ended.reason == "arguments":
        said = [item.text for item in held.state.items if isinstance(item, Message) and item.role == "assistant"]
        return InvalidResult(notice, session=session, turn=turn, text=said[-1] if said else "")
    reason, _, rule = ended.reason.partition(":")
    return TurnFailed(notice, session=session, turn=turn, reason=reason, rule=rule)


def _finding_of(report: PluginReport) -> Finding:
    if report.error is not None:
        return Finding(report.plugin, ok=False, detail=report.error.problem, next_step=report.error.next_step)
    return Finding(report.plugin, ok=True, detail=" ".join(filter(None, (report.status, report.distribution))))
