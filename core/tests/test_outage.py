"""The journal takes nothing for a while: the app is read-only, says so, and comes back by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Capabilities, events
from fairlead._journal import VolatileJournal
from fairlead.errors import JournalUnavailable
from fairlead.testing import CapturingChannel, CountingTool, RecordingObserver, ScriptedProvider, calls

from .served import serving, settled_in_time


class Failing(VolatileJournal):
    """Takes nothing while `full`."""

    full = False
    tries = 0

    async def append(self, session: str, expected_version: int, happened: Sequence[Any], *, pending: bool) -> int:
        if self.full:
            self.tries += 1
            raise JournalUnavailable("the disk is full", next_step="df -h")
        return await super().append(session, expected_version, happened, pending=pending)

    async def probe(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise JournalUnavailable("the disk is still full", next_step="df -h")


class Memory(fairlead.Memory):
    def __init__(self) -> None:
        self.name = "failing"
        self.disk = self.journal = Failing()


def told(seen: RecordingObserver) -> list[str]:
    return [event.detail for event in seen.events(events.NoticeRaised) if event.subject == "journal"]


def notices(channel: CapturingChannel) -> list[str]:
    """In whose conversation something was said that is in no session."""
    return [outbound.address.conversation for outbound in channel.sent if not outbound.session]


async def test_messages_are_refused_while_the_disk_is_full_and_taken_afterwards(autojump_clock: object) -> None:
    """Each conversation is told once, the operator twice, and what is delivered again is answered."""
    memory, channel, seen = Memory(), CapturingChannel(), RecordingObserver()
    provider = ScriptedProvider(["answer"], repeat=True)
    async with serving(providers=[provider], channels=[channel], memories=[memory], observers=[seen]) as app:
        memory.disk.full = True
        for number in range(3):
            for room in ("one", "two"):
                with pytest.raises(JournalUnavailable, match="full"):
                    await channel.say("hello", external_id=f"{room}-{number}", conversation=room)
        assert 1 == memory.disk.tries  # the others were refused without a try
        await trio.sleep(100)
        assert ["one", "two"] == sorted(notices(channel))
        (finding,) = [finding for finding in await app.check() if finding.subject == "journal"]
        assert (False, "df -h") == (finding.ok, finding.next_step)
        memory.disk.full = False
        await trio.sleep(11)
        assert [] == [finding for finding in await app.check() if finding.subject == "journal"]
        receipt = await channel.say("hello", external_id="one-0", conversation="one")
        await settled_in_time(app, receipt.session)
        assert ["answer"] == [outbound.parts[0].text for outbound in channel.sent if outbound.session]  # type: ignore[union-attr]  # it is text
        assert ["the app is read-only now: the disk is full", "takes events again; the app goes on"] == told(seen)


async def test_turn_in_flight_waits_and_its_call_is_made_once(autojump_clock: object) -> None:
    """The disk fills while a tool of kind once runs: its result is kept, and the turn ends when the disk is back."""
    memory = Memory()
    channel = CapturingChannel(capabilities=Capabilities())

    def act(_: object) -> str:
        memory.disk.full = True
        return "done"

    tool = CountingTool("act", act, effect="once")
    provider = ScriptedProvider([calls(("act", {})), "it is done"])
    async with serving(providers=[provider], channels=[channel], memories=[memory], tools=[tool]) as app:
        receipt = await channel.say("act")
        await trio.sleep(500)
        assert [] == channel.sent
        memory.disk.full = False
        await settled_in_time(app, receipt.session)
        assert ["it is done"] == [outbound.parts[0].text for outbound in channel.sent]  # type: ignore[union-attr]  # it is text
        results = [
            r.event.result.error for r in await app.sessions.records(receipt.session) if hasattr(r.event, "result")
        ]
        assert ([""], 1) == (results, len(tool.calls))


async def test_stop_during_an_outage_leaves_the_turn_for_the_next_process(autojump_clock: object) -> None:
    """Nobody waits for the disk then."""
    memory, channel = Memory(), CapturingChannel()
    began = trio.Event()
    start = trio.current_time()

    def think(_: object) -> str:
        memory.disk.full = True
        began.set()
        return "answer"

    provider = ScriptedProvider([think])
    async with serving(providers=[provider], channels=[channel], memories=[memory]) as app:
        receipt = await channel.say("hello")
        await began.wait()
        await trio.sleep(1)
        app.stop()
    assert trio.current_time() - start < 10
    memory.disk.full = False
    (info,) = await memory.disk.sessions()
    assert (True, receipt.session) == (info.pending, info.id)


async def test_outages_in_a_row_are_told_once(autojump_clock: object) -> None:
    """A disk that is nearly full takes the small things and not the large ones."""
    memory, channel, seen = Memory(), CapturingChannel(), RecordingObserver()
    async with serving(providers=[ScriptedProvider()], channels=[channel], memories=[memory], observers=[seen]):
        for _ in range(5):
            memory.disk.full = True
            with pytest.raises(JournalUnavailable):
                await channel.say("hello")
            memory.disk.full = False
            await trio.sleep(5)
        assert ["room"] == notices(channel)
        assert 1 == sum("read-only" in text for text in told(seen))


async def test_question_of_a_host_is_told_at_once() -> None:
    """Where nobody serves, nobody waits for the disk either."""
    memory = Memory()
    async with fairlead.open(providers=[ScriptedProvider(["answer"])], memories=[memory]) as app:
        memory.disk.full = True
        with pytest.raises(JournalUnavailable, match="the disk is full"):
            await app.ask("hello")
