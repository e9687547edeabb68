"""What a process does while it is killed: one small function for each kind of work.

To add one, write a function with `@workload`. It gets the `World` and returns a `Play`: what people say (each message
has an id of its own and is delivered until it is acknowledged), the model as a function of the request that holds no
state (the process is a new one after each death, so it must answer by the history alone), the tools as `FarTool` (each
call has a value ``for`` of its own, by which effects are counted), and, where it is about what people do with sessions,
`afterwards`, which each life calls once its messages have come to their end, and which must bear being called again.
`ends`: what may become of a message, where that is not only ``answered``. What every workload must hold is in `checks`;
what only this one must hold is its `check`. Those about what a turn waits for, and what it may spend, are in `waits`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio
from attrs import field, frozen

from fairlead import (
    App,
    Capabilities,
    Delivery,
    Message,
    ModelRequest,
    Policy,
    Provider,
    Review,
    ToolResult,
    Verdict,
)
from fairlead.config import Limits
from fairlead.errors import BadRequest
from fairlead.testing import FakePolicy, calls

from .world import CONVERSATION, FarTool, Say, World

__all__ = ["KEYED", "WORKLOADS", "Model", "Play", "Report", "answering", "calling", "session_of", "workload"]

PLAIN = Capabilities()
KEYED = Capabilities(idempotency=True)
Model = Callable[[ModelRequest], Any]


@frozen
class Play:
    """What happens in each life of the process, as far as it has not happened yet."""

    says: tuple[Say, ...]
    model: Model
    tools: tuple[FarTool, ...] = ()
    policies: tuple[Policy, ...] = ()
    keeping: Callable[[Path], tuple[Policy, ...]] = field(default=lambda _: ())
    """Policies with files of their own, in the directory of the app."""
    providers: tuple[Provider, ...] = ()
    """In the place of the one that answers by `model`."""
    config: Mapping[str, Any] = field(factory=dict)
    """What else stands in the configuration."""
    choices: Callable[[str], tuple[str, ...]] | None = None
    """What a person types at once under a question that is shown: ``approve`` or ``deny``, any number of times."""
    leaps: bool = False
    """Time passes at once where `meanwhile` has the clock of trio jump; the wall clock follows it."""
    tells_events: bool = False
    """`check` looks at the events themselves: `Report.events`."""
    capabilities: Capabilities = PLAIN
    together: bool = False
    """All messages are delivered at once."""
    patient: bool = False
    """A message is delivered once the last one is answered."""
    between: Callable[[App], Awaitable[None]] | None = None
    """Awaited before each message."""
    again: bool = False
    """The platform delivers in each life also what it knows to be kept."""
    slow: bool = False
    outcomes: tuple[Delivery, ...] = ()
    """What the first sends of each life give, without showing anything."""
    meanwhile: Callable[[App, World], Awaitable[None]] | None = None
    """Beside the messages."""
    afterwards: Callable[[App, World], Awaitable[None]] | None = None
    limits: Limits = field(factory=Limits)
    ends: frozenset[str] = frozenset({"answered"})
    shown: bool = True
    """Each end is shown on a channel that takes an idempotency key."""
    gone: frozenset[str] = frozenset()
    """Messages of which nothing is left in the end."""
    checkpoint_pages: int = 0
    """Bring the log into the main file so often, where it is not 0."""
    check: Callable[[Report], Iterable[str]] = field(default=lambda _: ())


@frozen
class Report:
    """What all lives together amount to."""

    told: list[list[Any]]
    """By the processes and by the world, in order."""
    sessions: dict[str, Any]
    """By name: what the last process says of it."""
    files: bytes
    """All bytes that the last process has left."""

    def of(self, kind: str) -> list[list[Any]]:
        return [words[1:] for words in self.told if words[0] == kind]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Those of all sessions, in order; where a workload `tells_events`."""
        return [event for session in self.sessions.values() for found, event in session["events"] if found == kind]


WORKLOADS: dict[str, Callable[[World], Play]] = {}


def workload(make: Callable[[World], Play]) -> Callable[[World], Play]:
    WORKLOADS[make.__name__] = make
    return make


def session_of(conversation: str = CONVERSATION) -> str:
    return f"main/far//{conversation}"


def answering(request: ModelRequest) -> Any:
    """A model that says what was said."""
    last = request.history[-1]
    assert isinstance(last, Message)
    return f"answer to {last.text}"


def calling(*tools: str) -> Model:
    """A model that calls each tool once for what was said, all in one answer, and then says so."""

    def model(request: ModelRequest) -> Any:
        last = request.history[-1]
        if isinstance(last, ToolResult):
            return f"done: {last.text}"
        return calls(*((tool, {"for": f"{last.text}: {place}"}) for place, tool in enumerate(tools)))

    return model


