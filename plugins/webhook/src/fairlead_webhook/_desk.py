"""The requests whose senders wait for an answer: messages are handed in here, and answers are handed out."""

from __future__ import annotations

import trio
from attrs import define, field

from fairlead import Address, Delivery, Draft, Inbox, Outbound, Receipt
from fairlead_webhook._body import Arrival

__all__ = ["Desk", "Waiter"]

TAKING_SECONDS = 5.0
"""How long a client may take to receive an answer before nobody knows whether it has it."""


@define(eq=False)
class Waiter:
    """One request that waits. Only trio's thread touches it, but for `address` and `external_id`."""

    address: Address
    external_id: str
    deadline: float
    """By trio's clock."""
    _draft: Draft | None = None
    _answer: Outbound | None = None
    _news: trio.Event = field(factory=trio.Event)
    _scope: trio.CancelScope = field(factory=trio.CancelScope)
    _settled: trio.Event = field(factory=trio.Event)
    _taken: bool = False

    async def next(self) -> Draft | Outbound | None:
        """The newest draft, the answer, or None where no time is left. Drafts between are skipped."""
        # One scope for each call: `hurry` moves its deadline.
        with trio.CancelScope(deadline=self.deadline) as self._scope:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                if self._answer is not None:
                    return self._answer
                if self._draft is not None:
                    draft, self._draft = self._draft, None
                    return draft
        return None

    async def answer(self) -> Outbound | None:
        """The answer, or None where no time is left."""
        while isinstance(found := await self.next(), Draft):
            pass
        return found

    def show(self, draft: Draft) -> None:
        self._draft = draft
        self._news.set()

    def hurry(self, deadline: float) -> None:
        """Wait no longer than until `deadline`."""
        self.deadline = self._scope.deadline = min(self.deadline, deadline)

    def settle(self, *, taken: bool) -> None:
        """The request is over, and the client has the answer or not. The first call counts."""
        if not self._settled.is_set():
            self._taken = taken
            self._settled.set()

    async def offer(self, outbound: Outbound) -> Delivery | None:
        """Give the answer to the client. None: it is surely not there any more."""
        self._answer = outbound
        self._news.set()
        with trio.move_on_after(TAKING_SECONDS):
            await self._settled.wait()
            return Delivery("sent", external_id=outbound.id) if self._taken else None
        return Delivery("ambiguous", reason="the waiting client took too long to receive the answer")


@define(eq=False)
class Desk:
    """Takes messages to the inbox, and answers to those who wait for them."""

    inbox: Inbox
    _waiters: list[Waiter] = field(factory=list)
    """Oldest first."""
    _latest: float = float("inf")

    async def admit(self, arrival: Arrival) -> tuple[Receipt, Waiter | None]:
        """Hand in a message; a waiter comes back where its sender waits and it was accepted. Errors: `Inbox.accept`."""
        inbound = arrival.inbound
        if not arrival.wait:
            return await self.inbox.accept(inbound), None
        deadline = min(trio.current_time() + arrival.wait, self._latest)
        waiter = Waiter(inbound.address, inbound.external_id, deadline)
        self._waiters.append(waiter)  # before the message is handed in: the answer may be faster than the receipt
        kept = False
        try:
            receipt = await self.inbox.accept(inbound)
            kept = receipt.status == "accepted" and bool(receipt.message)  # else it has decided, and gets no answer
        finally:
            if not kept:
                self.leave(waiter, taken=False)
        return receipt, waiter if kept else None

    def leave(self, waiter: Waiter, *, taken: bool) -> None:
        """A request is over. Harmless where it already was."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        waiter.settle(taken=taken)

    def show(self, draft: Draft) -> None:
        """Give a draft to the request that it is for.

        It does not say which message it answers: the oldest of its place, since a session has one turn at a time.
        """
        for waiter in self._waiters:
            if waiter.address == draft.address:
                waiter.show(draft)
                return

    async def hand_out(self, outbound: Outbound) -> Delivery | None:
        """Give an answer to the request that waits for it. None: nobody waits any more."""
        for waiter in list(self._waiters):
            if waiter.address == outbound.address and waiter.external_id == outbound.in_reply_to:
                delivery = await waiter.offer(outbound)
                self.leave(waiter, taken=False)
                if delivery is not None:
                    return delivery
        return None

    def close(self, seconds: float) -> None:
        """Nobody waits longer than that many seconds from now on."""
        self._latest = trio.current_time() + seconds
        for waiter in self._waiters:
            waiter.hurry(self._latest)
