"""Channels that break a promise while things go wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import trio
from attrs import evolve

from fairlead import Address, Delivery, Finding, Inbox, Outbound
from fairlead.errors import FairleadError

from .kit_channel import Link, MemoryChannel
from .kit_channel_mutants import Counting, Mutant, into, text_of
from .kit_platform import TOKEN, Platform

__all__ = ["FAULTS", "LeavesFilesOpen"]

FAULTS: list[Mutant] = []
breaks = partial(into, FAULTS)


@breaks("run_is_ready_once_and_stops_when_cancelled", "ready() is called once")
class IsReadySomewhere(MemoryChannel):
    def say_ready(self, inbox: Inbox) -> None:
        inbox.ready("")


@breaks("run_stops_at_any_moment", "run() stops when it is cancelled")
class BeginsInPeace(MemoryChannel):
    async def run(self, inbox: Inbox) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(8)  # real time: none, the clock jumps
        await super().run(inbox)


@breaks("run_stops_while_a_message_is_handed_in", "run() stops 5 s")
class HandsInToTheEnd(MemoryChannel):
    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 20):
            return await super().take_one(link, said, inbox)
        return True


@breaks("run_stops_while_the_far_side_hangs", "run() stops 5 s")
class SaysGoodBye(MemoryChannel):
    """Unless it has said something else."""

    quiet = True

    async def send(self, outbound: Outbound) -> Delivery:
        self.quiet = False
        return await super().send(outbound)

    async def run(self, inbox: Inbox) -> None:
        try:
            await super().run(inbox)
        finally:
            if self.quiet:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 20):
                    await self.platform.serving.wait()


@breaks("opening_and_closing_leaves_nothing_behind", "lets go of everything")
class LeavesFilesOpen(MemoryChannel):
    leaked: ClassVar[list[int]] = []

    async def open(self) -> None:
        self.leaked.append(os.open(os.devnull, os.O_RDONLY))


@breaks("closing_twice_is_safe", "already closed")
class ClosesOnce(MemoryChannel):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise FairleadError("already closed")
        self.closed = True


@breaks("closing_during_a_send_ends_it", "close() is done")
class WaitsForItsSends(Counting):
    async def send_counted(self, outbound: Outbound) -> Delivery:
        delivery = await super().send_counted(outbound)
        await self.platform.serving.wait()  # for the confirmation that may still come
        return delivery

    async def close(self) -> None:
        with trio.move_on_after(20):
            while self.sending:  # noqa: ASYNC110  # a fault
                await trio.sleep(0.5)  # real time: none, the clock jumps


@breaks("cancelled_send_arrives_once_at_most", "arrives once at most", "far_side_that_hangs_holds_nothing")
class SendsItAllTheSame(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        try:
            return await super().send(outbound)
        except trio.Cancelled:
            if self.link is not None:
                with trio.CancelScope(shield=True):
                    words = self.request(outbound.address, text_of(outbound), f"{outbound.id}-again")
                    await self.link.tell(**words, ref=0)
            raise


@breaks("two_workers_do_not_disturb_each_other", "in its last form")
class SharesItsState(MemoryChannel):
    closed: ClassVar[bool] = False

    async def open(self) -> None:
        type(self).closed = False

    async def close(self) -> None:
        type(self).closed = True

    async def send(self, outbound: Outbound) -> Delivery:
        if self.closed:
            return Delivery("failed", reason="it is closed")
        return await super().send(outbound)


@breaks("making_has_no_effects_and_opening_can_be_repeated", "made without effects")
class WritesWhenItIsMade(MemoryChannel):
    def __init__(self, platform: Platform, directory: Path) -> None:
        super().__init__(platform, directory)
        (directory / "lock").touch()


@breaks("check_says_how_it_is", "says what and how")
class IsVague(MemoryChannel):
    async def check(self) -> Sequence[Finding]:
        return [evolve(finding, detail="") if finding.ok else finding for finding in await super().check()]


@breaks("check_answers_in_every_state", "it does not run", "secrets_are_never_shown")
class AnswersWhenItRan(MemoryChannel):
    ran = False

    async def run(self, inbox: Inbox) -> None:
        try:
            await super().run(inbox)
        finally:
            self.ran = True

    async def check(self) -> Sequence[Finding]:
        if self.ran:
            raise FairleadError("it does not run")
        return await super().check()


@breaks("check_tells_that_the_far_side_is_gone", "finds that the far side is gone")
class IsContent(MemoryChannel):
    async def check(self) -> Sequence[Finding]:
        return [Finding("platform", ok=True, detail="fine")]


@breaks("connection_that_broke_is_made_again", "finds its far side again")
class TriesTwice(MemoryChannel):
    links = 0

    async def serve(self, link: Link, inbox: Inbox) -> None:
        self.links += 1
        if self.links > 2:
            await trio.sleep_forever()
        await super().serve(link, inbox)


@breaks("far_side_that_was_gone_is_found_again", "the place is the same", "what_was_said_meanwhile_is_heard")
class MovesAway(MemoryChannel):
    def longer(self, pause: float) -> float:
        self.moved = True
        return super().longer(pause)

    def place(self, said: dict[str, Any]) -> Address:
        account = "bot-2" if hasattr(self, "moved") else "bot"
        return evolve(super().place(said), account=account)


@breaks("tries_to_reconnect_grow_rarer", "tries in 3 s")
class Hammers(MemoryChannel):
    def longer(self, pause: float) -> float:
        return pause


@breaks("what_was_said_meanwhile_is_heard", "is handed in")
class ForgetsWhatIsOld(MemoryChannel):
    skip = 0

    def longer(self, pause: float) -> float:
        self.skip = 3
        return super().longer(pause)

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        if self.skip:
            self.skip -= 1
            await link.tell(do="ack", id=said["id"])
            return True
        return await super().take_one(link, said, inbox)


@breaks("sending_while_the_far_side_is_gone_has_a_true_outcome", "sent is what arrived")
class IsSure(MemoryChannel):
    running = False

    async def run(self, inbox: Inbox) -> None:
        self.running = True
        try:
            await super().run(inbox)
        finally:
            self.running = False

    async def send(self, outbound: Outbound) -> Delivery:
        if self.running and self.link is None:
            return Delivery("sent", "never")
        return await super().send(outbound)


@breaks("peer_that_neither_reads_nor_writes_delays_nobody", "send() returns")
class WaitsForTheDeaf(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        if self.platform.deaf:
            await trio.sleep_forever()
        return await super().send(outbound)


@breaks("far_side_that_hangs_holds_nothing", "check() answers")
class ChecksPatiently(MemoryChannel):
    async def check(self) -> Sequence[Finding]:
        try:
            await self.platform.ping()
        except OSError:
            return await super().check()
        return [Finding("platform", ok=True, detail="it answers")]


@breaks("far_side_that_is_slow_leaves_a_true_outcome", "sent is what arrived")
class HasNoPatience(MemoryChannel):
    async def send(self, outbound: Outbound) -> Delivery:
        with trio.move_on_after(0.2):
            return await super().send(outbound)
        return Delivery("failed", reason="no answer in time")


@breaks("secrets_are_not_shown_when_things_fail", "also in errors")
class QuotesRequests(MemoryChannel):
    async def check(self) -> Sequence[Finding]:
        found = await super().check()
        return [finding if finding.ok else evolve(finding, detail=f"GET /bot{TOKEN}/me failed") for finding in found]


@breaks("send_without_a_confirmation_is_not_taken_for_failed", "ambiguous, and shown once")
class TakesItForFailed(MemoryChannel):
    def judge(self, answer: dict[str, Any] | None) -> Delivery:
        return Delivery("failed", reason="the connection broke") if answer is None else super().judge(answer)


@breaks("send_that_is_refused_has_failed_and_may_come_again", "when to come again")
class ComesAgainAtOnce(MemoryChannel):
    def judge(self, answer: dict[str, Any] | None) -> Delivery:
        delivery = super().judge(answer)
        return evolve(delivery, retry_after=0.0) if delivery.status == "failed" else delivery


@breaks("secrets_are_never_shown", "by nothing but `reveal`")
class ShowsItsToken(MemoryChannel):
    def __repr__(self) -> str:
        return f"MemoryChannel(token={TOKEN!r})"
