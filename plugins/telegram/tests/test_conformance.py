"""Telegram keeps the promises of a channel: polled and by webhook, in a private chat and in topics, with its markup."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from fairlead import Channel, Delivery, Outbound
from fairlead.testing import ChannelConformance
from fairlead_telegram import _doctor, _pace, _poll
from fairlead_telegram._channel import TelegramChannel
from fairlead_telegram._markup import pieces_of

from .far import make_channel
from .methods import ANN, BOB, BOBS, FORUM, PRIVATE
from .server import FakeTelegram, Fault, serving


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paces of Telegram have tests of their own."""
    monkeypatch.setattr(_pace, "SECONDS", 0.05)
    monkeypatch.setattr(_pace, "GROUP_SECONDS", 0.05)
    monkeypatch.setattr(_poll, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(_doctor, "SECONDS", 2.0)


class Noting(TelegramChannel):
    """Keeps which messages go on with another one, as the id of an answer says."""

    later: set[int]

    async def send(self, outbound: Outbound) -> Delivery:
        delivery = await super().send(outbound)
        self.later |= {int(each) for each in delivery.external_id.split("+")[1:]}
        return delivery


class Kit(ChannelConformance):
    """The far side, for each of the ways."""

    backlog = True
    options: ClassVar[Mapping[str, Any]] = {"markup": "plain"}
    chat: ClassVar[dict[str, Any]] = PRIVATE
    telegram: FakeTelegram

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        self.later: set[int] = set()
        self.events: dict[tuple[str, str], tuple[dict[str, Any], int]] = getattr(self, "events", {})
        with serving() as self.telegram:
            yield

    async def make_worker(self, tmp_path: Path) -> Channel:
        channel = Noting(make_channel(self.telegram, tmp_path, **self.options).options)
        channel.later = self.later
        return channel

    def report(self, name: str, text: str, event: str, **more: Any) -> None:
        """Deliver a message; one that was delivered before comes again."""
        self.telegram.reached_at = self.place
        known = self.events.get((name, event))
        body = known[0] if known is not None else self.telegram.message(text, **{"chat": self.chat, **more})
        self.events[name, event] = (body, self.telegram.push("message", body))

    async def inbound(self, text: str, external_id: str) -> None:
        self.report("", text, external_id)

    async def outbox(self) -> Sequence[str]:
        texts: list[str] = []
        for body in self.telegram.written(self.chat["id"]):
            text = body.get("text", body.get("caption", ""))
            if body["message_id"] in self.later:
                texts[-1] += f" {text}"
            else:
                texts.append(text)
        return texts

    async def elsewhere(self, text: str, external_id: str) -> None:
        self.report("elsewhere", text, external_id, author=BOB, chat=BOBS)

    async def elsewhere_outbox(self) -> Sequence[str]:
        return self.telegram.texts(BOBS["id"])

    async def media_outbox(self) -> Sequence[tuple[str, bytes]]:
        return self.telegram.media

    async def acknowledged(self, external_id: str) -> bool:
        _, number = self.events["", external_id]
        return number not in [update["update_id"] for update in self.telegram.updates]

    async def restarted(self) -> None:
        """It is found at the same address."""

    async def drop(self) -> None:
        self.telegram.cut()

    async def away(self) -> None:
        self.telegram.away = True
        self.telegram.cut()

    async def back(self) -> None:
        self.telegram.away = False
        self.telegram.flowing.set()

    async def attempts(self) -> int:
        return self.telegram.attempts

    async def hang(self) -> None:
        self.telegram.flowing.clear()

    async def swallow(self) -> None:
        self.telegram.fail("sendMessage", after=True)

    async def refuse(self, seconds: int) -> None:
        words = f"Too Many Requests: retry after {seconds}"
        self.telegram.fail("sendMessage", 429, words, parameters={"retry_after": seconds})

    async def half(self, text: str, external_id: str) -> None:
        self.telegram.faults.append(Fault("getUpdates", half=True))
        await self.inbound(text, external_id)

    async def raw(self, data: bytes) -> None:
        self.telegram.faults.append(Fault("getUpdates", raw=data))
        self.telegram.interrupt()


class TestPolled(Kit):
    """Without markup: what is sent is what is read, letter by letter."""


class TestFormatted(Kit):
    """With markup: the words are read without its marks."""

    options: ClassVar[Mapping[str, Any]] = {}

    async def reads(self, *texts: str, last: int = 0) -> None:
        shown = [" ".join(piece.plain for piece in pieces_of(text)) for text in texts]
        await super().reads(*shown, last=last)


class TestTopics(Kit):
    """In a supergroup with topics, whose every message is for the bot."""

    options: ClassVar[Mapping[str, Any]] = {"markup": "plain", "groups": "all", "streaming": False}
    chat: ClassVar[dict[str, Any]] = FORUM

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        async with super().far_side(tmp_path):
            self.telegram.me["can_read_all_group_messages"] = True
            yield

    async def in_thread(self, text: str, external_id: str, thread: str) -> None:
        number = {"one": 11, "two": 12}[thread]
        self.report(thread, text, external_id, message_thread_id=number, is_topic_message=True, author=ANN)

    async def thread_outbox(self, thread: str) -> Sequence[str]:
        number = {"one": 11, "two": 12}[thread]
        found = [body for body in self.telegram.written(FORUM["id"]) if body.get("message_thread_id") == number]
        return [body["text"] for body in found]


class TestPosted(Kit):
    """By webhook."""

    options: ClassVar[Mapping[str, Any]] = {
        "markup": "plain",
        "webhook_url": "https://example.org/telegram",
        "port": 0,
        "streaming": False,
    }

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as self.clients, super().far_side(tmp_path):
            yield

    async def connect(self) -> trio.SocketStream:
        host, port = self.place.removeprefix("http://").partition("/")[0].split(":")
        return await trio.open_tcp_stream(host, int(port))

    async def misbehave(self) -> None:
        """One client that sends half a request, and one that sends nothing."""
        for sent in (b"POST /telegram HTTP/1.1\r\nHost: x\r\nContent-Le", b""):
            stream = await self.clients.enter_async_context(await self.connect())
            await stream.send_all(sent)

    async def half(self, text: str, external_id: str) -> None:
        body = self.telegram.message(text)
        update = json.dumps({"update_id": 1, "message": body}).encode()
        head = f"POST / HTTP/1.1\r\nHost: x\r\nX-Telegram-Bot-Api-Secret-Token: {self.telegram.webhook['secret_token']}"
        async with await self.connect() as stream:
            await stream.send_all(f"{head}\r\nContent-Length: {len(update)}\r\n\r\n".encode() + update[:-20])
        self.events["", external_id] = (body, 1)

    async def raw(self, data: bytes) -> None:
        async with await self.connect() as stream:
            with suppress(trio.BrokenResourceError):  # the channel has closed it already
                await stream.send_all(data)
