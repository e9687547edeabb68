"""Workers that do what no contract allows: each costs itself, and never the host or another session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio

import fairlead
from fairlead import (
    Capabilities,
    Delivery,
    Draft,
    Inbox,
    ModelRequest,
    Observer,
    Outbound,
    Provider,
    Review,
    Verdict,
    events,
)
from fairlead.events import Record
from fairlead.testing import (
    CapturingChannel,
    CountingTool,
    FakePolicy,
    RecordingObserver,
    ScriptedProvider,
    calls,
    run_virtually,
)
from fairlead.types import Emit
from fairlead.wire import decode_event, encode_event

from .served import of_kind, serving, settled_in_time


class Strange(BaseException):
    """What no ``except Exception`` stops, and what has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def stray_cancelled() -> BaseException:
    """A `trio.Cancelled` of another time, which nobody asks for now."""
    kept: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                kept.append(error)
                raise

    trio.run(main)
    return kept[0]


RAISED: list[Callable[[], BaseException]] = [
    GeneratorExit,
    lambda: SystemExit(3),
    Strange,
    stray_cancelled,
    lambda: BaseExceptionGroup("several", [ValueError("one"), SystemExit(1)]),
]


def acting(error: BaseException) -> Callable[[], str]:
    def act() -> str:
        raise error

    return act


def refusing(error: BaseException) -> FakePolicy:
    def decide(review: Review) -> Verdict:
        raise error

    return FakePolicy(decide, {"message_in"})


class BadProvider(Provider):
    name = "bad"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def models(self) -> Sequence[fairlead.ModelInfo]:
        return (fairlead.ModelInfo("m"),)

    async def generate(self, request: ModelRequest, emit: Emit) -> fairlead.ModelAnswer:
        raise self.error


class BadObserver(Observer):
    name = "bad"

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def observe(self, record: Record) -> None:
        raise self.error


class BadChannel(CapturingChannel):
    """Fails in one method, where it says so."""

    def __init__(self, error: BaseException, where: str) -> None:
        super().__init__(capabilities=Capabilities(streaming=True))
        self.error = error
        self.where = where

    async def run(self, inbox: Inbox) -> None:
        if self.where == "run":
            self.where = ""
            raise self.error
        await super().run(inbox)

    async def send(self, outbound: Outbound) -> Delivery:
        if self.where == "send":
            raise self.error
        return await super().send(outbound)

    async def preview(self, draft: Draft) -> None:
        if self.where == "preview":
            raise self.error
        await super().preview(draft)

    async def check(self) -> Sequence[fairlead.Finding]:
        raise self.error

    async def close(self) -> None:
        raise self.error


def workers(where: str, error: BaseException) -> dict[str, Any]:
    channel = BadChannel(error, where)
    script: list[Any] = [calls(("act", {})), "done"] if where == "tool" else ["done"]
    provider: Provider = BadProvider(error) if where == "provider" else ScriptedProvider(script)
    return {
        "providers": [provider],
        "channels": [channel],
        "tools": [acting(error)],
        "policies": [refusing(error)] if where == "policy" else [],
        "observers": [BadObserver(error)] if where == "observer" else [],
    }


OUTCOMES = {"provider": "failed", "policy": "refused"}


@pytest.mark.parametrize("make", RAISED)
@pytest.mark.parametrize("where", ["tool", "provider", "policy", "observer", "run", "send", "preview"])
def test_what_a_worker_raises_never_ends_the_host(where: str, make: Callable[[], BaseException]) -> None:
    """Whatever it is: the message has its end and its delivery, the lane is free, the app goes on."""
    error = make()

    async def main() -> None:
        given = workers(where, error)
        async with serving(**given) as app:
            session = (await given["channels"][0].say("go")).session
            await settled_in_time(app, session)
            ended = await of_kind(app, session, events.TurnEnded)
            assert [OUTCOMES.get(where, "answered")] == [end.outcome for end in ended]
            assert [where != "send"] == [
                event.status == "sent" for event in await of_kind(app, session, events.AnswerDelivered)
            ]
            findings = [finding for finding in await app.check() if finding.subject == "captured"]
            assert ["its check raised"] == [finding.detail[:16] for finding in findings]

    run_virtually(main)


