"""Reviews to ask policies about: ordinary ones, odd ones, and large ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve

from fairlead._message import (
    Address,
    Audio,
    Data,
    File,
    Image,
    Message,
    Origin,
    Part,
    Principal,
    Text,
    ToolCall,
    ToolResult,
)
from fairlead._work import ModelRequest, Review, ToolSpec

__all__ = [
    "SPEC",
    "gist",
    "identity",
    "of_any_arguments",
    "of_any_parts",
    "of_any_results",
    "of_anybody",
    "of_anything_large",
    "of_conversation",
    "of_odd_tools",
    "of_worst_patterns",
    "sample_reviews",
]

PROVIDER, SAID = Origin("provider", "kit"), Origin("channel", "kit", "kit:alice")
SPEC = ToolSpec("read_file", "Reads a file.", effect="read", isolation="host")
ALICE, ROOM = Principal("kit:alice", "Alice", ("admin",)), Address("kit", "bot", "room")
KNOWN: dict[str, Any] = {"session": "s1", "agent": "main", "principal": ALICE, "address": ROOM}
LARGE = 200_000
"""Characters: what a person can paste, and what a tool may give."""
ERRORS = ("", "denied", "invalid", "failed", "timeout", "isolation", "unknown", "skipped", "cancelled")
ODD_NAMES = (
    "",
    " ",
    "read_file\n",
    "READ_FILE",
    "read_fil\u0435",
    "../read_file",
    "read_file;x",
    "*",
    "x" * 5000,
    "\x00",
)


def sample_reviews(text: str) -> list[Review]:
    """A review for each boundary about that text, with a known person and with nobody."""
    said = Message("user", (Text(text, SAID),), id="m1")
    answer = Message("assistant", (Text(text, PROVIDER),), id="m2")
    call = ToolCall("c1", "read_file", {"path": text}, PROVIDER)
    unreadable = ToolCall("c2", "read_file", text, PROVIDER)
    result = ToolResult("c1", "read_file", (Text(text, Origin("tool", "read_file")),))
    request = ModelRequest("script", (said,), "Be brief.", (SPEC,), "s1", id="r1")
    return [
        *(Review("message_in", said, **who) for who in ({}, KNOWN)),
        *(Review("model_request", request, **who) for who in ({}, KNOWN)),
        *(Review("tool_call", call, **who, tool=SPEC) for who in ({}, KNOWN)),
        *(Review("tool_result", result, **who, tool=SPEC) for who in ({}, KNOWN)),
        *(Review("message_out", answer, **who) for who in ({}, KNOWN)),
        Review("tool_call", unreadable, tool=SPEC),
    ]


def of_conversation() -> list[Review]:
    """A request after several calls, of which each has its result; and an answer that calls tools."""
    history: list[Message | ToolResult] = [Message("user", (Text("hello, read these words", SAID),), id="m1")]
    for number in range(3):
        call = ToolCall(f"c{number}", "read_file", {"path": f"/tmp/{number}"}, PROVIDER)  # noqa: S108  # only a name
        history.append(Message("assistant", (), f"m-{number}", calls=(call,)))
        history.append(ToolResult(call.id, call.tool, (Text("hello, these are the words"),)))
    other = ToolSpec("write_file", "Writes a file.", effect="once", isolation="container")
    request = ModelRequest("script", history, "Be brief.", (SPEC, other), "s1", id="r1")
    calls = (ToolCall("c8", "read_file", {"path": "/etc/passwd"}), ToolCall("c9", "write_file", {}))
    answer = Message("assistant", (Text("hello, let me see", PROVIDER),), "m9", ALICE, calls)
    said = Message("user", (Text("hello, read these words", SAID),), "m8", ALICE)
    boundaries = (("model_request", request), ("message_out", answer), ("message_in", said))
    return [Review(boundary, subject, **KNOWN) for boundary, subject in boundaries]  # type: ignore[arg-type]  # as above


def of_odd_tools() -> list[Review]:
    """Calls and results of tools that nobody knows, with names that are nearly known, and no spec."""
    return [
        review
        for name in ODD_NAMES
        for review in (
            Review("tool_call", ToolCall("c1", name, {"path": "/x"}), **KNOWN),
            Review("tool_result", ToolResult("c1", name, (Text("words"),)), **KNOWN),
        )
    ]


def of_anybody() -> list[Review]:
    """People and places of all kinds, also none, also with odd names."""
    people = (
        None,
        Principal(" "),
        Principal("kit:bob\nkit:alice", "Alice"),
        Principal("KIT:ALICE"),
        Principal("kit:\u202ealice", "\x00", ("admin ", "ADMIN", "")),
        Principal("kit:many", "x" * 10_000, tuple(f"role-{number}" for number in range(1000))),
    )
    places = (
        None,
        Address(" "),
        Address("kit", "", "x\r\ny\x00", "\u202e"),
        Address("x" * 5000, "y" * 5000, "z" * 5000),
    )
    around = [{"principal": person} for person in people]
    found: list[dict[str, Any]] = [*around, *({"principal": ALICE, "address": place} for place in places)]
    found += [{**KNOWN, "agent": "", "session": ""}, {**KNOWN, "agent": "\n", "session": "x" * 5000}]
    samples = [sample_reviews("hello")[place] for place in (0, 2, 4, 6, 8)]
    return [evolve(review, **who) for who in found for review in samples]


def of_any_parts() -> list[Review]:
    """Messages and results without words, with several parts, and with other kinds of part."""
    kinds: tuple[tuple[Part, ...], ...] = (
        (),
        (Text(""),),
        (Text("hel"), Text("lo"), Text("words")),
        (Image("image/png", b"\x89PNG", alt="hello"),),
        (Image("image/png", None, "https://example.org/words.png"), Text("hello")),
        (Audio("audio/ogg", b"\x00" * 100),),
        (File("../../hello", "text/plain", b"words"),),
        (Data({"hello": ["words", None, {"deep": 1.5}]}), Data(None), Data("hello")),
    )
    return [
        review
        for parts in kinds
        for review in (
            Review("message_in", Message("user", parts, id="m1"), **KNOWN),
            Review("message_out", Message("assistant", parts, id="m2"), **KNOWN),
            Review("tool_result", ToolResult("c1", "read_file", parts), **KNOWN, tool=SPEC),
            Review("model_request", ModelRequest("script", (Message("user", parts, id="m1"),), id="r1"), **KNOWN),
        )
    ]


def of_any_arguments() -> list[Review]:
    """Calls whose arguments are objects of any kind, or text that is none."""
    kinds: tuple[Any, ...] = (
        {},
        "",
        "{",
        "null",
        '["/etc/passwd"]',
        {"path": None},
        {"path": ["/x", {"path": "/y"}]},
        {"path": 10**30},
        {"": {"": {"": ""}}},
        {"path": "/x\x00/y", "PATH": "/z", "path ": True},
        {f"key-{number}": number for number in range(1000)},
    )
    return [Review("tool_call", ToolCall("c1", "read_file", given), **KNOWN, tool=SPEC) for given in kinds]


def of_any_results() -> list[Review]:
    """Results with each kind of error, and specs of each effect and place."""
    effects, places = ("read", "idempotent", "once"), ("host", "process", "container", "kernel")
    specs = [
        evolve(SPEC, effect=effect, isolation=place)  # type: ignore[arg-type]  # they are of the list
        for effect, place in itertools.product(effects, places)
    ]
    results = [ToolResult("c1", "read_file", (Text("words"),), error) for error in ERRORS]
    return [
        *(Review("tool_result", result, **KNOWN, tool=SPEC) for result in results),
        *(Review("tool_call", ToolCall("c1", "read_file", {"path": "/x"}), **KNOWN, tool=spec) for spec in specs),
    ]


def of_anything_large() -> list[Review]:
    """Long words, many arguments, a long history, many tools."""
    long = "hello words " * (LARGE // 12)
    history = [Message("user", (Text(f"hello {number}"),), id=f"m{number}") for number in range(1000)]
    tools = tuple(evolve(SPEC, name=f"tool_{number}") for number in range(300))
    many = {f"key-{number}": f"words {number}" for number in range(3000)}
    return [
        *sample_reviews(long),
        Review("model_request", ModelRequest("script", history, long, tools, id="r1"), **KNOWN),
        Review("tool_call", ToolCall("c1", "read_file", many), **KNOWN, tool=SPEC),
        Review("tool_call", ToolCall("c1", "read_file", {"path": ["/x"] * 10_000}), **KNOWN, tool=SPEC),
    ]


def of_worst_patterns() -> list[Review]:
    """Words that take careless patterns for ever."""
    worst = (
        "a" * 20_000 + "!",
        " " * 20_000 + "x",
        "(" * 10_000,
        "a@" * 10_000,
        "/../" * 5000,
        "<" * 20_000,
        "0" * 20_000,
    )
    return [review for text in worst for review in sample_reviews(text)[1::2]]


def gist(subject: Any) -> tuple[Any, ...]:
    """What a subject says, without its ids: two processes make other ones."""
    if isinstance(subject, ModelRequest):
        tools = tuple(spec.name for spec in subject.tools)
        return (subject.instructions, tools, subject.max_output_tokens, *map(gist, subject.history))
    if isinstance(subject, ToolCall):
        return (subject.tool, repr(subject.arguments))
    return tuple(_words(getattr(subject, "parts", ())))


def _words(parts: Sequence[Part]) -> Iterator[str]:
    for part in parts:
        yield part.text if isinstance(part, Text) else type(part).__name__


def identity(subject: object) -> tuple[object, ...]:
    """What no revision changes."""
    return tuple(getattr(subject, name, None) for name in ("id", "call", "tool", "role"))
