"""The path from a channel and back: inbox, router, lanes, outbox, resumption."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from attrs import frozen

import fairlead
from fairlead import Capabilities, Delivery, Observer, Principal, Text, errors, events, wire
from fairlead._fold import fold
from fairlead._observers import Observers
from fairlead.config import Agent, Binding, Config, Limits
from fairlead.testing import CapturingChannel, CountingTool, FakePolicy, RecordingObserver, ScriptedProvider, calls

from .served import Surviving, delivered, of_kind, serving, settled, settled_in_time

IDEMPOTENT = Capabilities(idempotency=True)


async def test_message_is_answered_once_and_its_delivery_is_known() -> None:
    """In, turn, out; the platform's id of the answer is in the journal."""
    channel = CapturingChannel()
    async with serving(providers=[ScriptedProvider(["Hello."])], channels=[channel]) as app:
        receipt = await channel.say("hi", external_id="e1")
        assert "accepted" == receipt.status
        sent = await channel.next()
        assert ("Hello.", "e1", "answer") == (sent.parts[0].text, sent.in_reply_to, sent.kind)  # type: ignore[union-attr]  # a text part
        await settled(lambda: delivered(app, receipt.session))
        assert "sent" == (await of_kind(app, receipt.session, events.AnswerDelivered))[0].status
    assert 1 == len(channel.sent)


async def test_same_external_event_is_one_turn() -> None:
    """Behaviour 2: handed in five times, answered once."""
    channel, provider = CapturingChannel(), ScriptedProvider(["one"], repeat=True)
    async with serving(providers=[provider], channels=[channel]):
        receipts = [await channel.say("hi", external_id="same") for _ in range(5)]
        await channel.next()
    assert ["accepted", *["duplicate"] * 4] == [receipt.status for receipt in receipts]
    assert {receipts[0].session} == {receipt.session for receipt in receipts}
    assert (1, 1) == (provider.answered, len(channel.sent))


async def test_provenance_is_stamped_by_the_core() -> None:
    """What a channel claims about a part's origin does not count."""
    provider = ScriptedProvider(["ok"])
    channel = CapturingChannel()
    async with serving(providers=[provider], channels=[channel]):
        await channel.say("hi", author="mallory")
        await channel.next()
    origin = provider.requests[0].history[0].parts[0].origin
    assert ("channel", "captured") == (origin.kind, origin.name)
    assert origin.principal.endswith("mallory")


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ((), "at least one part"),
        ((Text("\ud800"),), "lone surrogate"),
        ((Text("x" * 101),), "at most 100"),
        ((fairlead.File("f", "text/plain", data=b"x" * 200),), "at most 100"),
    ],
)
async def test_malformed_message_is_refused_with_the_reason(parts: Any, fault: str) -> None:
    """Nothing of it is kept."""
    channel = CapturingChannel()
    config = Config(limits=Limits(message_bytes=100))
    async with serving(config, providers=[ScriptedProvider(["x"])], channels=[channel]) as app:
        with pytest.raises(errors.SchemaError, match=fault):
            await channel.say(parts)
        assert [] == list(await app.sessions.list())


async def test_full_queue_refuses_with_a_notice(autojump_clock: object) -> None:
    """What is not taken is said so; what was taken is answered."""
    channel = CapturingChannel()
    provider = ScriptedProvider(["ok"], repeat=True, delay=10)
    async with serving(Config(limits=Limits(queue=2)), providers=[provider], channels=[channel]):
        receipts = [await channel.say(f"m{number}") for number in range(6)]
        for _ in range(3):
            await channel.next()
    assert [*["accepted"] * 3, *["refused"] * 3] == [receipt.status for receipt in receipts]
    assert "3 messages are waiting already; this one was not taken." == receipts[-1].notice
    assert 3 == len(channel.sent)


async def test_most_specific_binding_chooses_the_agent() -> None:
    """A person beats a conversation, which beats the channel."""
    config = Config(
        agents=(
            Agent("main", instructions="main"),
            Agent("room", instructions="room"),
            Agent("boss", instructions="boss"),
        ),
        bindings=(Binding("room", channel="captured", conversation="ops"), Binding("boss", peer="captured:bob")),
    )
    provider, channel = ScriptedProvider(["ok"], repeat=True), CapturingChannel()
    async with serving(config, providers=[provider], channels=[channel]):
        for conversation, author in (("room", "alice"), ("ops", "alice"), ("ops", "bob")):
            await channel.say("hi", conversation=conversation, author=author)
            await channel.next()
    assert ["main", "room", "boss"] == [request.instructions for request in provider.requests]


