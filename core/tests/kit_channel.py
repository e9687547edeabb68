"""A channel to the platform in memory that keeps every promise, and the kit with all its hooks."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import trio

from fairlead import (
    Address,
    Capabilities,
    Channel,
    Delivery,
    Draft,
    Finding,
    Inbound,
    Inbox,
    Outbound,
    Principal,
    Receipt,
    Text,
)
from fairlead.errors import FairleadError, JournalUnavailable
from fairlead.testing import ChannelConformance

from .kit_platform import BROKEN, LIMIT, TOKEN, Platform, Stream, lines_of

__all__ = ["EVERYTHING", "Link", "MemoryChannel", "MemoryKit"]

EVERYTHING = Capabilities(
    max_chars=LIMIT,
    streaming=True,
    edits=True,
    threads=True,
    media=frozenset({"image/*", "application/pdf"}),
    idempotency=True,
)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 60.0


class Link:
    """One connection, on which several calls wait for their answers."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.broken = False
        self.useful = False
        """Something came over it."""
        self._count = 0
        self._writing = trio.Lock()
        self._answers: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}

    async def tell(self, **words: Any) -> None:
        async with self._writing:
            await self.stream.send_all(json.dumps(words).encode() + b"\n")

    async def ask(self, **words: Any) -> dict[str, Any] | None:
        """The answer; None where the connection broke before it came."""
        self._count += 1
        ref = self._count
        answered, found = self._answers[ref] = (trio.Event(), [])
        try:
            await self.tell(ref=ref, **words)
            if not self.broken:
                await answered.wait()
        except BROKEN:
            return None
        finally:
            del self._answers[ref]
        return found[0] if found else None

    def answer(self, value: dict[str, Any]) -> None:
        answered, found = self._answers.get(value.get("ref", 0), (trio.Event(), []))
        found.append(value)
        answered.set()

    def give_up(self) -> None:
        self.broken = True
        for answered, _ in self._answers.values():
            answered.set()


