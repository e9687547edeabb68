"""Lanes, modes and queues, as a whole: any arrivals, cancels, crashes and slow tools (behaviours 6 to 10).

A program is drawn, and played on a virtual clock in one process after another, each of which dies at some append. Then
the journal is held against what must be so.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import Delivery, Message, Verdict, events
from fairlead._fold import fold
from fairlead._journal import VolatileJournal
from fairlead.config import Agent, Binding, Config, LaneLimits, Limits
from fairlead.errors import ApprovalRefused, JournalUnavailable, Overloaded, TurnError
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, calls

from .served import serving

EXAMPLES = int(os.environ.get("FAIRLEAD_EXAMPLES", "2"))
"""A sample; `FAIRLEAD_EXAMPLES=100 uv run pytest core/tests/test_lanes_proof.py` is the long proof."""
MODES = ("follow-up", "steer", "collect", "interrupt")
LANES = LaneLimits(interactive=2, background=2, subagent=1, total=3, reserved_interactive=1)
CLASSES: tuple[Any, ...] = ("interactive", "background", "subagent")

WISHES = {
    "act": ("act",),
    "act twice": ("act", "act"),
    "act alone": ("alone", "alone", "act"),
    "hang": ("alone", "act"),
    "stubborn": ("act", "alone"),
    "act dear": ("dear", "act"),
}
"""The tools that a message makes the model call."""


@frozen
class Step:
    """One thing that happens, and how long it is quiet before."""

    what: str
    where: str
    who: str
    words: str
    work_class: Any
    priority: int
    seconds: float


def steps_in(places: list[str]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        what=st.sampled_from((*["say"] * 10, "again", "cancel", *["ask"] * 2, "fault", *["decide"] * 3, "away")),
        where=st.sampled_from(places),
        who=st.sampled_from(("alice", "bob")),
        words=st.sampled_from(("hello", "hello", "rude", "fail", *WISHES)),
        work_class=st.sampled_from(CLASSES),
        priority=st.integers(0, 2),
        seconds=st.sampled_from((0.0, 0.0, 0.0, 0.02, 0.2, 0.5, 3.0, 20.0)),
    )


def lives_in(places: list[str]) -> st.SearchStrategy[Plan]:
    """For each process what happens in it, and before which of its appends it dies; the last one lives."""
    life = st.tuples(st.lists(steps_in(places), min_size=3, max_size=25), st.integers(1, 60))
    return st.lists(life, min_size=1, max_size=4)


Plan = list[tuple[list[Step], int]]
plans = st.lists(st.sampled_from(MODES), min_size=1, max_size=2).flatmap(lives_in)
"""In one or two conversations, so that much happens in each."""


class Mortal(VolatileJournal):
    """Outlives its processes: after so many appends nothing that the process does counts any more."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9
        self.faults = 0
        """So many appends fail."""
        self.died = trio.Event()
        self.unfinished: Sequence[str] = ()

    async def append(self, *given: Any, **options: Any) -> int:
        await trio.sleep(0.01)
        self.left -= 1
        if self.left < 0:
            self.died.set()
            await trio.sleep_forever()
        if self.faults:
            self.faults -= 1
            raise JournalUnavailable("the disk is full")
        return await super().append(*given, **options)

    async def claim(self) -> Sequence[str]:
        found, self.unfinished = self.unfinished, ()
        return found

    async def revive(self, appends: int) -> None:
        self.left, self.faults, self.died = appends, 0, trio.Event()
        self.unfinished = [info.id for info in await self.sessions(limit=1000) if info.pending]


def wall_clock() -> float:
    return 1e9 + trio.current_time()


