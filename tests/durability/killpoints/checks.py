"""What holds whatever moment a process dies in: nothing acknowledged is lost, and nothing happens twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from .workloads import Play, Report

__all__ = ["faults"]


def faults(play: Play, report: Report) -> Iterator[str]:
    """Everything that is wrong, in words."""
    yield from _of_the_file(report)
    yield from _of_messages(play, report)
    yield from _of_effects(report)
    yield from _of_answers(play, report)
    yield from play.check(report)


def _of_the_file(report: Report) -> Iterator[str]:
    if report.of("whole")[-1] != [["ok"]]:
        yield f"the file is not whole: {report.of('whole')[-1]}"
    for name, session in report.sessions.items():
        if session["records"] != list(range(1, session["version"] + 1)):
            yield f"{name}: versions {session['records']} of {session['version']}"
        yield from session["faults"]
        if session["waiting"]:
            yield f"{name}: {session['waiting']} messages have no end"


def _of_messages(play: Play, report: Report) -> Iterator[str]:
    """Accepted once, and each that was acknowledged has one end of those that it may have."""
    originals = [session for session in report.sessions.values() if not session["fork"]]
    accepted: Counter[str] = Counter()
    ids: dict[str, set[str]] = defaultdict(set)
    ends: dict[str, list[str]] = defaultdict(list)
    for session in originals:
        for message, name in session["accepted"]:
            ids[name].add(message)
        accepted.update({name for _, name in session["accepted"]})
        for _, messages, outcome in session["ended"]:
            for message in messages:
                ends[message].append(outcome)
    for say in play.says:
        if say.id in play.gone:
            continue
        if accepted[say.id] != 1 or len(ids[say.id]) != 1:
            yield f"message {say.id} stands in {accepted[say.id]} sessions, as {ids[say.id]}"
            continue
        found = ends[next(iter(ids[say.id]))]
        if len(found) != 1 or found[0] not in play.ends:
            yield f"message {say.id} ended as {found}, expected one of {sorted(play.ends)}"


def _of_effects(report: Report) -> Iterator[str]:
    """`once` at most once; `idempotent` again only with the id of the same call."""
    effects: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for effect, tool, what, call in report.of("effect"):
        effects[effect, tool, what].append(call)
    for (effect, tool, what), made in effects.items():
        if effect == "once" and len(made) > 1:
            yield f"{tool} happened {len(made)} times for {what!r}"
        if effect == "idempotent" and len(set(made)) > 1:
            yield f"{tool} happened for {what!r} under the ids {made}"


def _of_answers(play: Play, report: Report) -> Iterator[str]:
    """Each message is seen with one answer at most; with none only where that is said to be unknown."""
    seen: dict[str, list[str]] = defaultdict(list)
    for outbound, message, _ in report.of("shown"):
        seen[message].append(outbound)
    keyed = play.capabilities.idempotency
    for message, shown in seen.items():
        turns = {name.split(".")[0] for name in shown}
        if len(turns) > 1:
            yield f"message {message} was answered by the turns {turns}"
        if not keyed and len(set(shown)) != len(shown):
            yield f"an answer to {message} was shown twice: {shown}"
    statuses = {
        turn: status
        for session in report.sessions.values()
        if not session["fork"]
        for turn, status in session["delivered"]
    }
    answered = {name.split(".")[0] for shown in seen.values() for name in shown}
    answered |= {name for name, _ in report.of("asked")}
    for turn, status in statuses.items():
        if status == "sent" and turn not in answered and not play.gone:
            yield f"turn {turn} counts as sent, and nobody has seen it"
        if keyed and play.shown and status != "sent":
            yield f"turn {turn} is {status}, though the channel takes a key"