async def test_bindings_that_tie_are_refused() -> None:
    """Both are named, with what to do."""
    config = Config(
        agents=(Agent("a"), Agent("b")), bindings=(Binding("a", conversation="x"), Binding("b", conversation="x"))
    )
    with pytest.raises(errors.ConfigError, match="two bindings tie"):
        async with fairlead.open(config):
            pass


@pytest.mark.parametrize("role", ["admin", "guest"])
async def test_roles_route_too(role: str) -> None:
    """A role is the weakest ground but the channel."""
    config = Config(
        agents=(Agent("main"), Agent("staff", instructions="staff")), bindings=(Binding("staff", role="admin"),)
    )
    provider, channel = ScriptedProvider(["ok"]), CapturingChannel()
    async with serving(config, providers=[provider], channels=[channel]):
        await channel.say("hi", author=Principal("p", roles=(role,)))
        await channel.next()
    assert ("staff" if role == "admin" else "") == provider.requests[0].instructions


async def test_refusal_is_sent_as_a_notice() -> None:
    """Every accepted message ends with something that its sender can see."""
    channel = CapturingChannel()
    async with serving(providers=[ScriptedProvider([errors.BadRequest("busy")])], channels=[channel]):
        await channel.say("hi")
        sent = await channel.next()
    assert ("notice", "No model could answer: busy") == (sent.kind, sent.parts[0].text)  # type: ignore[union-attr]  # a text part


async def test_streaming_channel_sees_the_answer_grow_and_the_tools_work() -> None:
    """Drafts are whole texts and end before the answer is sent."""
    channel = CapturingChannel()
    tool = CountingTool("look", "seen")
    provider = ScriptedProvider([calls(("look", {})), "one two three"], stream="words")
    async with serving(providers=[provider], tools=[tool], channels=[channel]):
        await channel.say("hi")
        sent = await channel.next()
    texts = [draft.text for draft in channel.drafts]
    assert all("one two three".startswith(text) for text in texts)
    assert {"look"} == {progress.tool for draft in channel.drafts for progress in draft.tools}
    assert {sent.id} == {draft.id for draft in channel.drafts}


async def test_preview_that_fails_costs_only_the_preview() -> None:
    """The answer arrives all the same."""

    class Blind(CapturingChannel):
        async def preview(self, draft: fairlead.Draft) -> None:
            raise OSError(draft.id)

    channel = Blind()
    async with serving(providers=[ScriptedProvider(["a b c"], stream="words")], channels=[channel]):
        await channel.say("hi")
        assert "a b c" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # a text part


async def test_person_can_cancel_the_turn(autojump_clock: object) -> None:
    """The channel passes the wish on; the sender gets a notice."""
    channel = CapturingChannel()
    async with serving(providers=[ScriptedProvider(["never"], delay=1000)], channels=[channel]):
        assert await channel.cancel() is False
        await channel.say("hi")
        await trio.sleep(1)
        assert await channel.cancel() is True
        sent = await channel.next()
    assert ("notice", "The turn was cancelled.") == (sent.kind, sent.parts[0].text)  # type: ignore[union-attr]  # a text part


# -- the outbox


@frozen
class Sending:
    """What a channel can, what becomes of the first send, and what must come of it."""

    capabilities: Capabilities
    outcome: Delivery | Exception
    arrives: bool
    status: str
    tries: int


@pytest.mark.parametrize(
    "case",
    [
        Sending(Capabilities(), Delivery("sent"), True, "ambiguous", 1),  # the columns of a table
        Sending(Capabilities(), OSError("reset"), True, "ambiguous", 1),  # as above
        Sending(Capabilities(), Delivery("failed", reason="blocked"), False, "failed", 1),  # as above
        Sending(Capabilities(), Delivery("failed", retry_after=3.0), False, "sent", 2),  # as above
        Sending(IDEMPOTENT, OSError("reset"), True, "sent", 2),  # as above
        Sending(IDEMPOTENT, OSError("reset"), False, "sent", 2),  # as above
    ],
)
async def test_outcome_of_a_send(case: Sending, autojump_clock: object) -> None:
    """Behaviours 3 and 4: never twice, and what is not known is called so."""
    channel = CapturingChannel(capabilities=case.capabilities)
    channel.fail_next(case.outcome, arrives=case.arrives)
    async with serving(providers=[ScriptedProvider(["Hello."])], channels=[channel]) as app:
        receipt = await channel.say("hi")
        await settled_in_time(app, receipt.session)
        assert case.status == (await of_kind(app, receipt.session, events.AnswerDelivered))[0].status
    assert case.tries == channel.tries
    assert len(channel.sent) <= 1