async def test_fault_of_a_tool_that_is_cancelled_stays_a_cancellation() -> None:
    """What a tool raises because its turn is cancelled does not turn the turn into one that failed."""
    started = trio.Event()

    async def act() -> str:
        started.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("cleaning up failed") from None
        raise AssertionError

    provider = ScriptedProvider([calls(("act", {}))])
    async with fairlead.open(providers=[provider], tools=[act]) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_soon, app, started)
            with pytest.raises(fairlead.errors.TurnCancelled):
                await app.ask("go", session="s")
        assert ["unknown"] == [event.result.error for event in await of_kind(app, "s", events.ToolReturned)]


async def cancel_soon(app: fairlead.App, started: trio.Event) -> None:
    await started.wait()
    await app.cancel("s")


async def test_fault_of_a_tool_that_is_late_is_an_unknown_outcome(autojump_clock: object) -> None:
    """What a `once` tool raises because its time is out says nothing about its effect."""

    async def act() -> str:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("cleaning up failed") from None
        raise AssertionError

    provider = ScriptedProvider([calls(("act", {})), "done"])
    async with fairlead.open(providers=[provider], tools=[act]) as app:
        await app.ask("go", session="s")
        assert ["unknown"] == [event.result.error for event in await of_kind(app, "s", events.ToolReturned)]


async def test_words_of_a_failing_tool_are_the_tools_and_have_a_limit() -> None:
    """They have the tool's label, as a result has, so no policy takes them for the host's; and they are cut."""

    def act() -> str:
        raise fairlead.errors.ToolError("x" * 1_000_000)

    provider = ScriptedProvider([calls(("act", {})), "done"])
    async with fairlead.open(providers=[provider], tools=[act]) as app:
        await app.ask("go", session="s")
        returned = (await of_kind(app, "s", events.ToolReturned))[0]
    assert "failed" == returned.result.error
    assert fairlead.Origin("tool", "act") == returned.result.parts[0].origin
    assert len(returned.result.text) < 21_000


VERDICTS: dict[str, Any] = {
    "unknown effect": [Verdict("forbid", "r")],  # type: ignore[arg-type]  # the case
    "unknown layer": [Verdict("deny", "r", "moon")],  # type: ignore[arg-type]  # the case
    "rule that is no text": [Verdict("deny", b"r")],  # type: ignore[arg-type]  # the case
    "reason that no journal can hold": [Verdict("deny", "r", reason="\ud800")],
    "revision into another type": [Verdict("revise", "r", revised=fairlead.ToolResult("1", "act"))],
    "words": "deny",
    "something else": [5],
}


@pytest.mark.parametrize("boundary", ["message_in", "tool_call", "message_out"])
@pytest.mark.parametrize("name", VERDICTS)
async def test_verdict_that_makes_no_sense_is_a_denial(name: str, boundary: Any) -> None:
    """The policy is named to the operator, and what it was asked about does not pass."""
    policy = FakePolicy(lambda _: VERDICTS[name], {boundary})
    ran: list[int] = []

    def act() -> str:
        ran.append(1)
        return "done"

    provider = ScriptedProvider([calls(("act", {})), "said"])
    watching = RecordingObserver()
    async with fairlead.open(providers=[provider], tools=[act], policies=[policy], observers=[watching]) as app:
        if boundary == "tool_call":
            await app.ask("go", session="s")
        else:
            with pytest.raises(fairlead.errors.TurnRefused):
                await app.ask("go", session="s")
        await watching.wait_for(events.NoticeRaised)
        ended = await of_kind(app, "s", events.TurnEnded)
    assert "policies/fake" == watching.events(events.NoticeRaised)[0].subject
    assert [boundary == "message_out"] == [bool(ran) for _ in ended]


