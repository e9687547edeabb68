"""A person talks to an agent, end to end: a channel in memory, a scripted model, the whole path between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Capabilities, Data, Delivery, Image, ModelRequest, Text, Verdict, events, wire
from fairlead._journal import VolatileMemory
from fairlead.config import Agent, Binding, Config, Limits
from fairlead.errors import BadRequest, SchemaError
from fairlead.testing import (
    CapturingChannel,
    CountingTool,
    FakePolicy,
    RecordingObserver,
    ScriptedProvider,
    WallClock,
    calls,
)


@asynccontextmanager
async def serving(app: fairlead.App) -> AsyncIterator[None]:
    """The app serves, and is stopped gracefully at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app.serve)
        yield
        app.stop()


def words(outbound: fairlead.Outbound) -> str:
    return "\n".join(part.text for part in outbound.parts if isinstance(part, Text))


async def test_message_goes_in_and_the_answer_comes_out() -> None:
    """With a tool between; the answer names what it answers, and the journal has delivered it."""
    channel, observer = CapturingChannel("room"), RecordingObserver()
    provider = ScriptedProvider([calls(("add", {"a": 17, "b": 23})), "It is 40."])

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async with (
        fairlead.open(channels=[channel], providers=[provider], tools=[add], observers=[observer]) as app,
        serving(app),
    ):
        receipt = await channel.say("What is 17 + 23?", author="bob", conversation="c1", external_id="e1")
        answer = await channel.next()
        delivered = await observer.wait_for(events.AnswerDelivered)
        assert "accepted" == receipt.status
        assert ("It is 40.", "e1", "answer") == (words(answer), answer.in_reply_to, answer.kind)
        assert channel.address("c1") == answer.address
        assert (receipt.session, "sent") == (answer.session, delivered.status)
        said = provider.requests[0].history[0]
        assert isinstance(said, fairlead.Message)
        assert fairlead.Origin("channel", "room", "room:bob") == said.parts[0].origin
        assert "40" == provider.requests[1].history[-1].text


async def test_same_event_twice_is_one_turn_and_one_answer() -> None:
    """Also when it comes at once, and again after the answer."""
    channel, provider = CapturingChannel(), ScriptedProvider(["hello"])
    async with fairlead.open(channels=[channel], providers=[provider]) as app, serving(app):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(lambda: channel.say("hi", external_id="e1"))
        await channel.next()
        again = await channel.say("hi", external_id="e1")
    assert "duplicate" == again.status
    assert ["accepted", *["duplicate"] * 5] == sorted(receipt.status for receipt in channel.receipts)
    assert (1, 1) == (len(channel.sent), provider.answered)


async def test_event_is_known_after_a_restart() -> None:
    """The key is in the journal, not in the channel."""
    memory = VolatileMemory()
    for expected in ("accepted", "duplicate"):
        channel = CapturingChannel()
        async with (
            fairlead.open(channels=[channel], providers=[ScriptedProvider(["hello"])], memories=[memory]) as app,
            serving(app),
        ):
            assert expected == (await channel.say("hi", external_id="e1")).status
            if expected == "accepted":
                await channel.next()
    assert [] == channel.sent


async def test_conversation_is_one_session_with_one_memory() -> None:
    """Other conversations are other sessions; every answer goes where its question came from."""
    channel = CapturingChannel()
    provider = ScriptedProvider([lambda request: f"{len(request.history)} said"], repeat=True)
    async with fairlead.open(channels=[channel], providers=[provider]) as app, serving(app):
        for conversation, expected in (("c1", "1 said"), ("c1", "3 said"), ("c2", "1 said")):
            await channel.say("hi", conversation=conversation)
            answer = await channel.next()
            assert (expected, conversation) == (words(answer), answer.address.conversation)
        assert 2 == len({receipt.session for receipt in channel.receipts})


async def test_messages_of_one_session_are_answered_in_order() -> None:
    """One turn at a time, while other sessions go on."""
    channel, gate = CapturingChannel(), trio.Event()

    async def answer(request: ModelRequest) -> str:
        text = request.history[-1].text
        if text == "first":
            await gate.wait()
        return f"to {text}"

    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider([answer], repeat=True)]) as app,
        serving(app),
    ):
        await channel.say("first", conversation="slow")
        await channel.say("second", conversation="slow")
        await channel.say("other", conversation="quick")
        assert "to other" == words(await channel.next())
        gate.set()
        assert ["to first", "to second"] == [words(await channel.next()) for _ in range(2)]