async def test_long_answer_is_split_at_spaces() -> None:
    """Nothing is lost; each piece fits."""
    text = " ".join(f"word{number}" for number in range(200))
    channel = CapturingChannel(capabilities=Capabilities(max_chars=100))
    async with serving(providers=[ScriptedProvider([text])], channels=[channel]):
        await channel.say("hi")
        pieces: list[str] = []
        while len(" ".join(pieces)) < len(text):
            pieces.append((await channel.next()).parts[0].text)  # type: ignore[union-attr]  # a text part
    assert text == " ".join(pieces)
    assert all(len(piece) <= 100 for piece in pieces)


# -- channels that fail


async def test_channel_that_fails_is_run_again_and_the_others_go_on(autojump_clock: object) -> None:
    """One channel's fault is a notice, and its next start waits longer."""

    class Flaky(CapturingChannel):
        starts = 0

        async def run(self, inbox: fairlead.Inbox) -> None:
            self.starts += 1
            if self.starts < 3:
                raise ConnectionResetError("gone")
            await super().run(inbox)

    flaky, steady = Flaky("flaky"), CapturingChannel("steady")
    observer = RecordingObserver()
    provider = ScriptedProvider(["ok"], repeat=True)
    async with serving(providers=[provider], channels=[flaky, steady], observers=[observer]):
        await steady.say("hi")
        await steady.next()
        await flaky.say("hi")
        await flaky.next()
    assert 3 == flaky.starts
    notices = [notice.detail for notice in observer.events(events.NoticeRaised) if notice.level == "error"]
    assert [
        "stopped with ConnectionResetError: gone; runs again in 1 s",
        "stopped with ConnectionResetError: gone; runs again in 2 s",
    ] == notices


async def test_serve_returns_when_every_channel_has_ended(autojump_clock: object) -> None:
    """And not before the last turn has been answered."""
    channel = CapturingChannel()
    async with fairlead.open(providers=[ScriptedProvider(["late"], delay=30)], channels=[channel]) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.serve)
            await channel.say("hi")
            channel.end()
        assert ["late"] == [sent.parts[0].text for sent in channel.sent]  # type: ignore[union-attr]  # a text part


async def test_stop_lets_turns_end_and_takes_nothing_new(autojump_clock: object) -> None:
    """Within the grace; a message that comes later is not acknowledged."""
    channel = CapturingChannel()
    config = Config(limits=Limits(grace_seconds=20))
    async with fairlead.open(config, providers=[ScriptedProvider(["late"], delay=10)], channels=[channel]) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.serve)
            await channel.say("hi")
            app.stop()
        assert 1 == len(channel.sent)


async def test_observer_that_lags_is_dropped_with_a_notice() -> None:
    """It delays nobody."""

    class Stuck(RecordingObserver):
        async def observe(self, record: events.Record) -> None:
            await super().observe(record)
            await trio.sleep_forever()

    stuck, watching = Stuck("stuck"), RecordingObserver("watching")
    async with fairlead.open(providers=[ScriptedProvider(["x"], repeat=True)], observers=[stuck, watching]) as app:
        for _ in range(300):
            await app.ask("hi", session="s")
            await trio.lowlevel.checkpoint()
        notice = await watching.wait_for(events.NoticeRaised)
    assert ("observers/stuck", "dropped: it lagged by 1000 events") == (notice.subject, notice.detail)


async def test_message_that_waits_can_be_cancelled() -> None:
    """Between its acceptance and its turn: the turn begins and ends as cancelled, with a notice."""
    channel, provider = CapturingChannel(), ScriptedProvider(["never", "next"])
    async with serving(providers=[provider], channels=[channel]):
        await channel.say("hi")
        assert await channel.cancel() is True
        assert "notice" == (await channel.next()).kind
        await channel.say("again")
        assert "answer" == (await channel.next()).kind


