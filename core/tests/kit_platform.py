"""A chat service in memory that behaves as badly as real ones, with lines of JSON on byte streams."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import trio
import trio.testing
from attrs import define, field

__all__ = ["BROKEN", "LIMIT", "TOKEN", "Platform", "Shown", "Stream", "lines_of"]

LIMIT = 500
"""Characters of one message."""
TOKEN = "kit-token-0f3a9c71"
LONGEST_LINE = 100_000
Stream = trio.StapledStream[Any, Any]
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@define(eq=False)
class Shown:
    """A message as people see it."""

    place: str
    thread: str
    text: str
    media: list[tuple[str, bytes]]
    key: str
    number: int


@define(eq=False)
class Platform:
    """Events are delivered until they are acknowledged, and again with each new connection."""

    nursery: trio.Nursery
    idempotent: bool = True
    shown: list[Shown] = field(factory=list)
    drafts: dict[str, str] = field(factory=dict)
    waiting: dict[str, dict[str, Any]] = field(factory=dict)
    acknowledged: set[str] = field(factory=set)
    links: list[Stream] = field(factory=list)
    tries: int = 0
    deaf: int = 0
    """People who are there and read nothing."""
    gone: bool = False
    swallowing: bool = False
    refusing: int = 0
    """Seconds after which the next message may come again; 0 takes it."""
    serving: trio.Event = field(factory=trio.Event)
    _count: int = 0
    _writing: trio.Lock = field(factory=trio.Lock)

    def __attrs_post_init__(self) -> None:
        self.serving.set()

    # -- what the channel's library would do

    async def connect(self, token: str) -> Stream:
        """A stream of lines. `OSError`: nobody is there."""
        self.tries += 1
        await trio.lowlevel.checkpoint()
        if self.gone or token != TOKEN:
            raise OSError("connection refused")
        near, far = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self._serve, far)
        return near

    async def ping(self) -> None:
        """`OSError`: nobody is there. Waits while it hangs."""
        await self.serving.wait()
        if self.gone:
            raise OSError("connection refused")

    # -- what people do

    async def say(self, text: str, event: str, place: str = "room", thread: str = "", author: str = "alice") -> None:
        said = {"do": "said", "id": event, "place": place, "thread": thread, "author": author, "text": text}
        self.waiting[event] = said
        for link in [*self.links]:
            with suppress(*BROKEN):
                await self._write(link, said)

    def read(self, place: str = "room", thread: str | None = None) -> list[str]:
        return [each.text for each in self.shown if each.place == place and thread in (None, each.thread)]

    async def drop(self) -> None:
        links, self.links = self.links, []
        for link in links:
            await trio.aclose_forcefully(link)

    async def send_raw(self, data: bytes) -> None:
        for link in [*self.links]:
            with suppress(*BROKEN):
                async with self._writing:
                    await link.send_all(data)

    # -- inside

    async def _write(self, link: Stream, value: dict[str, Any]) -> None:
        await self.serving.wait()
        async with self._writing:
            await link.send_all(json.dumps(value).encode() + b"\n")

    async def _serve(self, link: Stream) -> None:
        with suppress(*BROKEN):
            told: set[str] = set()
            while more := [said for event, said in self.waiting.items() if event not in told]:
                for said in more:
                    told.add(said["id"])
                    await self._write(link, said)
            self.links.append(link)
            async with aclosing(lines_of(link)) as lines:
                async for line in lines:
                    await self.serving.wait()
                    asked = json.loads(line)
                    answer = await self._obey(asked)
                    if answer is not None:
                        await self._write(link, {"do": "answer", "ref": asked["ref"], **answer})
        await trio.aclose_forcefully(link)

    async def _obey(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        if asked["do"] == "ack":
            self.waiting.pop(asked["id"], None)
            self.acknowledged.add(asked["id"])
            return None
        if asked["do"] == "draft":
            self.drafts[asked["key"]] = asked["text"]
            return {}
        if asked["do"] == "edit":
            for each in self.shown:
                if f"m{each.number}" == asked["id"]:
                    each.text = asked["text"]
            return {"id": asked["id"]}
        return await self._show(asked)

    async def _show(self, asked: dict[str, Any]) -> dict[str, Any]:
        fault = self._fault_of(asked)
        if fault:
            return fault
        known = [each for each in self.shown if self.idempotent and each.key == asked["key"]]
        if not known:
            self._count += 1
            media = [(kind, bytes.fromhex(data)) for kind, data in asked["media"]]
            known = [Shown(asked["place"], asked["thread"], asked["text"], media, asked["key"], self._count)]
            self.shown += known
            self.drafts.pop(asked["key"], None)
        if self.swallowing:
            self.swallowing = False
            await self.drop()
        for link in [*self.links]:  # whoever is there sees it, also the one who sent it
            with suppress(*BROKEN):
                await self._write(link, {"do": "seen", "id": f"m{self._count}", "text": asked["text"]})
        return {"id": f"m{known[0].number}"}

    def _fault_of(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self.refusing:
            after, self.refusing = self.refusing, 0
            return {"error": "too many requests", "after": after}
        if asked["place"] not in ("room", "elsewhere"):
            return {"error": "no such room"}
        if len(asked["text"]) > LIMIT or "\x00" in asked["text"]:
            return {"error": "this text cannot be shown"}
        return {}


async def lines_of(stream: Stream) -> AsyncGenerator[bytes, None]:
    """Lines without their ends, until the stream ends or one is too long."""
    buffered = b""
    while len(buffered) <= LONGEST_LINE:
        line, end, rest = buffered.partition(b"\n")
        if end:
            buffered = rest
            yield line
            continue
        more = await stream.receive_some()
        if not more:
            return
        buffered += more
