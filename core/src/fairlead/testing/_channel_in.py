"""What a channel promises of messages on their way in."""

from __future__ import annotations

from pathlib import Path

import trio

from fairlead._message import Text, new_id
from fairlead._work import Receipt
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead.testing._channel_far import EXTERNAL, RUN, SECONDS, ChannelFar, words_of
from fairlead.testing._channel_inbox import KitInbox
from fairlead.testing._worker_kit import eventually, needs, promise, same, within

__all__ = ["InboundChecks"]

ACCEPT, RECEIPT, ADDRESS = "fairlead.Inbox.accept", "fairlead.types.Receipt", "fairlead.Address"
KEPT = "what is said at the far side is handed in"


class InboundChecks(ChannelFar):
    """Delivery, de-duplication, order and receipts."""

    async def test_message_is_handed_in_whole(self, tmp_path: Path) -> None:
        """Text, author, address and external id; the same words again are another message of the same people."""
        async with self.running(tmp_path) as (channel, inbox):
            got = await self.heard(inbox, "what time is it?", "event-1")
            again = await self.heard(inbox, "what time is it?", "event-2")
        promise(got.author.id, "the author is known by an id", "fairlead.Principal", got.author)
        right = got.address.channel == channel.name and got.address.conversation
        promise(right, "the address names channel and conversation", ADDRESS, got.address)
        ids = (got.external_id, again.external_id)
        promise(all(ids) and ids[0] != ids[1], "each event has an id of its own", EXTERNAL, ids)
        same((got.address, got.author), (again.address, again.author), "they are stable", ADDRESS)

    async def test_author_has_the_prefix_of_the_channel(self, tmp_path: Path) -> None:
        """Two channels may know the same number: `telegram:7` is not `irc:7`."""
        async with self.running(tmp_path) as (_, inbox):
            got = await self.heard(inbox, "who am I?")
        prefix, colon, rest = got.author.id.partition(":")
        promise(prefix and colon and rest, "an author's id is PREFIX:ID", "fairlead.Principal.id", got.author)

    @needs("restarted")
    async def test_author_and_address_outlive_a_restart(self, tmp_path: Path) -> None:
        """The session, the notes and the rights of a person hang on them."""
        async with self.far_side(tmp_path):
            async with self.at_work(tmp_path) as (_, inbox):
                before = await self.heard(inbox, "it is me")
            async with self.at_work(tmp_path, KitInbox(inbox)) as (_, inbox):
                await self.restarted()
                after = await self.hears_again(inbox)
        expected, seen = ((got.author.id, got.address) for got in (before, after))
        same(expected, seen, "author and address are the same after a restart", ADDRESS)

    async def test_event_that_comes_twice_is_one_message(self, tmp_path: Path) -> None:
        """It keeps its id, so that the core recognises it; or the channel itself drops it."""
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "once", "event-1")
            await self.inbound("once", "event-1")
            with within(SECONDS, KEPT, RUN):
                await self.inbound("and something else", "event-2")
                while (await inbox.next()).parts != (Text("and something else"),):
                    pass
        seen = [part for message in inbox.accepted for part in message.parts]
        same([Text("once"), Text("and something else")], seen, "the same event twice is one message", EXTERNAL)

    @needs("restarted")
    async def test_event_that_comes_again_after_a_restart_is_one_message(self, tmp_path: Path) -> None:
        """Its id is the platform's, and no count of the channel."""
        async with self.far_side(tmp_path):
            async with self.at_work(tmp_path) as (_, inbox):
                await self.heard(inbox, "the first", "event-1")
                await self.heard(inbox, "the second", "event-2")
            async with self.at_work(tmp_path, KitInbox(inbox)) as (_, inbox):
                await self.restarted()
                await self.hears_again(inbox)
                await self.inbound("the second", "event-2")
                await self.hears(inbox, "the third")
        seen = [text for got in inbox.accepted if (text := words_of(got.parts)).startswith("the ")]
        same(["the first", "the second", "the third"], seen, "the same event is one message, always", EXTERNAL)

    @needs("restarted")
    async def test_restart_loses_nothing_and_repeats_nothing(self, tmp_path: Path) -> None:
        """With the same far side and the same directory: what was acknowledged is over, the rest comes."""
        async with self.far_side(tmp_path):
            async with self.at_work(tmp_path) as (_, inbox):
                for number in range(3):
                    await self.heard(inbox, f"before {number}", f"before-{number}")
            async with self.at_work(tmp_path, KitInbox(inbox)) as (_, inbox):
                await self.restarted()
                await self.hears_again(inbox)
                await self.hears(inbox, "after")
        seen = [text for message in inbox.accepted if (text := words_of(message.parts)).startswith(("be", "af"))]
        same(["before 0", "before 1", "before 2", "after"], seen, "a restart loses and repeats nothing", EXTERNAL)

    async def test_messages_keep_their_order(self, tmp_path: Path) -> None:
        """Twenty in a row, to a core that takes its time, more for some than for others."""
        texts = [f"number {number}" for number in range(20)]
        inbox = KitInbox()
        inbox.uneven = True
        async with self.running(tmp_path, inbox):
            with within(2 * SECONDS, KEPT, RUN):
                for text in texts:
                    await self.inbound(text, new_id())
                seen = [words_of((await inbox.next()).parts) for _ in texts]
        same(texts, seen, "messages of a conversation are handed in in their order", RUN)

    async def test_no_message_of_many_is_lost(self, tmp_path: Path) -> None:
        """Fifty, each once."""
        texts = [f"number {number}" for number in range(50)]
        async with self.running(tmp_path) as (_, inbox):
            with within(3 * SECONDS, KEPT, RUN):
                for text in texts:
                    await self.inbound(text, new_id())
                while len(inbox.accepted) < len(texts):
                    await inbox.next()
            await self.hears(inbox, "the last")
        seen = sorted(words_of(message.parts) for message in inbox.accepted)
        same(sorted([*texts, "the last"]), seen, "each message comes once", RUN)
        ids = {message.external_id for message in inbox.accepted}
        same(len(texts) + 1, len(ids), "each event has an id of its own", EXTERNAL)

    async def test_order_holds_in_both_directions_at_once(self, tmp_path: Path) -> None:
        """Who listens is not disturbed by who speaks."""
        said = [f"question {number}" for number in range(10)]
        told = [f"answer {number}" for number in range(10)]
        async with self.running(tmp_path) as (channel, inbox):
            inbox.uneven = True
            where = (await self.heard(inbox, "hello there")).address

            async def tell() -> None:
                for text in told:
                    await self.send(channel, where, text)

            with within(2 * SECONDS, KEPT, RUN):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(tell)
                    for text in said:
                        await self.inbound(text, new_id())
                heard = [words_of((await inbox.next()).parts) for _ in said]
            same(said, heard, "messages come in in order, also while others go out", RUN)
            await self.reads(*told)

    async def test_message_that_was_not_kept_can_come_again(self, tmp_path: Path) -> None:
        """The journal is away for a moment: the channel goes on, acknowledges nothing, and takes the next delivery."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(JournalUnavailable("the disk is full"))
            with within(SECONDS, "a message that was not kept is let go", ACCEPT):
                await self.inbound("please keep me", "event-1")
            if not inbox.accepted:  # the channel may have tried again by itself
                await self.heard(inbox, "please keep me", "event-1")

    @needs("acknowledged")
    async def test_message_is_acknowledged_when_it_is_kept_and_not_earlier(self, tmp_path: Path) -> None:
        """What was acknowledged too early is lost with the process."""
        inbox = KitInbox()
        inbox.hold()
        async with trio.open_nursery() as nursery, self.running(tmp_path, inbox):
            nursery.start_soon(self.mutter, "please keep me", "event-1")
            with within(SECONDS, KEPT, RUN):
                await inbox.wait_knock()
            await self.wait_quiet()
            early = await self.acknowledged("event-1")
            promise(not early, "nothing is acknowledged before accept() returned", ACCEPT, early)
            inbox.release()
            words = "a message is acknowledged once accept() returned"
            await eventually(lambda: self.acknowledged("event-1"), words, ACCEPT)

    @needs("acknowledged")
    async def test_message_that_was_not_kept_is_not_acknowledged(self, tmp_path: Path) -> None:
        """`JournalUnavailable`: the platform shall deliver it again."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(JournalUnavailable("the disk is full"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.mutter, "please keep me", "event-1")
                with within(SECONDS, KEPT, RUN):
                    await inbox.wait_knock()
                await self.wait_quiet()
                done, kept = await self.acknowledged("event-1"), len(inbox.accepted)
                nursery.cancel_scope.cancel()
            promise(kept or not done, "what was not kept is not acknowledged", ACCEPT, f"acknowledged: {done}")

    async def test_duplicate_is_settled(self, tmp_path: Path) -> None:
        """The core has it already: the channel goes on, and hands it in no further time."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(Receipt("duplicate", session="kit"))
            await self.inbound("known before", "event-1")
            await self.hears(inbox, "something new")
        seen = [words_of(message.parts) for message in inbox.accepted]
        same(["something new"], seen, "a duplicate is settled by its receipt", RECEIPT)

    async def test_refused_message_is_settled(self, tmp_path: Path) -> None:
        """Its notice is shown once at most; it does not come again, and the next message passes."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(Receipt("refused", notice="the house is full"))
            await self.inbound("let me in", "event-1")
            await self.hears(inbox, "and now?")
            await self.wait_quiet()
            shown = [text for text in await self.outbox() if "the house is full" in text]
        seen = [words_of(message.parts) for message in inbox.accepted]
        same(["and now?"], seen, "a refused message is settled by its receipt", RECEIPT)
        promise(len(shown) <= 1, "the notice is shown once at most", "fairlead.types.Receipt.notice", shown)

    async def test_message_that_the_core_finds_malformed_ends_nothing(self, tmp_path: Path) -> None:
        """`SchemaError`: nothing was kept, and the next message passes."""
        async with self.running(tmp_path) as (_, inbox):
            inbox.fail_next(SchemaError("found a message of 5000000 bytes, at most 1000000 are taken"))
            with within(SECONDS, "a message that is refused is let go", ACCEPT):
                await self.mutter("very odd", "event-1")
            await self.hears(inbox, "and now?")

    async def test_own_messages_do_not_come_back(self, tmp_path: Path) -> None:
        """A channel that hears itself answers itself for ever."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.send(channel, where, "hello yourself")
            await self.wait_quiet()
            await self.hears(inbox, "and now?")
        seen = [words_of(message.parts) for message in inbox.accepted]
        same(["hello there", "and now?"], seen, "a channel does not hand in what it has sent", RUN)

    @needs("elsewhere")
    async def test_conversations_are_told_apart(self, tmp_path: Path) -> None:
        """By their addresses; and an id that two of them use is of two events."""
        async with self.running(tmp_path) as (_, inbox):
            here = await self.heard(inbox, "here", "event-1")
            with within(SECONDS, KEPT, RUN):
                await self.elsewhere("there", "event-1")
                while words_of((there := await inbox.next()).parts) != "there":
                    pass
        places = [(got.address.account, got.address.conversation) for got in (here, there)]
        promise(places[0] != places[1], "each conversation has an address of its own", ADDRESS, places)

    @needs("threads", "in_thread")
    async def test_threads_are_told_apart(self, tmp_path: Path) -> None:
        """Those of one conversation differ in `Address.thread` alone, and keep it."""
        async with self.running(tmp_path) as (_, inbox):
            await self.heard(inbox, "in the open")
            got = []
            for number, thread in enumerate(("one", "two", "one")):
                with within(SECONDS, KEPT, RUN):
                    await self.in_thread(f"in {thread}", f"thread-{number}", thread)
                    got.append((await inbox.next()).address)
        threads = [address.thread for address in got]
        right = all(threads) and threads[0] == threads[2] != threads[1]
        promise(right, "each thread has a name of its own and keeps it", "fairlead.Address.thread", got)
        places = {(address.channel, address.account, address.conversation) for address in got}
        same(1, len(places), "threads are places of one conversation", "fairlead.Address.conversation")
