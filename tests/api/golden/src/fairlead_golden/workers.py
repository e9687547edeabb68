"""The workers. They use what version 1.0 of the plugin API offers, and as much of it as fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Delta,
    Draft,
    Finding,
    Inbound,
    Inbox,
    Memory,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    Observer,
    Outbound,
    Policy,
    Principal,
    Provider,
    Review,
    Text,
    Tool,
    ToolCall,
    ToolContext,
    ToolResult,
    ToolSpec,
    Usage,
    Verdict,
)
from fairlead.errors import DuplicateKey, ToolError, VersionConflict
from fairlead.events import Event, MessageAccepted, Record, SessionStarted
from fairlead.memory import Journal, Note, Recall, SessionInfo
from fairlead.types import Emit

__all__ = ["Counter", "Gate", "Letters", "Rules", "Shelf", "Talker"]


class Talker(Channel):
    """Says a few things and is done."""

    capabilities = Capabilities(max_chars=500, markup="plain", streaming=True, edits=True, idempotency=True)

    def __init__(self, says: Sequence[str], answers: Path) -> None:
        self._says = says
        self._answers = answers
        self._said = trio.Event()

    async def open(self) -> None:
        """Make the directory of the file."""
        await trio.Path(self._answers.parent).mkdir(parents=True, exist_ok=True)

    async def check(self) -> Sequence[Finding]:
        """How it is."""
        return [Finding("golden", ok=True, detail="ready", next_step="")]

    async def run(self, inbox: Inbox) -> None:
        """Hand everything in, each twice."""
        inbox.ready("nowhere")
        ann = Principal("golden:ann", "Ann", ("direct",))
        for number, words in enumerate(self._says):
            said = Inbound(Address(self.name, "", "room"), ann, (Text(words),), external_id=f"golden-{number}")
            statuses = [(await inbox.accept(said)).status for _ in range(2)]
            await self._keep(f"{words}: {', '.join(statuses)}")
        self._said.set()

    async def send(self, outbound: Outbound) -> Delivery:
        """Keep the answer, once everything is said."""
        await self._said.wait()
        text = "".join(part.text for part in outbound.parts if isinstance(part, Text))
        await self._keep(f"{outbound.kind}: {text}")
        return Delivery("sent", external_id=outbound.id)

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Send it again."""
        return await self.send(outbound)

    async def preview(self, draft: Draft) -> None:
        """Look at it."""
        assert draft.address.channel == self.name

    async def _keep(self, line: str) -> None:
        async with await trio.open_file(self._answers, "a", encoding="utf-8") as file:
            await file.write(f"{line}\n")


class Rules(Provider):
    """Asks the tool for the letters of what was said, and then tells."""

    async def models(self) -> Sequence[ModelInfo]:
        """The one model."""
        return [ModelInfo("rules", window=8000, max_output=1000)]

    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        """A call of the tool, or an answer of two pieces."""
        last = request.history[-1]
        usage = Usage(input_tokens=3, output_tokens=2)
        if isinstance(last, Message):
            assert [spec.name for spec in request.tools] == ["letters"]
            call = ToolCall("call-1", "letters", {"text": last.text})
            return ModelAnswer(calls=(call,), usage=usage, finish="tools", model="rules")
        for piece in ("it has ", last.text):
            await emit(Delta(piece))
        return ModelAnswer((Text(f"it has {last.text}"),), usage=usage, finish="stop", model="rules")


class Letters(Tool):
    """Counts letters."""

    def __init__(self, token: str) -> None:
        self._token = token

    def specs(self) -> Sequence[ToolSpec]:
        """The one tool."""
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return [ToolSpec("letters", "Count letters.", schema, effect="read", isolation="host", timeout=10)]

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        """Count them; a secret must have been given."""
        if self._token != "a secret":
            raise ToolError("there is no token")
        await context.progress("counting")
        assert context.recall is not None
        text = call.arguments["text"]
        await context.recall.add(Note(text, scope="", tags=("golden",)))
        known = len(await context.recall.search("", text))
        return ToolResult(call.id, call.tool, (Text(f"{len(text)} letters and {known} notes"),))


class Gate(Policy):
    """Knows one person and one tool."""

    boundaries = frozenset({"message_in", "tool_call", "message_out"})

    async def review(self, review: Review) -> Sequence[Verdict]:
        """Deny strangers, allow the tool, end what goes out with a full stop."""
        if isinstance(review.subject, ToolCall):
            return [Verdict("allow", "letters", reason="it only counts")] if review.subject.tool == "letters" else []
        if review.boundary == "message_in":
            known = review.principal is not None and review.principal.id == "golden:ann"
            return [] if known else [Verdict("deny", "stranger", layer="app", reason="I do not know you")]
        assert isinstance(review.subject, Message)
        if review.subject.text.endswith("."):
            return []
        revised = evolve(review.subject, parts=(Text(f"{review.subject.text}."),))
        return [Verdict("revise", "full-stop", revised=revised)]


class Counter(Observer):
    """Keeps the kinds of events in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def observe(self, record: Record) -> None:
        """Add a line."""
        async with await trio.open_file(self._file, "a", encoding="utf-8") as file:
            await file.write(f"{record.event.kind}\n")


class Shelf(Memory):
    """Keeps everything, as long as the process lives."""

    async def open(self) -> None:
        """Set the facets."""
        self.journal = Pages()
        self.recall = Cards()


class Pages(Journal):
    """Events in lists."""

    def __init__(self) -> None:
        self._events: dict[str, list[Event]] = {}
        self._pending: dict[str, bool] = {}
        self._keys: dict[str, str] = {}

    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        """Add them, or nothing."""
        kept = self._events.get(session, [])
        if len(kept) != expected_version:
            raise VersionConflict("conflict", session=session, expected=expected_version, found=len(kept))
        keys = [event.key for event in events if isinstance(event, MessageAccepted) and event.key]
        for key in keys:
            if key in self._keys:
                raise DuplicateKey("known", session=session, key=key)
        self._keys |= dict.fromkeys(keys, session)
        self._events[session] = [*kept, *events]
        self._pending[session] = pending
        return len(self._events[session])

    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        """What comes after a version."""
        return [Record(session, number, event) for number, event in self._numbered(session) if number > after]

    def _numbered(self, session: str) -> list[tuple[int, Event]]:
        return list(enumerate(self._events.get(session, []), 1))

    async def find(self, key: str) -> str | None:
        """Where it is."""
        return self._keys.get(key)

    async def claim(self) -> Sequence[str]:
        """Nothing outlives the process."""
        return ()

    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        """All of them."""
        owners: Mapping[str, Any] = {
            name: next((event.owner for event in events if isinstance(event, SessionStarted)), "")
            for name, events in self._events.items()
        }
        return [
            SessionInfo(name, len(self._events[name]), self._pending[name], 1.0, 2.0, owners[name])
            for name in self._events
            if owner in {None, owners[name]}
        ][:limit]

    async def erase(self, session: str) -> bool:
        """Forget it."""
        return self._events.pop(session, None) is not None


class Cards(Recall):
    """Notes in a list."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    async def add(self, note: Note) -> Note:
        """Keep it."""
        self._notes.append(note)
        return note

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        """Those of the scope."""
        return [note for note in self._notes if note.scope == scope][:limit]

    async def erase(self, scope: str, note: str | None = None) -> int:
        """Forget them."""
        kept = [each for each in self._notes if each.scope != scope or note not in {None, each.id}]
        gone, self._notes = len(self._notes) - len(kept), kept
        return gone
