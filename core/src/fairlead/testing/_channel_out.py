"""What a channel promises of messages on their way out."""

from __future__ import annotations

from pathlib import Path

import trio
from attrs import evolve

from fairlead._contracts import Channel
from fairlead._message import Address, Audio, File, Image, Text, new_id
from fairlead._work import Capabilities, Delivery, Draft, Outbound, Progress
from fairlead.testing._channel_far import CAN, PREVIEW, SECONDS, SEND, ChannelFar
from fairlead.testing._channel_inbox import KitInbox
from fairlead.testing._worker_kit import needs, promise, same, within

__all__ = ["OutboundChecks"]

EDIT, MEDIA, THREAD = "fairlead.Channel.edit", "fairlead.Capabilities.media", "fairlead.Address.thread"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""A picture of one point."""
EXAMPLES = {"image": "image/png", "audio": "audio/mpeg", "video": "video/mp4", "text": "text/plain"}


class OutboundChecks(ChannelFar):
    """Delivery, order, edits, drafts, threads and media."""

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
            counts = [await self.count_read(text, (2,)) for text in texts]
            same([2] * len(texts), counts, "sends at once all arrive, once", SEND)

    async def test_each_message_has_an_id_of_its_own(self, tmp_path: Path) -> None:
        """An edit, or a search in the journal, finds the one that is meant."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            ids = [(await self.send(channel, where, "the same words")).external_id for _ in range(3)]
        given = [each for each in ids if each]
        same(len(given), len(set(given)), f"no two messages have one id {ids}", "fairlead.Delivery.external_id")

    async def test_notice_arrives_as_an_answer_does(self, tmp_path: Path) -> None:
        """Nobody is left without a word because the word is the core's own."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.post(channel, Outbound(new_id(), where, (Text("it was cancelled"),), kind="notice"))
            await self.send(channel, where, "and an answer")
            await self.reads("and an answer", last=1)
            shown = [text for text in await self.outbox() if "it was cancelled" in text]
        promise(len(shown) == 1, "a notice is shown once", "fairlead.types.Outbound.kind", shown)

    async def test_answer_to_what_is_gone_arrives(self, tmp_path: Path) -> None:
        """The message that is answered may have been deleted, or is of a time before the channel."""
        async with self.running(tmp_path) as (channel, inbox):
            got = await self.heard(inbox, "hello there")
            for number, asked in enumerate((got.external_id, "no-such-message")):
                await self.post(channel, Outbound(new_id(), got.address, (Text(f"answer {number}"),), asked))
            await self.reads("answer 0", "answer 1")

    async def test_place_that_does_not_exist_has_an_outcome(self, tmp_path: Path) -> None:
        """Addresses come from the journal: rooms are closed, and names have odd characters. The rest goes on."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for name in ("nobody-of-that-name", "no place\r\nQUIT :x\x00", "\u202e" * 300):
                delivery = await self.send(channel, evolve(where, conversation=name), "is anybody there?")
                fair = delivery.status == "sent" or delivery.reason
                promise(fair, "what was not sent has a reason", "fairlead.Delivery.reason", delivery)
            await self.send(channel, where, "still here")
            same(1, await self.count_read("still here"), "a place that does not exist disturbs no other", SEND)

    async def test_sending_has_an_outcome_when_nothing_runs(self, tmp_path: Path) -> None:
        """`run` has ended or is begun again: a send still says what became of it."""
        async with self.far_side(tmp_path):
            async with self.worker(tmp_path) as channel:
                async with self.listening(channel, inbox := KitInbox()):
                    where = (await self.heard(inbox, "hello there")).address
                question = Outbound(new_id(), where, (Text("are you still there?"),))
                delivery = await self.outcome_of(channel, question, SECONDS)
                late = delivery.reason == "it was cancelled"
                promise(not late, "a send has an end, also when nothing runs", SEND, delivery)
            arrived = await self.count_read("are you still there?", (1,) if delivery.status == "sent" else (0,))
        right = {"sent": (1,), "failed": (0,), "ambiguous": (0, 1)}[delivery.status]
        promise(arrived in right, "sent is what arrived, failed what surely has not", SEND, (delivery, arrived))

    @needs("elsewhere", "elsewhere_outbox")
    async def test_answers_go_where_they_were_asked(self, tmp_path: Path) -> None:
        """And nowhere else."""
        async with self.running(tmp_path) as (channel, inbox):
            here = (await self.heard(inbox, "here", "here-1")).address
            with within(SECONDS, "what is said at the far side is handed in", "fairlead.Channel.run"):
                await self.elsewhere("there", "there-1")
                there = (await inbox.next()).address
            await self.send(channel, there, "for there")
            await self.send(channel, here, "for here")
            await self.reads("for here")
            seen = list(await self.elsewhere_outbox())
        same(["for there"], seen, "an answer is shown in its own conversation alone", "fairlead.Outbound.address")

    # -- capabilities

    async def test_capabilities_fit_the_methods(self, tmp_path: Path) -> None:
        """What is declared is implemented, and the figures make sense."""
        async with self.opened(tmp_path) as channel:
            can, cls = channel.capabilities, type(channel)
            promise(isinstance(can, Capabilities), "capabilities are declared", CAN, can)
            promise(not can.edits or cls.edit is not Channel.edit, "edits needs edit()", CAN, can)
            promise(not can.streaming or cls.preview is not Channel.preview, "streaming needs preview()", CAN, can)
            promise(can.max_chars is None or can.max_chars > 0, "max_chars is positive", CAN, can)
            promise(all("/" in kind for kind in can.media), "media are media types", CAN, can)

    async def test_capabilities_are_fixed(self, tmp_path: Path) -> None:
        """From open() on: the core reads them at any time."""
        async with self.running(tmp_path) as (channel, inbox):
            before = channel.capabilities
            await self.send(channel, (await self.heard(inbox, "hello there")).address, "hello")
            after = channel.capabilities
        same(before, after, "capabilities are fixed from open() on", "fairlead.Channel.capabilities")

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

    @needs("idempotency")
    async def test_same_send_again_has_no_second_effect(self, tmp_path: Path) -> None:
        """The key is the id, and not the words: other ids with the same words are messages of their own."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for key in ("kit-1", "kit-2", "kit-1", "kit-3", "kit-1"):
                await self.send(channel, where, f"the words of {key}"[:-2], key)
            await self.reads(*["the words of kit"] * 3)

    @needs("idempotency", "restarted")
    async def test_same_send_after_a_restart_has_no_second_effect(self, tmp_path: Path) -> None:
        """The core repeats what it was sending when the process died."""
        async with self.far_side(tmp_path):
            async with self.at_work(tmp_path) as (channel, inbox):
                where = (await self.heard(inbox, "hello there")).address
                await self.send(channel, where, "just once", "kit-1")
            async with self.at_work(tmp_path) as (channel, inbox):
                await self.restarted()
                await self.hears_again(inbox)
                await self.send(channel, where, "just once", "kit-1")
                await self.send(channel, where, "another", "kit-2")
                await self.reads("just once", "another")

    @needs("edits")
    async def test_edit_replaces_in_place(self, tmp_path: Path) -> None:
        """Of several messages the one that is meant, more than once; the others stay as they are."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            sent = {text: await self.send(channel, where, text, text) for text in ("first", "second", "third")}
            delivery = sent["second"]
            for text in ("better", "best"):
                with within(SECONDS, "edit() returns", EDIT):
                    delivery = await channel.edit(delivery, Outbound("second", where, (Text(text),)))
                promise(isinstance(delivery, Delivery), "edit() gives a Delivery", EDIT, delivery)
            await self.reads("first", "best", "third")

    # -- drafts

    @needs("streaming")
    async def test_drafts_may_be_many_and_may_be_skipped(self, tmp_path: Path) -> None:
        """Fifty at once, then another answer with none: two messages."""
        async with self.running(tmp_path) as (channel, inbox):
            where, key = (await self.heard(inbox, "hello there")).address, new_id()
            words = [f"word-{number}" for number in range(10)]
            for number in range(50):
                await self.show_draft(channel, Draft(key, where, " ".join(words[: number // 5])))
            await self.send(channel, where, " ".join(words), key)
            await self.send(channel, where, "no draft before", new_id())
            await self.reads(" ".join(words), "no draft before")

    @needs("streaming", "elsewhere", "elsewhere_outbox")
    async def test_drafts_of_two_conversations_are_kept_apart(self, tmp_path: Path) -> None:
        """Two answers grow at the same time."""
        async with self.running(tmp_path) as (channel, inbox):
            here = (await self.heard(inbox, "here", "here-1")).address
            with within(SECONDS, "what is said at the far side is handed in", "fairlead.Channel.run"):
                await self.elsewhere("there", "there-1")
                there = (await inbox.next()).address
            for text in ("the", "the answer"):
                for key, where in (("kit-a", here), ("kit-b", there)):
                    await self.show_draft(channel, Draft(key, where, text))
            for key, where in (("kit-b", there), ("kit-a", here)):
                await self.send(channel, where, f"the answer {key}", key)
            await self.reads("the answer kit-a")
            seen = list(await self.elsewhere_outbox())
        same(["the answer kit-b"], seen, "each draft is followed by its own answer", PREVIEW)

    @needs("streaming")
    async def test_draft_that_no_answer_follows_spoils_none(self, tmp_path: Path) -> None:
        """A turn that was cancelled leaves a draft behind: the next answer is a message of its own."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            await self.show_draft(channel, Draft("kit-a", where, "this was going to be"))
            await self.send(channel, where, "another answer", "kit-b")
            await self.reads("another answer", last=1)
            same(1, await self.count_read("another answer"), "an answer is shown once", PREVIEW)

    @needs("streaming")
    async def test_draft_of_any_length_and_with_tools_is_taken(self, tmp_path: Path) -> None:
        """Nothing yet, a tool that runs, more than `max_chars`: then the answer, as the core has cut it."""
        async with self.running(tmp_path) as (channel, inbox):
            where, limit = (await self.heard(inbox, "hello there")).address, channel.capabilities.max_chars or 5000
            tools = (Progress("c1", "read_file", "running", "half of it", {"path": "/x"}), Progress("c2", "x", "done"))
            for draft in (
                Draft("kit-a", where),
                Draft("kit-a", where, tools=tools),
                Draft("kit-a", where, "long " * (limit // 4), tools, "no-such-message"),
            ):
                await self.show_draft(channel, draft)
            await self.send(channel, where, "short in the end", "kit-a")
            await self.reads("short in the end", last=1)

    @needs("streaming")
    async def test_cancelled_draft_spoils_nothing(self, tmp_path: Path) -> None:
        """The core cancels a draft that is slow when the answer is there."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for steps in range(4):
                key = f"kit-{steps}"
                with trio.CancelScope() as scope:
                    if not steps:
                        scope.cancel()
                    await channel.preview(Draft(key, where, "answer"))
                await self.send(channel, where, f"answer {steps}", key)
            await self.reads(*(f"answer {steps}" for steps in range(4)))

    # -- threads and media

    @needs("threads")
    async def test_message_for_a_thread_arrives(self, tmp_path: Path) -> None:
        """Also for one that nobody has begun yet, or that is gone: the words are what counts."""
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            delivery = await self.send(channel, evolve(where, thread="kit-thread"), "in a thread")
            promise(delivery.status == "sent" or delivery.reason, "it has an outcome", THREAD, delivery)
            await self.send(channel, where, "in the open")
            same(1, await self.count_read("in the open"), "a thread disturbs no other", THREAD)

    @needs("threads", "in_thread", "thread_outbox")
    async def test_answer_goes_to_the_thread_of_its_question(self, tmp_path: Path) -> None:
        """Each to its own."""
        async with self.running(tmp_path) as (channel, inbox):
            await self.heard(inbox, "in the open")
            places: dict[str, Address] = {}
            for thread in ("one", "two"):
                with within(SECONDS, "what is said at the far side is handed in", "fairlead.Channel.run"):
                    await self.in_thread(f"in {thread}", f"thread-{thread}", thread)
                    places[thread] = (await inbox.next()).address
            for thread in ("two", "one"):
                await self.send(channel, places[thread], f"answer in {thread}")
            await self.wait_quiet()
            seen = {thread: list(await self.thread_outbox(thread)) for thread in places}
        same({"one": ["answer in one"], "two": ["answer in two"]}, seen, "an answer goes to its thread", THREAD)

    @needs("media")
    async def test_declared_media_are_sent(self, tmp_path: Path) -> None:
        """One of each kind, beside words and alone."""
        sent: list[tuple[str, bytes]] = []
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            for kind in sorted(channel.capabilities.media):
                for words in ((Text("look at this"),), ()):
                    part = medium(kind)
                    delivery = await self.post(channel, Outbound(new_id(), where, (*words, part)))
                    promise(delivery.status == "sent", f"media of the kind {kind} are sent", MEDIA, delivery)
                    sent.append((part.media_type, part.data or b""))
            seen = list(await self.media_outbox()) if await self.has("media_outbox", tmp_path) else sent
        same(sent, seen, "media arrive as they were sent", MEDIA)

    async def test_media_that_are_not_declared_are_refused_or_put_into_words(self, tmp_path: Path) -> None:
        """The core does not send them; who sends them all the same is told, or at least the words arrive."""
        part = File("../../etc/x\r\nX-Y: z", "x-kit/unheard-of", b"\x00\x01")
        async with self.running(tmp_path) as (channel, inbox):
            where = (await self.heard(inbox, "hello there")).address
            delivery = await self.post(channel, Outbound(new_id(), where, (Text("a file comes along"), part)))
            shown = [text for text in await self.outbox() if "a file comes along" in text]
            fair = shown if delivery.status == "sent" else delivery.reason
            promise(fair, "what cannot be sent is refused with a reason, or put into words", MEDIA, delivery)
            await self.send(channel, where, "and on it goes")
            await self.reads("and on it goes", last=1)


def medium(kind: str) -> Image | Audio | File:
    """Something small of that kind."""
    family, _, rest = kind.partition("/")
    exact = kind if rest != "*" else EXAMPLES.get(family, f"{family}/octet-stream")
    if family == "image":
        return Image(exact, PNG, alt="a point")
    return Audio(exact, b"ID3\x03") if family == "audio" else File("kit.bin", exact, b"plain bytes")
