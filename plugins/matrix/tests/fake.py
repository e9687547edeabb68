"""A homeserver that does what a real one cannot be made to do: it breaks off, talks nonsense, and stands still."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import trio
from attrs import define, field

from fairlead import Address, Outbound, Text
from fairlead.testing import FakeInbox
from fairlead_matrix._channel import MatrixChannel

from .far import make_channel, running
from .relay import Asked, Relay, Told, relaying

ROOM, ANN, BOT = "!room:x", "@ann:x", "@bot:x"
OUTBOUND = Outbound("turn-1", Address("matrix", BOT, ROOM), (Text("hello"),))


def told(value: Any, status: int = 200, **headers: str) -> Told:
    return Told(status, json.dumps(value).encode(), list(headers.items()))


def fault(status: int, errcode: str, **more: Any) -> Told:
    return told({"errcode": errcode, "error": "of the test", **more}, status)


def message(text: Any, event_id: str, sender: str = ANN, **more: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"msgtype": "m.text", "body": text, **more}
    return {"type": "m.room.message", "sender": sender, "event_id": event_id, "content": content}


def joined(*events: Any, room: str = ROOM, **timeline: Any) -> dict[str, Any]:
    """What a poll tells of one room."""
    return {"join": {room: {"timeline": {"events": list(events), **timeline}}}}


def invited(room: str = "!new:x", inviter: str = ANN) -> dict[str, Any]:
    own = {"type": "m.room.member", "state_key": BOT, "sender": inviter, "content": {"membership": "invite"}}
    return {"invite": {room: {"invite_state": {"events": [own]}}}}


Answer = Told | dict[str, Any]
Route = Callable[[Asked], Told | None]


@define(eq=False)
class Fake:
    """`polls` are the answers to the long polls after the first one; then nothing happens any more."""

    polls: list[Answer] = field(factory=list)
    route: Route | None = None
    """Asked first about everything else; None: the usual."""
    asked: list[Asked] = field(factory=list)
    sent: dict[str, Any] = field(factory=dict)
    """What was sent, by transaction id."""
    position: int = 0
    newest: Asked | None = None
    more: trio.Event = field(factory=trio.Event)

    def tell(self, *answers: Answer) -> None:
        self.polls.extend(answers)
        self.more.set()

    def times(self, words: str) -> int:
        return sum(words in unquote(asked.target) for asked in self.asked)

    async def rule(self, asked: Asked, ask: Callable[[], Awaitable[Told]]) -> Told | None:
        self.asked.append(asked)
        own = self.route(asked) if self.route is not None else None
        return own or (await self._poll(asked) if asked.polls else self._usual(asked))

    async def _poll(self, asked: Asked) -> Told:
        first = "since=" not in asked.target
        self.newest = asked
        while not self.polls and not first and "timeout=0" not in asked.target:
            self.more = trio.Event()
            await self.more.wait()
            if self.newest is not asked:
                await trio.sleep_forever()  # whoever asked has gone away
        answer = self.polls.pop(0) if self.polls and not first else {}
        if isinstance(answer, Told):
            return answer
        self.position += 1
        return told({"next_batch": f"s{self.position}", "rooms": answer})

    def _usual(self, asked: Asked) -> Told:
        path = unquote(asked.target)
        if asked.sends:
            txn = path.rpartition("/")[2]
            self.sent.setdefault(txn, json.loads(asked.body))
            return told({"event_id": f"${txn}"})
        if "/event/$" in path:
            return told({"content": self.sent[path.rpartition("$")[2]]})
        if path.endswith("/account/whoami"):
            return told({"user_id": BOT, "device_id": "D"})
        if path.endswith("/joined_members"):
            return told({"joined": {ANN: {"display_name": "Ann"}, BOT: {}}})
        return fault(404, "M_NOT_FOUND") if "/state/" in path else told({})


@asynccontextmanager
async def faking(fake: Fake) -> AsyncIterator[Relay]:
    async with (
        httpx2.AsyncClient(trust_env=False) as client,
        relaying("http://127.0.0.1:9", client, fake.rule) as relay,
    ):
        yield relay


@asynccontextmanager
async def beside(fake: Fake, directory: Path, **options: Any) -> AsyncIterator[tuple[MatrixChannel, FakeInbox]]:
    """A channel that runs with this homeserver."""
    async with faking(fake) as relay:
        channel = make_channel(relay.url, directory, access_token="t", **options)
        async with running(channel) as inbox:
            yield channel, inbox
