"""One event as one line: who, where, when and how much; what was said only where that is wanted.

An event of a kind that is not known here is written by the types of its fields, so that no text of it gets out either.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from fairlead import Address, Draft, Message, Principal, Text, ToolCall, ToolResult, Usage
from fairlead.events import (
    AnswerDelivered,
    DraftShown,
    Event,
    ModelFailed,
    NoticeRaised,
    Record,
    ToolReturned,
    TurnEnded,
)

__all__ = ["LEVELS", "level_of", "line_of"]

LEVELS = ("debug", "info", "warning", "error")
MOST = 2_000
"""Characters of one text."""
WORDS = frozenset(
    {
        "account",
        "agent",
        "boundary",
        "channel",
        "conversation",
        "effect",
        "error",
        "external_id",
        "finish",
        "id",
        "in_reply_to",
        "key",
        "layer",
        "model",
        "outcome",
        "owner",
        "parent",
        "policy",
        "provider",
        "rule",
        "status",
        "subject",
        "thread",
        "tool",
        "turn",
        "work_class",
    }
)
"""Fields that hold ids and words for programs."""
_WORD = re.compile(r"[\w./:-]{1,80}")
_SECRET = re.compile(
    r"(?i)\b(authorization|bearer|basic|password|passwd|secret|token|api[_-]?key|access[_-]?key)\b"
    r"(\s*[\"']?\s*[:=]\s*[\"']?\s*(?:bearer\s+|basic\s+)?|\s+)[^\s\"',;&}]{6,}|\b(?:sk|pk|ghp|gho|xox[abp])[-_][\w-]{10,}"
)
"""What looks like a secret in a text that somebody else wrote."""


def level_of(event: Event) -> str:
    """How serious it is; one of `LEVELS`."""
    match event:
        case NoticeRaised():
            return event.level
        case DraftShown():
            return "debug"
        case ModelFailed():
            return "warning"
        case ToolReturned() if event.result.error:
            return "warning"
        case AnswerDelivered() if event.status != "sent":
            return "warning"
        case TurnEnded() if event.outcome == "failed":
            return "error"
    return "info"


def line_of(record: Record, *, content: bool) -> str:
    """JSON without a line break. `content`: with what was said."""
    event = record.event
    at = dt.datetime.fromtimestamp(event.at, dt.UTC).isoformat(timespec="milliseconds")
    line: dict[str, Any] = {"time": at.replace("+00:00", "Z"), "level": level_of(event), "event": event.kind}
    line["session"] = record.session
    if record.version:
        line["version"] = record.version
    # A notice is told to whoever runs this, in the program's own words.
    shown = content or isinstance(event, NoticeRaised)
    for field in attrs.fields(type(event)):
        if field.name not in ("at", "level"):
            line |= _told(field.name, getattr(event, field.name), content=shown)
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=lambda value: type(value).__name__)


def _told(name: str, value: Any, *, content: bool) -> dict[str, Any]:
    """What is written of one field; nothing of one that is empty."""
    if value is None or value in ("", ()):
        return {}
    if isinstance(value, str):
        return _text(name, value, content=content)
    if isinstance(value, bool | int | float):
        return {name: value}
    if isinstance(value, tuple | list):
        return {name: [_item(each, content=content) for each in value]}
    if isinstance(value, Mapping):
        return {f"{name}_keys": sorted(map(str, value))} if value else {}
    show = next((show for kind, show in _SHOWS.items() if isinstance(value, kind)), None)
    return {name: show(value, content)} if show is not None else {name: type(value).__name__}


def _text(name: str, value: str, *, content: bool) -> dict[str, Any]:
    if name in WORDS or (name == "reason" and _WORD.fullmatch(value)):
        return {name: value}
    if content:
        return {name: _shown(value)}
    return {f"{name}_chars": len(value)}


def _item(value: Any, *, content: bool) -> Any:
    """One of several: an id is a word, everything else is as private as a field of its own."""
    if isinstance(value, str):
        return value if _WORD.fullmatch(value) else {"chars": len(value)}
    return next(iter(_told("it", value, content=content).values()), None)


def _message(message: Message, content: bool) -> dict[str, Any]:  # noqa: FBT001  # as all of `_SHOWS`
    told: dict[str, Any] = {"id": message.id, "role": message.role, "chars": len(message.text)}
    if message.author is not None:
        told["author"] = message.author.id
    if kinds := [type(part).__name__.lower() for part in message.parts if not isinstance(part, Text)]:
        told["parts"] = kinds
    if message.calls:
        told["calls"] = [_call(call, content) for call in message.calls]
    return told | ({"text": _shown(message.text)} if content and message.text else {})


def _call(call: ToolCall, content: bool) -> dict[str, Any]:  # noqa: FBT001  # as above
    given = json.dumps(call.arguments, ensure_ascii=False, default=str)
    told: dict[str, Any] = {"id": call.id, "tool": call.tool, "chars": len(given)}
    return told | ({"arguments": _shown(given)} if content else {})


def _result(result: ToolResult, content: bool) -> dict[str, Any]:  # noqa: FBT001  # as above
    told: dict[str, Any] = {"call": result.call, "tool": result.tool, "chars": len(result.text)}
    told |= {key: value for key, value in (("error", result.error), ("cut", result.cut)) if value}
    if where := {key: str(result.evidence[key]) for key in ("level", "container") if key in result.evidence}:
        told["ran"] = where
    return told | ({"text": _shown(result.text)} if content else {})


def _parts(value: Any, content: bool) -> dict[str, Any]:  # noqa: FBT001  # as above
    fields = attrs.asdict(value, recurse=False).items()
    return {key: shown for name, part in fields for key, shown in _told(name, part, content=content).items()}


_SHOWS: Mapping[type, Callable[[Any, bool], Any]] = {
    Message: _message,
    ToolCall: _call,
    ToolResult: _result,
    Draft: _parts,
    Address: _parts,
    Usage: _parts,
    Principal: lambda principal, _: principal.id,
}
"""How what has parts is written."""


def _shown(text: str) -> str:
    kept = _SECRET.sub(_hidden, text[: 2 * MOST])
    return kept if len(kept) <= MOST else f"{kept[:MOST]}... ({len(text)} characters)"


def _hidden(found: re.Match[str]) -> str:
    return f"{found[1] or ''}{found[2] or ''}(not shown)"
