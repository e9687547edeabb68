"""What strangers write into names and ids, and how many messages they send at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import fairlead
from fairlead import Address, Capabilities, Inbound, Origin, Principal, Text, events
from fairlead._journal import VolatileMemory
from fairlead.config import Config, Limits
from fairlead.errors import SchemaError
from fairlead.testing import CapturingChannel, ScriptedProvider

from .served import of_kind, serving, settled_in_time

PLACES = [("a\nb", "c"), ("a", "b\nc"), ("a\\nb", "c"), ("a", "b\\nc"), ("a\\\nb", "c"), ("a\\", "nb\nc")]


async def test_messages_of_different_places_are_never_one() -> None:
    """A line break in a conversation or an id makes no message the duplicate of another one."""
    channel = CapturingChannel()
    async with serving(channels=[channel], providers=[ScriptedProvider(["ok"], repeat=True)]):
        found = [(await channel.say("go", conversation=room, external_id=ident)).status for room, ident in PLACES]
        again = [(await channel.say("go", conversation=room, external_id=ident)).status for room, ident in PLACES]
    assert ["accepted"] * len(PLACES) == found
    assert ["duplicate"] * len(PLACES) == again


ADDRESS = Address("captured", "", "room")
PARTS = (Text("go"),)
HER = Principal("captured:alice")
WRONG: dict[str, Any] = {
    "unknown work class": Inbound(ADDRESS, HER, PARTS, work_class="urgent"),  # type: ignore[arg-type]  # the case
    "number as an id": Inbound(ADDRESS, HER, PARTS, external_id=5),  # type: ignore[arg-type]  # the case
    "number as a conversation": Inbound(Address("c", "", 5), HER, PARTS),  # type: ignore[arg-type]  # the case
    "author without an id": Inbound(ADDRESS, Principal(""), PARTS),
    "nobody as the author": Inbound(ADDRESS, None, PARTS),  # type: ignore[arg-type]  # the case
    "part that is none": Inbound(ADDRESS, HER, ("go",)),  # type: ignore[arg-type]  # the case
}


class Handing(CapturingChannel):
    """Hands in what it is given."""

    async def hand_in(self, inbound: Inbound) -> fairlead.Receipt:
        await self._listening.wait()
        assert self._inbox is not None
        return await self._inbox.accept(inbound)


@pytest.mark.parametrize("name", WRONG)
async def test_malformed_message_is_refused_and_leaves_the_lane_free(name: str) -> None:
    """Nothing of it is kept, and the next message of its session is answered."""
    channel = Handing()
    async with serving(channels=[channel], providers=[ScriptedProvider(["ok"], repeat=True)]) as app:
        with pytest.raises(SchemaError):
            await channel.hand_in(WRONG[name])
        assert () == tuple(await app.sessions.list())
        await channel.say("go")
        assert (Text("ok", Origin("provider", "scripted")),) == (await channel.next()).parts


class SlowMemory(VolatileMemory):
    """A journal that takes its time, as a disk does."""

    def __init__(self) -> None:
        super().__init__()
        assert self.journal is not None
        write = self.journal.append

        async def append(*args: Any, **options: Any) -> int:
            await trio.sleep(0.01)
            return await write(*args, **options)

        self.journal.append = append  # type: ignore[method-assign]  # the seam where time passes


async def test_queue_has_its_limit_also_for_messages_that_come_at_once(autojump_clock: object) -> None:
    """A flood is refused beyond `limits.queue`, though none of it was journalled when its first message came."""
    channel = CapturingChannel()
    config = Config(limits=Limits(queue=5))
    provider = ScriptedProvider(["ok"], repeat=True, delay=1.0)
    async with serving(config, channels=[channel], providers=[provider], memories=[SlowMemory()]):
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(channel.say, "go")
        accepted = [receipt for receipt in channel.receipts if receipt.status == "accepted"]
        assert 100 == len(channel.receipts)
        assert 6 == len(accepted)
        for _ in accepted:
            await channel.next()


NAMES = [
    "..",
    "../../etc/passwd",
    "a/b",
    "a%2Fb",
    "a\x00b",
    "\u202e",
    "\u2044",
    "\uff41",
    "a",
    "",
    " ",
    "~",
    "x" * 10_000,
]


async def test_session_names_never_collide(autojump_clock: object) -> None:
    """Each conversation, thread and account is a session of its own, whatever stands in its name."""
    channel = CapturingChannel(capabilities=Capabilities(idempotency=True))
    sessions = []
    async with serving(channels=[channel], providers=[ScriptedProvider(["ok"], repeat=True)]) as app:
        for name in NAMES:
            for place in ({"conversation": name}, {"thread": name or "-"}, {"account": name or "-"}):
                receipt = await channel.say("go", **place)  # type: ignore[arg-type]  # names of its own arguments
                sessions.append(receipt.session)
        for session in sessions:
            await settled_in_time(app, session)
            assert 1 == len(await of_kind(app, session, events.MessageAccepted))
    assert len(sessions) == len(set(sessions))