async def test_growing_answer_is_shown_before_it_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    """Drafts carry the id of the message to come, the tools, and the whole text so far of the answer."""
    channel = CapturingChannel()

    async def slowly(_: Any) -> str:
        await trio.sleep(5)
        return "looked it up"

    provider = ScriptedProvider([calls(("look", {}), text="Let me look."), "Found it."], stream="words")
    tools = [CountingTool("look", slowly)]
    async with fairlead.open(channels=[channel], providers=[provider], tools=tools) as app, serving(app):
        await channel.say("look it up")
        answer = await channel.next()
    assert channel.drafts
    assert {answer.id} == {draft.id for draft in channel.drafts}
    assert "Found it." == channel.drafts[-1].text
    assert any(progress.status == "running" for draft in channel.drafts for progress in draft.tools)


async def test_long_answer_is_split_for_the_channel() -> None:
    """No piece is longer than the channel can show, and nothing is lost."""
    channel = CapturingChannel(capabilities=Capabilities(max_chars=50))
    text = " ".join(f"word{number}" for number in range(60))
    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider([text])]) as app,
        serving(app),
    ):
        await channel.say("tell me")
        pieces = [words(await channel.next())]
        while " ".join(pieces).count("word") < 60:
            pieces.append(words(await channel.next()))
    assert max(len(piece) for piece in pieces) <= 50
    assert text.split() == " ".join(pieces).split()


async def test_refused_message_is_answered_with_a_notice() -> None:
    """Conservation: it ends with an answer, a notice, or a cancellation."""
    channel, provider = CapturingChannel(), ScriptedProvider([])
    policy = FakePolicy(lambda _: Verdict("deny", "closed", reason="Come back tomorrow."), {"message_in"})
    async with fairlead.open(channels=[channel], providers=[provider], policies=[policy]) as app, serving(app):
        await channel.say("hi")
        notice = await channel.next()
    assert "notice" == notice.kind
    assert "Come back tomorrow." in words(notice)
    assert 0 == provider.answered


async def test_turn_without_a_model_is_answered_with_a_notice() -> None:
    """Nobody is left waiting."""
    channel = CapturingChannel()
    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider([BadRequest("busy")])]) as app,
        serving(app),
    ):
        await channel.say("hi")
        notice = await channel.next()
    assert "notice" == notice.kind
    assert words(notice)


