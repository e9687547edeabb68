"""What the checks of a memory share: its hooks, and events to keep."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from fairlead._contracts import Journal, Memory, Recall
from fairlead._events import (
    AnswerDelivered,
    AnswerSending,
    Decided,
    Event,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    RolledBack,
    SessionForked,
    SessionStarted,
    ToolReturned,
    TurnEnded,
    TurnStarted,
    TurnSteered,
)
from fairlead._message import Address, Data, File, Image, Message, Origin, Principal, Text, ToolCall, ToolResult, Usage
from fairlead.errors import DuplicateKey, VersionConflict
from fairlead.testing._worker_kit import WorkerConformance, files_below, promise, same

__all__ = [
    "ADD",
    "APPEND",
    "CLAIM",
    "ERASE",
    "EVERY",
    "FIND",
    "FORGET",
    "HER",
    "HIM",
    "NAMES",
    "READ",
    "SEARCH",
    "SESSIONS",
    "JournalKit",
    "MemoryKit",
    "RecallKit",
    "accepted",
    "cancel_after",
    "content",
    "holding",
    "started",
]

APPEND, READ, FIND, CLAIM, SESSIONS, ERASE = (
    f"fairlead.memory.Journal.{name}" for name in ("append", "read", "find", "claim", "sessions", "erase")
)
ADD, SEARCH, FORGET = (f"fairlead.memory.Recall.{name}" for name in ("add", "search", "erase"))
HER, HIM = "kit:alice", "kit:bob"
NAMES = (
    "a",
    "A",
    "a ",
    " a",
    "a/b",
    "../a",
    "a\\b",
    "a%",
    "a_",
    "a*",
    "caf\u00e9",
    "cafe\u0301",
    "\U0001f680",
    "'--",
    "x" * 300,
)
"""Names that are all different, and that careless code takes for one another, or for a path or a pattern."""


def started(owner: str = HER, at: float = 1000.0) -> SessionStarted:
    """The first event of a session."""
    return SessionStarted(at=at, agent="main", owner=owner)


def accepted(key: str = "", text: str = "hello", at: float = 1000.0) -> MessageAccepted:
    """A message with a file."""
    parts = (Text(text), File("a.bin", "application/octet-stream", b"\x00\xff"))
    message = Message("user", parts, author=Principal(HER, "Alice", ("admin",)))
    return MessageAccepted(at=at, message=message, address=Address("kit", "", "room"), external_id=key, key=key)


def every_event() -> Sequence[Event]:
    """One of each kind that is kept, with more than its defaults."""
    call = ToolCall("c1", "add", {"a": [1, None, {"b": 1.5}]}, Origin("provider", "p"))
    parts = (Text("seen", Origin("tool", "add", HER)), Data({"x": [True]}), Image("image/png", b"\x89PNG"))
    said = Message("assistant", (Text("I add."),), calls=(call,))
    address = Address("kit", "bot", "room", "thread")
    raw = ToolCall("c2", "add", '{"a": 2')
    return (
        SessionStarted(at=1.25, agent="main", address=address, owner=HER),
        SessionForked(at=2.0, parent="another", parent_version=7),
        accepted("key of each kind"),
        TurnSteered(turn="t", messages=("o",), revised=(Message("user", (Text("revised"),)),)),
        TurnStarted(turn="t", messages=("m", "n"), revised=(Message("user", (Text("revised"),)),)),
        ModelFailed(turn="t", provider="p", model="m", error="Overloaded", detail="busy", partial="half"),
        ModelAnswered(turn="t", message=said, provider="p", model="m", usage=Usage(10, 5, 3, 0.25), finish="tools"),
        ModelAnswered(turn="t", message=Message("assistant", (), calls=(raw,)), provider="p", model="m"),
        Decided(
            turn="t", boundary="tool_call", subject="c1", effect="ask", rule="r", layer="app", policy="p", reason="x"
        ),
        ToolReturned(turn="t", result=ToolResult("c1", "add", parts, evidence={"level": "process"}), seconds=0.5),
        ToolReturned(turn="t", result=ToolResult("c2", "add", (), "invalid", 9), full="the whole of it"),
        AnswerSending(turn="t", attempt=2),
        AnswerDelivered(turn="t", status="unknown", external_id="77", reason="it died"),
        TurnEnded(turn="t", messages=("m", "n"), outcome="failed", answer=said, address=address, usage=Usage(1, 2)),
        RolledBack(to_version=3),
    )


EVERY = every_event()


class MemoryKit(WorkerConformance[Memory]):
    """The hooks. Subclass a class that has the checks."""

    shared = True
    """False for a memory whose files one worker has for itself: then nothing is checked with two at a time."""
    entry_point = ""
    """The module with the hook ``fairlead_memories``: with it the checks start a process of their own and kill it."""
    options: Mapping[str, Any] = {}
    """The settings for that process."""
    open_seconds = 5.0
    """How long opening may take with 10,000 events, or notes, in it."""
    sequences = 25
    """How many random sequences of operations the model is tried with, at most."""
    model_seconds = 5.0
    """After this time no further sequence is begun; and one that failed is not made shorter for longer."""

    async def files(self, tmp_path: Path) -> Iterable[Path]:
        """Override where they lie elsewhere: every file in which words may stand."""
        return files_below(tmp_path)


class JournalKit(MemoryKit):
    """For the journal."""

    durable = True
    """False for a journal that forgets when it is closed; it must then forget all of it."""

    def journal(self, memory: Memory) -> Journal:
        """The facet, which open() sets."""
        assert memory.journal is not None, "open() sets the facet"
        return memory.journal

    @asynccontextmanager
    async def journals(self, tmp_path: Path) -> AsyncIterator[Journal]:
        """The journal of one opened worker."""
        async with self.opened(tmp_path) as memory:
            yield self.journal(memory)

    @asynccontextmanager
    async def another(self, tmp_path: Path) -> AsyncIterator[Journal]:
        """The journal of one more worker; the far side is there."""
        async with self.worker(tmp_path) as memory:
            yield self.journal(memory)

    async def is_refused(self, journal: Journal, session: str, version: int, *events: Event) -> Exception:
        """Append what must not be appended, and see that nothing is left behind."""
        before, seen = list(await journal.read(session)), None
        try:
            await journal.append(session, version, events, pending=True)
        except (VersionConflict, DuplicateKey) as error:
            seen = error
        promise(seen, "a conflict and a known key are refused", APPEND, (session, version))
        assert seen is not None
        same(before, list(await journal.read(session)), "a refused append leaves nothing", APPEND)
        return seen


class RecallKit(MemoryKit):
    """For the recall."""

    lasting = True
    """False for a recall that forgets when it is closed."""
    search_seconds = 5.0
    """How long a search among 300 notes may take."""

    def recall(self, memory: Memory) -> Recall:
        """The facet, which open() sets."""
        assert memory.recall is not None, "open() sets the facet"
        return memory.recall

    @asynccontextmanager
    async def recalls(self, tmp_path: Path) -> AsyncIterator[Recall]:
        """The recall of one opened worker."""
        async with self.opened(tmp_path) as memory:
            yield self.recall(memory)

    async def found(self, recall: Recall, query: str, scope: str = HER) -> list[str]:
        """The texts that a search gives."""
        return [note.text for note in await recall.search(scope, query, 50)]


async def cancel_after(steps: int, scope: trio.CancelScope) -> None:
    """After so many passes of the scheduler."""
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


def content(path: Path) -> bytes:
    """The bytes of a file; nothing of what is none."""
    return path.read_bytes() if path.is_file() else b""


def holding(paths: Iterable[Path], *words: str) -> list[str]:
    """The files in which one of the words stands."""
    return [path.name for path in paths if any(word.encode() in content(path) for word in words)]
