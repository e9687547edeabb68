"""The open calls of a peer: those that this side has made, and those that it answers."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio

from fairlead.errors import FairleadError
from fairlead_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from fairlead_sandbox.boundary._peer import Peer

__all__ = ["Call", "Items", "Request", "Serve", "Waiter"]


class Waiter:
    """Something that one task waits for, and that others change."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    async def changed(self) -> None:
        """Wait for the next `wake`. Look first, then wait: a change that was before is not told again."""
        if self._event is None or self._event.is_set():
            self._event = anyio.Event()
        await self._event.wait()

    def wake(self) -> None:
        if self._event is not None:
            self._event.set()


class Request(Waiter):
    """A call or a stream that this side has asked for."""

    __slots__ = (
        "cancelled",
        "children",
        "context",
        "credit",
        "ended",
        "error",
        "id",
        "items",
        "op",
        "returned",
        "services",
        "size",
        "value",
        "window",
        "wish",
    )

    def __init__(self, number: int, op: str, services: Serve | None) -> None:
        super().__init__()
        self.id = number
        self.op = op
        self.services = services
        """Who answers what the other side asks within this call; None: nobody."""
        self.size = 0
        self.context = contextvars.copy_context() if services is not None else None
        """What is asked within it runs in the context of whoever called, so that traces go through."""
        self.children: set[Call] = set()
        self.cancelled = False
        self.ended = False
        self.value: Any = None
        self.error: FairleadError | None = None
        self.items: deque[tuple[Any, int]] = deque()
        self.wish = (0, 0)
        """Items and bytes that may be on their way; (0, 0) for a call, which has none."""
        self.credit, self.window = 0, 0
        """What is left of them."""
        self.returned = [0, 0]
        """What was read since the other side was last told."""

    def end(self, value: Any = None, error: FairleadError | None = None) -> None:
        if not self.ended:
            self.ended, self.value, self.error = True, value, error
            self.wake()

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value

    def cancel_children(self) -> None:
        for child in self.children:
            child.scope.cancel()


class Items:
    """The items of a stream, as they come. Reading them is what lets the other side send more."""

    def __init__(self, peer: Peer, request: Request) -> None:
        self._peer = peer
        self._request = request

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> Any:
        """The next item. Raises what the other side raised, once all before it were read."""
        request = self._request
        while not request.items:
            if request.ended:
                request.outcome()
                raise StopAsyncIteration
            await request.changed()
        item, size = request.items.popleft()
        self._peer.give_back(request, size)
        return item

    @property
    def result(self) -> Any:
        """What the other side returned at the end. `RuntimeError`: there are items to be read before."""
        if not self._request.ended or self._request.items:
            raise RuntimeError("a stream has its result when all of its items were read")
        return self._request.outcome()


class Call:
    """A call of the other side, in the hands of whoever serves it."""

    def __init__(self, peer: Peer, number: int, op: str, parent: Request | None, size: int) -> None:
        self.id = number
        self.op = op
        self.parent = parent
        """The call of this side within which it was asked; None where it stands alone."""
        self.size = size
        self.scope = anyio.CancelScope()
        self.streams = False
        """The other side wants items: `send` them."""
        self.credit, self.window = 0, 0
        self.room = Waiter()
        self.over = False
        self._peer = peer

    async def call(self, op: str, args: dict[str, Any] | None = None) -> Any:
        """Ask something of the other side within this call: it may use what was offered with it."""
        return await self._peer.call(op, args, within=self.id)

    async def send(self, item: Any) -> None:
        """Give the other side an item of the stream; waits while it does not read. `SandboxError`: it wants none."""
        if not self.streams:
            raise SandboxError(f"{self.op} was asked for as a call, and gives no items")
        await self._peer.send_item(self, item)


Serve = Callable[[str, dict[str, Any], Call], Awaitable[Any]]
"""Answers a call of the other side: operation, arguments, and the call itself. Gives JSON, or raises."""