async def test_fault_of_the_core_ends_the_turn_with_a_notice() -> None:
    """What cannot be journalled is such a fault: the message has an end, and the session goes on."""

    def odd(review: fairlead.Review) -> list[fairlead.Verdict]:
        assert isinstance(review.subject, fairlead.Message)
        bad = fairlead.Message("user", (fairlead.Data(object()),)) if review.subject.text == "odd" else review.subject
        return [fairlead.Verdict("revise", "odd", revised=bad)]

    channel, observer = CapturingChannel(), RecordingObserver()
    memory = Surviving()
    journal = memory.journal
    assert journal is not None
    write = journal.append

    async def append(session: str, version: int, happened: Any, *, pending: bool) -> int:
        for event in happened:
            wire.encode_event(event)
        return await write(session, version, happened, pending=pending)

    journal.append = append  # type: ignore[method-assign, assignment]  # a journal that writes, as all but this one do
    policy = FakePolicy(odd, boundaries=["message_in"])
    workers: dict[str, Any] = {"providers": [ScriptedProvider(["ok"], repeat=True)], "channels": [channel]}
    async with serving(policies=[policy], observers=[observer], memories=[memory], **workers):
        await channel.say("odd")
        sent = await channel.next()
        assert ("notice", "An internal error ended the turn.") == (sent.kind, sent.parts[0].text)  # type: ignore[union-attr]  # a text part
        await channel.say("even")
        assert "answer" == (await channel.next()).kind


async def test_rollback_to_a_turns_end_sends_nothing_again() -> None:
    """The answer was then on its way; what became of it is kept."""
    channel = CapturingChannel()
    async with serving(providers=[ScriptedProvider(["one", "two", "three"])], channels=[channel]) as app:
        receipt = await channel.say("1")
        await channel.next()
        await settled(lambda: delivered(app, receipt.session))
        records = await app.sessions.records(receipt.session)
        end = next(record.version for record in records if isinstance(record.event, events.TurnEnded))
        await channel.say("2")
        await channel.next()
        await settled(lambda: delivered_times(app, receipt.session, 2))
        await app.sessions.rollback(receipt.session, end)
        assert ["1", "one"] == [item.text for item in await app.sessions.history(receipt.session)]
        state = fold(receipt.session, await app.sessions.records(receipt.session))
        assert not state.pending
    assert 2 == len(channel.sent)


async def delivered_times(app: fairlead.App, session: str, count: int) -> bool:
    return len(await of_kind(app, session, events.AnswerDelivered)) == count


async def test_copy_of_a_conversation_can_be_gone_on_with() -> None:
    """It has a conversation of its own in the same channel."""
    channel, provider = CapturingChannel(), ScriptedProvider(["one", "two"])
    async with serving(providers=[provider], channels=[channel]) as app:
        receipt = await channel.say("1")
        await channel.next()
        await settled(lambda: delivered(app, receipt.session))
        name = await app.sessions.fork(receipt.session)
        started = (await of_kind(app, name, events.SessionStarted))[0]
        again = await channel.say("2", conversation=started.address.conversation)
        await channel.next()
    assert name == again.session
    assert ["1", "one", "2"] == [item.text for item in provider.requests[1].history]


async def test_notice_of_a_worker_that_opens_reaches_the_observers() -> None:
    """Though none of them is attached then: plugins say where they are reached while they are loaded."""
    seen: list[str] = []

    class Watching(Observer):
        async def observe(self, record: events.Record) -> None:
            if isinstance(record.event, events.NoticeRaised):
                seen.append(record.event.detail)

    watchers = Observers(lambda: 0.0)
    watchers.raise_notice("channels/pager", "is reached at tcp://127.0.0.1:7777")
    async with trio.open_nursery() as nursery:
        watching = Watching()
        nursery.start_soon(watchers.run, watching, watchers.subscribe(watching))
        watchers.begin()
        watchers.raise_notice("channels/pager", "listening")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ["is reached at tcp://127.0.0.1:7777", "listening"] == seen


async def test_observers_see_in_the_end_what_waits_for_them(autojump_clock: trio.testing.MockClock) -> None:
    """For a second: one that hangs does not hold the app."""

    class Slow(RecordingObserver):
        async def observe(self, record: events.Record) -> None:
            await trio.sleep(0.1 if self.name == "slow" else 99)
            await super().observe(record)

    slow, stuck = Slow("slow"), Slow("stuck")
    async with fairlead.open(providers=[ScriptedProvider(["x"])], observers=[slow, stuck]) as app:
        await app.ask("hi", session="s")
        began = trio.current_time()
    assert events.TurnEnded in {type(record.event) for record in slow.records}
    assert 1.0 == pytest.approx(trio.current_time() - began)
    assert [] == stuck.records