@pytest.mark.parametrize(
    ("outcome", "arrives", "idempotent", "tries", "status"),
    [
        (Delivery("failed", retry_after=30.0), False, False, 2, "sent"),
        (Delivery("failed", reason="gone"), False, False, 1, "failed"),
        (Delivery("ambiguous"), True, False, 1, "ambiguous"),
        (Delivery("ambiguous"), True, True, 2, "sent"),
        (OSError("reset"), True, False, 1, "ambiguous"),
        (OSError("reset"), False, True, 2, "sent"),
        (Delivery("sent"), True, False, 1, "ambiguous"),
    ],
    ids=["failed", "failed for good", "ambiguous", "with a key", "raised", "raised with a key", "without an id"],
)
async def test_reader_sees_an_answer_at_most_once(
    outcome: Delivery | Exception,
    arrives: bool,  # noqa: FBT001  # a parameter of the case
    idempotent: bool,  # noqa: FBT001  # the same
    tries: int,
    status: str,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is sent again only where it has surely not arrived, or where the channel knows its id."""
    channel = CapturingChannel(capabilities=Capabilities(idempotency=idempotent))
    channel.fail_next(outcome, arrives=arrives)
    observer = RecordingObserver()
    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider(["hello"])], observers=[observer]) as app,
        serving(app),
    ):
        await channel.say("hi")
        delivered = await observer.wait_for(events.AnswerDelivered)
    assert (tries, status) == (channel.tries, delivered.status)
    assert len(channel.sent) <= 1


async def test_person_can_cancel_the_turn(autojump_clock: trio.testing.MockClock) -> None:
    """The lane is free then, and the next message is answered."""
    channel, began = CapturingChannel(), trio.Event()

    async def answer(request: ModelRequest) -> str:
        if request.history[-1].text == "hi":
            began.set()
            await trio.sleep_forever()
        return "back again"

    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider([answer], repeat=True)]) as app,
        serving(app),
    ):
        await channel.say("hi")
        await began.wait()
        assert await channel.cancel()
        await channel.say("still there?")
        while words(await channel.next()) != "back again":
            pass
        assert not await channel.cancel("nobody is here")


async def test_stop_lets_the_turn_end(autojump_clock: trio.testing.MockClock) -> None:
    """A graceful end: nothing new is taken, the running turn is answered."""
    channel = CapturingChannel()
    async with fairlead.open(channels=[channel], providers=[ScriptedProvider(["done"], delay=10.0)]) as app:
        async with serving(app):
            await channel.say("hi")
        assert ["done"] == [words(sent) for sent in channel.sent]


async def test_turn_that_outlives_the_grace_is_left_open(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its message is not lost: the journal has it open."""
    channel, memory = CapturingChannel(), VolatileMemory()
    config = Config(limits=Limits(grace_seconds=5.0))
    async with (
        fairlead.open(
            config, channels=[channel], providers=[ScriptedProvider(["late"], delay=60.0)], memories=[memory]
        ) as app,
        serving(app),
    ):
        receipt = await channel.say("hi")
    assert memory.journal is not None
    (info,) = await memory.journal.sessions()
    assert (receipt.session, True) == (info.id, info.pending)
    assert [] == channel.sent


async def test_serving_ends_when_every_channel_has_ended() -> None:
    """A pipe that was read to its end: what was said is answered first."""
    channel = CapturingChannel()
    async with (
        fairlead.open(channels=[channel], providers=[ScriptedProvider(["bye"])]) as app,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(app.serve)
        await channel.say("hi")
        channel.end()
    assert ["bye"] == [words(sent) for sent in channel.sent]


async def test_binding_chooses_the_agent() -> None:
    """The most specific one wins."""
    agents = (Agent("main", instructions="Be kind."), Agent("desk", instructions="Be brief."))
    config = Config(agents=agents, bindings=(Binding("desk", channel="captured", conversation="work"),))
    channel = CapturingChannel()
    provider = ScriptedProvider([lambda request: request.instructions], repeat=True)
    async with fairlead.open(config, channels=[channel], providers=[provider]) as app, serving(app):
        for conversation, expected in (("work", "Be brief."), ("home", "Be kind.")):
            await channel.say("hi", conversation=conversation)
            assert expected == words(await channel.next())


async def test_wall_clock_of_the_app_is_the_one_that_was_given(autojump_clock: trio.testing.MockClock) -> None:
    """Events of a virtual day carry its times."""
    provider = ScriptedProvider(["slow"], delay=3600.0)
    config = Config(limits=Limits(seconds=7200.0, stall_seconds=7200.0))
    async with fairlead.open(config, providers=[provider], clock=WallClock(1000.0)) as app:
        await app.ask("hi", session="s")
        times = [record.event.at for record in await app.sessions.records("s")]
    assert [1000.0, 4600.0] == pytest.approx([times[0], times[-1]])


async def test_export_of_a_real_session_is_valid_by_its_schema() -> None:
    """With calls, results, media and a delivery; its events are read back equal."""
    channel, observer = CapturingChannel(), RecordingObserver()
    provider = ScriptedProvider([calls(("count", {"a": [1, None]})), "done"])
    async with (
        fairlead.open(channels=[channel], providers=[provider], tools=[CountingTool()], observers=[observer]) as app,
        serving(app),
    ):
        receipt = await channel.say([Text("look"), Image("image/png", b"\x89PNG")])
        await observer.wait_for(events.AnswerDelivered)
        exported = await app.sessions.export(receipt.session)
        records = await app.sessions.records(receipt.session)
    raw = wire.loads(wire_text(exported))
    wire.check("session-export", raw)
    kept = [wire.decode_event(wire_text({k: v for k, v in line.items() if k != "version"})) for line in raw["events"]]
    assert [record.event for record in records] == kept


def wire_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize(
    "value", [{"a": "\ud83d"}, {"\ud83d": 1}, float("nan"), [float("inf")], {"a": object()}, {1, 2}], ids=range(6)
)
async def test_data_that_is_no_json_is_refused(value: Any) -> None:
    """The same for the values of programs."""
    channel = CapturingChannel()
    async with fairlead.open(channels=[channel], providers=[ScriptedProvider([])]) as app, serving(app):
        with pytest.raises(SchemaError, match=r"JSON|Unicode"):
            await channel.say([Data(value)])


@pytest.mark.parametrize(
    "field", ["text", "author", "conversation", "thread", "account", "external_id", "reply_to", "name", "roles"]
)
async def test_text_that_is_no_unicode_is_refused_wherever_it_stands(field: str) -> None:
    """The channel gets a `SchemaError` and nothing is kept: a journal on disk could not write it."""
    channel, bad = CapturingChannel(), "\ud83d"
    said: dict[str, Any] = {field: bad} if field not in {"text", "name", "roles"} else {}
    if field == "name":
        said = {"author": fairlead.Principal("p", name=bad)}
    if field == "roles":
        said = {"author": fairlead.Principal("p", roles=(bad,))}
    async with fairlead.open(channels=[channel], providers=[ScriptedProvider([])]) as app, serving(app):
        with pytest.raises(SchemaError, match="Unicode"):
            await channel.say(bad if field == "text" else "hi", **said)
