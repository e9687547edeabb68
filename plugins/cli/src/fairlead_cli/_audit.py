"""The conservation law over the journal: what was accepted ends as answered, refused, failed or cancelled, once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from fairlead import events as ev

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairlead.events import Record

__all__ = ["Account", "audit"]

ENDS = ("answered", "refused", "failed", "cancelled")


@define
class Account:
    """What the records of one or more sessions amount to."""

    sessions: int = 0
    accepted: int = 0
    """Messages; one that a rollback let wait on counts once."""
    answered: int = 0
    refused: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    """Accepted, and not at their end yet: a turn runs, or a process has left them for the next one."""
    sent: int = 0
    unknown: int = 0
    """Answers of which nobody knows whether they arrived; they are not sent again."""
    undelivered: int = 0
    """Answers that surely did not arrive, or that are still on their way."""
    unknown_calls: int = 0
    """Calls of tools of which nobody knows whether they had their effect; they are not made again."""
    faults: list[str] = field(factory=list)
    """What breaks the law, in words."""

    def __add__(self, other: Account) -> Account:
        names = [each.name for each in attrs.fields(Account)]
        return Account(**{name: getattr(self, name) + getattr(other, name) for name in names})


def audit(session: str, records: Sequence[Record]) -> Account:
    """The account of one session, from all that ever happened to it, also what was rolled back."""
    events = [record.event for record in records]
    accepted = {event.message.id for event in events if isinstance(event, ev.MessageAccepted)}
    ended = [(message, event) for event in events if isinstance(event, ev.TurnEnded) for message in event.messages]
    outcomes = {message: event.outcome for message, event in ended}
    unknown = sum(isinstance(event, ev.ToolReturned) and event.result.error == "unknown" for event in events)
    found = Account(1, len(accepted), waiting=len(accepted - outcomes.keys()), unknown_calls=unknown)
    for end in ENDS:
        setattr(found, end, sum(outcome == end for outcome in outcomes.values()))
    _count_answers(found, events)
    times = Counter(message for message, _ in ended)
    found.faults += [f"{session}: message {name} ended {times[name]} times" for name in times if times[name] > 1]
    found.faults += [f"{session}: message {name} ended, and was never accepted" for name in times.keys() - accepted]
    found.faults += [f"{session}: {fault}" for fault in (*_calls(events), *_approvals(events))]
    return found


def _count_answers(account: Account, events: Sequence[Any]) -> None:
    """Of each turn that has something to send, what became of it last; sent twice is a fault.

    Questions for approvals are no answers: one that nobody may have seen is asked again.
    """
    asked = {event.id for event in events if isinstance(event, ev.ApprovalRequested)}
    owed = {event.turn for event in events if isinstance(event, ev.TurnEnded) and event.address and _says(event)}
    deliveries: dict[str, list[str]] = {}
    for event in events:
        if isinstance(event, ev.AnswerDelivered) and event.turn.partition(".")[0] not in asked:
            deliveries.setdefault(event.turn, []).append(event.status)
    for turn, statuses in deliveries.items():
        account.sent += "sent" in statuses
        account.unknown += "sent" not in statuses and bool({"ambiguous", "unknown"} & set(statuses))
        account.undelivered += set(statuses) == {"failed"}
        if statuses.count("sent") > 1:
            account.faults.append(f"the answer of turn {turn} was sent {statuses.count('sent')} times")
    account.undelivered += len(owed - deliveries.keys())


def _says(event: ev.TurnEnded) -> bool:
    return event.outcome == "answered" or event.answer is not None


def _approvals(events: Iterable[Any]) -> Iterable[str]:
    """Starts of calls without a grant of their own; the first decision about an approval counts."""
    granted: dict[str, bool] = {}
    used: set[str] = set()
    for event in events:
        if isinstance(event, ev.ApprovalDecided):
            granted.setdefault(event.id, event.granted)
        elif isinstance(event, ev.ApprovalUsed):
            if not granted.get(event.id):
                yield f"approval {event.id} was used, and nobody had given it"
            if event.id in used:
                yield f"approval {event.id} was used twice"
            used.add(event.id)


def _calls(events: Iterable[Any]) -> Iterable[str]:
    """Calls without exactly one result when their turn was over."""
    open_calls: dict[str, set[str]] = {}
    results: Counter[str] = Counter()
    for event in events:
        match event:
            case ev.ModelAnswered(turn=turn, message=message):
                open_calls.setdefault(turn, set()).update(call.id for call in message.calls)
            case ev.ToolReturned(turn=turn, result=result):
                results[result.call] += 1
                if results[result.call] > 1:
                    yield f"call {result.call} has {results[result.call]} results"
                open_calls.get(turn, set()).discard(result.call)
            case ev.TurnEnded(turn=turn):
                for call in open_calls.pop(turn, ()):
                    yield f"turn {turn} ended without a result of its call {call}"
            case ev.RolledBack():
                open_calls.clear()
