"""A session as the fold over its events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, overload

from attrs import define, field

from fairlead import _events as ev
from fairlead._approval_text import expiry_of, notice_of
from fairlead._context import Weight, view
from fairlead._message import Message, ToolCall, ToolResult, Usage

if TYPE_CHECKING:
    from fairlead._message import Address

__all__ = ["EXPIRED", "Asked", "History", "OpenTurn", "SessionState", "Unsent", "apply", "fold"]

Item = Message | ToolResult


class History(Sequence[Item]):
    """The first items of a list that only ever grows: a view that costs nothing and never changes."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[Item], length: int) -> None:
        self._items, self._length = items, length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return islice(self._items, self._length)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self._items[step] for step in range(*index.indices(self._length))]
        step = index + self._length if index < 0 else index
        if not 0 <= step < self._length:
            raise IndexError(index)
        return self._items[step]


EXPIRED = "expired"
"""The reason of a decision that nobody made in time."""


@define
class Asked:
    """An approval that was asked for."""

    request: ev.ApprovalRequested
    decided: ev.ApprovalDecided | None = None
    used: bool = False

    @property
    def granted(self) -> bool:
        return self.decided is not None and self.decided.granted


@define
class OpenTurn:
    """A turn that has started and not ended."""

    id: str
    messages: tuple[str, ...]
    steps: int = 0
    corrections: int = 0
    usage: Usage = Usage()
    calls: dict[str, ToolCall] = field(factory=dict)
    """Calls without a result."""
    asked: dict[str, Asked] = field(factory=dict)
    """The last approval of each call that was asked for one."""

    def approval(self, name: str) -> Asked | None:
        return next((each for each in self.asked.values() if each.request.id == name), None)

    @property
    def until(self) -> float:
        """Unix seconds: from then on nobody need be waited for."""
        return max((each.request.expires for each in self.asked.values()), default=0.0) if self.waits else 0.0

    @property
    def waits(self) -> bool:
        """Some call waits for its approval or for its start: until then no call of that answer is made."""
        return bool(self.asked) and any(not each.used and call in self.calls for call, each in self.asked.items())


@define
class Unsent:
    """An answer on its way to a channel."""

    answer: Message
    address: Address
    in_reply_to: str
    kind: str
    since: float
    attempts: int = 0
    sending: bool = False
    """A try has begun, and nobody has written what became of it."""
    until: float = 0.0
    """Not to be tried before; Unix seconds."""


@define
class SessionState:
    """What the events so far amount to."""

    id: str
    version: int = 0
    agent: str = ""
    items: list[Item] = field(factory=list)
    queue: dict[str, ev.MessageAccepted] = field(factory=dict)
    """Accepted messages whose turn has not ended, in order."""
    turn: OpenTurn | None = None
    outbox: dict[str, Unsent] = field(factory=dict)
    """By turn, and by approval the questions."""
    called: set[str] = field(factory=set)
    """Ids of all calls that there ever were."""
    context: list[Item] = field(init=False)
    """What the model sees: `items` themselves, as long as nothing is compacted."""
    compactions: list[ev.Compacted] = field(factory=list)
    """Those that hold; the newest is the last."""
    weight: Weight = field(factory=Weight, eq=False)
    patience: float = field(default=0.0, eq=False)
    """Tokens of the context below which no compaction begins by itself."""

    def __attrs_post_init__(self) -> None:
        self.context = self.items

    def add(self, item: Item) -> None:
        self.items.append(item)
        if self.context is not self.items:
            self.context.append(item)

    @property
    def pending(self) -> bool:
        return bool(self.queue or self.turn or self.outbox)

    @property
    def history(self) -> History:
        return History(self.context, len(self.context))


def fold(session: str, records: Sequence[ev.Record]) -> SessionState:
    """The state after all records. What lies behind a rollback is left out."""
    kept: list[ev.Event] = []
    place = len(records)
    while place:  # from the end, so that a rollback may bring back what an earlier one hid
        place -= 1
        event = records[place].event
        if isinstance(event, ev.RolledBack):
            place = min(place, event.to_version)
        else:
            kept.append(event)
    state = SessionState(session)
    for event in reversed(kept):
        apply(state, event)
    # Also those behind a rollback: a tool that remembers its calls would take the same id for the same call.
    answers = [record.event.message for record in records if isinstance(record.event, ev.ModelAnswered)]
    state.called.update(call.id for message in answers for call in message.calls)
    state.version = records[-1].version if records else 0
    return state


def apply(state: SessionState, event: ev.Event) -> None:
    """Take one event into the state. Kinds that say nothing about the state are ignored."""
    act = _ACTS.get(type(event))
    if act is not None:
        act(state, event)


def _started(state: SessionState, event: ev.SessionStarted) -> None:
    state.agent = event.agent


def _accepted(state: SessionState, event: ev.MessageAccepted) -> None:
    state.queue[event.message.id] = event


def _turn_started(state: SessionState, event: ev.TurnStarted) -> None:
    state.turn = OpenTurn(event.turn, event.messages)
    _show(state, event)


def _steered(state: SessionState, event: ev.TurnSteered) -> None:
    if state.turn is not None:
        state.turn.messages += event.messages
    _show(state, event)


