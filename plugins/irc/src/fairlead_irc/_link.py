"""One connection to a server, from its login to its end."""

from __future__ import annotations

import math
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import trio
from attrs import define, field, frozen

from fairlead import Delivery
from fairlead_irc._batches import CONCAT, MULTILINE, Batches
from fairlead_irc._delivery import Ticket
from fairlead_irc._flood import Bucket
from fairlead_irc._login import Login
from fairlead_irc._options import Options
from fairlead_irc._people import Speaker
from fairlead_irc._standing import Standing
from fairlead_irc._text import Said, in_lines, in_one, room_for
from fairlead_irc._wire import Line, LineBuffer, parse, render

__all__ = ["Entry", "Hear", "Link", "connect"]

LOGIN_SECONDS = 30.0
GREETING_SECONDS = 10.0
"""For the message of the day, before the channels are joined all the same."""
JOIN_SECONDS = 10.0
ANSWER_SHARE = 1 / 3
"""Of `ping_seconds`: for the answer to our own PING."""
TURN_SECONDS = 80.0
"""While others speak. With what comes before and after it stays below the core's own limit for a send."""
CONFIRM_SECONDS = 30.0
WHOIS_SECONDS = 10.0
PLACE_PAUSES = 5
"""How many times longer than a new connection a channel or the nick waits before it is tried again."""
UNREAD = 500
"""Lines that wait to be written before the connection counts as dead."""
LAST_WORDS = 1.0
WHOIS = {"311", "318", "330", "401"}
"""User and host, the end, the account, no such nick."""

Hear = Callable[["Link", Line], Awaitable[None]]


@frozen
class Entry:
    """A connection that is logged in."""

    stream: trio.abc.Stream
    buffer: LineBuffer
    login: Login
    said: list[Line]
    """What the server has said since."""


async def connect(options: Options) -> Entry:
    """Connect and log in. `Refused`, `OSError`, `trio.TooSlowError`.

    Cancelled, or after an error: the connection is closed.
    """
    with trio.fail_after(LOGIN_SECONDS):
        stream: trio.abc.Stream = await trio.open_tcp_stream(options.host, options.port)
        try:
            if options.tls:
                stream = trio.SSLStream(stream, _context(options), server_hostname=options.host)
            buffer, login = LineBuffer(), Login(options)
            return Entry(stream, buffer, login, await _log_in(stream, buffer, login))
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            raise ConnectionResetError(str(error.__cause__ or error)) from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise


async def _log_in(stream: trio.abc.Stream, buffer: LineBuffer, login: Login) -> list[Line]:
    """Lead the dialogue to its end; what came with the last line."""
    await stream.send_all(b"".join(login.begin()))
    while data := await stream.receive_some(65_536):
        lines = [line for raw in buffer.feed(bytes(data)) if (line := parse(raw)) is not None]
        for place, line in enumerate(lines):
            if answers := login.take(line):
                await stream.send_all(b"".join(answers))
            if login.done:
                return lines[place:]
    raise ConnectionResetError("the server closed the connection during the login")


def _context(options: Options) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(Path(options.ca_file).expanduser()) if options.ca_file else None)
    if options.client_cert:
        key = str(Path(options.client_key).expanduser()) if options.client_key else None
        context.load_cert_chain(str(Path(options.client_cert).expanduser()), key)
    return context


