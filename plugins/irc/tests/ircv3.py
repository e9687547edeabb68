"""A small server with the IRCv3 extensions that ngircd does not have, written from https://ircv3.net/irc.

Only the channel under test connects to it; people are names that the test lets speak.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import trio
from attrs import define, field

ALL = (
    *("message-tags", "server-time", "echo-message", "account-tag", "batch", "labeled-response", "cap-notify"),
    "draft/multiline=max-bytes=4096,max-lines=50",
)


@define(eq=False)
class Client:
    """One connection."""

    stream: trio.abc.Stream
    nick: str = ""
    account: str = ""
    caps: set[str] = field(factory=set)
    registered: bool = False
    negotiating: bool = False
    turn: trio.Lock = field(factory=trio.Lock)
    batches: dict[str, tuple[str, Mapping[str, str], list[tuple[str, bool, str]]]] = field(factory=dict)

    async def send(self, line: str, **tags: str) -> None:
        """A line, with those tags that the client has asked for."""
        if "batch" not in self.caps:
            tags.pop("batch", None)
        if "server-time" not in self.caps:
            tags.pop("time", None)
        if "account-tag" not in self.caps:
            tags.pop("account", None)
        if "message-tags" not in self.caps:
            tags.pop("msgid", None)
        head = "@" + ";".join(f"{key.replace('_', '/')}={value}" for key, value in tags.items()) + " " if tags else ""
        await self.write(f"{head}{line}\r\n".encode())

    async def write(self, data: bytes) -> None:
        """Bytes, one writer after the other."""
        async with self.turn:
            await self.stream.send_all(data)


@define(eq=False)
class Server:
    """The far side."""

    caps: tuple[str, ...] = ALL
    accounts: dict[str, str] = field(factory=dict)
    """Passwords by account, for SASL PLAIN."""
    external: bool = False
    """SASL EXTERNAL: whoever comes is `robot`."""
    people: dict[str, tuple[str, str]] = field(factory=lambda: {"ann": ("ann@home.example", "ann")})
    """``user@host`` and account (empty for none) by nick."""
    port: int = 0
    clients: list[Client] = field(factory=list)
    shown: list[tuple[str, str]] = field(factory=list)
    """Target and text of what arrived."""
    lines: list[str] = field(factory=list)
    """All that clients sent."""
    kept: list[tuple[str, str, str, str]] = field(factory=list)
    """What was said while nobody was connected: target, text, id, time."""
    tries: int = 0
    gone: bool = False
    swallowing: bool = False
    refusing: int = 0
    reading: trio.Event = field(factory=trio.Event)
    """Not set: nothing is read or answered."""
    ids: Any = field(factory=lambda: itertools.count(1))

    # -- what tests do

    async def say(self, nick: str, target: str, text: str, msgid: str = "", **more: str) -> None:
        """Somebody says it to the bot or in a channel."""
        tags = {"msgid": msgid, "time": now(), **more}
        if not [client for client in self.clients if client.registered]:
            self.kept.append((target, text, msgid, tags["time"]))
        for client in list(self.clients):
            if client.registered:
                try:
                    await self.deliver(client, nick, client.nick if target == "bot" else target, text, tags)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    continue

    async def deliver(self, client: Client, nick: str, target: str, text: str, tags: Mapping[str, str]) -> None:
        mask, account = self.people[nick]
        given = {key: value for key, value in tags.items() if value}
        if account:
            given["account"] = account
        source = f":{nick}!{mask}"
        if "\n" not in text and len(text.encode()) < 400:
            await client.send(f"{source} PRIVMSG {target} :{text}", **given)
        elif "draft/multiline" in client.caps:
            name = f"m{next(self.ids)}"
            await client.send(f"{source} BATCH +{name} draft/multiline {target}", **given)
            for line in text.split("\n"):
                pieces = [line[at : at + 80] for at in range(0, len(line), 80)] or [""]
                for place, piece in enumerate(pieces):
                    more = {"draft_multiline-concat": ""} if place else {}
                    await client.send(f"{source} PRIVMSG {target} :{piece}", batch=name, **more)
            await client.send(f"BATCH -{name}")
        else:
            raise ValueError("nobody can say that in one line")

    def texts(self, target: str) -> list[str]:
        return [text for where, text in self.shown if where == target]

    async def drop(self) -> None:
        """All connections break."""
        for client in self.clients:
            await trio.aclose_forcefully(client.stream)
        self.clients.clear()

    # -- what it does

    async def serve(self, stream: trio.abc.Stream) -> None:
        self.tries += 1
        if self.gone:
            await trio.aclose_forcefully(stream)
            return
        client = Client(stream)
        self.clients.append(client)
        rest = b""
        try:
            while data := await stream.receive_some(65_536):
                await self.reading.wait()
                *whole, rest = (rest + data).split(b"\r\n")
                for raw in whole:
                    self.lines.append(raw.decode())
                    await self.take(client, raw.decode())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if client in self.clients:
                self.clients.remove(client)
            await trio.aclose_forcefully(stream)

    async def take(self, client: Client, line: str) -> None:
        tags: dict[str, str] = {}
        if line.startswith("@"):
            head, line = line[1:].split(" ", 1)
            tags = dict(tag.partition("=")[::2] for tag in head.split(";"))
        line, _, trailing = line.partition(" :")
        command, *params = line.split()
        params.append(trailing)
        act = getattr(self, f"on_{command.lower()}", None)
        if act is not None:
            await act(client, params, tags)

    async def on_cap(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        verb = params[0] if params[0] in {"LS", "REQ", "END"} else params[-1]
        offered = [
            *self.caps,
            *([f"sasl={'EXTERNAL' if self.external else 'PLAIN'}"] if self.accounts or self.external else []),
        ]
        if verb == "LS":
            client.negotiating = True
            await client.send(f":irc.fake CAP * LS * :{' '.join(offered[:3])}")
            await client.send(f":irc.fake CAP * LS :{' '.join(offered[3:])}")
        elif verb == "REQ":
            client.caps.update(params[-1].split())
            await client.send(f":irc.fake CAP * ACK :{params[-1]}")
        else:
            client.negotiating = False
            await self.welcome(client)

    async def on_authenticate(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        word = params[-1] or params[0]
        if word in {"PLAIN", "EXTERNAL"}:
            await client.send("AUTHENTICATE +")
            return
        if self.external:
            name, right = "robot", True
        else:
            _, name, password = base64.b64decode(word).decode().split("\0")
            right = self.accounts.get(name) == password
        if right:
            client.account = name
            await client.send(f":irc.fake 903 {client.nick} :SASL authentication successful")
        else:
            await client.send(f":irc.fake 904 {client.nick} :SASL authentication failed")

    async def on_nick(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        client.nick = params[-1] or params[0]
        await self.welcome(client)

    async def on_user(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        await self.welcome(client)

    async def welcome(self, client: Client) -> None:
        if client.negotiating or client.registered or not client.nick:
            return
        client.registered = True
        await client.send(f":irc.fake 001 {client.nick} :Welcome", time=now())
        await client.send(f":irc.fake 005 {client.nick} CASEMAPPING=ascii CHANTYPES=# STATUSMSG=@+ :are supported")
        await client.send(f":irc.fake 422 {client.nick} :no message of the day")
        if self.kept:
            name = f"h{next(self.ids)}"
            await client.send(f"BATCH +{name} chathistory bot")
            for target, text, msgid, at in self.kept:
                tags = {"msgid": msgid, "time": at, "batch": name}
                await self.deliver(client, "ann", client.nick if target == "bot" else target, text, tags)
            await client.send(f"BATCH -{name}")
            self.kept.clear()

    async def on_quit(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        await trio.aclose_forcefully(client.stream)

    async def on_ping(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        await client.send(f":irc.fake PONG irc.fake :{params[-1]}", time=now())

    async def on_join(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        name = params[-1] or params[0]
        await client.send(f":{client.nick}!bot@bots.example JOIN {name}")

    async def on_whois(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        nick = params[-1] or params[0]
        if nick in self.people:
            (user, _, host), account = self.people[nick][0].partition("@"), self.people[nick][1]
            await client.send(f":irc.fake 311 {client.nick} {nick} {user} {host} * :real name")
            if account:
                await client.send(f":irc.fake 330 {client.nick} {nick} {account} :is logged in as")
        else:
            await client.send(f":irc.fake 401 {client.nick} {nick} :No such nick")
        await client.send(f":irc.fake 318 {client.nick} {nick} :End of WHOIS")

    async def on_batch(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        reference = params[0] or params[-1]
        if reference.startswith("+"):
            client.batches[reference[1:]] = (params[-1], tags, [])
            return
        target, opened, pieces = client.batches.pop(reference[1:])
        text = ""
        for place, (piece, concat, _) in enumerate(pieces):
            text += piece if concat or not place else f"\n{piece}"
        await self.show(client, pieces[0][2], target, text, opened)

    async def on_privmsg(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        await self.said(client, "PRIVMSG", params, tags)

    async def on_notice(self, client: Client, params: list[str], tags: Mapping[str, str]) -> None:
        await self.said(client, "NOTICE", params, tags)

    async def said(self, client: Client, command: str, params: list[str], tags: Mapping[str, str]) -> None:
        if tags.get("batch") in client.batches:
            concat = "draft/multiline-concat" in tags
            client.batches[tags["batch"]][2].append((params[-1], concat, command))
            return
        await self.show(client, command, params[0], params[-1], tags)

    async def show(self, client: Client, command: str, target: str, text: str, tags: Mapping[str, str]) -> None:
        label = {"label": tags["label"]} if "label" in tags and "labeled-response" in client.caps else {}
        if self.refusing:
            await client.send(
                f":irc.fake 439 {client.nick} {target} :Target change too fast. Please wait {self.refusing} seconds.",
                **label,
            )
            self.refusing = 0
            return
        if target.lstrip("@+")[:1] != "#" and target not in self.people:
            await client.send(f":irc.fake 401 {client.nick} {target} :No such nick", **label)
            return
        self.shown.append((target, text))
        if self.swallowing:
            self.swallowing = False
            await self.drop()
        elif "echo-message" in client.caps:
            await self.echo(client, command, target, text, label)

    async def echo(self, client: Client, command: str, target: str, text: str, label: Mapping[str, str]) -> None:
        given = {"msgid": f"echo-{next(self.ids)}", "time": now(), **label}
        source = f":{client.nick}!bot@bots.example"
        if "\n" not in text and len(text.encode()) < 400:
            await client.send(f"{source} {command} {target} :{text}", **given)
            return
        name = f"e{next(self.ids)}"
        await client.send(f"{source} BATCH +{name} draft/multiline {target}", **given)
        for line in text.split("\n"):
            await client.send(f"{source} {command} {target} :{line}", batch=name)
        await client.send(f"BATCH -{name}")


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@asynccontextmanager
async def faking(**options: Any) -> AsyncIterator[Server]:
    """A running server."""
    server = Server(**options)
    server.reading.set()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
