"""Everything at once: many sessions, messages that come twice, a slow and failing journal, processes that die.

The law of conservation: what was accepted has one end, one answer at most is seen, and no tool of kind once runs twice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio

import fairlead
from fairlead import Capabilities, events
from fairlead._fold import fold
from fairlead._journal import VolatileJournal
from fairlead.errors import JournalUnavailable
from fairlead.testing import CapturingChannel, CountingTool, ScriptedProvider, calls

from .served import serving

SESSIONS, MESSAGES, LIVES = 4, 6, 4


class Rough(VolatileJournal):
    """Slow, now and then full, and outliving its processes: whoever comes next may claim what they left."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.rough = True

    async def append(self, session: str, expected_version: int, happened: Sequence[Any], *, pending: bool) -> int:
        await trio.sleep(self.chance.random() / 10)
        if self.rough and self.chance.random() < 0.03:
            raise JournalUnavailable("the disk is full")
        version = await super().append(session, expected_version, happened, pending=pending)
        await trio.sleep(self.chance.random() / 10)
        return version

    async def read(self, session: str, after: int = 0) -> Any:
        found = await super().read(session, after)
        await trio.sleep(self.chance.random())
        return found

    async def claim(self) -> Sequence[str]:
        found, self.left = self.left, ()
        return found

    left: Sequence[str] = ()

    async def outlive(self) -> None:
        self.left = [info.id for info in await self.sessions(limit=1000) if info.pending]


class RoughMemory(fairlead.Memory):
    def __init__(self, chance: random.Random) -> None:
        self.name = "rough"
        self.journal: Rough = Rough(chance)


def answer(request: fairlead.ModelRequest) -> Any:
    last = request.history[-1]
    if isinstance(last, fairlead.Message) and last.text.endswith("act"):
        return calls(("act", {"for": last.text}))
    return f"answer to {last.text if isinstance(last, fairlead.Message) else last.tool}"


async def speak(channel: CapturingChannel, conversation: str, chance: random.Random, taken: set[str]) -> None:
    """Deliver each message until it is acknowledged, and some of them again, as platforms do."""
    for number in range(MESSAGES):
        event = f"{conversation}-{number}"
        await trio.sleep(chance.random() * 3)
        while event not in taken:
            with trio.move_on_after(2):
                try:
                    receipt = await channel.say(
                        f"{event} act" if number % 2 else event, external_id=event, conversation=conversation
                    )
                except JournalUnavailable:
                    await trio.sleep(0.1)
                else:
                    assert receipt.status in ("accepted", "duplicate")
                    taken.add(event)
                    if chance.random() < 0.5:
                        with suppress(JournalUnavailable):
                            await channel.say(event, external_id=event, conversation=conversation)


async def at_rest(app: fairlead.App) -> None:
    """Until no session has work that is not finished."""
    for _ in range(10_000):
        if not any(info.pending for info in await app.sessions.list(limit=1000)):
            return
        await trio.sleep(1)
    raise AssertionError(f"still unfinished: {[info for info in await app.sessions.list() if info.pending]}")


@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("seed", range(25))
async def test_nothing_is_lost_and_nothing_happens_twice(seed: int, idempotent: bool, autojump_clock: object) -> None:  # noqa: FBT001  # a case
    """Whatever comes together, in four processes one after the other, of which three die."""
    chance = random.Random(seed)  # noqa: S311  # a test's own
    memory = RoughMemory(chance)
    channel = CapturingChannel(capabilities=Capabilities(streaming=bool(seed % 2), idempotency=idempotent))
    tool = CountingTool("act", "done", effect="once")
    taken: set[str] = set()
    for life in range(LIVES):
        provider = ScriptedProvider([answer], repeat=True, delay=0.2)
        last = life == LIVES - 1
        memory.journal.rough = not last
        with trio.move_on_after(10_000 if last else chance.random() * 8):
            async with serving(providers=[provider], tools=[tool], channels=[channel], memories=[memory]) as app:
                async with trio.open_nursery() as nursery:
                    for number in range(SESSIONS):
                        nursery.start_soon(speak, channel, f"c{number}", chance, taken)
                await at_rest(app)
        await memory.journal.outlive()
    await check(memory.journal, channel, tool, taken)


async def check(journal: Rough, channel: CapturingChannel, tool: CountingTool, taken: set[str]) -> None:
    assert SESSIONS * MESSAGES == len(taken)
    accepted, ended, unknown = Counter[str](), Counter[str](), set[str]()
    for info in await journal.sessions(limit=1000):
        records = await journal.read(info.id)
        assert not fold(info.id, records).pending
        names = {}
        for event in (record.event for record in records):
            if isinstance(event, events.MessageAccepted):
                names[event.message.id] = event.external_id
                accepted[event.external_id] += 1
            elif isinstance(event, events.TurnEnded):
                ended.update(names[message] for message in event.messages)
            elif isinstance(event, events.AnswerDelivered) and event.status != "sent":
                unknown.add(event.turn)
    assert dict.fromkeys(taken, 1) == dict(accepted)
    assert dict.fromkeys(taken, 1) == dict(ended)
    seen = Counter(outbound.in_reply_to for outbound in channel.sent)
    assert set(seen.values()) == {1}
    assert len(taken) - len(unknown) <= len(seen)
    if channel.capabilities.idempotency:
        assert taken == set(seen)
    assert [] == [name for name, times in Counter(call.arguments["for"] for call in tool.calls).items() if times > 1]