# -- turns


@workload
def chat(_: World) -> Play:
    """Three messages, one after the other."""
    return Play((Say("a", "one"), Say("b", "two"), Say("c", "three")), answering)


@workload
def long_words(_: World) -> Play:
    """A message of many pages."""
    return Play((Say("a", "word " * 40_000),), lambda _: "short", capabilities=KEYED)


@workload
def tool_that_reads(world: World) -> Play:
    """May run any number of times."""
    return Play((Say("a", "look"),), calling("read"), (FarTool(world, "read", "read"),))


@workload
def tool_that_is_idempotent(world: World) -> Play:
    """May run again, with the same id of its call."""
    return Play((Say("a", "set"), Say("b", "set more")), calling("put"), (FarTool(world, "put", "idempotent"),))


@workload
def tool_that_runs_once(world: World) -> Play:
    """In the host: where nobody knows whether it ran, it is unknown."""
    return Play((Say("a", "pay"), Say("b", "pay more")), calling("pay"), (FarTool(world, "pay", "once"),))


@workload
def tool_that_is_remembered(world: World) -> Play:
    """Somebody out there keeps its calls, as the supervisor of a sandbox does: it is never unknown."""

    def check(report: Report) -> Iterable[str]:
        for session in report.sessions.values():
            if session["unknown_calls"]:
                yield "a call is unknown, though its worker remembers"

    tools = (FarTool(world, "pay", "once", remembers=True),)
    return Play((Say("a", "pay"), Say("b", "pay more")), calling("pay"), tools, check=check)


@workload
def tools_at_once(world: World) -> Play:
    """Four calls of one answer, side by side."""
    tools = (
        FarTool(world, "pay", "once"),
        FarTool(world, "ship", "once"),
        FarTool(world, "put", "idempotent"),
        FarTool(world, "read", "read"),
    )
    return Play((Say("a", "order"),), calling("pay", "ship", "put", "read"), tools)


@workload
def tools_in_a_row(world: World) -> Play:
    """Three calls of one answer, of which one must be alone."""
    tools = (FarTool(world, "pay", "once", parallel=False), FarTool(world, "put", "idempotent", parallel=False))
    return Play((Say("a", "order"),), calling("pay", "put", "pay"), tools)


@workload
def notes(world: World) -> Play:
    """A tool that keeps a note of what it does."""

    def check(report: Report) -> Iterable[str]:
        found = report.of("notes")[-1][0]
        if sorted(set(found)) != sorted(found):
            yield f"notes stand there twice: {found}"

    async def count(app: App, world: World) -> None:
        recall = app._desk.engine.recall  # noqa: SLF001  # no public way leads to the recall of an app
        assert recall is not None
        found = await recall.search("far:ann", "done")
        world.report("notes", sorted(note.text for note in found))

    tools = (FarTool(world, "put", "idempotent", notes=True),)
    return Play((Say("a", "set"), Say("b", "more")), calling("put"), tools, afterwards=count, check=check)


@workload
def corrected(world: World) -> Play:
    """The model's arguments are invalid at first."""

    def model(request: ModelRequest) -> Any:
        last = request.history[-1]
        if isinstance(last, Message):
            return calls(("pay", {"wrong": last.text}))
        return calls(("pay", {"for": "it"})) if last.error == "invalid" else "paid"

    return Play((Say("a", "pay"),), model, (FarTool(world, "pay", "once"),), ends=frozenset({"answered"}))


@workload
def refused(_: World) -> Play:
    """A policy refuses one of two messages: its notice is shown."""

    def judge(review: Review) -> Verdict:
        subject = review.subject
        bad = isinstance(subject, Message) and "bad" in subject.text
        return Verdict("deny" if bad else "allow", "no bad words", reason="Mind your words." if bad else "")

    policy = FakePolicy(judge, {"message_in"})
    return Play(
        (Say("a", "a bad word"), Say("b", "a good word")),
        answering,
        policies=(policy,),
        capabilities=KEYED,
        ends=frozenset({"answered", "refused"}),
    )


@workload
def failed(_: World) -> Play:
    """The model refuses to understand: the turn ends with a notice."""

    def model(_: ModelRequest) -> Any:
        return BadRequest("it makes no sense")

    return Play((Say("a", "?"),), model, capabilities=KEYED, ends=frozenset({"failed"}))