def _show(state: SessionState, event: ev.TurnStarted | ev.TurnSteered) -> None:
    revised = {message.id: message for message in event.revised} if event.revised else None
    for message in event.messages:
        accepted = state.queue[message].message
        state.add(revised.get(message, accepted) if revised else accepted)


def _answered(state: SessionState, event: ev.ModelAnswered) -> None:
    state.add(event.message)
    if event.usage.input_tokens:
        state.weight.count(event.usage.input_tokens + event.usage.output_tokens, len(state.context))
    turn = state.turn
    if turn is not None:
        turn.steps += 1
        turn.usage = turn.usage + event.usage
        for call in event.message.calls:
            turn.calls[call.id] = call
            state.called.add(call.id)


def _corrected(state: SessionState, event: ev.Corrected) -> None:
    state.add(event.message)
    if state.turn is not None:
        state.turn.corrections += 1


def _approval_requested(state: SessionState, event: ev.ApprovalRequested) -> None:
    if state.turn is not None:
        state.turn.asked[event.call] = Asked(event)
        _owe(state, event.id, notice_of(event), "question", event.at)


def _approval_decided(state: SessionState, event: ev.ApprovalDecided) -> None:
    asked = state.turn.approval(event.id) if state.turn is not None else None
    if state.turn is not None and asked is not None and asked.decided is None:
        asked.decided = event
        state.outbox.pop(event.id, None)  # nobody need answer it any more
        if event.reason == EXPIRED and not event.by:
            _owe(state, f"{event.id}.{EXPIRED}", expiry_of(asked.request), "notice", event.at)


def _approval_used(state: SessionState, event: ev.ApprovalUsed) -> None:
    asked = state.turn.approval(event.id) if state.turn is not None else None
    if asked is not None:
        asked.used = True


def _owe(state: SessionState, name: str, said: Message, kind: str, at: float) -> None:
    """It goes where the turn's answer will go."""
    accepted = state.queue[state.turn.messages[0]] if state.turn is not None else None
    if accepted is not None and accepted.address is not None:
        state.outbox[name] = Unsent(said, accepted.address, accepted.external_id, kind, at)


def _returned(state: SessionState, event: ev.ToolReturned) -> None:
    state.add(event.result)
    if state.turn is not None:
        state.turn.calls.pop(event.result.call, None)
        if event.result.error == "invalid":
            state.turn.corrections += 1


def _ended(state: SessionState, event: ev.TurnEnded) -> None:
    answer = event.answer
    if event.outcome == "answered":
        last = state.items[-1]
        if answer is None:
            answer = last if isinstance(last, Message) else None
        else:  # a policy revised it: the model shall see what was really said
            state.items[-1] = state.context[-1] = answer
    if event.address is not None and answer is not None:
        kind = "answer" if event.outcome == "answered" else "notice"
        state.outbox[event.turn] = Unsent(answer, event.address, event.in_reply_to, kind, event.at)
    for message in event.messages:
        state.queue.pop(message, None)
    if state.turn is not None and state.turn.id == event.turn:
        for asked in state.turn.asked.values():
            state.outbox.pop(asked.request.id, None)  # nobody need answer it any more
        state.turn = None


def _sending(state: SessionState, event: ev.AnswerSending) -> None:
    unsent = state.outbox.get(event.turn)
    if unsent is not None:
        unsent.attempts, unsent.sending = event.attempt, True


def _deferred(state: SessionState, event: ev.AnswerDeferred) -> None:
    unsent = state.outbox.get(event.turn)
    if unsent is not None:
        unsent.until, unsent.sending = event.until, False


def _delivered(state: SessionState, event: ev.AnswerDelivered) -> None:
    state.outbox.pop(event.turn, None)


def _compacted(state: SessionState, event: ev.Compacted) -> None:
    state.compactions.append(event)
    state.context = view(state.id, state.items, event)
    state.weight, state.patience = Weight(event.tokens_after, len(state.context)), 0.0
    if state.turn is not None:
        state.turn.usage = state.turn.usage + event.usage


def _undone(state: SessionState, _: ev.CompactionUndone) -> None:
    if state.compactions:
        state.compactions.pop()
        state.context = view(state.id, state.items, state.compactions[-1] if state.compactions else None)
        state.weight, state.patience = Weight(), inf


_ACTS: dict[type[ev.Event], Callable[[SessionState, Any], None]] = {
    ev.SessionStarted: _started,
    ev.MessageAccepted: _accepted,
    ev.TurnStarted: _turn_started,
    ev.TurnSteered: _steered,
    ev.ModelAnswered: _answered,
    ev.Corrected: _corrected,
    ev.ApprovalRequested: _approval_requested,
    ev.ApprovalDecided: _approval_decided,
    ev.ApprovalUsed: _approval_used,
    ev.ToolReturned: _returned,
    ev.TurnEnded: _ended,
    ev.AnswerSending: _sending,
    ev.AnswerDeferred: _deferred,
    ev.AnswerDelivered: _delivered,
    ev.Compacted: _compacted,
    ev.CompactionUndone: _undone,
}
