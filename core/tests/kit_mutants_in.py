"""Channels that break a promise of messages on their way in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead import Address, Delivery, Inbound, Inbox, Outbound, Principal, Receipt
from fairlead.errors import FairleadError, JournalUnavailable, SchemaError

from .kit_channel import Link, MemoryChannel
from .kit_channel_mutants import Mutant, into
from .kit_platform import Platform

__all__ = ["INBOUND"]

INBOUND: list[Mutant] = []
breaks = partial(into, INBOUND)


@breaks("message_is_handed_in_whole", "is handed in")
class DropsRepeatedWords(MemoryChannel):
    last = ""

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        same, self.last = self.last == said["text"], said["text"]
        return True if same and said["id"] == "event-2" else await super().take_one(link, said, inbox)


@breaks("author_has_the_prefix_of_the_channel", "PREFIX:ID")
class KnowsPeopleByNumber(MemoryChannel):
    def inbound(self, said: dict[str, Any]) -> Inbound:
        return evolve(super().inbound(said), author=Principal("4711", "Alice"))


@breaks("author_and_address_outlive_a_restart", "the same after a restart")
class KnowsPeopleByConnection(MemoryChannel):
    def inbound(self, said: dict[str, Any]) -> Inbound:
        return evolve(super().inbound(said), author=Principal(f"kit:{id(self)}", "Alice"))


@breaks(
    "event_that_comes_twice_is_one_message",
    "is one message",
    "event_that_comes_again_after_a_restart_is_one_message",
    "nothing_comes_twice_with_a_new_connection",
)
class NumbersWhatComesTwice(MemoryChannel):
    def inbound(self, said: dict[str, Any]) -> Inbound:
        seen = self.__dict__.setdefault("seen", {})
        again = seen.get(said["id"]) is self.link
        seen[said["id"]] = self.link
        inbound = super().inbound(said)
        return evolve(inbound, external_id=f"{said['id']}-again") if again else inbound


@breaks(
    "event_that_comes_again_after_a_restart_is_one_message",
    "is one message, always",
    "restart_loses_nothing_and_repeats_nothing",
)
class NumbersByProcess(MemoryChannel):
    def inbound(self, said: dict[str, Any]) -> Inbound:
        return evolve(super().inbound(said), external_id=f"{id(self)}-{said['id']}")


@breaks("nothing_comes_twice_with_a_new_connection", "repeats nothing", "what_was_said_meanwhile_is_heard")
class NumbersByConnection(MemoryChannel):
    links = 0

    async def serve(self, link: Link, inbox: Inbox) -> None:
        self.links += 1
        await super().serve(link, inbox)

    def inbound(self, said: dict[str, Any]) -> Inbound:
        inbound = super().inbound(said)
        return inbound if self.links == 1 else evolve(inbound, external_id=f"{said['id']}-{self.links}")


@breaks("restart_loses_nothing_and_repeats_nothing", "loses and repeats nothing")
class PlaysBack(MemoryChannel):
    """Hands in the first of three once more after a restart."""

    def __init__(self, platform: Platform, directory: Path) -> None:
        super().__init__(platform, directory)
        self.old = (directory / "seen").exists()

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        kept = self.directory / "seen"
        lines = kept.read_text().splitlines() if kept.exists() else []
        if self.old and len(lines) == 3:
            kept.write_text("")
            await super().take_one(link, {**said, "text": lines[0], "id": "played-back"}, inbox)
        elif len(lines) < 3 and said["text"].startswith("before"):
            kept.write_text("\n".join([*lines, said["text"]]))
        return await super().take_one(link, said, inbox)


@breaks("messages_keep_their_order", "in their order")
class TurnsAround(MemoryChannel):
    """The twelfth, where more of them wait already."""

    async def take_all(
        self, link: Link, take: trio.MemoryReceiveChannel[dict[str, Any]], inbox: Inbox, scope: trio.CancelScope
    ) -> None:
        number = 0
        async for said in take:
            number += 1
            if number == 12 and take.statistics().current_buffer_used:
                await self.take_one(link, take.receive_nowait(), inbox)
            if not await self.take_one(link, said, inbox):
                scope.cancel()


@breaks("no_message_of_many_is_lost", "is handed in")
class LosesOneOfForty(MemoryChannel):
    number = 0

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        self.number += 1
        return True if self.number == 40 else await super().take_one(link, said, inbox)


@breaks("order_holds_in_both_directions_at_once", "in its last form")
class SpeaksOrListens(MemoryChannel):
    listening = False

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        class Noting(Inbox):
            async def accept(inner, inbound: Inbound) -> Receipt:  # noqa: N805  # `self` is the channel here
                self.listening = True
                try:
                    return await inbox.accept(inbound)
                finally:
                    self.listening = False

            def ready(inner, where: str) -> None:  # noqa: N805  # the same
                inbox.ready(where)

            async def cancel(inner, address: Address) -> bool:  # noqa: N805  # the same
                return await inbox.cancel(address)

        return await super().take_one(link, said, Noting())

    async def send(self, outbound: Outbound) -> Delivery:
        return Delivery("sent", "never") if self.listening else await super().send(outbound)


@breaks("message_that_was_not_kept_can_come_again", "is handed in")
class RemembersWhatFailed(MemoryChannel):
    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        failed = self.__dict__.setdefault("failed", set())
        if said["id"] in failed:
            return True
        taken = await super().take_one(link, said, inbox)
        if not taken:
            failed.add(said["id"])
        return taken


@breaks("message_is_acknowledged_when_it_is_kept_and_not_earlier", "before accept() returned")
class AcknowledgesInTime(MemoryChannel):
    """What the core takes long for is acknowledged meanwhile."""

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        async with trio.open_nursery() as nursery:

            async def acknowledge() -> None:
                for _ in range(50):
                    await trio.lowlevel.checkpoint()
                await link.tell(do="ack", id=said["id"])

            nursery.start_soon(acknowledge)
            taken = await super().take_one(link, said, inbox)
            nursery.cancel_scope.cancel()
        return taken


@breaks(
    "message_that_was_not_kept_is_not_acknowledged", "is not acknowledged", "message_that_was_not_kept_can_come_again"
)
class AcknowledgesWhatFailed(MemoryChannel):
    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        if not await super().take_one(link, said, inbox):
            await link.tell(do="ack", id=said["id"])
        return True


@breaks("duplicate_is_settled", "settled by its receipt")
class InsistsOnDuplicates(MemoryChannel):
    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        statuses: list[str] = self.__dict__.setdefault("statuses", [])
        taken = await super().take_one(link, said, inbox)
        if statuses[-1:] == ["duplicate"]:
            await super().take_one(link, said, inbox)
        return taken

    async def take_receipt(self, receipt: Receipt, said: dict[str, Any]) -> None:
        self.__dict__["statuses"].append(receipt.status)
        await super().take_receipt(receipt, said)


@breaks("refused_message_is_settled", "shown once at most")
class RepeatsItsNotice(MemoryChannel):
    async def take_receipt(self, receipt: Receipt, said: dict[str, Any]) -> None:
        for number in range(2):
            await super().take_receipt(receipt, {**said, "id": f"{said['id']}-{number}"})


@breaks("message_that_the_core_finds_malformed_ends_nothing", "until it is cancelled")
class EndsWithWhatIsMalformed(MemoryChannel):
    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        try:
            receipt = await inbox.accept(self.inbound(said))
        except JournalUnavailable:
            return False
        except SchemaError as error:
            raise FairleadError("this ends everything") from error
        await self.take_receipt(receipt, said)
        await link.tell(do="ack", id=said["id"])
        return True


@breaks("own_messages_do_not_come_back", "what it has sent")
class HearsItself(MemoryChannel):
    def sort(self, link: Link, value: dict[str, Any], give: trio.MemorySendChannel[dict[str, Any]]) -> None:
        super().sort(link, value, give)
        if value.get("do") == "seen" and value["text"] == "hello yourself":
            give.send_nowait({**value, "place": "room", "thread": "", "author": "bot"})


@breaks("conversations_are_told_apart", "is handed in")
class KnowsOneRoom(MemoryChannel):
    def place(self, said: dict[str, Any]) -> Address:
        return Address(self.name, "bot", "room", said["thread"] or said["place"].removeprefix("room"))

    def request(self, where: Address, text: str, key: str, media: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        words = super().request(where, text, key, media)
        return {**words, "place": "elsewhere", "thread": ""} if where.thread == "elsewhere" else words


@breaks("threads_are_told_apart", "a name of its own and keeps it")
class BeginsAThreadEachTime(MemoryChannel):
    def place(self, said: dict[str, Any]) -> Address:
        thread = f"{said['thread']}/{said['id']}" if said["thread"] else ""
        return evolve(super().place(said), thread=thread)

    def request(self, where: Address, text: str, key: str, media: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        return super().request(evolve(where, thread=where.thread.partition("/")[0]), text, key, media)
