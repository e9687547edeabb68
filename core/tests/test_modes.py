"""What a message does that arrives while others of its conversation wait or are answered (behaviour 8)."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import fairlead
from fairlead import Message, Principal, Verdict, events
from fairlead.config import Agent, Binding, Config, Limits
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, ScriptedProvider, calls

from .served import Surviving, of_kind, serving

EDGE = fairlead.Capabilities()
ALLOW = Verdict("allow", "all")


def mode(name: Any, **limits: Any) -> Config:
    return Config(agents=(Agent(mode=name),), limits=Limits(**limits))


def slow(name: str = "slow", seconds: float = 10, **options: Any) -> CountingTool:
    async def wait(arguments: Any) -> str:
        await trio.sleep(seconds)
        return "done"

    return CountingTool(name, wait, **options)


def said(request: fairlead.ModelRequest) -> list[str]:
    """What the model is shown: words, and the outcome of each call."""
    return [item.text if isinstance(item, Message) else item.error or item.text for item in request.history]


def words(channel: CapturingChannel) -> list[tuple[str, str]]:
    return [(sent.parts[0].text, sent.in_reply_to) for sent in channel.sent]  # type: ignore[union-attr]  # text parts


async def ends(app: fairlead.App, session: str) -> list[tuple[str, str, int]]:
    ended = await of_kind(app, session, events.TurnEnded)
    return [(event.outcome, event.reason, len(event.messages)) for event in ended]


async def test_steering_message_joins_before_the_next_model_call(autojump_clock: object) -> None:
    """The tool that runs is not interrupted; one answer goes out, in reply to the newest."""
    tool = slow("slow", 10)
    provider = ScriptedProvider([calls(("slow", {})), "both"])
    channel = CapturingChannel()
    async with serving(mode("steer"), providers=[provider], tools=[tool], channels=[channel]) as app:
        receipt = await channel.say("one", external_id="e1")
        await trio.sleep(1)
        await channel.say("two", external_id="e2")
        await channel.say("three", external_id="e3")
        await channel.next()
        await trio.sleep(1)
        assert [("answered", "", 3)] == await ends(app, receipt.session)
    assert ["one", "", "done", "two", "three"] == said(provider.requests[1])
    assert [("both", "e3")] == words(channel)
    assert {"e1", "e3"} == {draft.in_reply_to for draft in channel.drafts}


async def test_calls_that_have_not_started_are_skipped(autojump_clock: object) -> None:
    """Each has a result that says so, before the message; the one that runs comes to its end."""
    tools = [slow(name, 10, parallel=False) for name in ("first", "second", "third")]
    provider = ScriptedProvider([calls(("first", {}), ("second", {}), ("third", {})), "ok"])
    channel = CapturingChannel()
    async with serving(mode("steer"), providers=[provider], tools=tools, channels=[channel]) as app:
        receipt = await channel.say("one")
        await trio.sleep(1)
        await channel.say("two")
        await channel.next()
        results = [event.result for event in await of_kind(app, receipt.session, events.ToolReturned)]
    assert [1, 0, 0] == [len(tool.calls) for tool in tools]
    assert ["", "skipped", "skipped"] == [result.error for result in results]
    assert "skipped for an incoming message" == results[-1].text
    assert ["one", "", "done", "skipped", "skipped", "two"] == said(provider.requests[1])


async def test_message_that_a_policy_refuses_does_not_join(autojump_clock: object) -> None:
    """It ends by itself with its own notice; the turn goes on, and its calls are made."""
    tools = [slow(name, 10, parallel=False) for name in ("first", "second")]
    provider = ScriptedProvider([calls(("first", {}), ("second", {})), "ok"])
    channel = CapturingChannel()
    policy = FakePolicy(
        lambda review: Verdict("deny", "no rude words") if review.subject.text == "rude" else None,  # type: ignore[union-attr]  # a message
        ["message_in"],
    )
    async with serving(mode("steer"), providers=[provider], tools=tools, channels=[channel], policies=[policy]) as app:
        receipt = await channel.say("one", external_id="e1")
        await trio.sleep(1)
        await channel.say("rude", author="bob", external_id="e2")
        for _ in range(2):
            await channel.next()
        await trio.sleep(1)
        assert {("answered", "", 1), ("refused", "app:no rude words", 1)} == {*await ends(app, receipt.session)}
    assert [1, 1] == [len(tool.calls) for tool in tools]
    assert {("ok", "e1"), ("This was refused by 'no rude words'.", "e2")} == {*words(channel)}
    assert ["captured:alice", "captured:bob"] == [review.principal.id for review in policy.reviews if review.principal]


async def test_revised_message_joins_as_it_was_revised(autojump_clock: object) -> None:
    """The model sees what the policy made of it."""
    provider = ScriptedProvider([calls(("slow", {})), "ok"])
    channel = CapturingChannel()

    def soften(review: fairlead.Review) -> Verdict | None:
        if review.subject.text != "two":  # type: ignore[union-attr]  # a message
            return None
        return Verdict("revise", "soft", revised=Message("user", (fairlead.Text("TWO"),)))

    workers: Any = {"tools": [slow("slow", 10)], "policies": [FakePolicy(soften, ["message_in"])]}
    async with serving(mode("steer"), providers=[provider], channels=[channel], **workers):
        await channel.say("one")
        await trio.sleep(1)
        await channel.say("two")
        await channel.next()
    assert ["one", "", "done", "TWO"] == said(provider.requests[1])


async def test_question_of_the_host_is_neither_steered_nor_steers(autojump_clock: object) -> None:
    """Each has its own caller, who gets an answer of its own."""
    provider = ScriptedProvider([calls(("slow", {})), "to one", "to the host", "to two"])
    channel = CapturingChannel()
    tool = slow("slow", 10)
    async with serving(mode("steer"), providers=[provider], tools=[tool], channels=[channel]) as app:
        receipt = await channel.say("one")
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert "to the host" == (await app.ask("host", session=receipt.session)).text

            nursery.start_soon(ask)
        await channel.say("two")
        for _ in range(2):
            await channel.next()
    assert ["to one", "to two"] == [text for text, _ in words(channel)]


@pytest.mark.parametrize("appends", range(1, 9))
async def test_steered_turn_survives_a_crash_at_any_append(appends: int, autojump_clock: object) -> None:
    """Another process goes on with it: each message has one end, and each call one result."""
    memory, channel = Surviving(), CapturingChannel()
    tool = slow("slow", 10, effect="idempotent")

    def answer(request: fairlead.ModelRequest) -> Any:
        return "ok" if "done" in said(request) else calls(("slow", {}))

    memory.left = appends
    with trio.move_on_after(100):
        async with serving(
            mode("steer"),
            providers=[ScriptedProvider([answer], repeat=True)],
            tools=[tool],
            channels=[channel],
            memories=[memory],
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.say, "one")
                await trio.sleep(1)
                nursery.start_soon(channel.say, "two")
            await trio.sleep(1000)
    memory.left = 10**9
    async with serving(
        mode("steer"),
        providers=[ScriptedProvider([answer], repeat=True)],
        tools=[tool],
        channels=[channel],
        memories=[memory],
    ) as app:
        await trio.sleep(1000)
        for info in await app.sessions.list():
            assert not info.pending
            accepted = [event.message.id for event in await of_kind(app, info.id, events.MessageAccepted)]
            ended = [name for event in await of_kind(app, info.id, events.TurnEnded) for name in event.messages]
            assert sorted(accepted) == sorted(ended)


async def test_collected_messages_share_one_turn(autojump_clock: object) -> None:
    """What waits when a turn begins is merged into it; the answer is in reply to the newest."""
    provider = ScriptedProvider(["first", "rest"], delay=10)
    channel = CapturingChannel()
    async with serving(mode("collect"), providers=[provider], channels=[channel]) as app:
        receipt = await channel.say("one", external_id="e1")
        await trio.sleep(1)
        for name in ("two", "three", "four"):
            await channel.say(name, external_id=name)
        for _ in range(2):
            await channel.next()
        await trio.sleep(20)
        assert [("answered", "", 1), ("answered", "", 3)] == await ends(app, receipt.session)
    assert ["one", "first", "two", "three", "four"] == said(provider.requests[1])
    assert [("first", "e1"), ("rest", "four")] == words(channel)


async def test_collected_message_that_is_refused_ends_alone(autojump_clock: object) -> None:
    """The others are answered; where none passes, each is refused."""
    provider = ScriptedProvider(["first", "rest"], delay=10)
    channel = CapturingChannel()
    policy = FakePolicy(
        lambda review: Verdict("deny", "no") if "rude" in review.subject.text else None,  # type: ignore[union-attr]  # a message
        ["message_in"],
    )
    async with serving(mode("collect"), providers=[provider], channels=[channel], policies=[policy]) as app:
        receipt = await channel.say("one")
        await trio.sleep(1)
        for name in ("rude", "two"):
            await channel.say(name, external_id=name)
        await trio.sleep(15)
        for name in ("rude 2", "rude 3"):
            await channel.say(name, external_id=name)
        await trio.sleep(100)
        answered, refused = ("answered", "", 1), ("refused", "app:no", 1)
        assert [answered, refused, answered, refused, refused] == await ends(app, receipt.session)
    assert ["rude", "rude 2", "rude 3"] == sorted(sent.in_reply_to for sent in channel.sent if sent.kind == "notice")


@pytest.mark.parametrize("name", ["collect", "steer"])
async def test_nobody_gains_rights_by_company(name: str, autojump_clock: object) -> None:
    """A call is reviewed for each author, and one denial is enough; tools work for neither of them."""
    seen: list[Principal | None] = []

    async def act(context: fairlead.ToolContext) -> str:
        """Act."""
        seen.append(context.principal)
        return "done"

    def decide(review: fairlead.Review) -> Verdict:
        assert review.principal is not None
        if review.subject.tool == "secret" and review.principal.name != "alice":  # type: ignore[union-attr]  # a call
            return Verdict("deny", "only alice")
        return ALLOW

    policy = FakePolicy(decide, ["tool_call"])
    provider = ScriptedProvider(["first", calls(("secret", {}), ("act", {})), "rest"], delay=10)
    channel = CapturingChannel()
    secret = CountingTool("secret")
    async with serving(
        mode(name), providers=[provider], tools=[secret, act], channels=[channel], policies=[policy]
    ) as app:
        receipt = await channel.say("one")
        await trio.sleep(1)
        for author in ("alice", "bob"):
            await channel.say("two", author=Principal(author, author, ("staff", f"is {author}")))
        for _ in range(2):
            await channel.next()
        results = [event.result.error for event in await of_kind(app, receipt.session, events.ToolReturned)]
    assert ["denied", ""] == results
    assert [] == secret.calls
    assert [Principal('company:["alice", "bob"]', "alice, bob", ("staff",))] == seen


async def test_interrupting_message_ends_what_runs_and_what_waits(autojump_clock: object) -> None:
    """No call is left without a result; each has its notice; the newest is answered."""
    provider = ScriptedProvider([calls(("slow", {})), "newest"])
    channel = CapturingChannel()
    tool = slow("slow", 1000, effect="once")
    config = Config(agents=(Agent(),), bindings=(Binding("main", peer="captured:boss", mode="interrupt"),))
    async with serving(config, providers=[provider], tools=[tool], channels=[channel]) as app:
        receipt = await channel.say("one", external_id="e1")
        await trio.sleep(1)
        await channel.say("two", external_id="e2")
        await channel.say("now", author="boss", external_id="e3")
        for _ in range(3):
            await channel.next()
        await trio.sleep(1)
        told = await ends(app, receipt.session)
        assert [("cancelled", "interrupted", 1)] * 2 == told[:2]
        assert ("answered", "", 1) == told[2]
        results = [event.result.error for event in await of_kind(app, receipt.session, events.ToolReturned)]
    assert ["unknown"] == results
    assert [
        ("This message was not answered: a newer one took its place.", "e2"),
        ("A newer message interrupted this answer.", "e1"),
        ("newest", "e3"),
    ] == words(channel)


async def test_of_many_interruptions_the_last_is_answered(autojump_clock: object) -> None:
    """Whatever comes in between ends as cancelled."""
    provider = ScriptedProvider(["never", "never", "never", "never", "last"], delay=100, repeat=True)
    channel = CapturingChannel()
    async with serving(mode("interrupt"), providers=[provider], channels=[channel]) as app:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(channel.say, f"m{number}")
        await trio.sleep(1)
        receipt = await channel.say("final", external_id="e")
        await trio.sleep(1000)
        told = await ends(app, receipt.session)
    assert [("cancelled", "interrupted", 1)] * 5 == told[:5]
    assert [("answered", "", 1)] == told[5:]
    assert "e" == words(channel)[-1][1]


async def test_event_that_comes_twice_interrupts_nothing(autojump_clock: object) -> None:
    """Platforms deliver again; the turn that runs must not feel it."""
    provider = ScriptedProvider(["ok"], delay=100)
    channel = CapturingChannel()
    async with serving(mode("interrupt"), providers=[provider], channels=[channel]) as app:
        receipt = await channel.say("one", external_id="e1")
        await trio.sleep(1)
        assert "duplicate" == (await channel.say("one", external_id="e1")).status
        await channel.next()
        assert [("answered", "", 1)] == await ends(app, receipt.session)


async def test_person_cancels_a_steered_turn(autojump_clock: object) -> None:
    """All that it answers ends with it, once."""
    provider = ScriptedProvider([calls(("slow", {})), "never"], delay=10)
    channel = CapturingChannel()
    tool = slow("slow", 10)
    async with serving(mode("steer"), providers=[provider], tools=[tool], channels=[channel]) as app:
        receipt = await channel.say("one")
        await trio.sleep(15)
        await channel.say("two")
        await trio.sleep(10)
        assert await channel.cancel()
        await trio.sleep(10)
        assert [("cancelled", "cancelled", 2)] == await ends(app, receipt.session)
    assert [("The turn was cancelled.", "")] == [(text, "") for text, _ in words(channel)]
