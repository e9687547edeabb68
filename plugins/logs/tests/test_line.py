"""One event as one line: ids and sizes, and no word of what was said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve, frozen

from fairlead import Address, Data, Draft, Message, Principal, Text, ToolCall, ToolResult, Usage
from fairlead.events import (
    AnswerDelivered,
    Decided,
    DraftShown,
    Event,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    NoticeRaised,
    Record,
    RolledBack,
    ToolReturned,
    TurnEnded,
    TurnStarted,
)
from fairlead_logs._line import level_of, line_of

PRIVATE = "private-words"
ANN = Principal("irc:ann", "Ann")
ROOM = Address("irc", "bot", "#ops")
ASKED = Message("user", (Text(PRIVATE), Data({"of": PRIVATE})), id="m1", author=ANN)
ANSWERED = Message("assistant", (Text(PRIVATE),), id="m2", calls=(ToolCall("c1", "find", {"words": PRIVATE}),))
RESULT = ToolResult("c1", "find", (Text(PRIVATE),), evidence={"level": "container", "container": "abc", "x": PRIVATE})
EVENTS: list[Event] = [
    MessageAccepted(message=ASKED, address=ROOM, external_id="e1", key="irc/e1"),
    TurnStarted(turn="t1", messages=("m1",), revised=(ASKED,)),
    ModelAnswered(turn="t1", message=ANSWERED, provider="p", model="m", usage=Usage(3, 4)),
    ModelFailed(turn="t1", provider="p", model="m", error="RateLimited", detail=PRIVATE, partial=PRIVATE),
    Decided(
        turn="t1", boundary="tool_call", subject="c1", effect="deny", rule="r", layer="app", reason=f"has {PRIVATE}"
    ),
    ToolReturned(turn="t1", result=RESULT, full=PRIVATE, seconds=0.5),
    TurnEnded(turn="t1", messages=("m1",), outcome="answered", answer=ANSWERED, address=ROOM, reason="why not"),
    DraftShown(draft=Draft("d1", ROOM, text=PRIVATE), principal=ANN),
]


def line(event: Event, *, content: bool = False, version: int = 7) -> dict[str, Any]:
    found = line_of(Record("s", version, evolve(event, at=1_800_000_000.25)), content=content)
    assert "\n" not in found
    told: dict[str, Any] = json.loads(found)
    return told


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_nothing_that_was_said_is_written(event: Event) -> None:
    """Only its size; and with `content` it is there, so that the test means something."""
    assert PRIVATE not in json.dumps(line(event))
    assert PRIVATE in json.dumps(line(event, content=True)) or isinstance(event, TurnStarted)


def test_line_follows_a_message_by_its_ids() -> None:
    """Session, version, turn, message, call and the platform's own id."""
    accepted, started, answered, _, decided, returned, ended, _ = map(line, EVENTS)
    assert ("2027-01-15T08:00:00.250Z", "info", "s", 7) == tuple(
        accepted[k] for k in ("time", "level", "session", "version")
    )
    assert {"id": "m1", "role": "user", "chars": 13, "author": "irc:ann", "parts": ["data"]} == accepted["message"]
    assert {"channel": "irc", "account": "bot", "conversation": "#ops"} == accepted["address"]
    assert "e1" == accepted["external_id"]
    assert ("t1", ["m1"]) == (started["turn"], started["messages"])
    assert [{"id": "c1", "tool": "find", "chars": 26}] == answered["message"]["calls"]
    assert {"input_tokens": 3, "output_tokens": 4, "cached_tokens": 0} == answered["usage"]
    assert ("c1", "deny", "r", 17) == tuple(decided[key] for key in ("subject", "effect", "rule", "reason_chars"))
    where = {"level": "container", "container": "abc"}
    assert {"call": "c1", "tool": "find", "chars": 13, "ran": where} == returned["result"]
    assert (13, 0.5) == (returned["full_chars"], returned["seconds"])
    assert ("answered", 7) == (ended["outcome"], ended["reason_chars"])


def test_notice_is_written_as_it_is() -> None:
    """It is for whoever runs this; it has no place in a session."""
    notice = NoticeRaised(subject="channels/irc", detail="listening at irc.example", level="info")
    told = line(notice, version=0)
    assert ("channels/irc", "listening at irc.example", "info") == tuple(
        told[k] for k in ("subject", "detail", "level")
    )
    assert "version" not in told


LEVELS = [
    (NoticeRaised(subject="x", detail="y", level="error"), "error"),
    (EVENTS[-1], "debug"),
    (EVENTS[3], "warning"),
    (ToolReturned(turn="t", result=evolve(RESULT, error="failed")), "warning"),
    (ToolReturned(turn="t", result=RESULT), "info"),
    (AnswerDelivered(turn="t", status="unknown"), "warning"),
    (AnswerDelivered(turn="t", status="sent"), "info"),
    (TurnEnded(turn="t", messages=(), outcome="failed"), "error"),
    (TurnEnded(turn="t", messages=(), outcome="refused"), "info"),
    (RolledBack(to_version=3), "info"),
]


@pytest.mark.parametrize(("event", "level"), LEVELS)
def test_levels(event: Event, level: str) -> None:
    """What an operator must see is a warning, what went wrong an error."""
    assert level == level_of(event)


SECRETS = [
    "Authorization: Bearer abcdef123456",
    "password=hunter2hunter2",
    '{"api_key": "abcdef123456"}',
    "token abcdef123456",
    "sk-abcdef1234567890",
    "see ghp_abcdef1234567890 there",
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_not_written(text: str) -> None:
    """Not in a notice, and not where content is wanted."""
    told = line(NoticeRaised(subject="x", detail=text), content=True)["detail"]
    assert "(not shown)" in told
    assert not any(secret in told for secret in ("abcdef123456", "hunter2"))


def test_long_text_is_cut() -> None:
    """2,000 characters, and how many there were."""
    told = line(NoticeRaised(subject="x", detail="é" * 50_000))["detail"]
    assert ("é" * 2_000 + "... (50000 characters)") == told


@frozen(kw_only=True)
class Later(Event):
    """A kind of event that does not exist yet."""

    kind = "later"
    turn: str = "t1"
    words: str = PRIVATE
    message: Message = ASKED
    several: tuple[Any, ...] = (f"{PRIVATE} again", ASKED, "id-1", 3)
    table: Mapping[str, str] = MappingProxyType({"key": PRIVATE})
    strange: object = object()


def test_event_that_is_not_known_tells_no_more() -> None:
    """Its ids, and of everything else the type or the size."""
    told = line(Later())
    assert PRIVATE not in json.dumps(told)
    assert ("t1", 13, ["key"], "object") == (told["turn"], told["words_chars"], told["table_keys"], told["strange"])
    assert [{"chars": 19}, told["message"], "id-1", 3] == told["several"]
