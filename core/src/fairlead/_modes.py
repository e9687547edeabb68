"""Modes: what a message does that arrives while others of its conversation wait or are answered; and full queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fairlead import _events as ev
from fairlead._company import authors_of
from fairlead._message import HOST, Message, Text, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fairlead._config import Agent, Limits
    from fairlead._router import Router
    from fairlead._session import Session
    from fairlead._work import Mode

    Notice = Callable[[str, str], None]

__all__ = ["Modes", "own_end"]


class Modes:
    """The modes of an app's conversations. All methods are immediate."""

    def __init__(
        self, router: Router, agents: Mapping[str, Agent], limits: Limits, now: Callable[[], float], notice: Notice
    ) -> None:
        self._router, self._agents, self._limits, self._now, self._notice = router, agents, limits, now, notice
        used = {agent.mode for agent in agents.values()} | {binding.mode for binding in router.bindings}
        # What nobody has configured costs a message one look.
        self.steers, self.collects, self._interrupts = "steer" in used, "collect" in used, "interrupt" in used
        self.make_room = self._interrupts or limits.queue_full != "refuse-newest"

    def of(self, accepted: ev.MessageAccepted) -> Mode:
        """That of the binding that matches, else that of its agent. Questions of the host wait for their turn."""
        author = accepted.message.author
        if accepted.address is None or author is None:
            return "follow-up"
        binding = self._router.binding_for(accepted.address, author)
        agent = self._agents.get(binding.agent) if binding is not None else None
        return (binding.mode if binding is not None else None) or (agent or next(iter(self._agents.values()))).mode

    def joining(self, session: Session) -> list[ev.MessageAccepted]:
        """Those that wait and join the turn that runs."""
        running, queue = session.running, session.state.queue
        if running is None or len(queue) <= len(running.messages):
            return []
        here = queue[running.messages[0]].address
        return [each for each in session.waiting if each.address == here and self.of(each) == "steer"]

    def collected(self, session: Session, message: str) -> tuple[str, ...]:
        """The messages of a turn that begins with this one."""
        first = session.state.queue[message]
        if self.of(first) != "collect":
            return (message,)
        others = [each for each in session.waiting if each is not first and each.address == first.address]
        return (message, *(each.message.id for each in others if self.of(each) == "collect"))

    def interrupts(self, accepted: ev.MessageAccepted) -> bool:
        return self._interrupts and self.of(accepted) == "interrupt"

    def interrupt(self, session: Session, arrived: ev.MessageAccepted) -> None:
        """End the turn that runs where a message that waits was said, unless one newer than it has come."""
        running, queue = session.running, session.state.queue
        if running is None or not self.interrupts(arrived):
            return
        if arrived.message.id in running.messages or arrived.message.id not in queue:
            return
        first = queue.get(running.messages[0])
        if first is not None and first.address == arrived.address:
            running.stop("interrupted")

    def takes(self, accepted: ev.MessageAccepted, waiting: int) -> bool:
        """Whether there is room for a message where so many wait, or room is made."""
        limits = self._limits
        return waiting <= limits.queue or limits.queue_full != "refuse-newest" or self.interrupts(accepted)

    def ousted(self, session: Session, arriving: ev.MessageAccepted) -> list[ev.Event]:
        """What ends for a message that arrives: those that it interrupts, or those that a full queue does not keep."""
        waiting, now, limits = session.waiting, self._now(), self._limits
        here = [each for each in waiting if each.address == arriving.address]
        if arriving.address is None:  # a question of the host is always taken, and takes nobody's place
            return []
        if self.interrupts(arriving):
            return [own_end(each, "cancelled", "interrupted", _INTERRUPTED, now) for each in here]
        if len(waiting) < limits.queue or limits.queue_full == "refuse-newest":
            return []
        self._notice("inbox", f"session {session.state.id!r} is full")
        if limits.queue_full == "summarise" and len(here) > 1:
            ended = [own_end(each, "refused", "summarised", _SUMMARISED, now) for each in here]
            return [*ended, _summary(here, now)]
        text = f"This message was dropped: {limits.queue} newer ones wait."
        return [own_end(each, "refused", "dropped", text, now) for each in here[:1]]


def own_end(
    accepted: ev.MessageAccepted, outcome: Literal["refused", "cancelled"], reason: str, notice: str, now: float
) -> ev.TurnEnded:
    """The end of a message that has no turn, with its notice."""
    return ev.TurnEnded(
        turn=new_id(),
        messages=(accepted.message.id,),
        outcome=outcome,
        answer=Message("assistant", (Text(notice, HOST),)),
        address=accepted.address,
        in_reply_to=accepted.external_id,
        reason=reason,
        at=now,
    )


_INTERRUPTED = "This message was not answered: a newer one took its place."
_SUMMARISED = "Too many messages wait. This one is answered only in short, together with others."
_SUMMARY_CHARS = 4000
_LINE_CHARS = 24
"""Shorter ones would say nothing: the newest of very many are left out."""


def _summary(messages: Sequence[ev.MessageAccepted], now: float) -> ev.MessageAccepted:
    """One short message of many: who said what, at most `_SUMMARY_CHARS` characters. Each line keeps its origin."""
    last = messages[-1]
    told = f"{len(messages)} messages came faster than they could be answered. Who said what, in short:"
    room = _SUMMARY_CHARS - len(told)
    length = max(_LINE_CHARS, room // len(messages) - 1)
    parts = [Text(told, HOST)]
    for each in messages[: room // (length + 1)]:
        author, said = each.message.author, each.message
        who = "several" if each.authors or author is None else author.name or author.id
        line = " ".join(f"- {who}: {said.text or '(no words)'}".split())
        parts.append(Text(line if len(line) <= length else f"{line[: length - 1]}…", said.parts[-1].origin))
    message = Message("user", tuple(parts), author=last.message.author)
    authors = tuple(author for author in authors_of(messages) if author is not None)
    return ev.MessageAccepted(
        message=message,
        address=last.address,
        work_class=last.work_class,
        priority=last.priority,
        authors=authors,
        at=now,
    )
