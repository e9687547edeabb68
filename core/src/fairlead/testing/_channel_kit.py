"""The promises of a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from fairlead._contracts import Channel
from fairlead._message import Address, Text, new_id
from fairlead._work import Capabilities, Delivery, Draft, Inbound, Outbound
from fairlead.errors import JournalUnavailable
from fairlead.testing._fakes import FakeInbox
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, same, within

__all__ = ["ChannelConformance"]

RUN, SEND, READY = "fairlead.Channel.run", "fairlead.Channel.send", "fairlead.Inbox.ready"
EXTERNAL, CAN = "fairlead.Inbound.external_id", "fairlead.Capabilities"
SECONDS = 10
"""For what should take an instant, on a busy machine."""
STOP_SECONDS = 5


class ChannelConformance(WorkerConformance[Channel]):
    """Subclass it, override `make_worker`, `inbound`, `outbox`, and `far_side` with a fake peer where there is one."""

    place = ""
    """What `Inbox.ready` was given: where the far side can reach the channel."""

    async def inbound(self, text: str, external_id: str) -> None:
        """Override: at the far side somebody says `text`, always in the same conversation.

        `external_id` names the event: the same one means that the platform delivers it again. It must not raise where
        the channel does not take it.
        """
        raise NotImplementedError(f"{type(self).__name__} must override inbound(self, text, external_id)")

    async def outbox(self) -> Sequence[str]:
        """Override: the texts that the far side can read now, oldest first; of an edited message its last form."""
        raise NotImplementedError(f"{type(self).__name__} must override outbox(self)")

    async def misbehave(self) -> None:
        """Override where it applies: the far side connects and then neither reads nor writes."""

    @asynccontextmanager
    async def running(self, tmp_path: Path) -> AsyncIterator[tuple[Channel, FakeInbox]]:
        """An opened channel that runs, with the inbox it hands its messages to."""
        async with self.opened(tmp_path) as channel, trio.open_nursery() as nursery:
            inbox = FakeInbox()
            nursery.start_soon(channel.run, inbox)
            with within(SECONDS, "run() says that it is ready", READY):
                self.place = await inbox.wait_ready()
            yield channel, inbox
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        # Left only when run() is: a channel that ignores cancellation hangs here.
        took = trio.current_time() - began
        promise(took <= STOP_SECONDS, f"run() stops {STOP_SECONDS} s after it was cancelled", RUN, took)

    async def heard(self, inbox: FakeInbox, text: str, external_id: str = "") -> Inbound:
        """What the core gets of a message of the far side."""
        with within(SECONDS, "what is said at the far side is handed in", RUN):
            await self.inbound(text, external_id or new_id())
            got = await inbox.next()
        same([Text(text)], list(got.parts), "the text is handed in unchanged", RUN)
        return got

    async def send(self, channel: Channel, address: Address, text: str, key: str = "") -> Delivery:
        with within(SECONDS, "send() returns", SEND):
            delivery = await channel.send(Outbound(key or new_id(), address, (Text(text),)))
        promise(isinstance(delivery, Delivery), "send() gives a Delivery", SEND, delivery)
        return delivery

    async def reads(self, *texts: str, last: int = 0) -> None:
        seen = list(await self.outbox())[-last:]
        same(list(texts), seen, "the far side reads what was sent, once, in order and in its last form", SEND)

    async def test_run_is_ready_once_and_stops_when_cancelled(self, tmp_path: Path) -> None:
        """It says where messages can arrive, and stops in time, also while a peer does not read."""
        async with self.running(tmp_path) as (_, inbox):
            await self.misbehave()
            await trio.lowlevel.checkpoint()
        promise(len(inbox.places) == 1 and inbox.places[0], "ready() is called once, with a place", READY, inbox.places)

    async def test_message_is_handed_in_whole(self, tmp_path: Path) -> None:
        """Text, author, address and external id; the same words again are another message of the same people."""
        async with self.running(tmp_path) as (channel, inbox):
            got = await self.heard(inbox, "what time is it?", "event-1")
            again = await self.heard(inbox, "what time is it?", "event-2")
        promise(got.author.id, "the author is known by an id", "fairlead.Principal", got.author)
        right = got.address.channel == channel.name and got.address.conversation
        promise(right, "the address names channel and conversation", "fairlead.Address", got.address)
        ids = (got.external_id, again.external_id)
        promise(all(ids) and ids[0] != ids[1], "each event has an id of its own", EXTERNAL, ids)
        same((got.address, got.author), (again.address, again.author), "they are stable", "fairlead.Address")

    async def test_event_that_comes_twice_is_one_message(self, tmp_path: Path) -> None:
        """It keeps its id, so that the core recognises it; or the channel itself drops it."""
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "once", "event-1")
            await self.inbound("once", "event-1")
            with within(SECONDS, "what is said at the far side is handed in", RUN):
                await self.inbound("and something else", "event-2")
                while (await inbox.next()).parts != (Text("and something else"),):
                    pass
        seen = [part for message in inbox.accepted for part in message.parts]
        same([Text("once"), Text("and something else")], seen, "the same event twice is one message", EXTERNAL)

    async def test_message_that_was_not_kept_can_come_again(self, tmp_path: Path) -> None:
        """The journal is away for a moment: the channel goes on, acknowledges nothing, and takes the next delivery."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(JournalUnavailable("the disk is full"))
            with within(SECONDS, "a message that was not kept is let go", "fairlead.Inbox.accept"):
                await self.inbound("please keep me", "event-1")
            if not inbox.accepted:  # the channel may have tried again by itself
                await self.heard(inbox, "please keep me", "event-1")

    async def test_sent_text_arrives_once(self, tmp_path: Path) -> None:
        """In order, and also where several tasks send at a time."""
        texts = [f"number {number}" for number in range(5)]
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for text in texts:
                delivery = await self.send(channel, where, text)
                known = delivery.external_id or channel.capabilities.idempotency
                promise(delivery.status == "sent" and known, "what arrived is sent, with its id", SEND, delivery)
            await self.reads(*texts)
            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(self.send, channel, where, text)
            same(sorted(2 * texts), sorted(await self.outbox()), "sends at once all arrive, once", SEND)

    async def test_hostile_text_arrives_unchanged(self, tmp_path: Path) -> None:
        """Any Unicode text, in both directions, up to `max_chars` on the way out."""
        async with self.running(tmp_path) as (channel, inbox):
            for text in HOSTILE_TEXTS:
                fits = text[: channel.capabilities.max_chars].strip()
                await self.send(channel, (await self.heard(inbox, fits)).address, fits)
                await self.reads(fits, last=1)

    async def test_capabilities_fit_the_methods(self, tmp_path: Path) -> None:
        """What is declared is implemented, and the figures make sense."""
        async with self.opened(tmp_path) as channel:
            can, cls = channel.capabilities, type(channel)
            promise(isinstance(can, Capabilities), "capabilities are declared", CAN, can)
            promise(not can.edits or cls.edit is not Channel.edit, "edits needs edit()", CAN, can)
            promise(not can.streaming or cls.preview is not Channel.preview, "streaming needs preview()", CAN, can)
            promise(can.max_chars is None or can.max_chars > 0, "max_chars is positive", CAN, can)
            promise(all("/" in kind for kind in can.media), "media are media types", CAN, can)

    async def test_declared_capabilities_hold(self, tmp_path: Path) -> None:
        """A draft is followed by one message; an edit replaces; an id that was sent has no second effect."""
        async with self.running(tmp_path) as (channel, inbox):
            where, key = (await self.heard(inbox, "hello there")).address, new_id()
            if channel.capabilities.streaming:
                for text in ("the", "the whole"):
                    await channel.preview(Draft(key, where, text))
            delivery = await self.send(channel, where, "the whole answer", key)
            if channel.capabilities.idempotency:
                await self.send(channel, where, "the whole answer", key)
            await self.reads("the whole answer")
            if channel.capabilities.edits:
                await channel.edit(delivery, Outbound(key, where, (Text("a better answer"),)))
                await self.reads("a better answer")
