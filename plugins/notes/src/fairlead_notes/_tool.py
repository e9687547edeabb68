"""Three tools on the recall of the tool's context. Whose notes they are is bound there, and no argument can say it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fairlead import Tool, ToolCall, ToolContext, ToolSpec
from fairlead.errors import ToolError
from fairlead.memory import Note, Recall

__all__ = ["Notes"]

OWN_SCOPE = ""
"""The context's recall puts the principal's own scope in its place, whatever is written here."""
ID_CHARS = 12
DEFAULT_LIMIT = 5


def _spec(name: str, description: str, properties: Mapping[str, Any], required: str, effect: Any) -> ToolSpec:
    parameters = {
        "type": "object",
        "properties": dict(properties),
        "required": [required],
        "additionalProperties": False,
    }
    return ToolSpec(name, description, parameters, effect=effect, isolation="host", timeout=30.0)


SPECS = (
    _spec(
        "remember",
        "Write a note that will be there in later conversations with this person.",
        {
            "text": {"type": "string", "description": "What to remember", "minLength": 1, "maxLength": 10_000},
            "tags": {
                "type": "array",
                "description": "Words to file it under",
                "items": {"type": "string", "minLength": 1, "maxLength": 50},
                "maxItems": 10,
            },
        },
        "text",
        "idempotent",
    ),
    _spec(
        "recall",
        "Search the notes of this person; each is shown with its id. An empty query gives the newest.",
        {
            "query": {"type": "string", "description": "Words of the note", "maxLength": 1_000},
            "limit": {
                "type": "integer",
                "description": "At most so many notes; 5 without it",
                "minimum": 1,
                "maximum": 20,
            },
        },
        "query",
        "read",
    ),
    _spec(
        "forget",
        "Remove a note for good.",
        {
            "id": {
                "type": "string",
                "description": "The note's id, as recall shows it",
                "minLength": 1,
                "maxLength": 200,
            }
        },
        "id",
        "idempotent",
    ),
)


class Notes(Tool):
    """Offers `remember`, `recall` and `forget`."""

    def specs(self) -> Sequence[ToolSpec]:
        """Three tools."""
        return SPECS

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        """What was done or found, as text. `ToolError`: no memory of the app offers recall."""
        recall = context.recall
        if recall is None:
            raise ToolError(
                "notes cannot be kept: no configured memory offers recall",
                next_step="add a memory that does to fairlead.toml, such as [memories.sqlite]",
            )
        if call.tool == "remember":
            return await _remember(recall, call, context)
        if call.tool == "forget":
            return await _forget(recall, call.arguments["id"])
        return await _recall(recall, call.arguments["query"], int(call.arguments.get("limit", DEFAULT_LIMIT)))


async def _remember(recall: Recall, call: ToolCall, context: ToolContext) -> str:
    text, tags = call.arguments["text"], tuple(call.arguments.get("tags", ()))
    note = Note(text, OWN_SCOPE, _note_id(call, context.session), context.now(), tags)
    kept = await recall.add(note)
    return f"Remembered as note {kept.id}."


def _note_id(call: ToolCall, session: str) -> str:
    """The same for each run of one call, so that a run after a crash replaces its own note and adds none.

    Not the call's id alone: there are servers that number the calls of every answer from 0, and one note must not take
    the place of another.
    """
    parts = (session, call.id, call.arguments["text"], *call.arguments.get("tags", ()))
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big") + raw)
    return digest.hexdigest()[:ID_CHARS]


async def _forget(recall: Recall, note: str) -> str:
    removed = await recall.erase(OWN_SCOPE, note)
    return f"Note {note} is forgotten." if removed else f"There is no note {note}."


async def _recall(recall: Recall, query: str, limit: int) -> str:
    notes = await recall.search(OWN_SCOPE, query, limit)
    if not notes:
        return f"No notes about {query!r} were found." if query.strip() else "There are no notes."
    return "\n".join(map(_line, notes))


def _line(note: Note) -> str:
    """``- [4f1c...] likes green tea (2027-03-01; tags: food)``."""
    remarks = [f"{datetime.fromtimestamp(note.at, UTC):%Y-%m-%d}"] if note.at else []
    if note.tags:
        remarks.append(f"tags: {', '.join(note.tags)}")
    return f"- [{note.id}] {note.text}" + (f" ({'; '.join(remarks)})" if remarks else "")
