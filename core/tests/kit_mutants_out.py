"""Channels that break a promise of messages on their way out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead import Address, Delivery, Draft, Outbound, Text
from fairlead.errors import FairleadError

from .kit_channel import EVERYTHING, MemoryChannel
from .kit_channel_mutants import Counting, Mutant, into, reworded, text_of
from .kit_platform import LIMIT, Platform

__all__ = ["OUTBOUND"]

OUTBOUND: list[Mutant] = []
breaks = partial(into, OUTBOUND)


@breaks("sent_text_arrives_once", "all arrive, once")
class StumblesOverItself(Counting):
    async def send_counted(self, outbound: Outbound) -> Delivery:
        if self.sending == 3:
            await super().send_counted(evolve(outbound, id=f"{outbound.id}-again"))
        return await super().send_counted(outbound)


@breaks("each_message_has_an_id_of_its_own", "no two messages have one id")
class NamesByWords(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        names = self.__dict__.setdefault("names", {})
        delivery = await super().send(outbound)
        return evolve(delivery, external_id=names.setdefault(text_of(outbound), delivery.external_id))


@breaks("notice_arrives_as_an_answer_does", "a notice is shown once")
class KeepsNoticesToItself(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        return Delivery("sent", "never") if outbound.kind == "notice" else await super().send(outbound)


@breaks("answer_to_what_is_gone_arrives", "in its last form")
class AnswersOnlyWhatItKnows(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if outbound.in_reply_to == "no-such-message":
            return Delivery("failed", reason="the message to answer is gone")
        return await super().send(outbound)


@breaks("place_that_does_not_exist_has_an_outcome", "a name on two lines")
class TrustsNames(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if "\n" in outbound.address.conversation:
            raise ValueError("a name on two lines")
        return await super().send(outbound)


@breaks("sending_has_an_outcome_when_nothing_runs", "a send has an end")
class WaitsToBeConnected(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        while self.link is None:  # noqa: ASYNC110  # a fault
            await trio.sleep(0.05)  # real time: none, the clock jumps
        return await super().send(outbound)


@breaks("answers_go_where_they_were_asked", "in its last form")
class AnswersWhereItHeardLast(MemoryChannel):
    """Unless a draft has shown the way."""

    where = ""

    def place(self, said: dict[str, Any]) -> Address:
        self.where = said["place"]
        return super().place(said)

    async def preview(self, draft: Draft) -> None:
        self.where = ""
        await super().preview(draft)

    async def send(self, outbound: Outbound) -> Delivery:
        known = outbound.address.conversation in ("room", "elsewhere")
        where = self.where if known and self.where else outbound.address.conversation
        return await super().send(evolve(outbound, address=evolve(outbound.address, conversation=where)))


@breaks("capabilities_fit_the_methods", "max_chars is positive")
class TakesNothing(MemoryChannel):
    def __init__(self, platform: Platform, directory: Path) -> None:
        super().__init__(platform, directory, evolve(EVERYTHING, max_chars=0))


@breaks("capabilities_are_fixed", "fixed from open() on")
class LearnsMarkup(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        self.capabilities = evolve(self.capabilities, markup="markdown")
        return await super().send(outbound)


class Drafting(MemoryChannel):
    """Knows the last draft."""

    draft: Draft | None = None

    async def preview(self, draft: Draft) -> None:
        self.draft = draft
        await super().preview(draft)


@breaks("declared_capabilities_hold", "in its last form")
class RepeatsWhatItDrafted(Drafting):
    sent = 0

    async def send(self, outbound: Outbound) -> Delivery:
        if self.draft is not None and self.draft.id == outbound.id:
            self.sent += 1
            outbound = evolve(outbound, id=f"{outbound.id}-{self.sent}")
        return await super().send(outbound)


@breaks("same_send_again_has_no_second_effect", "in its last form")
class KnowsAKeyOnce(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        counts = self.__dict__.setdefault("counts", {})
        counts[outbound.id] = counts.get(outbound.id, 0) + 1
        key = outbound.id if counts[outbound.id] < 3 else f"{outbound.id}-{counts[outbound.id]}"
        return await super().send(evolve(outbound, id=key))


@breaks("same_send_after_a_restart_has_no_second_effect", "in its last form")
class KnowsKeysOfItsOwn(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        return await super().send(evolve(outbound, id=f"{id(self)}-{outbound.id}"))


@breaks("edit_replaces_in_place", "in its last form")
class EditsTheLast(MemoryChannel):
    last = ""

    async def send(self, outbound: Outbound) -> Delivery:
        delivery = await super().send(outbound)
        self.last = delivery.external_id
        return delivery

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        return await super().edit(evolve(delivery, external_id=self.last), outbound)


@breaks("drafts_may_be_many_and_may_be_skipped", "too many drafts")
class CountsDrafts(MemoryChannel):
    drafts = 0

    async def preview(self, draft: Draft) -> None:
        self.drafts += 1
        if self.drafts > 20:
            raise FairleadError("too many drafts")
        await super().preview(draft)


@breaks("drafts_of_two_conversations_are_kept_apart", "in its last form")
class ShowsWhereItDrafted(Drafting):
    async def send(self, outbound: Outbound) -> Delivery:
        if self.draft is not None:
            outbound = evolve(outbound, address=self.draft.address)
        return await super().send(outbound)


@breaks("draft_that_no_answer_follows_spoils_none", "in its last form")
class FinishesDrafts(Drafting):
    async def send(self, outbound: Outbound) -> Delivery:
        draft, self.draft = self.draft, None
        if draft is not None and draft.id != outbound.id and draft.address == outbound.address:
            outbound = reworded(outbound, f"{draft.text}\n{text_of(outbound)}")
        return await super().send(outbound)


@breaks("draft_of_any_length_and_with_tools_is_taken", "too long")
class DraftsWhatFits(MemoryChannel):
    async def preview(self, draft: Draft) -> None:
        if len(draft.text) > LIMIT:
            raise FairleadError("too long")
        await super().preview(draft)


@breaks("cancelled_draft_spoils_nothing", "in its last form")
class LosesWhatWasCancelled(MemoryChannel):
    broken = ""

    async def preview(self, draft: Draft) -> None:
        self.broken = draft.id
        await super().preview(draft)
        self.broken = ""

    async def send(self, outbound: Outbound) -> Delivery:
        return Delivery("sent", "never") if self.broken == outbound.id else await super().send(outbound)


@breaks("message_for_a_thread_arrives", "kit-thread")
class KnowsItsThreads(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if outbound.address.thread == "kit-thread":
            raise KeyError(outbound.address.thread)
        return await super().send(outbound)


@breaks("answer_goes_to_the_thread_of_its_question", "goes to its thread")
class AnswersInTheOpen(MemoryChannel):
    def request(self, where: Address, text: str, key: str, media: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        return super().request(evolve(where, thread=""), text, key, media)


@breaks("declared_media_are_sent", "media arrive as they were sent")
class SendsMediaWithWords(MemoryChannel):
    def request(self, where: Address, text: str, key: str, media: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        return super().request(where, text, key, media if text else ())


@breaks("media_that_are_not_declared_are_refused_or_put_into_words", "refused with a reason, or put into words")
class LosesWhatItCannotSend(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if all(isinstance(part, Text) or self.knows(part) for part in outbound.parts):
            return await super().send(outbound)
        return Delivery("sent", "never")
