"""Fakes of what stands around a worker: the core's side of a channel, a reader, a tool's context; and small workers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import trio

from fairlead._contracts import Inbox, Observer, Policy, Recall, Tool, ToolContext
from fairlead._events import Event, Record
from fairlead._message import Address, Principal, ToolCall, ToolResult, new_id
from fairlead._work import Boundary, Delta, Effect, Inbound, Isolation, Receipt, Review, ToolSpec, Verdict

__all__ = ["CountingTool", "Deltas", "FakeInbox", "FakePolicy", "FakeToolContext", "RecordingObserver"]

E = TypeVar("E", bound=Event)


class Deltas:
    """An `Emit` that keeps what it is given."""

    def __init__(self) -> None:
        self.all: list[Delta] = []

    async def __call__(self, delta: Delta) -> None:
        self.all.append(delta)
        await trio.lowlevel.checkpoint()

    @property
    def text(self) -> str:
        """The pieces of kind ``text``, joined."""
        return "".join(delta.text for delta in self.all if delta.kind == "text")


class FakeInbox(Inbox):
    """The core's side of a channel, in memory. The same external id of one conversation is one message."""

    def __init__(self) -> None:
        self.accepted: list[Inbound] = []
        self.duplicates: list[Inbound] = []
        self.cancelled: list[Address] = []
        self.places: list[str] = []
        """What the channel gave to `ready`."""
        self._failures: list[Exception | Receipt] = []
        self._ready = trio.Event()
        self._arrived, self._arrivals = trio.open_memory_channel[Inbound](math.inf)

    async def accept(self, inbound: Inbound) -> Receipt:
        await trio.lowlevel.checkpoint()
        if self._failures:
            failure = self._failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        if inbound.external_id and _key(inbound) in map(_key, self.accepted):
            self.duplicates.append(inbound)
            return Receipt("duplicate")
        self.accepted.append(inbound)
        self._arrived.send_nowait(inbound)
        return Receipt("accepted", session="kit", message=new_id())

    def ready(self, where: str) -> None:
        self.places.append(where)
        self._ready.set()

    async def cancel(self, address: Address) -> bool:
        await trio.lowlevel.checkpoint()
        self.cancelled.append(address)
        return False

    async def wait_ready(self) -> str:
        """Wait until the channel said where messages can arrive; gives that place."""
        await self._ready.wait()
        return self.places[0]

    async def next(self) -> Inbound:
        """The next message that was accepted and not yet taken here; waits for it."""
        return await self._arrivals.receive()

    def fail_next(self, *outcomes: Exception | Receipt) -> None:
        """What the next calls of `accept` raise or give instead of keeping the message."""
        self._failures.extend(outcomes)


def _key(inbound: Inbound) -> tuple[str, str, str, str]:
    address = inbound.address
    return address.channel, address.account, address.conversation, inbound.external_id


class FakeToolContext(ToolContext):
    """What a tool may know, given by the test. `told` keeps its progress."""

    def __init__(
        self,
        session: str = "kit",
        principal: Principal | None = None,
        recall: Recall | None = None,
        clock: Callable[[], float] = lambda: 1_800_000_000.0,
    ) -> None:
        self.session = session
        self.principal = principal
        self.recall = recall
        self.told: list[str] = []
        self._clock = clock

    async def progress(self, detail: str) -> None:
        self.told.append(detail)
        await trio.lowlevel.checkpoint()

    def now(self) -> float:
        return self._clock()


ToolOutcome = str | ToolResult | Exception


class CountingTool(Tool):
    """One tool that keeps its calls.

    `outcome`: what a call gives or raises, or a function of the arguments that says so (which may be async, and so can
    wait for the test).
    """

    def __init__(
        self,
        name: str = "count",
        outcome: ToolOutcome | Callable[[Any], ToolOutcome | Awaitable[ToolOutcome]] = "done",
        *,
        description: str = "Counts how often it is called.",
        parameters: Mapping[str, Any] | None = None,
        effect: Effect = "read",
        isolation: Isolation = "host",
        timeout: float | None = None,
        parallel: bool = True,
    ) -> None:
        self.name = name
        self.calls: list[ToolCall] = []
        self.running = 0
        self.most_at_once = 0
        schema = {"type": "object"} if parameters is None else parameters
        self._specs = (ToolSpec(name, description, schema, effect, isolation, timeout, parallel),)
        self._outcome = outcome

    def specs(self) -> Sequence[ToolSpec]:
        return self._specs

    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        self.calls.append(call)
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await trio.lowlevel.checkpoint()
            outcome = self._outcome(call.arguments) if callable(self._outcome) else self._outcome
            if inspect.isawaitable(outcome):
                outcome = await outcome
        finally:
            self.running -= 1
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


PolicyOutcome = Verdict | Sequence[Verdict] | None

EVERYWHERE: frozenset[Boundary] = frozenset({"message_in", "model_request", "tool_call", "tool_result", "message_out"})


class FakePolicy(Policy):
    """A policy that is one function, maybe async: it gives a verdict, several, None to abstain, or raises."""

    def __init__(
        self,
        decide: Callable[[Review], PolicyOutcome | Awaitable[PolicyOutcome]],
        boundaries: Iterable[Boundary] = EVERYWHERE,
        name: str = "fake",
    ) -> None:
        self.name = name
        self.boundaries = frozenset(boundaries)
        self.reviews: list[Review] = []
        self._decide = decide

    async def review(self, review: Review) -> Sequence[Verdict]:
        self.reviews.append(review)
        found = self._decide(review)
        if inspect.isawaitable(found):
            found = await found
        return () if found is None else (found,) if isinstance(found, Verdict) else found


class RecordingObserver(Observer):
    """Keeps every record that it is shown."""

    def __init__(self, name: str = "recording") -> None:
        self.name = name
        self.records: list[Record] = []
        self._grew = trio.Event()

    async def observe(self, record: Record) -> None:
        await trio.lowlevel.checkpoint()
        self.records.append(record)
        self._grew.set()
        self._grew = trio.Event()

    def events(self, kind: type[E]) -> list[E]:
        """The events of that class (or of a subclass), in the order in which they were shown."""
        return [record.event for record in self.records if isinstance(record.event, kind)]

    async def wait_for(self, kind: type[E], count: int = 1) -> E:
        """Wait until `count` events of that class were shown; gives the last of them."""
        while len(self.events(kind)) < count:
            await self._grew.wait()
        return self.events(kind)[count - 1]