class MemoryChannel(Channel):
    """Keeps every promise. The broken ones override a method."""

    def __init__(self, platform: Platform, directory: Path, capabilities: Capabilities = EVERYTHING) -> None:
        self.name = "kit"
        self.capabilities = capabilities
        self.platform = platform
        self.directory = directory
        self.link: Link | None = None

    async def run(self, inbox: Inbox) -> None:
        pause, ready = FIRST_PAUSE, False
        while True:
            try:
                stream = await self.platform.connect(TOKEN)
            except OSError:
                await trio.sleep(pause)  # real time: the pause of a channel that is checked on a real clock
                pause = self.longer(pause)
                continue
            if not ready:
                self.say_ready(inbox)
                ready = True
            link = Link(stream)
            await self.serve(link, inbox)
            pause = FIRST_PAUSE if link.useful else self.longer(pause)
            await trio.sleep(pause)  # real time: the same

    def say_ready(self, inbox: Inbox) -> None:
        inbox.ready("in memory")

    def longer(self, pause: float) -> float:
        return min(2 * pause, LONGEST_PAUSE)

    async def serve(self, link: Link, inbox: Inbox) -> None:
        """Until the connection breaks."""
        self.link = link
        give, take = trio.open_memory_channel[dict[str, Any]](1000)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.take_all, link, take, inbox, nursery.cancel_scope)
                async with aclosing(self.lines(link.stream)) as lines:
                    with suppress(*BROKEN):
                        async for line in lines:
                            link.useful = True
                            self.sort(link, self.parse(line), give)
                nursery.cancel_scope.cancel()
        finally:
            self.link = None
            link.give_up()
            await trio.aclose_forcefully(link.stream)

    def lines(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        return lines_of(stream)

    def parse(self, line: bytes) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}

    def sort(self, link: Link, value: dict[str, Any], give: trio.MemorySendChannel[dict[str, Any]]) -> None:
        if value.get("do") == "answer":
            link.answer(value)
        elif value.get("do") == "said":
            give.send_nowait(value)

    async def take_all(
        self, link: Link, take: trio.MemoryReceiveChannel[dict[str, Any]], inbox: Inbox, scope: trio.CancelScope
    ) -> None:
        async for said in take:
            if not await self.take_one(link, said, inbox):
                scope.cancel()  # the platform delivers again with a new connection

    async def take_one(self, link: Link, said: dict[str, Any], inbox: Inbox) -> bool:
        try:
            await self.take_receipt(await inbox.accept(self.inbound(said)), said)
        except JournalUnavailable:
            return False
        except FairleadError:
            pass  # it will be as malformed the next time
        with suppress(*BROKEN):
            await link.tell(do="ack", id=said["id"])
        return True

    async def take_receipt(self, receipt: Receipt, said: dict[str, Any]) -> None:
        if receipt.status == "refused" and self.link is not None:
            with suppress(*BROKEN):
                await self.link.tell(**self.request(self.place(said), receipt.notice, said["id"]), ref=0)

    def inbound(self, said: dict[str, Any]) -> Inbound:
        author = Principal(f"{self.name}:{said['author']}", said["author"])
        return Inbound(self.place(said), author, (Text(said["text"]),), said["id"])

    def place(self, said: dict[str, Any]) -> Address:
        return Address(self.name, "bot", said["place"], said["thread"])

    # -- out

    async def send(self, outbound: Outbound) -> Delivery:
        foreign = [part for part in outbound.parts if not isinstance(part, Text) and not self.knows(part)]
        if foreign:
            return Delivery(
                "failed", reason=f"this channel cannot send {type(foreign[0]).__name__.lower()}s of that type"
            )
        link = self.link
        if link is None:
            return Delivery("failed", reason="it is not connected", retry_after=1.0)
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        media = [(part.media_type, part.data.hex()) for part in outbound.parts if not isinstance(part, Text)]  # type: ignore[union-attr]  # bytes, in this kit
        answer = await link.ask(**self.request(outbound.address, text, outbound.id, media))
        return self.judge(answer)

    def knows(self, part: Any) -> bool:
        kind = getattr(part, "media_type", "")
        return kind in self.capabilities.media or f"{kind.partition('/')[0]}/*" in self.capabilities.media

    def request(self, where: Address, text: str, key: str, media: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
        return {
            "do": "show",
            "place": where.conversation,
            "thread": where.thread,
            "text": text,
            "media": [*media],
            "key": key,
        }

    def judge(self, answer: dict[str, Any] | None) -> Delivery:
        if answer is None:
            return Delivery("ambiguous", reason="the connection broke")
        if "error" in answer:
            return Delivery("failed", reason=answer["error"], retry_after=answer.get("after"))
        return Delivery("sent", external_id=answer["id"])

    async def edit(self, delivery: Delivery, outbound: Outbound) -> Delivery:
        text = "\n".join(part.text for part in outbound.parts if isinstance(part, Text))
        answer = await self.link.ask(do="edit", id=delivery.external_id, text=text) if self.link else None
        return self.judge(answer)

    async def preview(self, draft: Draft) -> None:
        if self.link is not None:
            await self.link.ask(do="draft", key=draft.id, text=draft.text)

    async def check(self) -> Sequence[Finding]:
        with trio.move_on_after(2):
            try:
                await self.platform.ping()
            except OSError as error:
                return [Finding("platform", ok=False, detail=str(error), next_step="ping platform.example")]
            return [Finding("platform", ok=True, detail="it answers")]
        return [Finding("platform", ok=False, detail="no answer", next_step="ping platform.example")]


class MemoryKit(ChannelConformance):
    """Every hook."""

    make: Callable[[Platform, Path], Channel]
    platform: Platform
    idempotent: ClassVar[bool] = True
    backlog = True

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            self.platform = Platform(nursery, self.idempotent)
            yield
            nursery.cancel_scope.cancel()

    async def make_worker(self, tmp_path: Path) -> Channel:
        return type(self).make(self.platform, tmp_path)

    async def inbound(self, text: str, external_id: str) -> None:
        await self.platform.say(text, external_id)

    async def outbox(self) -> Sequence[str]:
        return self.platform.read()

    async def elsewhere(self, text: str, external_id: str) -> None:
        await self.platform.say(text, external_id, "elsewhere")

    async def elsewhere_outbox(self) -> Sequence[str]:
        return self.platform.read("elsewhere")

    async def in_thread(self, text: str, external_id: str, thread: str) -> None:
        await self.platform.say(text, external_id, "room", thread)

    async def thread_outbox(self, thread: str) -> Sequence[str]:
        return self.platform.read("room", thread)

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        return [each for shown in self.platform.shown for each in shown.media]

    async def acknowledged(self, external_id: str) -> bool:
        return external_id in self.platform.acknowledged

    async def restarted(self) -> None:
        """The channel connects by itself."""

    async def secrets(self) -> Sequence[str]:
        return [TOKEN]

    async def drop(self) -> None:
        await self.platform.drop()

    async def away(self) -> None:
        self.platform.gone = True
        await self.platform.drop()

    async def back(self) -> None:
        self.platform.gone = False
        self.platform.serving.set()

    async def attempts(self) -> int:
        return self.platform.tries

    async def hang(self) -> None:
        self.platform.serving = trio.Event()

    async def swallow(self) -> None:
        self.platform.swallowing = True

    async def refuse(self, seconds: int) -> None:
        self.platform.refusing = seconds

    async def half(self, text: str, external_id: str) -> None:
        await self.platform.send_raw(json.dumps({"do": "said", "id": external_id, "text": text}).encode()[:60])
        await self.platform.drop()
        await self.platform.say(text, external_id)

    async def raw(self, data: bytes) -> None:
        await self.platform.send_raw(data)

    async def misbehave(self) -> None:
        """Somebody is there who neither reads nor writes."""
        self.platform.deaf += 1