@workload
def cancelled(world: World) -> Play:
    """Somebody cancels a turn whose call has begun."""
    began = trio.Event()

    async def wait() -> None:
        began.set()
        await trio.sleep_forever()

    async def cancel(app: App, _: World) -> None:
        await began.wait()
        await app.cancel(session_of())

    return Play(
        (Say("a", "pay"),),
        calling("pay"),
        (FarTool(world, "pay", "once", wait=wait),),
        meanwhile=cancel,
        ends=frozenset({"answered", "cancelled"}),
    )


# -- many at once


@workload
def two_sessions(world: World) -> Play:
    """Their appends are one group: one write, one wait for the disk."""
    says = tuple(Say(f"{room}{number}", f"pay {room}{number}", room) for number in range(2) for room in ("x", "y"))
    return Play(says, calling("pay"), (FarTool(world, "pay", "once"),), together=True)


@workload
def many_sessions(_: World) -> Play:
    """Eight, with a message each, at once; the log is brought into the main file among them."""
    says = tuple(Say(f"m{number}", f"hello {number}", f"room{number}") for number in range(8))
    return Play(says, answering, together=True, capabilities=KEYED, checkpoint_pages=30)


@workload
def delivered_twice(world: World) -> Play:
    """The platform delivers all again after each restart."""
    says = (Say("a", "pay"), Say("b", "pay more"))
    return Play(says, calling("pay"), (FarTool(world, "pay", "once"),), again=True)


# -- the outbox

PIECES = " ".join(f"piece{number}" for number in range(6))
SHORT = 16


@workload
def slow_pieces(_: World) -> Play:
    """An answer in several messages to a slow channel: after a death it is not begun anew."""
    capabilities = Capabilities(max_chars=SHORT)
    return Play((Say("a", "tell"),), lambda _: PIECES, capabilities=capabilities, slow=True)


@workload
def slow_pieces_with_keys(_: World) -> Play:
    """To one that takes an idempotency key: it is sent again, and seen once."""
    capabilities = Capabilities(max_chars=SHORT, idempotency=True)
    return Play((Say("a", "tell"),), lambda _: PIECES, capabilities=capabilities, slow=True)


@workload
def sent_at_the_second_try(_: World) -> Play:
    """The channel says that the first try failed, and that another makes sense."""
    return Play((Say("a", "hello"),), answering, outcomes=(Delivery("failed", "", "busy", 0.001),))


@workload
def sent_perhaps(_: World) -> Play:
    """The channel does not know whether it arrived: that is all that is ever known."""
    return Play((Say("a", "hello"),), answering, outcomes=(Delivery("ambiguous", reason="reset"),))


@workload
def streamed(world: World) -> Play:
    """To a channel that shows the answer while it grows."""
    capabilities = Capabilities(streaming=True, idempotency=True)
    return Play((Say("a", "pay"),), calling("pay"), (FarTool(world, "pay", "once"),), capabilities=capabilities)


# -- what people do with sessions


@workload
def forked(_: World) -> Play:
    """A copy of a session is whole or not there."""

    async def fork(app: App, world: World) -> None:
        name = await app.sessions.fork(session_of())
        world.tell("forked", name)

    def check(report: Report) -> Iterable[str]:
        for (name,) in report.of("forked"):
            if name not in report.sessions:
                yield f"the copy {name} is gone"
        sizes = {session["items"] for session in report.sessions.values()}
        if sizes != {4}:
            yield f"copies differ in what they hold: {sizes}"

    return Play((Say("a", "one"), Say("b", "two")), answering, patient=True, afterwards=fork, check=check)


@workload
def rolled_back(_: World) -> Play:
    """A session that goes on from an earlier version."""

    async def roll_back(app: App, world: World) -> None:
        records = await app.sessions.records(session_of())
        clean = next(record.version for record in records if record.event.kind == "answer_delivered")
        await app.sessions.rollback(session_of(), clean)
        world.tell("rolled back")

    def check(report: Report) -> Iterable[str]:
        found = report.sessions[session_of()]["items"]
        if found != 2:
            yield f"it holds {found} items behind the rollback"

    return Play((Say("a", "one"), Say("b", "two")), answering, patient=True, afterwards=roll_back, check=check)


@workload
def erased(_: World) -> Play:
    """A session whose words are then in no file; the other one stays as it is."""

    async def erase(app: App, world: World) -> None:
        with suppress(KeyError):
            await app.sessions.erase(session_of("gone"))
        world.tell("erased")

    def check(report: Report) -> Iterable[str]:
        if b"quartzxylo" in report.files:
            yield "words of what was erased are in a file"
        if session_of("stays") not in report.sessions:
            yield "the other session is gone"

    says = (Say("a", "quartzxylo", "gone"), Say("b", "hello", "stays"))
    return Play(says, answering, afterwards=erase, gone=frozenset({"a"}), check=check)
