"""More of `workloads`: what a turn waits for (people, other messages, a channel that is away) and what it may use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from fairlead import (
    App,
    Capabilities,
    Delivery,
    Message,
    ModelAnswer,
    ModelRequest,
    Settings,
    Text,
    ToolCall,
    ToolResult,
    Verdict,
)
from fairlead.config import Agent, Compaction, ModelRef
from fairlead.errors import RateLimited
from fairlead.testing import FakePolicy, ScriptedProvider, calls
from fairlead_budgets._policy import Budgets
from fairlead_budgets.operations import Table, accounts, audit

from .workloads import KEYED, WORKLOADS, Model, Play, Report, answering, calling, session_of, workload
from .world import FarTool, Say, World

__all__ = ["WORKLOADS"]

LOOK_SECONDS = 0.002

# -- for people


def asking(world: World, says: tuple[Say, ...], choices: Callable[[str], tuple[str, ...]]) -> Play:
    """Each call of ``pay`` is asked about; `choices` are made by a person in the channel."""
    policy = FakePolicy(lambda _: Verdict("ask", "careful"), {"tool_call"})
    tools = (FarTool(world, "pay", "once"),)
    return Play(
        says,
        calling("pay"),
        tools,
        policies=(policy,),
        capabilities=Capabilities(),
        choices=choices,
        tells_events=True,
        check=_of_approvals,
    )


def _of_approvals(report: Report) -> Iterable[str]:
    """A call is asked about under one id, decided about once, and made only after somebody has said yes."""
    asked = {event["id"]: event["call"] for event in report.events("approval_requested")}
    if len(set(asked.values())) != len(asked):
        yield f"a call was asked about under several ids: {asked}"
    if {name for _, name in report.of("asked")} != set(asked):
        yield f"shown were {report.of('asked')}, asked was {asked}"
    decided = Counter(event["id"] for event in report.events("approval_decided"))
    if decided != Counter(list(asked)):
        yield f"decisions: {decided} about {asked}"
    taken = Counter(name for name, _, status in report.of("chosen") if status == "accepted")
    if any(count > 1 for count in taken.values()):
        yield f"two choices were both the decision: {taken}"
    granted = {asked[event["id"]] for event in report.events("approval_decided") if event.get("granted")}
    allowed = set()
    for words in report.told:
        if words[0] == "chooses" and words[2] == "approve":
            allowed.add(asked.get(words[1]))
        if words[0] == "effect" and (words[4] not in allowed or words[4] not in granted):
            yield f"a call was made that nobody approved: {words}"
    used = Counter(event["id"] for event in report.events("approval_used"))
    if {asked[name] for name in used} != granted or any(count > 1 for count in used.values()):
        yield f"used: {used}, granted: {granted}"


@workload
def approved(world: World) -> Play:
    """A person says yes; the second of two questions is about another call."""
    return asking(world, (Say("a", "pay"), Say("b", "pay more")), lambda _: ("approve",))


@workload
def approved_by_two_taps(world: World) -> Play:
    """Two at once are one decision."""
    return asking(world, (Say("a", "pay"),), lambda _: ("approve", "approve"))


@workload
def approved_and_denied(world: World) -> Play:
    """At the same moment: one of them counts."""
    return asking(world, (Say("a", "pay"),), lambda _: ("deny", "approve"))


@workload
def denied(world: World) -> Play:
    """A person says no, and yes to the next one."""
    return asking(
        world, (Say("a", "never"), Say("b", "pay")), lambda text: ("deny",) if "never" in text else ("approve",)
    )


# -- for other messages


def with_mode(world: World, mode: str, last: str, *tools: str, **more: Any) -> Play:
    """Three messages, of which the others arrive while the call of the first runs."""
    began = trio.Event()

    async def wait() -> None:
        began.set()
        while not world.knows(last):  # noqa: ASYNC110  # the channel has no event for it
            await trio.sleep(LOOK_SECONDS)  # real time: of the threads of the journal

    async def until_it_runs(app: App) -> None:
        """Or all is at rest: the call was made in an earlier life, or this is the first message."""
        while not began.is_set() and any(  # noqa: ASYNC110  # as above
            info.pending for info in await app.sessions.list()
        ):
            await trio.sleep(LOOK_SECONDS)  # real time: as above

    made = tuple(FarTool(world, tool, "once", parallel=False, wait=wait) for tool in tools)
    says = (Say("a", "pay"), Say("b", "pay more"), Say("c", "pay again"))
    agent = Agent(mode=mode)  # type: ignore[arg-type]  # one of the modes
    return Play(says, calling(*tools), made, config={"agents": (agent,)}, between=until_it_runs, **more)


@workload
def steered(world: World) -> Play:
    """Messages join the turn that runs; its second call, which has not begun, is skipped for them."""
    return with_mode(world, "steer", "c", "pay", "ship")


@workload
def collected(world: World) -> Play:
    """Messages that wait have one turn together."""
    return with_mode(world, "collect", "c", "pay")


@workload
def interrupted(world: World) -> Play:
    """A message ends the turn that runs, and those that wait."""

    def check(report: Report) -> Iterable[str]:
        newest = {
            message for session in report.sessions.values() for message, name in session["accepted"] if name == "c"
        }
        ended = [each for session in report.sessions.values() for each in session["ended"]]
        if {outcome for _, messages, outcome in ended if newest & set(messages)} != {"answered"}:
            yield f"the newest message was not answered: {ended}"

    return with_mode(world, "interrupt", "c", "pay", ends=frozenset({"answered", "cancelled"}), check=check)


# -- for a channel that is away


def deferring(capabilities: Capabilities) -> Play:
    """The server of the channel is away at the first send of each life, for a minute, which passes at once."""

    async def leap(app: App, world: World) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        while True:
            await trio.sleep(LOOK_SECONDS)  # real time: the clock leaps only where an answer waits
            if any([await _waits(app, info.id) for info in await app.sessions.list()]):
                world.leap(61)
                clock.jump(61)

    outcomes = (Delivery("failed", "", "away", 60),)
    return Play(
        (Say("a", "hello"), Say("b", "are you there")),
        answering,
        capabilities=capabilities,
        outcomes=outcomes,
        meanwhile=leap,
        leaps=True,
        tells_events=True,
        check=_of_pauses,
    )


def _of_pauses(report: Report) -> Iterable[str]:
    """Only a death while something was sent makes it unknown; what is shown has the order of what was said."""
    before: dict[str, str] = {}
    for session in report.sessions.values():
        for kind, event in session["events"]:
            if (
                kind == "answer_delivered"
                and event.get("status") != "sent"
                and before.get(event["turn"]) != "answer_sending"
            ):
                yield f"an answer is {event.get('status')} because of a pause: {event}"
            if kind.startswith("answer_"):
                before[event["turn"]] = kind
    if not report.events("answer_deferred"):
        yield "nothing was deferred"
    shown = [message for _, message, _ in report.of("shown")]
    if list(dict.fromkeys(shown)) != sorted(set(shown)):
        yield f"answers were shown out of order: {shown}"


async def _waits(app: App, session: str) -> bool:
    """Whether the last that was tried with an answer has put it off."""
    last = {}
    for record in await app.sessions.records(session):
        if record.event.kind.startswith("answer_"):
            last[record.event.turn] = record.event.kind  # type: ignore[attr-defined]  # all of them are of a turn
    return "answer_deferred" in last.values() and "answer_sending" not in last.values()


@workload
def deferred(_: World) -> Play:
    """To a channel that takes no key."""
    return deferring(Capabilities())


@workload
def deferred_with_keys(_: World) -> Play:
    """To one that does: every answer is sent in the end."""
    return deferring(KEYED)


# -- what a turn may use

FILLER = "The harbour was quiet and the crew went on with the usual work of the day. " * 12
"""About 230 tokens."""
TALKS = 5
ORDER = re.compile(r"ORD-\d+")


def _remembering(world: World) -> Model:
    """A model that looks whether its context is whole: calls with their results, and every order there was."""

    def model(request: ModelRequest) -> Any:
        if request.instructions.startswith("You write the summary"):
            world.tell("summed up")
            return ModelAnswer((Text("They spoke of the harbour."),))
        wrong = _wrong_in(request.history)
        if wrong:
            world.report("wrong", wrong)
        last = request.history[-1]
        if isinstance(last, ToolResult):
            return ModelAnswer((Text(f"done: {FILLER}"),))
        (order,) = ORDER.findall(last.text)
        return ModelAnswer((), (ToolCall("", "put", {"for": order}),), finish="tools")

    return model


def _wrong_in(history: Iterable[Any]) -> str:
    waiting: set[str] = set()
    said, newest = "", 0
    for item in history:
        if isinstance(item, ToolResult):
            if item.call not in waiting:
                return f"a result without its call: {item.call}"
            waiting.discard(item.call)
            continue
        if waiting:
            return f"calls without results: {waiting}"
        said += item.text
        waiting = {call.id for call in item.calls}
        if item.role == "user" and (orders := ORDER.findall(item.text)):
            newest = int(orders[-1].partition("-")[2])
    missing = {f"ORD-{number}" for number in range(100, newest)} - set(ORDER.findall(said))
    return f"lost: {missing}" if missing else f"calls without results: {waiting}" if waiting else ""


@workload
def compacted(world: World) -> Play:
    """A small window: the older part gives way to a summary in the middle of a turn; then it is taken back."""

    async def undo(app: App, world: World) -> None:
        kinds = [record.event.kind for record in await app.sessions.records(session_of())]
        if "compaction_undone" not in kinds:
            await app.sessions.undo(session_of())
        items = await app.sessions.history(session_of())
        if wrong := _wrong_in(items):
            world.report("wrong", wrong)
        summaries = sum(isinstance(item, Message) and item.text.startswith("[A summary") for item in items)
        if summaries != min(kinds.count("compacted") - 1, 1):
            world.report("wrong", f"{summaries} summaries after undo, of {kinds.count('compacted')} compactions")

    def check(report: Report) -> Iterable[str]:
        for (wrong,) in report.of("wrong"):
            yield wrong
        if not report.events("compacted") or len(report.events("compaction_undone")) != 1:
            yield "nothing was compacted, or it was not undone once"

    says = tuple(Say(f"m{number}", f"ORD-{number}: {FILLER}") for number in range(100, 100 + TALKS))
    return Play(
        says,
        _remembering(world),
        (FarTool(world, "put", "idempotent", tells=FILLER * 2),),
        config={"compaction": Compaction(window=1500, keep_tokens=400)},
        afterwards=undo,
        tells_events=True,
        check=check,
    )


REQUESTS = 4
LIMIT = {"limits": {"few": {"requests": REQUESTS, "window": "total"}}}


@workload
def budgeted(world: World) -> Play:
    """Two turns of three requests each, of a budget for four: no process makes more, whichever of them died."""

    def model(request: ModelRequest) -> Any:
        world.tell("dispatch")
        history = list(request.history)
        done = 0
        while isinstance(history[-1], ToolResult):
            history[-2:], done = [], done + 1
        last = history[-1]
        return "done" if done == 2 else calls(("put", {"for": f"{last.text}: {done}"}))

    async def count(_: App, world: World) -> None:
        table = Table(Path(world.trap.under), LIMIT)
        (account,) = await trio.to_thread.run_sync(accounts, table)
        counted = await trio.to_thread.run_sync(audit, table)
        world.report("ledger", account.used_requests, account.held_requests, list(counted.faults))

    def check(report: Report) -> Iterable[str]:
        made = len(report.of("dispatch"))
        if made > REQUESTS:
            yield f"{made} requests were made of {REQUESTS}"
        used, held, wrong = report.of("ledger")[-1]
        yield from wrong
        if held or not made <= used <= REQUESTS:
            yield f"the ledger has {used} requests and {held} under way, {made} were made"

    return Play(
        (Say("a", "set"), Say("b", "set more")),
        model,
        (FarTool(world, "put", "idempotent"),),
        keeping=lambda files: (Budgets(Settings("budgets", LIMIT, files)),),
        ends=frozenset({"answered", "failed", "refused"}),
        afterwards=count,
        check=check,
    )


@workload
def cooled_down(world: World) -> Play:
    """A provider asks for an hour of rest: no later process asks it before."""

    def limited(_: ModelRequest) -> Any:
        world.tell("dispatch")
        return RateLimited("slow down", provider="first", reset_after=3600.0)

    async def look(app: App, world: World) -> None:
        world.report("rests", sorted(event.provider for event in app.health))

    def check(report: Report) -> Iterable[str]:
        rests, answered = False, False
        for words in report.told:
            if words[0] == "rests":
                rests = words[1] == ["first"]
                if answered and not rests:
                    yield "an answer was shown, and the cooldown before it is forgotten"
            if words[0] == "dispatch" and rests:
                yield "a provider was asked that rests"
            answered |= words[0] == "shown"
            rests |= words[0] == "dispatch"
        if any(name.startswith("!") for name in report.sessions):
            yield f"the session of the health counts as one: {list(report.sessions)}"
        if not report.of("dispatch") or not rests:
            yield "the provider does not rest in the end"

    providers = (
        ScriptedProvider([limited], repeat=True, name="first"),
        ScriptedProvider([answering], repeat=True, name="second"),
    )
    return Play(
        (Say("a", "one"), Say("b", "two"), Say("c", "three")),
        answering,
        providers=providers,
        config={"models": {"default": tuple(ModelRef(provider.name, "script") for provider in providers)}},
        meanwhile=look,
        afterwards=look,
        check=check,
    )