@define(eq=False)
class Link:
    """One connection that is logged in. `run` serves it; the other methods may be called meanwhile."""

    options: Options
    entry: Entry
    bucket: Bucket
    hear: Hear
    """Awaited with each message that somebody has said."""
    changed: Callable[[], None]
    """Called when what can be said where is different from before."""
    lost: str = ""
    """Why it has ended."""
    here: Standing = field(init=False)
    _batches: Batches = field(factory=Batches)
    _ticket: Ticket | None = None
    _turn: trio.Lock = field(factory=trio.Lock)
    _moved: trio.Event = field(factory=trio.Event)
    """We are somewhere else, or somebody else."""
    _asked: str = ""
    """The nick that a WHOIS is about, folded."""
    _told: dict[str, Line] = field(factory=dict)
    _answered: trio.Event = field(factory=trio.Event)
    _writing: bool = False
    _lines: tuple[trio.MemorySendChannel[bytes], trio.MemoryReceiveChannel[bytes]] = field(
        factory=lambda: trio.open_memory_channel[bytes](UNREAD)
    )

    @here.default
    def _at_first(self) -> Standing:
        return Standing(self.entry.login.nick, self.options.channels)

    @property
    def caps(self) -> Mapping[str, str]:
        """The capabilities that the server has switched on."""
        return self.entry.login.caps

    # -- serving

    async def run(self) -> None:
        """Serve until the connection ends, for the reason in `lost`, or until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._keep_places)
                for line in self.entry.said:
                    await self._take(line)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self._end("the channel stops")
            with trio.move_on_after(LAST_WORDS, shield=True):
                await self._part()
            await trio.aclose_forcefully(self.entry.stream)

    def _end(self, reason: str) -> None:
        self.lost = self.lost or reason
        if self._ticket is not None:
            self._ticket.lose(f"the connection was lost: {self.lost}")
        self._answered.set()
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self.changed()

    async def _part(self) -> None:
        """Say good-bye, and read until the server closes, so that it does not meet a closed door."""
        if self._writing:
            return
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await self.entry.stream.send_all(render("QUIT", "bye"))
            while await self.entry.stream.receive_some(65_536):
                pass

    async def _read(self) -> None:
        asked = False
        while not self.lost:
            data: bytes | bytearray | None = None
            with trio.move_on_after(self.options.ping_seconds * (ANSWER_SHARE if asked else 1)):
                try:
                    data = await self.entry.stream.receive_some(65_536)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    return self._end(str(error.__cause__ or error))
            if data is None and asked:
                return self._end(f"the server said nothing for {self.options.ping_seconds * (1 + ANSWER_SHARE):g} s")
            if data is not None and not data:
                return self._end("the server closed the connection")
            asked = data is None
            if data is None:
                self.put(render("PING", "alive"))
            for raw in self.entry.buffer.feed(bytes(data or b"")):
                if (line := parse(raw)) is not None:
                    await self._take(line)
        return None

    async def _write(self) -> None:
        async for data in self._lines[1]:
            self._writing = True
            try:
                await self.entry.stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                return self._end(str(error.__cause__ or error))
            self._writing = False
        return None

    def put(self, data: bytes) -> None:
        """Give one line to the connection."""
        try:
            self._lines[0].send_nowait(data)
        except trio.WouldBlock:
            self._end("the server does not read")

    async def _take(self, line: Line) -> None:
        found = self._batches.take(line)
        if found is None:
            return
        own = self.here.is_me(found.nick)
        if self._ticket is not None:
            self._ticket.take(found, own=own)
        if self._asked and found.command in WHOIS and self.here.fold(found.param(1)) == self._asked:
            self._take_whois(found)
        if self.here.take(found):
            self._move()
        if found.command == "PRIVMSG" and not own:
            await self.hear(self, found)
        elif found.command == "PING":
            self.put(render("PONG", *found.params))
        elif found.command == "ERROR":
            if "flood" in found.param(-1).lower():
                self.bucket.slow_down()
            self._end(f"the server ended it: {found.param(-1)[:200]}")

    # -- places

    async def _keep_places(self) -> None:
        """Join the channels, take the nick, and do so again when we lost one, ever more slowly."""
        here = self.here
        with trio.move_on_after(GREETING_SECONDS):
            while not here.greeted:
                await self._next_move()
        here.greeted = True
        self._move()
        if self.options.nickserv_password is not None:
            words = filter(None, ("IDENTIFY", self.options.account, self.options.nickserv_password.reveal()))
            self.put(render("PRIVMSG", "NickServ", " ".join(words)))
        first, longest = (PLACE_PAUSES * pause for pause in self.options.pauses)
        pause, good_since = first, -math.inf
        while not self.lost:
            await self._try_places()
            if trio.current_time() - good_since > longest:
                pause = first
            if not here.missing() and here.is_me(self.options.nick):
                good_since = trio.current_time()
                await self._next_move()
            await trio.sleep(pause)
            pause = min(longest, 2 * pause)

    async def _next_move(self) -> None:
        self._moved = trio.Event()
        await self._moved.wait()

    async def _try_places(self) -> None:
        missing = self.here.missing()
        for name in missing:
            self.here.faults.pop(self.here.fold(name), None)
        for name in missing:
            await self.bucket.take()
            key = self.options.channel_keys.get(name)
            self.put(render("JOIN", name, *([key.reveal()] if key else [])))
        if not self.here.is_me(self.options.nick):
            await self.bucket.take()
            self.put(render("NICK", self.options.nick))
        with trio.move_on_after(JOIN_SECONDS):
            while not self.here.settled:
                await self._next_move()

    # -- saying

    async def deliver(self, command: str, target: str, text: str) -> Delivery | None:
        """Say a text, and wait until the server says what became of it; one text at a time.

        None: the connection was lost before anything of it was written.
        """
        with trio.move_on_after(TURN_SECONDS) as waiting:
            await self._turn.acquire()
        if waiting.cancelled_caught:
            return Delivery("failed", reason="too much else is being said", retry_after=TURN_SECONDS)
        here = self.here
        echo = "echo-message" in self.caps and not here.is_me(target)
        token = f"fl-{secrets.token_hex(8)}"
        ticket = self._ticket = Ticket(here.fold(target), token, here.mapping, echo)
        try:
            await self._say(ticket, command, target, text)
            if ticket.written:
                self.put(render("PING", ticket.token))
                with trio.move_on_after(CONFIRM_SECONDS):
                    await ticket.wait()
        finally:
            self._ticket = None
            self._turn.release()
        return ticket.delivery()

    async def _say(self, ticket: Ticket, command: str, target: str, text: str) -> None:
        room = room_for(command, target, self.here.me, self.here.mask)
        messages = in_lines(text, room, self.options.max_lines)
        whole = in_one(text, room, self.caps[MULTILINE]) if MULTILINE in self.caps and len(messages) > 1 else None
        for message in [whole] if whole else messages:
            for place, (piece, goes_on) in enumerate(message.pieces):
                await self.bucket.take()
                if self.lost or ticket.faults:
                    return
                if place == 0:
                    label = self._begin(ticket, message, target)
                tags = (
                    {"batch": label, **({CONCAT: ""} if goes_on else {})} if message is whole else self._labelled(label)
                )
                self.put(render(command, target, piece, tags=tags))
            if message is whole:
                self.put(render("BATCH", f"-{label}"))
        ticket.whole = True

    def _begin(self, ticket: Ticket, message: Said, target: str) -> str:
        label = ticket.expect(message.text)
        if len(message.pieces) > 1:
            self.put(render("BATCH", f"+{label}", MULTILINE, target, tags=self._labelled(label)))
        return label

    def _labelled(self, label: str) -> dict[str, str]:
        return {"label": label} if "labeled-response" in self.caps else {}

    # -- asking who somebody is

    async def whois(self, nick: str) -> Speaker | None:
        """Who has that nick now; None where nobody has, or the server does not say."""
        async with self._turn:
            await self.bucket.take()
            told = self._told = {}
            self._asked, self._answered = self.here.fold(nick), trio.Event()
            try:
                if not self.lost:
                    self.put(render("WHOIS", nick))
                    with trio.move_on_after(WHOIS_SECONDS):
                        await self._answered.wait()
            finally:
                self._asked = ""
        if self.lost or "311" not in told:
            return None
        user = told["311"]
        account = told["330"].param(2) if "330" in told else ""
        return Speaker(user.param(1), f"{user.param(2)}@{user.param(3)}", account)

    def _take_whois(self, line: Line) -> None:
        self._told[line.command] = line
        if line.command in {"318", "401"}:
            self._answered.set()
