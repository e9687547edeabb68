"""The fakes of `fairlead.testing`, alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio

from fairlead import (
    Capabilities,
    Delivery,
    Inbound,
    Message,
    ModelAnswer,
    ModelRequest,
    Outbound,
    Principal,
    Receipt,
    Review,
    Text,
    ToolCall,
    Usage,
    Verdict,
    events,
)
from fairlead.errors import BrokenStream, JournalUnavailable, RateLimited, ToolError
from fairlead.events import Record
from fairlead.testing import (
    CapturingChannel,
    CountingTool,
    Deltas,
    FakeInbox,
    FakePolicy,
    FakeToolContext,
    Interrupted,
    RecordingObserver,
    ScriptedProvider,
    ScriptEnded,
    WallClock,
    calls,
    run_virtually,
)

REQUEST = ModelRequest("script", (Message("user", (Text("hi"),)),))


async def answer_of(provider: ScriptedProvider) -> ModelAnswer:
    return await provider.generate(REQUEST, Deltas())


# -- the provider


async def test_script_is_answered_step_by_step() -> None:
    """Text, a whole answer, a call, several calls; and the requests are kept."""
    whole = ModelAnswer((Text("whole"),), usage=Usage(1, 2), finish="length")
    call = ToolCall("mine", "add", {"a": 1})
    provider = ScriptedProvider(["hello", whole, call, calls(("add", {"a": 1}), ("now", {}), text="wait")])
    first, second, third, fourth = [await answer_of(provider) for _ in range(4)]
    assert ((Text("hello"),), "stop") == (first.parts, first.finish)
    assert whole is second
    assert ((call,), "tools") == (third.calls, third.finish)
    assert ((Text("wait"),), ["add", "now"]) == (fourth.parts, [one.tool for one in fourth.calls])
    assert [REQUEST] * 4 == list(provider.requests)
    assert 4 == provider.answered


async def test_end_of_the_script_is_a_failure_that_says_so() -> None:
    """It names the count and the last words, and is no `ProviderError` that the core would retry."""
    provider = ScriptedProvider(["only one"])
    await answer_of(provider)
    with pytest.raises(ScriptEnded, match=r"asked 2 times, its script has 1 .* 'hi'"):
        await answer_of(provider)
    provider.extend(["more", "and more"])
    assert (Text("and more"),) == (await answer_of(provider)).parts


async def test_repeated_script_gives_fresh_call_ids_and_keeps_few_requests() -> None:
    """A model never gives one id twice; a benchmark must not grow."""
    provider = ScriptedProvider([calls(("add", {}))], repeat=True)
    ids = {(await answer_of(provider)).calls[0].id for _ in range(250)}
    assert 250 == len(ids)
    assert 100 == len(provider.requests)


async def test_error_of_the_script_is_raised() -> None:
    """As it is, also several times, without growing."""
    error = RateLimited("slow down", reset_after=3)
    provider = ScriptedProvider([error], repeat=True)
    depths = []
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            await answer_of(provider)
        assert error is caught.value
        depths.append(len(list(caught.traceback)))
    assert 1 == len(set(depths))


async def test_stream_breaks_off_where_the_script_says() -> None:
    """The pieces come, then the error."""
    provider = ScriptedProvider([Interrupted("half an ans", BrokenStream("reset"))], stream="words")
    deltas = Deltas()
    with pytest.raises(BrokenStream):
        await provider.generate(REQUEST, deltas)
    assert ["half ", "an ", "ans"] == [delta.text for delta in deltas.all]


@pytest.mark.parametrize("text", ["", " ", "one", " one  two\n", "\n\nthree\u00a0four"])
async def test_pieces_joined_are_the_text(text: str) -> None:
    """Whatever white space there is."""
    for stream in ("whole", "words"):
        deltas = Deltas()
        await ScriptedProvider([text], stream=stream).generate(REQUEST, deltas)
        assert text == deltas.text


async def test_function_of_the_request_gives_a_step() -> None:
    """It sees the request; it may be async, and so can wait for the test."""
    gate = trio.Event()

    async def late(request: ModelRequest) -> Exception:
        await gate.wait()
        return RateLimited(request.model)

    provider = ScriptedProvider([lambda request: request.history[-1].text.upper(), late])
    assert (Text("HI"),) == (await answer_of(provider)).parts
    gate.set()
    with pytest.raises(RateLimited, match="script"):
        await answer_of(provider)


async def test_delay_is_on_the_clock_of_trio(autojump_clock: trio.testing.MockClock) -> None:
    """Fifty milliseconds of a model take no time of the test."""
    provider = ScriptedProvider(["hello"], delay=0.05, repeat=True)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(answer_of, provider)
    assert 0.05 == pytest.approx(trio.current_time())


async def test_answer_without_delay_is_one_checkpoint() -> None:
    """Others get their turn, and a cancelled request raises."""
    with trio.testing.assert_checkpoints():
        await ScriptedProvider([ModelAnswer()]).generate(REQUEST, Deltas())


def test_step_that_nobody_understands_is_refused_at_once() -> None:
    """Not in the middle of a test."""
    with pytest.raises(TypeError, match="not 5"):
        ScriptedProvider([5])  # type: ignore[list-item]  # that is the test


# -- the channel


async def test_channel_speaks_and_listens() -> None:
    """`say` waits for run(), the inbox gets the message, `next` gives what is sent."""
    channel, inbox = CapturingChannel("room"), FakeInbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, inbox)
        first = await channel.say("hello", author="bob", conversation="c", external_id="e1")
        again = await channel.say("hello", author="bob", conversation="c", external_id="e1")
        assert ["accepted", "duplicate"] == [first.status, again.status]
        assert [first, again] == channel.receipts
        got = await inbox.next()
        assert Inbound(channel.address("c"), Principal("room:bob", "bob"), (Text("hello"),), "e1") == got
        outbound = Outbound("o1", got.address, (Text("hi bob"),))
        nursery.start_soon(channel.send, outbound)
        assert outbound == await channel.next()
        channel.end()


async def test_channel_that_stopped_waits_for_its_next_run() -> None:
    """As a real one does after the core has run it again."""
    channel, inbox = CapturingChannel(), FakeInbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        await channel.run(FakeInbox())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.say, "hello")
        await trio.testing.wait_all_tasks_blocked()
        assert [] == inbox.accepted
        nursery.start_soon(channel.run, inbox)
        await inbox.next()
        channel.end()


@pytest.mark.parametrize("arrives", [False, True])
async def test_channel_fails_as_it_is_told(arrives: bool) -> None:  # noqa: FBT001  # a parameter of the case
    """With a delivery or an exception, and the message is there or not."""
    channel = CapturingChannel(capabilities=Capabilities())
    channel.fail_next(Delivery("ambiguous"), OSError("gone"), arrives=arrives)
    outbound = Outbound("o1", channel.address(), (Text("hi"),))
    assert "ambiguous" == (await channel.send(outbound)).status
    with pytest.raises(OSError, match="gone"):
        await channel.send(outbound)
    assert ([outbound] * 2 if arrives else []) == channel.sent
    assert "sent" == (await channel.send(outbound)).status
    assert 3 == channel.tries


async def test_edit_shows_the_last_form() -> None:
    """`sent` has what a reader sees."""
    channel = CapturingChannel(capabilities=Capabilities(edits=True))
    delivery = await channel.send(Outbound("o1", channel.address(), (Text("draft"),)))
    better = Outbound("o1", channel.address(), (Text("final"),))
    await channel.edit(delivery, better)
    assert ([better], [better]) == (channel.sent, channel.edits)


# -- the others


async def test_inbox_refuses_as_it_is_told() -> None:
    """Nothing of it is kept."""
    inbox, channel = FakeInbox(), CapturingChannel()
    inbound = Inbound(channel.address(), Principal("a"), (Text("hi"),), "e")
    inbox.fail_next(JournalUnavailable("full"), Receipt("refused", notice="no"))
    with pytest.raises(JournalUnavailable):
        await inbox.accept(inbound)
    assert Receipt("refused", notice="no") == await inbox.accept(inbound)
    assert "accepted" == (await inbox.accept(inbound)).status
    assert [inbound] == inbox.accepted


@pytest.mark.parametrize("outcome", ["done", lambda _: "done", "waits"])
async def test_tool_counts_its_calls(outcome: Any) -> None:
    """A constant, a function of the arguments, an async one."""

    async def waits(_: Any) -> str:
        await trio.lowlevel.checkpoint()
        return "done"

    tool = CountingTool("count", waits if outcome == "waits" else outcome)
    (spec,) = tool.specs()
    assert ("count", "read", "host") == (spec.name, spec.effect, spec.isolation)
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(tool.call, ToolCall(name, "count", {}), FakeToolContext())
    assert ["a", "b", "c"] == sorted(call.id for call in tool.calls)
    assert (3, 0) == (tool.most_at_once, tool.running)
    assert "done" == await tool.call(ToolCall("d", "count", {}), FakeToolContext())


async def test_tool_raises_what_it_is_given() -> None:
    """A `ToolError`, or anything else."""
    with pytest.raises(ToolError, match="no"):
        await CountingTool(outcome=ToolError("no")).call(ToolCall("a", "count", {}), FakeToolContext())


@pytest.mark.parametrize(
    ("decide", "found"),
    [
        (lambda _: None, 0),
        (lambda _: Verdict("allow", "r"), 1),
        (lambda _: [Verdict("allow", "r"), Verdict("deny", "r", "person")], 2),
    ],
    ids=["abstains", "one", "several"],
)
async def test_policy_is_one_function(decide: Callable[[Review], Any], found: int) -> None:
    """A verdict, several, or none."""
    policy = FakePolicy(decide, boundaries={"message_in"})
    review = Review("message_in", Message("user", (Text("hi"),)))
    assert found == len(await policy.review(review))
    assert [review] == policy.reviews
    assert frozenset({"message_in"}) == policy.boundaries


async def test_observer_waits_for_events() -> None:
    """`wait_for` gives the event as soon as it was shown, also where it was before."""
    observer = RecordingObserver()
    shown = [Record("s", version, events.RolledBack(to_version=version)) for version in (1, 2)]
    async with trio.open_nursery() as nursery:
        for record in shown:
            nursery.start_soon(observer.observe, record)
        last = await observer.wait_for(events.RolledBack, 2)
    assert {1, 2} == {record.version for record in observer.records}
    assert last is await observer.wait_for(events.RolledBack, 2)
    assert [] == observer.events(events.TurnEnded)


def test_wall_clock_follows_a_virtual_clock() -> None:
    """A day passes at once."""
    clock = WallClock(1000.0)

    async def main() -> tuple[float, float]:
        first = clock()
        await trio.sleep(86_400)
        return first, clock()

    assert (1000.0, 87_400.0) == run_virtually(main)


def test_fakes_need_no_pytest() -> None:
    """An example or a benchmark with a `ScriptedProvider` imports no test tools; the kits do when they are named."""
    program = (
        "import sys, json, fairlead.testing as t; t.ScriptedProvider(['x']); before = 'pytest' in sys.modules;"
        "kits = [getattr(t, n).__name__ for n in t.__all__ if n.endswith('Conformance')];"
        "print(json.dumps([before, 'pytest' in sys.modules, kits]))"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    before, after, kits = json.loads(shown)
    assert (False, True) == (before, after)
    assert {"Channel", "Provider", "Tool", "Memory", "Policy"} <= {name.removesuffix("Conformance") for name in kits}
