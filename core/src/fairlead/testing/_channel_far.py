"""The far side of a channel under test: the hooks that authors override, and how the checks speak and read there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import ClassVar

import trio
from attrs import evolve
from trio.testing import wait_all_tasks_blocked

from fairlead._contracts import Channel
from fairlead._events import MessageAccepted
from fairlead._message import Address, Message, Part, Text, new_id
from fairlead._work import Capabilities, Delivery, Draft, Inbound, Outbound
from fairlead.testing._channel_inbox import KitInbox
from fairlead.testing._fakes import FakeInbox
from fairlead.testing._worker_kit import LifeConformance, promise, same, within, writable

__all__ = [
    "CAN",
    "EXTERNAL",
    "PREVIEW",
    "READY",
    "RETURN_SECONDS",
    "RUN",
    "SECONDS",
    "SEND",
    "STOP_SECONDS",
    "ChannelFar",
    "cut_off",
    "words_of",
]

RUN, SEND, READY = "fairlead.Channel.run", "fairlead.Channel.send", "fairlead.Inbox.ready"
EXTERNAL, CAN, PREVIEW = "fairlead.Inbound.external_id", "fairlead.Capabilities", "fairlead.Channel.preview"
SECONDS = 10
"""For what should take an instant, on a busy machine."""
STOP_SECONDS = 5
RETURN_SECONDS = 30
"""For what needs a new connection, after a pause that grows."""
PATIENCE = 1
"""Seconds for the far side to show what the channel has sent."""


class ChannelFar(LifeConformance[Channel]):
    """The hooks. `ChannelConformance` lists them."""

    place = ""
    """What `Inbox.ready` was given: where the far side can reach the channel."""
    backlog: ClassVar[bool] = False
    """Set it where the platform keeps for later what is said while the channel is away."""
    _declared: ClassVar[Capabilities]

    # -- hooks that everybody overrides

    async def inbound(self, text: str, external_id: str) -> None:
        """Override: at the far side somebody says `text`, always in the same conversation.

        `external_id` names the event: the same one means that the platform delivers it again. It must not raise where
        the channel does not take it; `ValueError` says that on this platform nobody can say such a text.
        """
        raise NotImplementedError(f"{type(self).__name__} must override inbound(self, text, external_id)")

    async def outbox(self) -> Sequence[str]:
        """Override: the texts that the far side can read now, oldest first; of an edited message its last form."""
        raise NotImplementedError(f"{type(self).__name__} must override outbox(self)")

    # -- hooks where the platform has such a thing

    async def misbehave(self) -> None:
        """Override where it applies: the far side connects and then neither reads nor writes."""

    async def elsewhere(self, text: str, external_id: str) -> None:
        """Override: as `inbound`, in another conversation."""
        raise NotImplementedError

    async def elsewhere_outbox(self) -> Sequence[str]:
        """Override: as `outbox`, of that other conversation."""
        raise NotImplementedError

    async def in_thread(self, text: str, external_id: str, thread: str) -> None:
        """Override: as `inbound`, in a thread of the conversation that the far side calls `thread`."""
        raise NotImplementedError

    async def thread_outbox(self, thread: str) -> Sequence[str]:
        """Override: as `outbox`, of that thread alone."""
        raise NotImplementedError

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        """Override: media type and bytes of what was sent beside text, oldest first."""
        raise NotImplementedError

    async def acknowledged(self, external_id: str) -> bool:
        """Override: whether the platform was told that this event was taken, so that it never delivers it again."""
        raise NotImplementedError

    async def restarted(self) -> None:
        """Override, maybe empty: a channel was made anew, and runs; the far side, which is the same, finds it."""
        raise NotImplementedError

    async def drop(self) -> None:
        """Override: every connection breaks, and new ones are taken."""
        raise NotImplementedError

    async def away(self) -> None:
        """Override: the far side is gone; connections break, and new ones are refused or cut off at once."""
        raise NotImplementedError

    async def back(self) -> None:
        """Override: the end of `away` or `hang`."""
        raise NotImplementedError

    async def attempts(self) -> int:
        """Override: how often the channel has tried to connect, also while the far side was away."""
        raise NotImplementedError

    async def hang(self) -> None:
        """Override: the far side keeps its connections, reads and answers nothing, and forgets nothing."""
        raise NotImplementedError

    async def swallow(self) -> None:
        """Override: the next message that the channel sends is shown, and then the connection breaks unconfirmed."""
        raise NotImplementedError

    async def refuse(self, seconds: int) -> None:
        """Override: the next message that the channel sends is not taken; it may come again after `seconds`."""
        raise NotImplementedError

    async def half(self, text: str, external_id: str) -> None:
        """Override: the connection breaks in the middle of delivering such an event; it is delivered again later."""
        raise NotImplementedError

    async def raw(self, data: bytes) -> None:
        """Override: the far side sends these bytes where the protocol would have something sensible."""
        raise NotImplementedError

    # -- what the checks are written with

    async def has(self, name: str, tmp_path: Path) -> bool:
        """A hook that is overridden, or a capability that is declared."""
        if not hasattr(Capabilities(), name):
            return await super().has(name, tmp_path)
        cls = type(self)
        if "_declared" not in vars(cls):  # once for a class: the far side may take seconds to start
            async with self.opened(tmp_path) as channel:
                cls._declared = channel.capabilities
        return bool(getattr(cls._declared, name))

    @asynccontextmanager
    async def running(self, tmp_path: Path, inbox: KitInbox | None = None) -> AsyncIterator[tuple[Channel, KitInbox]]:
        """The far side, and an opened channel that runs, with the inbox it hands its messages to."""
        async with self.far_side(tmp_path), self.at_work(tmp_path, inbox) as both:
            yield both

    @asynccontextmanager
    async def at_work(self, tmp_path: Path, inbox: KitInbox | None = None) -> AsyncIterator[tuple[Channel, KitInbox]]:
        """An opened channel that runs. The far side must be there."""
        inbox = inbox or KitInbox()
        async with self.worker(tmp_path) as channel, self.listening(channel, inbox):
            yield channel, inbox

    @asynccontextmanager
    async def listening(self, channel: Channel, inbox: FakeInbox) -> AsyncIterator[None]:
        """The channel runs, and stops at the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_whole, channel, inbox)
            with within(SECONDS, "run() says that it is ready", READY):
                self.place = await inbox.wait_ready()
            yield
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        # Left only when run() is: a channel that ignores cancellation hangs here.
        took = trio.current_time() - began
        promise(took <= STOP_SECONDS, f"run() stops {STOP_SECONDS} s after it was cancelled", RUN, took)
        for inbound in inbox.accepted:
            writable(accepted(inbound))

    async def heard(self, inbox: FakeInbox, text: str, external_id: str = "") -> Inbound:
        """What the core gets of a message of the far side."""
        with within(SECONDS, "what is said at the far side is handed in", RUN):
            await self.inbound(text, external_id or new_id())
            got = await inbox.next()
        same([Text(text)], list(got.parts), "the text is handed in unchanged", RUN)
        return got

    async def hears(self, inbox: FakeInbox, text: str) -> Inbound:
        """As `heard`, whatever else was handed in before."""
        with within(SECONDS, "what is said at the far side is handed in", RUN):
            await self.inbound(text, new_id())
            while words_of((got := await inbox.next()).parts) != text:
                pass
        return got

    async def hears_again(self, inbox: FakeInbox) -> Inbound:
        """Once the channel has found its far side again; until then what is said may be lost."""
        asked: list[str] = []
        with within(RETURN_SECONDS, "it finds its far side again", RUN):
            while True:
                asked.append(f"are you there? {new_id()}")
                await self.inbound(asked[-1], new_id())
                with trio.move_on_after(0.5):
                    while words_of((got := await inbox.next()).parts) not in asked:
                        pass
                    return got
        raise AssertionError("not reached")  # for the type checker: `within` has raised

    async def send(self, channel: Channel, address: Address, text: str, key: str = "") -> Delivery:
        """Send text. The channel must not raise."""
        return await self.post(channel, Outbound(key or new_id(), address, (Text(text),)))

    async def post(self, channel: Channel, outbound: Outbound) -> Delivery:
        """Send anything. The channel must not raise."""
        with within(SECONDS, "send() returns", SEND):
            delivery = await channel.send(outbound)
        right = isinstance(delivery, Delivery) and delivery.status in ("sent", "ambiguous", "failed")  # type: ignore[redundant-expr]  # an author may give anything
        promise(right, "send() gives a Delivery", SEND, delivery)
        return delivery

    async def outcome_of(self, channel: Channel, outbound: Outbound, seconds: float = RETURN_SECONDS) -> Delivery:
        """What became of a send, whatever happens: an exception, or no end in time, counts as ambiguous."""
        delivery = Delivery("ambiguous", reason="it was cancelled")
        with trio.move_on_after(seconds):
            try:
                delivery = await channel.send(outbound)
            except Exception as error:  # noqa: BLE001  # that is what is meant
                delivery = Delivery("ambiguous", reason=repr(error))
        return delivery

    async def sends_again(self, channel: Channel, address: Address, text: str) -> None:
        """Once the channel has found its far side again; until then it may say that it has not."""
        with within(RETURN_SECONDS, "it sends again once the far side is back", SEND):
            while (await self.send(channel, address, text)).status == "failed":  # noqa: ASYNC110  # nobody tells when
                await trio.sleep(0.2)

    async def show_draft(self, channel: Channel, draft: Draft) -> None:
        """Show a draft."""
        with within(SECONDS, "preview() returns", PREVIEW):
            await channel.preview(draft)

    async def reads(self, *texts: str, last: int = 0) -> None:
        """The far side reads just this; of all that it ever read, or of the `last` ones."""
        seen: list[str] = []
        with trio.move_on_after(PATIENCE):
            while list(texts) != (seen := list(await self.outbox())[-last:]):  # noqa: ASYNC110  # the far side tells nobody
                await trio.sleep(0.02)
        same(list(texts), seen, "the far side reads what was sent, once, in order and in its last form", SEND)

    async def count_read(self, text: str, expected: Sequence[int] = (1,)) -> int:
        """How often the far side can read the text, once it is as expected, or at last."""
        found = -1
        with trio.move_on_after(PATIENCE):
            while (found := list(await self.outbox()).count(text)) not in expected:  # noqa: ASYNC110  # as in `reads`
                await trio.sleep(0.02)
        return found

    async def arrives(self, act: Callable[[], Awaitable[object]], text: str, words: str, source: str = SEND) -> None:
        """What the act adds to what can be read is that text, maybe in several messages cut at white space."""
        before, added, expected = len(await self.outbox()), "", "".join(text.split())
        await act()
        with trio.move_on_after(PATIENCE):
            while expected != added:
                added = "".join("".join(list(await self.outbox())[before:]).split())
                await trio.sleep(0.02)
        same(expected, added, words, source)

    async def wait_quiet(self) -> None:
        """Until every task here waits for something."""
        await wait_all_tasks_blocked(0.02)

    async def mutter(self, text: str, external_id: str) -> None:
        """Somebody says what the channel need not take, maybe while it stops: whatever the far side makes of it."""
        with suppress(Exception):  # the connection may be gone
            await self.inbound(text, external_id)

    async def work(self, worker: Channel) -> list[object]:
        """Hear something, and answer it."""
        inbox = KitInbox()
        async with self.listening(worker, inbox):
            if await self.has("restarted", Path()):
                await self.restarted()
            got = await self.heard(inbox, "hello there")
            delivery = await self.send(worker, got.address, "hello yourself")
            nowhere = evolve(got.address, conversation="nobody-of-that-name")
            return [got, delivery, await self.send(worker, nowhere, "hello nobody"), *inbox.places]


async def run_whole(channel: Channel, inbox: FakeInbox) -> None:
    """Run until cancelled; an exception ends the check."""
    try:
        await channel.run(inbox)
    except Exception as error:  # noqa: BLE001  # whatever it is, it ended the channel
        promise(None, "run() goes on until it is cancelled", RUN, error)


def accepted(inbound: Inbound) -> MessageAccepted:
    """The event that the journal has to write."""
    message = Message("user", inbound.parts, author=inbound.author)
    return MessageAccepted(message=message, address=inbound.address, external_id=inbound.external_id, at=0.0)


def words_of(parts: Sequence[Part]) -> str:
    """The text of the parts."""
    return "\n".join(part.text for part in parts if isinstance(part, Text))


async def cut_off(act: Callable[[], Awaitable[object]], steps: int, seconds: float = 0.0) -> bool:
    """Do it, and cancel it after so many turns of the scheduler and so many seconds; whether it was cancelled."""
    done = False
    async with trio.open_nursery() as nursery:

        async def cut() -> None:
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            if seconds:
                await trio.sleep(seconds)
            nursery.cancel_scope.cancel()

        nursery.start_soon(cut)
        try:
            await act()
            done = True
        finally:
            nursery.cancel_scope.cancel()
    return not done