class World:
    """The workers of all the processes, which see whether two ever work in one session."""

    def __init__(self, lanes: LaneLimits) -> None:
        self.memory = fairlead.Memory()
        self.memory.name = "mortal"
        self.journal = self.memory.journal = Mortal()
        self.channel = CapturingChannel()
        self.limits = lanes
        self.busy: Counter[str] = Counter()
        self.app: fairlead.App | None = None
        self.ran: Counter[str] = Counter()

    def config(self, queue_full: Any) -> Config:
        bindings = tuple(Binding("main", conversation=name, mode=name) for name in MODES)  # type: ignore[arg-type]  # modes
        limits = Limits(queue=2, queue_full=queue_full, warn_seconds=20, stall_seconds=40, approval_seconds=100)
        return Config(agents=(Agent(),), bindings=bindings, limits=limits, lanes=self.limits)

    def workers(self) -> dict[str, Any]:
        provider = ScriptedProvider([self.answer], repeat=True)
        tools = [
            CountingTool(name, self.act, effect="once", parallel=name != "alone") for name in ("act", "alone", "dear")
        ]
        policy = FakePolicy(self.review, ["message_in", "tool_call"])
        return {
            "providers": [provider], "tools": tools, "policies": [policy],
            "memories": [self.memory], "channels": [self.channel],
        }  # fmt: skip

    async def answer(self, request: fairlead.ModelRequest) -> Any:
        assert 0 == self.busy[request.session], "one turn at a time in a session"
        self.busy[request.session] += 1
        try:
            self.check_limits()
            await trio.sleep(1)
        finally:
            self.busy[request.session] -= 1
        words = request.history[-1].text if isinstance(request.history[-1], Message) else ""
        if words == "fail":
            raise Overloaded("busy")
        order = {"session": request.session, "words": words, "mark": request.id}
        wished = WISHES.get(words, ())
        return calls(*((name, {**order, "place": place}) for place, name in enumerate(wished))) if wished else "ok"

    async def review(self, review: fairlead.Review) -> Verdict | None:
        if isinstance(review.subject, fairlead.ToolCall):
            return Verdict("ask", "dear") if review.subject.tool == "dear" else None
        await trio.sleep(0.3)
        return Verdict("deny", "rude") if review.subject.text == "rude" else None  # type: ignore[union-attr]  # a message

    async def act(self, arguments: Any) -> str:
        session = arguments["session"]
        assert not self.busy[session], "no model is asked while a tool runs"
        self.ran[f"{arguments['mark']} {arguments['place']}"] += 1
        self.check_limits()
        with trio.CancelScope(shield=arguments["words"] == "stubborn"):
            await trio.sleep(500 if arguments["words"] == "hang" else 4)
        return "done"

    def check_limits(self) -> None:
        """By what has a place now."""
        assert self.app is not None
        lanes = self.app._desk.lanes  # noqa: SLF001  # the room's own test
        running = Counter(line[0].work_class for line in lanes._lines.values() if line[0].granted)  # noqa: SLF001  # the same
        assert running.total() == lanes.running <= self.limits.total
        assert all(running[name] <= getattr(self.limits, name) for name in CLASSES)
        assert running.total() - running["interactive"] <= self.limits.total - (self.limits.reserved_interactive or 0)

    # -- playing

    async def live(self, happens: Sequence[Step], queue_full: Any, appends: int) -> None:
        """One process, until it has died or nothing is left to do."""
        await self.journal.revive(appends)
        self.busy.clear()
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                async with serving(self.config(queue_full), clock=wall_clock, **self.workers()) as self.app:
                    async with trio.open_nursery() as people:
                        for step in happens:
                            await trio.sleep(step.seconds)
                            people.start_soon(self.play, self.app, step)
                    await self.at_rest(self.app)
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            await self.journal.died.wait()
            nursery.cancel_scope.cancel()

    async def play(self, app: fairlead.App, step: Step) -> None:
        if step.what == "cancel":
            await self.channel.cancel(step.where)
        elif step.what == "fault":
            self.journal.faults = 2
        elif step.what == "away":
            self.channel.fail_next(Delivery("failed", reason="away", retry_after=20.0))
        elif step.what == "decide":
            await self.decide(app, step)
        elif step.what == "ask":
            with trio.move_on_after(5):
                with suppress(TurnError, JournalUnavailable):
                    await app.ask(step.words, session=f"main/captured//{step.where}")
        else:
            event = f"{step.words}-{step.where}" if step.what == "again" else None
            place = {"work_class": step.work_class, "priority": step.priority, "conversation": step.where}
            with suppress(JournalUnavailable):
                await self.channel.say(step.words, author=step.who, external_id=event, **place)

    async def decide(self, app: fairlead.App, step: Step) -> None:
        """Somebody decides about the oldest question: on the spot, or in a conversation; twice, for a finger shakes."""
        for record in list(await app.approvals())[:1]:
            asked = record.event
            assert isinstance(asked, events.ApprovalRequested)
            allow = step.words != "rude"
            for _ in range(2):
                if step.who == "alice":
                    with suppress(ApprovalRefused, JournalUnavailable):
                        await app.decide(asked.id, allow=allow, by=fairlead.Principal("app:operator"))
                else:
                    words = f"/{'approve' if allow else 'deny'} {asked.id}"
                    with suppress(JournalUnavailable):
                        await self.channel.say(words, author=asked.principal or "bob", conversation=step.where)

    async def at_rest(self, app: fairlead.App) -> None:
        for _ in range(2_000):
            if not any(info.pending for info in await app.sessions.list(limit=1000)):
                return
            await trio.sleep(5)
        raise AssertionError("it never came to rest")

    # -- what must be so

    async def check(self) -> None:
        assert {1} >= set(self.ran.values()), "what must not happen twice did"
        assert len(self.channel.sent) == len({sent.id for sent in self.channel.sent})
        for info in await self.journal.sessions(limit=1000):
            records = await self.journal.read(info.id)
            assert not fold(info.id, records).pending
            joins = info.id.endswith(("steer", "collect"))
            check_session([record.event for record in records], joins=joins)


