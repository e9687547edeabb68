"""The five contracts: small abstract classes that plugins subclass. `hookspecs` says how the core gets at them.

Common to all: a worker is made without effects, is used between `open` and `close`, and is called from trio tasks,
several at a time. Whatever it awaits may be cancelled; a method says what is then left behind where that matters.
Everything that a worker returns is untrusted: the core checks it and stamps where it came from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from fairlead._events import Event, Record
    from fairlead._message import Address, Principal, ToolCall, ToolResult, Usage
    from fairlead._work import (
        Boundary,
        Capabilities,
        Delivery,
        Draft,
        Emit,
        Finding,
        Inbound,
        Isolation,
        ModelAnswer,
        ModelInfo,
        ModelRequest,
        Note,
        Outbound,
        Receipt,
        Review,
        ToolSpec,
        Verdict,
    )

__all__ = [
    "Channel",
    "Inbox",
    "Journal",
    "Memory",
    "Observer",
    "Policy",
    "Provider",
    "Recall",
    "SessionInfo",
    "Tool",
    "ToolContext",
    "Worker",
]

from attrs import frozen


class Worker(ABC):
    """What every kind of worker has."""

    name: str = ""
    """The worker's name in the configuration. The core sets it before `open`."""
    level: Isolation = "host"
    """Where it runs. Only an isolator, which knows, sets anything else."""

    distribution: str = ""
    """Name and version of the package that it came from; the core sets it for plugins. Since: 1.1."""

    async def open(self) -> None:
        """Get ready: import what is heavy, connect, read files. Called once, before any other method.

        An exception takes this worker out of the app, with a report; the rest goes on. `close` is then not called.
        """

    async def close(self) -> None:
        """Let go of everything. Called once, also after failures, shielded from cancellation for 5 s. Safe twice."""

    async def check(self) -> Sequence[Finding]:
        """Say for ``fairlead doctor`` how it is, at most 10 s. It must not raise for what it finds."""
        return ()

    async def evidence(self) -> Mapping[str, Any]:
        """What proves `level`, read back now from what isolates it; empty in the host. Only isolators implement it."""
        return {}

    async def identity(self) -> str:
        """What exactly runs there, one line that changes with the code or the image: approvals are bound to it.

        Raises what preparing it raises. Only isolators implement it. Since: 1.1.
        """
        return self.distribution


# -- channels


class Inbox(ABC):
    """The core's side of a channel."""

    @abstractmethod
    async def accept(self, inbound: Inbound) -> Receipt:
        """Hand in a message. When this returns, the journal has it: acknowledge the platform now, not earlier.

        `SchemaError`: the message is malformed; nothing was kept. `JournalUnavailable`: it is not kept; let the
        platform deliver it again. Cancelled: it may or may not be kept; handing it in again with its id is safe.
        """

    @abstractmethod
    def ready(self, where: str) -> None:
        """Say that messages can arrive now, and where: ``http://127.0.0.1:8080/``. Call it once in `Channel.run`."""

    @abstractmethod
    async def cancel(self, address: Address) -> bool:
        """Cancel the turn that runs for this address, or the next one that waits. False where there is none."""


class Channel(Worker):
    """Where messages come from and go to."""

    capabilities: Capabilities
    """Fixed from `open` on."""

    @abstractmethod
    async def run(self, inbox: Inbox) -> None:
        """Receive until cancelled, and hand in each message with `inbox.accept`.

        Reconnect by yourself with back-off. An exception ends the channel, with a report, and it is run again with
        back-off. Returning means that nothing more will come (an input that ended); sending goes on.
        Cancelled: stop within 5 s.
        """

    @abstractmethod
    async def send(self, outbound: Outbound) -> Delivery:
        """Show a message, once.

        It is called again for the same `Outbound.id` only after ``failed`` with `retry_after`, or when the channel
        declares idempotency.

        Return ``failed`` only where it has surely not arrived; an exception counts as ``ambiguous``, and so does
        cancellation. A send that takes over 300 s is cancelled.
        """

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        """Replace a sent message. Called only where the capabilities say ``edits``."""
        raise NotImplementedError(f"channel {self.name!r} declares edits but does not implement edit()")

    async def preview(self, draft: Draft) -> None:
        """Show an answer that still grows. Called only where the capabilities say ``streaming``.

        Drafts between may be left out; the last one is followed by `send` with the same id. Errors are ignored.
        """
        raise NotImplementedError(f"channel {self.name!r} declares streaming but does not implement preview()")


# -- providers


class Provider(Worker):
    """What should be said or done next."""

    credentials: tuple[str, ...] = ("",)
    """The names that `ModelRequest.credential` may have, fixed from `open` on; the empty name is one that has none.

    Where the configuration names none for a model, the first that is well is used. Since: 1.1.
    """

    @abstractmethod
    async def models(self) -> Sequence[ModelInfo]:
        """The models it offers, best known figures. Raises `ProviderError`."""

    @abstractmethod
    async def generate(self, request: ModelRequest, emit: Emit) -> ModelAnswer:
        """Answer one request: await `emit` for each piece that comes, return the whole at the end.

        Raise the `ProviderError` that fits, `BrokenStream` where pieces were already emitted. Do not try again by
        yourself: the core has the budget of time and the other models. Cancelled: close the connection at once.
        """


# -- tools


class ToolContext(ABC):
    """What a tool may know and do beside its arguments."""

    session: str
    principal: Principal | None
    recall: Recall | None
    """Bound to the scope of the principal (or of the session where nobody is known); None where no memory offers it."""

    @abstractmethod
    async def progress(self, detail: str) -> None:
        """Tell whoever watches how far the call is. At most 200 characters are shown."""

    @abstractmethod
    def now(self) -> float:
        """Unix seconds, by the app's clock."""