async def test_verdicts_that_can_be_read_only_once_count() -> None:
    """A generator of verdicts is as good as a list."""
    policy = FakePolicy(lambda _: (verdict for verdict in [Verdict("deny", "never")]), {"message_in"})  # type: ignore[arg-type,return-value]  # the case
    async with fairlead.open(providers=[ScriptedProvider(["ok"])], policies=[policy]) as app:
        with pytest.raises(fairlead.errors.TurnRefused):
            await app.ask("go")


DELIVERIES: dict[str, tuple[Any, str]] = {
    "nothing": (None, "ambiguous"),
    "words": ("sent", "ambiguous"),
    "unknown status": (Delivery("maybe"), "ambiguous"),  # type: ignore[arg-type]  # the case
    "id that is a number": (Delivery("sent", external_id=5), "sent"),  # type: ignore[arg-type]  # the case
    "id that no journal can hold": (Delivery("sent", external_id="\ud800"), "sent"),
    "pause that is no number": (Delivery("failed", retry_after=float("nan")), "deferred"),
    "pause before now": (Delivery("failed", retry_after=-1.0), "deferred"),
    "pause without end": (Delivery("failed", retry_after=1e12), "deferred"),
    "pause in words": (Delivery("failed", retry_after="soon"), "ambiguous"),  # type: ignore[arg-type]  # the case
}


class Returning(CapturingChannel):
    def __init__(self, delivery: Any) -> None:
        super().__init__(capabilities=Capabilities())
        self.delivery = delivery

    async def send(self, outbound: Outbound) -> Delivery:
        return self.delivery  # type: ignore[no-any-return]  # the case


@pytest.mark.parametrize("name", DELIVERIES)
async def test_delivery_that_makes_no_sense_is_settled(name: str, autojump_clock: object) -> None:
    """What a channel returns is in the journal, which can be read again, and the session goes on."""
    delivery, status = DELIVERIES[name]
    channel = Returning(delivery)
    async with serving(channels=[channel], providers=[ScriptedProvider(["ok"], repeat=True)]) as app:
        session = (await channel.say("go")).session
        await trio.sleep(5_000)
        records = await app.sessions.records(session)
        found = [event.status for event in await of_kind(app, session, events.AnswerDelivered)]
        deferred = await of_kind(app, session, events.AnswerDeferred)
        assert [status] == (found or ["deferred"])
        assert (status == "deferred") == bool(deferred)
    assert [record.event for record in records] == [decode_event(encode_event(record.event)) for record in records]


class Hanging(CapturingChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        await trio.sleep_forever()
        raise AssertionError


async def test_send_that_hangs_holds_its_session_for_a_bounded_time(autojump_clock: object) -> None:
    """Nobody knows whether it arrived; the next message of the session gets its turn."""
    channel = Hanging(capabilities=Capabilities())
    async with serving(channels=[channel], providers=[ScriptedProvider(["ok"], repeat=True)]) as app:
        session = (await channel.say("go")).session
        await settled_in_time(app, session)
        assert ["ambiguous"] == [event.status for event in await of_kind(app, session, events.AnswerDelivered)]


async def test_result_without_end_is_kept_up_to_a_limit() -> None:
    """A session is read whole, so one tool must not be able to make it unreadable."""

    def act() -> str:
        return "x" * 3_000_000

    async with fairlead.open(providers=[ScriptedProvider([calls(("act", {})), "done"])], tools=[act]) as app:
        await app.ask("go", session="s")
        returned = (await of_kind(app, "s", events.ToolReturned))[0]
    assert 2_000_000 <= len(returned.full) < 2_000_100
    assert "[... 1000000 characters not kept ...]" == returned.full.splitlines()[-1]


async def test_number_that_no_validator_can_divide_is_invalid() -> None:
    """The model is told; the turn goes on."""
    schema = {"type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.5}}}
    tool = CountingTool("act", parameters=schema)
    provider = ScriptedProvider([calls(("act", {"n": 10**399})), "done"])
    async with fairlead.open(providers=[provider], tools=[tool]) as app:
        await app.ask("go", session="s")
        assert ["invalid"] == [event.result.error for event in await of_kind(app, "s", events.ToolReturned)]
    assert [] == tool.calls
