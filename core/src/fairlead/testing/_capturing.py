"""A channel in memory: the test speaks on one side and reads on the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from fairlead._contracts import Channel, Inbox
from fairlead._message import Address, Part, Principal, Text, new_id
from fairlead._work import Capabilities, Delivery, Draft, Inbound, Outbound, Receipt, WorkClass

__all__ = ["CapturingChannel"]


class CapturingChannel(Channel):
    """`say` is what a person writes, `next` and `sent` are what the person reads."""

    def __init__(self, name: str = "captured", *, capabilities: Capabilities | None = None) -> None:
        """`capabilities`: as it is, it streams and takes an idempotency key."""
        self.name = name
        self.capabilities = capabilities or Capabilities(streaming=True, idempotency=True)
        self.sent: list[Outbound] = []
        """What arrived, oldest first, each in its last form where it was edited."""
        self.drafts: list[Draft] = []
        self.edits: list[Outbound] = []
        self.receipts: list[Receipt] = []
        self.tries = 0
        """How often `send` was called."""
        self._outcomes: list[tuple[Delivery | Exception, bool]] = []
        self._inbox: Inbox | None = None
        self._listening = trio.Event()
        self._ended = trio.Event()
        self._shown, self._reading = trio.open_memory_channel[Outbound](math.inf)

    # -- the test's side

    async def say(
        self,
        content: str | Sequence[Part],
        *,
        author: str | Principal = "alice",
        external_id: str | None = None,
        conversation: str = "room",
        thread: str = "",
        account: str = "",
        reply_to: str = "",
        work_class: WorkClass = "interactive",
        priority: int = 0,
    ) -> Receipt:
        """Say something, as soon as the channel runs.

        `external_id`: a fresh one unless given; the same one twice is one message. Raises what `Inbox.accept` raises.
        """
        await self._listening.wait()
        assert self._inbox is not None
        who = author if isinstance(author, Principal) else Principal(f"{self.name}:{author}", author)
        receipt = await self._inbox.accept(
            Inbound(
                self.address(conversation, thread=thread, account=account),
                who,
                (Text(content),) if isinstance(content, str) else tuple(content),
                new_id() if external_id is None else external_id,
                reply_to,
                work_class,
                priority,
            )
        )
        self.receipts.append(receipt)
        return receipt

    async def next(self) -> Outbound:
        """The next message that arrived and was not yet taken here; waits for it."""
        return await self._reading.receive()

    async def cancel(self, conversation: str = "room") -> bool:
        """Ask to stop the turn that runs there."""
        await self._listening.wait()
        assert self._inbox is not None
        return await self._inbox.cancel(self.address(conversation))

    def end(self) -> None:
        """Nothing more will be said: `run` returns. Sending goes on."""
        self._ended.set()

    def fail_next(self, *outcomes: Delivery | Exception, arrives: bool = False) -> None:
        """What the next calls of `send` give or raise.

        `arrives`: the message is in `sent` all the same, as with an acknowledgement that was lost.
        """
        self._outcomes.extend((outcome, arrives) for outcome in outcomes)

    def address(self, conversation: str = "room", *, thread: str = "", account: str = "") -> Address:
        return Address(self.name, account, conversation, thread)

    # -- the core's side

    async def run(self, inbox: Inbox) -> None:
        self._inbox = inbox
        inbox.ready("in memory")
        self._listening.set()
        try:
            await self._ended.wait()
        finally:
            self._listening = trio.Event()

    async def send(self, outbound: Outbound) -> Delivery:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        outcome, arrives = self._outcomes.pop(0) if self._outcomes else (None, True)
        known = self.capabilities.idempotency and any(sent.id == outbound.id for sent in self.sent)
        if arrives and not known:
            self.sent.append(outbound)
            self._shown.send_nowait(outbound)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome or Delivery("sent", external_id=f"sent-{outbound.id}")

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        await trio.lowlevel.checkpoint()
        self.edits.append(outbound)
        for place, sent in enumerate(self.sent):
            if f"sent-{sent.id}" == delivery.external_id:
                self.sent[place] = outbound
        return delivery

    async def preview(self, draft: Draft) -> None:
        self.drafts.append(draft)
        await trio.lowlevel.checkpoint()