class Tool(Worker):
    """How something is done. One worker may offer several tools."""

    immediate: bool = False
    """`call` never awaits, so the core keeps no clock for it (as `Policy.immediate`)."""
    remembers: bool = False
    """Called again with the id of an earlier call, it gives that call's result and has no second effect."""

    @abstractmethod
    def specs(self) -> Sequence[ToolSpec]:
        """The tools, fixed from `open` on."""

    @abstractmethod
    async def call(self, call: ToolCall, context: ToolContext) -> ToolResult | str:
        """Do it. The arguments match the spec's schema. Text stands for a result of one text part.

        Raise `ToolError` with words for the model; any other exception is shown to it as an internal error.
        Cancelled (time is out, or the turn was cancelled): stop; an effect of kind ``once`` that may have happened
        is then recorded as unknown.
        """


# -- memories


@frozen
class SessionInfo:
    """A line in a list of sessions."""

    id: str
    version: int
    pending: bool
    """It has work that is not finished."""
    created: float
    updated: float
    """Unix seconds."""
    owner: str = ""


class Journal(ABC):
    """Append-only events per session. Encode with `fairlead.encode_event`, or keep the objects."""

    @abstractmethod
    async def append(self, session: str, expected_version: int, events: Sequence[Event], *, pending: bool) -> int:
        """Add events in one step and return the new version; `expected_version` 0 makes the session.

        When it returns, the events survive power loss. `pending` says whether the session then has unfinished work,
        which this process now owns. `VersionConflict`, `DuplicateKey` (some `MessageAccepted.key`, or since 1.1
        `ApprovalRequested.key`, is known),
        `JournalUnavailable`: nothing was written. Cancelled: all or nothing was written, and appends of one session
        keep their order.
        """

    @abstractmethod
    async def read(self, session: str, after: int = 0) -> Sequence[Record]:
        """The records with a version above `after`, in order; empty for an unknown session."""

    @abstractmethod
    async def find(self, key: str) -> str | None:
        """The session that holds the `MessageAccepted` (since 1.1: or `ApprovalRequested`) with this key."""

    @abstractmethod
    async def claim(self) -> Sequence[str]:
        """Take over the sessions with unfinished work that no living process owns; no two processes get the same."""

    async def probe(self) -> None:
        """Write something that changes nothing, and wait for the disk: asked now and then after a failed `append`.

        `JournalUnavailable`: it still cannot be written. Here that cannot be told. Since: 1.1.
        """

    async def hold(self, session: str) -> None:
        """Keep other processes from the work of a session until `release`; wait for one that is at it.

        A process that dies lets go. Cancelled: it is not held. Here no other process can be there.
        """

    def release(self, session: str) -> None:
        """Let others at the work of a session. Immediate; one that is not held stays as it is."""

    @abstractmethod
    async def sessions(
        self, *, owner: str | None = None, limit: int = 100, before: float | None = None
    ) -> Sequence[SessionInfo]:
        """The sessions, last used first; only those of one principal where `owner` is given."""

    @abstractmethod
    async def erase(self, session: str) -> bool:
        """Remove a session for good, so that its words are in no file any more. False where there is none.

        The keys of its messages stay, as hashes, so that a message which was erased is not taken for a new one.
        """


class Recall(ABC):
    """Long-term memory by search. A scope never sees another one."""

    @abstractmethod
    async def add(self, note: Note) -> Note:
        """Keep a note; the same id replaces it. It is durable when this returns."""

    @abstractmethod
    async def search(self, scope: str, query: str, limit: int = 5) -> Sequence[Note]:
        """The nearest notes, best first; any text is a valid query. An empty query gives the newest."""

    @abstractmethod
    async def erase(self, scope: str, note: str | None = None) -> int:
        """Remove one note, or all of the scope; the number removed."""


class Memory(Worker):
    """What is kept. A worker offers those facets that it sets in `open`."""

    journal: Journal | None = None
    recall: Recall | None = None
    warnings: Sequence[str] = ()
    """What the operator must hear of the opening: data that was lost, say. Set in `open`. Since: 1.1."""


# -- policies


class Policy(Worker):
    """May this happen, and in what form?"""

    boundaries: frozenset[Boundary]
    """Where it wants to be asked, fixed from `open` on; it costs nothing elsewhere."""
    immediate: ClassVar[bool] = False
    """`review` never awaits, so the core keeps no clock for it (which would cost more than the decision)."""
    names_itself: ClassVar[bool] = False
    """Its verdicts carry the policy's name already."""

    @abstractmethod
    async def review(self, review: Review) -> Sequence[Verdict]:
        """At most one verdict a layer; nothing is an abstention. The same review gives the same verdicts.

        An exception, or no answer in time (`limits.review_seconds`), is a denial.
        """

    async def settle(self, review: Review, usage: Usage | None) -> None:
        """Learn what a model request used that passed this policy: once for each, before the turn's next step.

        `review`: with the request as it was sent; its `ModelRequest.id` is that of the review. `usage`: with its cost
        where the price is known; all zero where the provider surely did nothing, or where it was not asked, since
        another policy denied the request; None where nobody can know (no answer in time, a stream that broke, a turn
        that was cancelled, an answer without figures). Not called after the death of the process.
        Shielded from cancellation for `limits.review_seconds`; an exception is reported and changes nothing.
        Since: 1.1.
        """


class Observer(Worker):
    """Sees everything, changes nothing, delays nobody."""

    @abstractmethod
    async def observe(self, record: Record) -> None:
        """Called for each event in the order of its session. One who lags by 1,000 is dropped with a notice."""
