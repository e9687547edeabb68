"""Answers whose channel's server is away: they wait, for hours where it must be, and are sent once."""

from __future__ import annotations

import trio

from fairlead import Capabilities, Delivery, events
from fairlead.testing import CapturingChannel, RecordingObserver, ScriptedProvider

from .served import Surviving, of_kind, serving


async def test_answer_waits_for_its_channel_for_hours_and_holds_nothing(autojump_clock: object) -> None:
    """The session goes on meanwhile, and in the end both answers arrive in their order, each once."""
    channel = CapturingChannel(capabilities=Capabilities())
    away = Delivery("failed", reason="the server is away", retry_after=60.0)
    for _ in range(12):
        channel.fail_next(away)
    provider = ScriptedProvider(["one", "two"])
    async with serving(channels=[channel], providers=[provider]) as app:
        session = (await channel.say("first")).session
        await trio.sleep(20)
        await channel.say("second")
        await trio.sleep(30)
        assert 2 == provider.answered
        assert 1 == channel.tries
        assert "one" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # a text part
        assert "two" == (await channel.next()).parts[0].text  # type: ignore[union-attr]  # a text part
        await trio.sleep(1)
        assert ["sent", "sent"] == [e.status for e in await of_kind(app, session, events.AnswerDelivered)]
    assert trio.current_time() > 3600
    assert 2 == len(channel.sent)


async def test_deferred_answer_is_sent_by_the_next_process(autojump_clock: object) -> None:
    """It is surely not there, so the next process sends it; it is not unknown."""
    memory = Surviving()
    channel = CapturingChannel(capabilities=Capabilities())
    channel.fail_next(Delivery("failed", reason="the server is away", retry_after=60.0))
    async with serving(channels=[channel], providers=[ScriptedProvider(["hello"])], memories=[memory]) as app:
        session = (await channel.say("hi")).session
        await trio.sleep(10)
    assert [] == channel.sent
    again = CapturingChannel(capabilities=Capabilities())
    async with serving(channels=[again], providers=[ScriptedProvider([])], memories=[memory]) as app:
        await again.next()
        await trio.sleep(1)
        assert ["sent"] == [e.status for e in await of_kind(app, session, events.AnswerDelivered)]


async def test_answer_that_nobody_waits_for_any_more_is_given_up(autojump_clock: object) -> None:
    """After a day, with a notice for the operator."""
    channel = CapturingChannel(capabilities=Capabilities())
    for _ in range(500):
        channel.fail_next(Delivery("failed", reason="the server is away", retry_after=60.0))
    observer = RecordingObserver()
    begun = trio.current_time()

    def clock() -> float:
        return 1e9 + trio.current_time() - begun

    provider = ScriptedProvider(["hello"])
    async with serving(channels=[channel], providers=[provider], observers=[observer], clock=clock) as app:
        session = (await channel.say("hi")).session
        for _ in range(25):
            await trio.sleep(3_600)
        assert ["failed"] == [e.status for e in await of_kind(app, session, events.AnswerDelivered)]
    assert 90 < channel.tries < 130
    assert any("is failed: the server is away" in notice.detail for notice in observer.events(events.NoticeRaised))