def check_session(told: Sequence[events.Event], *, joins: bool) -> None:
    accepted = [event.message.id for event in told if isinstance(event, events.MessageAccepted)]
    ends = [event for event in told if isinstance(event, events.TurnEnded)]
    assert sorted(accepted) == sorted(name for event in ends for name in event.messages), "each ends exactly once"
    assert not [event for event in ends if event.reason == "internal"], "nothing breaks"
    assert all(event.answer for event in ends if event.address and event.outcome != "answered"), "each has a notice"
    starts = [event for event in told if isinstance(event, events.TurnStarted | events.TurnSteered)]
    begun = [name for event in starts for name in event.messages]
    place = {name: number for number, name in enumerate(accepted)}
    asked = {event.message.id for event in told if isinstance(event, events.MessageAccepted) and not event.address}
    # What joins a turn passes the questions of the host, and nothing else.
    for line in (asked, {*accepted} - asked) if joins else ({*accepted},):
        order = [place[name] for name in begun if name in line]
        assert order == sorted(order), "first in, first out"
    wished = [call.id for event in told if isinstance(event, events.ModelAnswered) for call in event.message.calls]
    results = [event.result.call for event in told if isinstance(event, events.ToolReturned)]
    assert sorted(wished) == sorted(results), "each call has one result"
    check_approvals(told)
    open_turn = ""
    for event in told:
        if isinstance(event, events.TurnStarted):
            assert not open_turn, "one turn at a time"
            open_turn = event.turn
        elif isinstance(event, events.TurnEnded) and event.turn == open_turn:
            open_turn = ""


def check_approvals(told: Sequence[events.Event]) -> None:
    """What had to be asked about was done after somebody had said yes, and after nobody had said no."""
    asked = {event.id: event.call for event in told if isinstance(event, events.ApprovalRequested)}
    decided: dict[str, bool] = {}
    for event in told:
        if isinstance(event, events.ApprovalDecided):
            assert event.id not in decided, "one decision"
            decided[event.id] = event.granted
        elif isinstance(event, events.ApprovalUsed):
            assert decided[event.id], "used once it was given"
        elif isinstance(event, events.ToolReturned) and event.result.tool == "dear" and not event.result.error:
            assert any(decided.get(name) for name, call in asked.items() if call == event.result.call), (
                "done once given"
            )


@pytest.mark.parametrize("part", range(EXAMPLES))
@settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to make a failure shorter would take minutes
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
)
@given(plan=plans, queue_full=st.sampled_from(("refuse-newest", "drop-oldest", "summarise")))
def test_every_message_has_one_end_whatever_happens(part: int, plan: Plan, queue_full: str) -> None:
    """Serial and in order, within the limits, one end and one result each, in all modes, across crashes."""

    async def main() -> None:
        world = World(LANES)
        for number, (happens, appends) in enumerate(plan, 1):
            await world.live(happens, queue_full, appends if number < len(plan) else 10**9)
        await world.check()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_hundred_sessions_of_fifty_messages() -> None:
    """Behaviour 6: whatever comes in between, each session is served one by one and in its order."""

    async def main() -> None:
        world = World(LaneLimits(interactive=6, background=3, subagent=3, total=10, reserved_interactive=4))
        chance = random.Random(6)  # noqa: S311  # a test's own
        config = Config(limits=Limits(queue=50), lanes=world.limits)
        async with serving(config, **world.workers()) as world.app, trio.open_nursery() as people:

            async def speak(name: str) -> None:
                for number in range(50):
                    await trio.sleep(chance.random() * 20)
                    place = {"work_class": chance.choice(CLASSES), "priority": chance.randrange(3)}
                    receipt = await world.channel.say(f"{number}", conversation=name, **place)
                    assert "accepted" == receipt.status

            for number in range(100):
                people.start_soon(speak, f"c{number}")
            await trio.sleep(1_000)
            await world.at_rest(world.app)
            answered = Counter(sent.session for sent in world.channel.sent)
            assert (100, {50}) == (len(answered), set(answered.values()))
        await world.check()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
