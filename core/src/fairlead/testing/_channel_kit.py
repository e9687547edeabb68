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
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, within

__all__ = ["ChannelConformance"]

RUN, SEND, ACCEPT = "fairlead.Channel.run", "fairlead.Channel.send", "fairlead.Inbox.accept"
SECONDS = 10
"""For what should take an instant, on a busy machine."""


class ChannelConformance(WorkerConformance[Channel]):
    """Subclass it, override `make_worker`, `inbound`, `outbox`, and `far_side` with a fake peer where there is one."""

    place = ""
    """What `Inbox.ready` was given: where the far side can reach the channel."""

    async def inbound(self, text: str, external_id: str) -> None:
        """Override: at the far side somebody says `text`, in one and the same conversation.

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
            with within(SECONDS, "run() says that it is ready", source="fairlead.Inbox.ready"):
                self.place = await inbox.wait_ready()
            yield channel, inbox
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        # Left only when run() is: a channel that ignores cancellation hangs here.
        took = trio.current_time() - began
        promise(took <= 5, "run() stops 5 s after it was cancelled", source=RUN, seen=took)  # noqa: PLR2004  # its figure

    async def heard(self, inbox: FakeInbox, text: str, external_id: str) -> Inbound:
        """What the core gets of a message of the far side."""
        with within(SECONDS, "what is said at the far side is handed in", source=RUN):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.inbound, text, external_id)
                return await inbox.next()
        raise AssertionError("unreachable: within() has failed the check")

    async def told(self, channel: Channel, inbox: FakeInbox, *texts: str) -> list[Outbound]:
        """Send texts into the conversation from which a message came."""
        where = (await self.heard(inbox, "hello there", new_id())).address
        made = [Outbound(new_id(), where, (Text(text),)) for text in texts]
        for outbound in made:
            self.is_sent(channel, await self.send(channel, outbound))
        return made

    async def send(self, channel: Channel, outbound: Outbound) -> Delivery:
        with within(SECONDS, "send() returns", source=SEND):
            return await channel.send(outbound)
        raise AssertionError("unreachable: within() has failed the check")

    def is_sent(self, channel: Channel, delivery: Delivery) -> None:
        promise(isinstance(delivery, Delivery), "send() gives a Delivery", source=SEND, seen=delivery)
        promise(delivery.status == "sent", "what arrived is reported as sent", source=SEND, seen=delivery)
        known = delivery.external_id or channel.capabilities.idempotency
        promise(known, "sent has the platform's id", source="fairlead.Delivery.external_id", seen=delivery)

    async def test_run_is_ready_once_and_stops_when_cancelled(self, tmp_path: Path) -> None:
        """It says once where messages can arrive, and stops in 5 s, also while a peer does not read."""
        async with self.running(tmp_path) as (_, inbox):
            await self.misbehave()
            await trio.lowlevel.checkpoint()
        promise(len(inbox.places) == 1, "ready() is called once", source="fairlead.Inbox.ready", seen=inbox.places)
        promise(all(inbox.places), "ready() says where", source="fairlead.Inbox.ready", seen=inbox.places)

    async def test_message_is_handed_in_whole(self, tmp_path: Path) -> None:
        """Text, author, address and external id are there."""
        async with self.running(tmp_path) as (channel, inbox):
            got = await self.heard(inbox, "what time is it?", "event-1")
        source = "fairlead.Inbound"
        promise([Text("what time is it?")] == list(got.parts), "the text arrives", source=source, seen=got.parts)
        promise(got.author.id, "the author is known by an id", source="fairlead.Principal", seen=got.author)
        right = got.address.channel == channel.name and got.address.conversation
        promise(right, "the address names channel and conversation", source="fairlead.Address", seen=got.address)
        promise(got.external_id, "a message has its external id", source=source, seen=got)

    async def test_events_of_their_own_have_ids_of_their_own(self, tmp_path: Path) -> None:
        """The same words twice are two messages of one conversation and one author."""
        async with self.running(tmp_path) as (_, inbox):
            first, second = [await self.heard(inbox, "the same words", one) for one in ("event-1", "event-2")]
        ids = (first.external_id, second.external_id)
        promise(ids[0] != ids[1], "each event has an id of its own", source="fairlead.Inbound.external_id", seen=ids)
        same = (first.address, first.author.id) == (second.address, second.author.id)
        promise(same, "address and author are stable", source="fairlead.Address", seen=(first, second))

    async def test_event_that_comes_twice_is_one_message(self, tmp_path: Path) -> None:
        """It keeps its id, so that the core recognises it; or the channel itself drops it."""
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "once", "event-1")
            await self.inbound("once", "event-1")
            await self.heard(inbox, "and something else", "event-2")
        texts = [Text("once"), Text("and something else")]
        seen = [part for message in inbox.accepted for part in message.parts]
        promise(texts == seen, "the same event twice is one message", source="fairlead.Inbound.external_id", seen=seen)

    async def test_message_that_was_not_kept_can_come_again(self, tmp_path: Path) -> None:
        """The journal is away for a moment: the channel goes on, acknowledges nothing, and takes the next delivery."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(JournalUnavailable("the disk is full"))
            with within(SECONDS, "a message that was not kept is let go", source=ACCEPT):
                await self.inbound("please keep me", "event-1")
            got = inbox.accepted[0] if inbox.accepted else await self.heard(inbox, "please keep me", "event-1")
        promise([Text("please keep me")] == list(got.parts), "it is kept when it comes again", source=ACCEPT, seen=got)

    async def test_sent_text_arrives_once_and_in_order(self, tmp_path: Path) -> None:
        """Each send is one message at the far side."""
        async with self.running(tmp_path) as (channel, inbox):
            texts = ["one", "two", "three"]
            await self.told(channel, inbox, *texts)
            seen = list(await self.outbox())
        promise(texts == seen, "what is sent arrives, once and in order", source=SEND, seen=seen)

    async def test_sends_at_once_all_arrive(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time."""
        texts = [f"number {number}" for number in range(5)]
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there", "event-1")).address
            async with trio.open_nursery() as nursery:
                for text in texts:
                    nursery.start_soon(self.send, channel, Outbound(new_id(), where, (Text(text),)))
            seen = sorted(await self.outbox())
        promise(texts == seen, "sends at once all arrive, once", source="fairlead._contracts", seen=seen)

    async def test_hostile_text_arrives_unchanged(self, tmp_path: Path) -> None:
        """Any Unicode text, in both directions, up to `max_chars` on the way out."""
        async with self.running(tmp_path) as (channel, inbox):
            for text in HOSTILE_TEXTS:
                fits = text[: channel.capabilities.max_chars].strip()
                await self.told(channel, inbox, fits)
                seen = (await self.outbox())[-1]
                promise(fits == seen, "text up to max_chars is shown unchanged", source=SEND, seen=seen)
                got = await self.heard(inbox, fits, new_id())
                promise([Text(fits)] == list(got.parts), "text comes in unchanged", source=RUN, seen=got.parts)

    async def test_capabilities_fit_the_methods(self, tmp_path: Path) -> None:
        """What is declared is implemented, and the figures make sense."""
        source = "fairlead.Capabilities"
        async with self.opened(tmp_path) as channel:
            can, cls = channel.capabilities, type(channel)
            promise(isinstance(can, Capabilities), "capabilities are declared", source=source, seen=can)
            promise(not can.edits or cls.edit is not Channel.edit, "edits needs edit()", source=source, seen=can)
            previews = cls.preview is not Channel.preview
            promise(not can.streaming or previews, "streaming needs preview()", source=source, seen=can)
            promise(can.max_chars is None or can.max_chars > 0, "max_chars is positive", source=source, seen=can)
            promise(all("/" in kind for kind in can.media), "media are media types", source=source, seen=can.media)
            promise(channel.capabilities == can, "they are fixed from open() on", source=source, seen=can)

    async def test_declared_capabilities_hold(self, tmp_path: Path) -> None:
        """A draft is followed by one message; an edit replaces; an id that was sent has no second effect."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there", "event-1")).address
            final = Outbound(new_id(), where, (Text("the whole answer"),))
            if channel.capabilities.streaming:
                for text in ("the", "the whole"):
                    await channel.preview(Draft(final.id, where, text))
            delivery = await self.send(channel, final)
            if channel.capabilities.idempotency:
                await self.send(channel, final)
            await self.reads("the whole answer")
            if channel.capabilities.edits:
                await channel.edit(delivery, Outbound(final.id, where, (Text("a better answer"),)))
                await self.reads("a better answer")

    async def reads(self, text: str) -> None:
        seen = list(await self.outbox())
        promise(
            [text] == seen, "the reader sees one message in its last form", source="fairlead.Capabilities", seen=seen
        )

    async def test_failed_send_is_a_delivery(self, tmp_path: Path) -> None:
        """A place that does not exist gives ``failed``, not a success; an exception would count as ambiguous."""
        async with self.running(tmp_path) as (channel, _):
            nowhere = Address(channel.name, "", "no-such-conversation-in-the-world")
            try:
                delivery = await self.send(channel, Outbound(new_id(), nowhere, (Text("anybody?"),)))
            except Exception:  # noqa: BLE001  # the contract takes any
                return
        promise(isinstance(delivery, Delivery), "send() gives a Delivery", source=SEND, seen=delivery)
