"""What a tool may know and do beside its arguments, asked over the call's channel."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fairlead import ToolContext
from fairlead.errors import FairleadError
from fairlead.memory import Note, Recall

from ._outcome import speaker

__all__ = ["Context", "answered"]


class Link(Protocol):
    """The call's end of its channel."""

    async def send(self, frame: dict[str, Any], /) -> None: ...

    async def ask(self, service: str, args: dict[str, Any], /) -> Any: ...


def answered(frame: Mapping[str, Any]) -> Any:
    """What the host answered. `FairleadError`: it refused or failed."""
    if error := frame.get("error"):
        raise FairleadError(error["problem"])
    return frame.get("value")


class Context(ToolContext):
    """Through the channel."""

    def __init__(self, order: Mapping[str, Any], link: Link) -> None:
        self.session = order["session"]
        self.principal = speaker(order)
        self.recall = _Recall(link) if order.get("recall") else None
        self._link = link
        self._ahead = order["now"] - time.monotonic()

    async def progress(self, detail: str) -> None:
        await self._link.send({"op": "progress", "detail": detail[:200]})

    def now(self) -> float:
        return float(self._ahead + time.monotonic())


class _Recall(Recall):
    """The host's recall, bound there to the scope of whoever speaks."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(self, note: Note) -> Note:
        from fairlead.wire import structure, unstructure  # noqa: PLC0415  # costs 40 ms, and most calls ask nothing

        return structure(await self._link.ask("recall.add", {"note": unstructure(note)}), Note)

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:  # the host knows the scope
        from fairlead.wire import structure  # noqa: PLC0415  # as above

        found = await self._link.ask("recall.search", {"query": query, "limit": limit})
        return [structure(note, Note) for note in found]

    async def erase(self, scope: str, note: str | None = None) -> int:  # as above
        return int(await self._link.ask("recall.erase", {"note": note}))
