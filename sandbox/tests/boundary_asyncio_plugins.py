"""Plugins for tests of the boundary, in asyncio's words: one of each kind, and an observer.

They are imported in the plugin's own process, through its entry point; the tests never import them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Delta,
    Draft,
    Inbound,
    Inbox,
    Memory,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Observer,
    Outbound,
    Policy,
    Principal,
    Provider,
    Review,
    Settings,
    Text,
    Tool,
    ToolCall,
    ToolContext,
    ToolSpec,
    Usage,
    Verdict,
)
from fairlead.errors import DuplicateKey, FairleadError, UnknownModel, VersionConflict
from fairlead.events import Event, MessageAccepted, Record, SessionStarted
from fairlead.hookspecs import hookimpl
from fairlead.memory import Journal, Note, Recall, SessionInfo
from fairlead.types import Emit

__all__ = [
    "fairlead_channels",
    "fairlead_memories",
    "fairlead_observers",
    "fairlead_policies",
    "fairlead_providers",
    "fairlead_tools",
]


class LineChannel(Channel):
    """As the one on trio, with asyncio's streams."""

    def __init__(self, settings: Settings) -> None:
        self._goodbye = settings.options.get("goodbye")
        self._writers: list[asyncio.StreamWriter] = []
        self._sent: set[str] = set()

    async def open(self) -> None:
        await asyncio.sleep(0)
        self.capabilities = Capabilities(streaming=True, edits=True, idempotency=True)

    async def run(self, inbox: Inbox) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.append(writer)
            while line := await reader.readline():
                await self._obey(writer, json.loads(line), inbox)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        inbox.ready(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            await asyncio.Event().wait()
        finally:
            for writer in self._writers:
                writer.close()
            server.close()
            if self._goodbye:
                # A library says goodbye to its server here: with a second cancellation it could not.
                await asyncio.sleep(0.05)  # real time: a process of its own has no other clock
                Path(self._goodbye).write_text("goodbye")

    async def _obey(self, writer: asyncio.StreamWriter, said: Any, inbox: Inbox) -> None:
        inbound = Inbound(
            Address(self.name, conversation="room"), Principal("line:alice", "Alice"), (Text(said["text"]),), said["id"]
        )
        try:
            receipt = await inbox.accept(inbound)
            answer = {"do": "taken", "text": receipt.status, "id": said["id"]}
        except FairleadError as error:
            answer = {"do": "later", "text": type(error).__name__, "id": said["id"]}
        writer.write(json.dumps(answer).encode() + b"\n")

    async def _show(self, do: str, text: str, ident: str) -> None:
        for writer in self._writers:
            writer.write(json.dumps({"do": do, "text": text, "id": ident}).encode() + b"\n")
            await writer.drain()

    async def send(self, outbound: Outbound) -> Delivery:
        if outbound.id not in self._sent:
            self._sent.add(outbound.id)
            await self._show("show", "\n".join(p.text for p in outbound.parts if isinstance(p, Text)), outbound.id)
        return Delivery("sent", external_id=outbound.id)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        await self._show("edit", text, delivery.external_id)
        return delivery

    async def preview(self, draft: Draft) -> None:
        await self._show("draft", draft.text, draft.id)


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    return [LineChannel(settings)]


class Parrot(Provider):
    """A model of few words, one after the other."""

    async def models(self) -> Sequence[ModelInfo]:
        await asyncio.sleep(0)
        return [ModelInfo("script", window=1000, input_price=1.0, output_price=2.0)]

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        if request.model != "script":
            raise UnknownModel(f"no model is named {request.model!r}", model=request.model)
        wants = bool(request.tools) and "2 + 3" in request.history[-1].text
        words = ["let ", "me ", "see"] if wants else ["hello, ", "this ", "is ", "a ", "script"]
        for word in words:
            await asyncio.sleep(0)
            await emit(Delta(word))
        usage = Usage(input_tokens=10, output_tokens=5)
        called = (ToolCall("", "add", {"a": 2, "b": 3}),) if wants else ()
        return ModelAnswer((Text("".join(words)),), called, usage, "tools" if wants else "stop")


@hookimpl
def fairlead_providers(settings: Settings) -> Sequence[Provider]:
    return [Parrot()]


class Letters(Tool):
    """Counts letters, in a thread."""

    def specs(self) -> Sequence[ToolSpec]:
        text = {"type": "string", "description": "What to count in."}
        schema = {
            "type": "object",
            "properties": {"text": text},
            "required": ["text"],
            "additionalProperties": False,
            "examples": [{"text": "fairlead"}],
        }
        return [ToolSpec("letters", "Counts the letters of a text.", schema, "read", "host")]

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        if call.arguments["text"] == "leave":
            raise SystemExit(3)
        await context.progress("counting")
        return f"{await asyncio.to_thread(len, call.arguments['text'])} letters"


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    return [Letters()]


class Curfew(Policy):
    """Denies, revises and abstains."""

    boundaries = frozenset({"message_in", "model_request", "tool_call"})

    async def review(self, review: Review) -> Sequence[Verdict]:
        await asyncio.sleep(0)
        if isinstance(review.subject, ToolCall):
            return [Verdict("allow", "tools")]
        if isinstance(review.subject, ModelRequest):
            return [Verdict("revise", "brief", revised=evolve(review.subject, instructions="Be kind."))]
        return [Verdict("deny", "curfew", reason="not now")] if "DROP TABLE" in review.subject.text else []


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    return [Curfew()]


class Slate(Journal):
    """Forgets when it is wiped."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Event]] = {}
        self.keys: dict[str, str] = {}
        self.pending: dict[str, bool] = {}
        self._lock = asyncio.Lock()

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        async with self._lock:
            kept = self.kept.get(session, [])
            if len(kept) != expected_version:
                found = len(kept)
                raise VersionConflict("another was first", session=session, expected=expected_version, found=found)
            keys = [event.key for event in events if isinstance(event, MessageAccepted) and event.key]
            known = next((key for place, key in enumerate(keys) if key in self.keys or key in keys[:place]), None)
            if known is not None:
                raise DuplicateKey("it is known", session=session, key=known)
            self.kept[session] = [*kept, *events]
            self.keys |= dict.fromkeys(keys, session)
            self.pending[session] = pending
            return len(self.kept[session])

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        events = self.kept.get(session, [])
        return [Record(session, place, event) for place, event in enumerate(events, 1) if place > after]

    async def find(self, key: str) -> str | None:
        return self.keys.get(key)

    async def claim(self) -> Sequence[str]:
        return []

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        infos = [self._info(name, events) for name, events in self.kept.items()]
        infos = [info for info in infos if owner in (None, info.owner) and (before is None or info.updated < before)]
        return sorted(infos, key=lambda info: -info.updated)[:limit]

    def _info(self, name: str, events: list[Event]) -> SessionInfo:
        owner = next((event.owner for event in events if isinstance(event, SessionStarted)), "")
        return SessionInfo(name, len(events), self.pending[name], events[0].at, events[-1].at, owner)

    async def erase(self, session: str) -> bool:
        return self.kept.pop(session, None) is not None


class Notes(Recall):
    """Words, looked for one by one."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], Note] = {}

    async def add(self, note: Note) -> Note:
        self._notes[note.scope, note.id] = note
        return note

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        mine = [note for note in self._notes.values() if note.scope == scope]
        if not query.strip():
            return sorted(mine, key=lambda note: -note.at)[:limit]
        found = [evolve(note, score=float(sum(word in note.text for word in query.split()))) for note in mine]
        return sorted((note for note in found if note.score), key=lambda note: -note.score)[:limit]

    async def erase(self, scope: str, note: str | None = None) -> int:
        gone = [key for key in self._notes if key[0] == scope and note in (None, key[1])]
        for key in gone:
            del self._notes[key]
        return len(gone)


class SlateMemory(Memory):
    """Both facets, until it is closed."""

    async def open(self) -> None:
        self.journal, self.recall = Slate(), Notes()


@hookimpl
def fairlead_memories(settings: Settings) -> Sequence[Memory]:
    return [SlateMemory()]


class Counter(Observer):
    """Writes how many it has seen into a file."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen = 0

    async def observe(self, record: Record) -> None:
        await asyncio.sleep(0)
        self._seen += 1
        self._path.write_text(str(self._seen))


@hookimpl
def fairlead_observers(settings: Settings) -> Sequence[Observer]:
    return [Counter(settings.options["counter"])] if "counter" in settings.options else []
