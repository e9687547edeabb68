"""A session as a person reads it: who said what, which tools ran, and the version of each step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead import events as ev
from fairlead_cli._tables import moment
from fairlead_cli._text import escape, one_line, show_arguments, show_cost, show_evidence
from fairlead_cli._view import show_part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fairlead import Message
    from fairlead.events import Event, Record
    from fairlead_cli._screen import Screen

__all__ = ["print_transcript"]

_RESULT_CHARS = 200


def print_transcript(screen: Screen, records: Sequence[Record]) -> None:
    """Print the session, each step with its version; ``~`` marks what was rolled back."""
    undone = _undone(records)
    for record in records:
        mark = "~" if record.version in undone else " "
        for step, (text, style) in enumerate(_lines(record.event)):
            head = f"{record.version:>5}{mark} " if step == 0 else " " * 7
            screen.line(head + text, "dim" if mark == "~" else style)


def _undone(records: Sequence[Record]) -> set[int]:
    """The versions that the session's later course does not know any more."""
    undone: set[int] = set()
    for record in records:
        if isinstance(record.event, ev.RolledBack):
            undone.update(range(record.event.to_version + 1, record.version))
    return undone


def _lines(event: Event) -> Iterable[tuple[str, str]]:
    match event:
        case ev.SessionStarted():
            yield f"{moment(event.at)} UTC · agent {escape(event.agent)} · {escape(event.owner) or 'no owner'}", "dim"
        case ev.SessionForked():
            yield f"forked from {escape(event.parent)} at version {event.parent_version}", "dim"
        case ev.MessageAccepted():
            author = event.message.author
            yield from _said(escape(author.name or author.id) if author else "user", event.message, "bold")
        case ev.ModelAnswered():
            yield from _answered(event)
        case ev.ToolReturned():
            result = event.result
            text = one_line(result.text, _RESULT_CHARS)
            end = f"✗ {result.error}: {text}" if result.error else f"→ {text}"
            yield f"· {escape(result.tool)} {end}", "yellow" if result.error else "dim"
            if place := show_evidence(result.evidence):
                yield f"  ran {place}", "dim"
        case ev.Decided(effect="deny" | "ask" | "revise"):
            yield f"· {event.effect} by rule {escape(event.rule)!r} ({event.layer}) at {event.boundary}", "yellow"
        case _:
            yield from _rare(event)


def _rare(event: Event) -> Iterable[tuple[str, str]]:
    match event:
        case ev.ModelFailed():
            model = escape(f"{event.provider}/{event.model}")
            yield f"· {model} failed: {event.error}: {one_line(event.detail, _RESULT_CHARS)}", "yellow"
        case ev.Corrected():
            yield f"· corrected: {one_line(event.message.text, _RESULT_CHARS)}", "yellow"
        case ev.TurnSteered():
            yield f"· {len(event.messages)} of them joined the turn", "dim"
        case ev.ApprovalRequested() | ev.ApprovalDecided():
            yield _approval(event), "yellow"
        case ev.RolledBack():
            yield f"rolled back to version {event.to_version}", "yellow"
        case ev.TurnEnded():
            yield from _ended(event)
        case ev.Compacted():
            yield from _compacted(event)
        case ev.CompactionUndone():
            yield "the newest compaction was undone", "yellow"
        case ev.AnswerDelivered(status="ambiguous" | "failed" | "unknown"):
            yield f"· delivery {event.status}: {one_line(event.reason, _RESULT_CHARS)}", "yellow"


def _approval(event: ev.ApprovalRequested | ev.ApprovalDecided) -> str:
    if isinstance(event, ev.ApprovalRequested):
        whom = " or ".join(event.approvers) or event.principal or "the operator"
        return f"· approval {escape(event.id)} of {escape(event.tool)} is asked of {escape(whom)}"
    end = f"{'approved' if event.granted else 'denied'} by {event.by or 'nobody'}"
    why = f": {event.reason}" if event.reason else ""
    return f"· approval {escape(event.id)} is {one_line(end + why, _RESULT_CHARS)}"


def _said(who: str, message: Message, style: str) -> Iterable[tuple[str, str]]:
    text = "\n".join(show_part(part) for part in message.parts)
    for step, line in enumerate(escape(text).splitlines() or [""]):
        yield (f"{who}: {line}" if step == 0 else line), style


def _answered(event: ev.ModelAnswered) -> Iterable[tuple[str, str]]:
    if event.message.parts:
        yield from _said(escape(f"{event.provider}/{event.model}"), event.message, "")
    for call in event.message.calls:
        yield f"· {escape(call.tool)}({show_arguments(call.arguments, _RESULT_CHARS)})", "dim"


def _compacted(event: ev.Compacted) -> Iterable[tuple[str, str]]:
    """What the model sees from here on instead of the words above."""
    yield f"compacted: about {event.tokens_before:,} tokens became {event.tokens_after:,}", "yellow"
    if event.summary is None:
        yield f"  older results of tools are shown to the model with {event.cut_chars:,} characters", "dim"
    else:
        by = f"{event.provider}/{event.model}" if event.provider else "rule, without a model"
        yield from _said(f"  summary by {escape(by)}", event.summary, "dim")


def _ended(event: ev.TurnEnded) -> Iterable[tuple[str, str]]:
    used = f"{event.usage.input_tokens} + {event.usage.output_tokens} tokens"
    cost = show_cost(event.usage.cost)
    end = f"{event.outcome}, {used}{', ' + cost if cost else ''}"
    yield (
        f"· {end}{': ' + escape(event.reason) if event.reason else ''}",
        "dim" if event.outcome == "answered" else "yellow",
    )
    if event.answer is not None:
        yield from _said("fairlead", event.answer, "" if event.outcome == "answered" else "yellow")
