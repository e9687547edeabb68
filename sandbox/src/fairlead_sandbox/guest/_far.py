"""The core's side as a plugin sees it from its own process: inbox, context and recall, each asked over the boundary."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from fairlead import Address, Inbound, Inbox, Principal, Receipt, ToolContext
from fairlead.errors import FairleadError
from fairlead.memory import Note, Recall
from fairlead.wire import structure, unstructure
from fairlead_sandbox.boundary import Call
from fairlead_sandbox.boundary._calls import Waiter

__all__ = ["FarContext", "FarInbox", "FarRecall"]


class FarInbox(Inbox):
    """The inbox of a channel that runs here."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._places: list[str] = []
        self._told = Waiter()

    async def accept(self, inbound: Inbound) -> Receipt:
        """As the contract says: when this returns, the journal has it."""
        return structure(await self._call.call("inbox.accept", {"inbound": unstructure(inbound)}), Receipt)

    def ready(self, where: str) -> None:
        """Never waits: `tell` passes it on."""
        self._places.append(where)
        self._told.wake()

    async def cancel(self, address: Address) -> bool:
        """As the contract says."""
        return bool(await self._call.call("inbox.cancel", {"address": unstructure(address)}))

    async def tell(self) -> None:
        """Pass on what `ready` was given, until cancelled."""
        while True:
            await self.settle()
            await self._told.changed()

    async def settle(self) -> None:
        """Pass on what is left of it."""
        while self._places:
            with suppress(FairleadError):
                await self._call.call("inbox.ready", {"where": self._places.pop(0)})


class FarRecall(Recall):
    """Recall within a tool call; the host knows the scope, whatever is given here."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def add(self, note: Note) -> Note:
        """As the contract says."""
        return structure(await self._call.call("recall.add", {"note": unstructure(note)}), Note)

    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        """As the contract says."""
        found = await self._call.call("recall.search", {"query": query, "limit": limit})
        return [structure(note, Note) for note in found]

    async def erase(self, scope: str, note: str | None = None) -> int:
        """As the contract says."""
        return int(await self._call.call("recall.erase", {} if note is None else {"note": note}))


class FarContext(ToolContext):
    """What one tool call may know and do."""

    def __init__(self, args: dict[str, Any], call: Call) -> None:
        self.session = args["session"]
        self.principal = structure(args["principal"], Principal) if args.get("principal") is not None else None
        self.recall = FarRecall(call) if args.get("recall") else None
        self._call = call
        self._now, self._since = args["now"], time.monotonic()

    async def progress(self, detail: str) -> None:
        """As the contract says."""
        await self._call.call("progress", {"detail": str(detail)[:200]})

    def now(self) -> float:
        """The app's clock as the call found it, and the time that went by since then."""
        return float(self._now + time.monotonic() - self._since)
