"""IRC as the core sees it."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence

import trio

from fairlead import Capabilities, Channel, Delivery, Finding, Inbound, Inbox, Outbound, Text
from fairlead.errors import JournalUnavailable, SchemaError
from fairlead_irc._flood import Bucket
from fairlead_irc._hearing import Ears
from fairlead_irc._link import Hear, Link, connect
from fairlead_irc._login import Refused
from fairlead_irc._options import Options
from fairlead_irc._people import nick_in
from fairlead_irc._wire import Line, render

__all__ = ["IrcChannel"]

log = logging.getLogger(__name__)

MAX_CHARS = 2000
"""Of one message: some six lines, so that others get their turn between the parts of a long answer."""
HEARD = 1000
"""Messages that wait to be handed in, before the connection is not read any more."""
PATIENCE = 100.0
"""Seconds that an answer waits for the connection; below the core's own limit for a send."""
STARTING_SECONDS = 5.0
AGAIN_SECONDS = 30.0
"""After which the core may come again."""
STEADY_SECONDS = 30.0
"""A connection that lasted as long was a success."""
SAME_NOTICE_SECONDS = 60.0
NOTICES = 10
"""Notices to people whose messages were refused, under way at the same time."""
CHECK_SECONDS = 8.0
JOIN_STEP = "invite the bot, or look at channels and channel_keys"
JOURNAL_PAUSES = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class IrcChannel(Channel):
    """One bot on one network."""

    capabilities = Capabilities(max_chars=MAX_CHARS)

    def __init__(self, options: Options) -> None:
        self.options = options
        self.name = options.name
        self.chance: Callable[[], float] = random.random
        """From 0 to 1, for the pauses."""
        self._ears = Ears(options, time.time)
        self._bucket = Bucket(options.flood_burst, options.flood_seconds)
        self._link: Link | None = None
        self._trouble = "not connected yet"
        self._refused = False
        self._runs = 0
        self._news = trio.Event()
        self._noticed: dict[tuple[str, str], tuple[str, float]] = {}
        """By place and words: the id of the notice, and until when it counts, by trio's clock."""

    # -- in

    async def run(self, inbox: Inbox) -> None:
        """Stay connected until cancelled. Nothing that a server does or says ends it."""
        heard, waiting = trio.open_memory_channel[tuple[Link, Line]](HEARD)

        async def hear(link: Link, line: Line) -> None:
            await heard.send((link, line))

        self._runs += 1
        self._change()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hand_in, inbox, waiting)
                nursery.start_soon(self._tell_ready, inbox)
                await self._stay_connected(hear)
        finally:
            self._runs -= 1
            self._change()

    async def _stay_connected(self, hear: Hear) -> None:
        first, longest = self.options.pauses
        pause, told = first, ""
        while True:
            began = trio.current_time()
            was_in = await self._connect_once(hear)
            if was_in or self._trouble != told:
                told = self._trouble
                log.warning("channel %r: %s: %s", self.name, self.options.place, told)
            if trio.current_time() - began > STEADY_SECONDS:
                pause = first
            if self._refused:  # asking again at once only gets us banned
                pause = longest
            await trio.sleep(pause * (0.5 + self.chance() / 2))
            pause = min(longest, 2 * pause)

    async def _connect_once(self, hear: Hear) -> bool:
        """Connect and serve; False where there was no connection. `_trouble` says why it is over."""
        self._refused = False
        try:
            entry = await connect(self.options)
        except Refused as error:
            self._trouble, self._refused = error.problem, True
            return False
        except (OSError, UnicodeError, trio.TooSlowError) as error:
            self._trouble = _said(error)
            return False
        self._link = link = Link(self.options, entry, self._bucket, hear, self._change)
        try:
            await link.run()
        finally:
            self._link, self._trouble = None, link.lost
            self._change()
        return True

    def _change(self) -> None:
        self._news.set()

    async def _next_news(self) -> None:
        self._news = trio.Event() if self._news.is_set() else self._news
        await self._news.wait()

    async def _tell_ready(self, inbox: Inbox) -> None:
        while (link := self._link) is None or not link.here.settled:
            await self._next_news()
        inbox.ready(f"{self.options.place} as {link.here.me}")

    async def _hand_in(self, inbox: Inbox, waiting: trio.MemoryReceiveChannel[tuple[Link, Line]]) -> None:
        async with trio.open_nursery() as notices:
            async for link, line in waiting:
                inbound = await self._ears.inbound(link, line)
                notice = await self._accept(inbox, inbound) if inbound is not None else ""
                if notice and inbound is not None and len(notices.child_tasks) < NOTICES:
                    outbound = Outbound(
                        inbound.external_id, inbound.address, (Text(notice),), inbound.external_id, "notice"
                    )
                    notices.start_soon(self.send, outbound)

    @staticmethod
    async def _accept(inbox: Inbox, inbound: Inbound) -> str:
        """Hand in, again and again while there is no journal: IRC does not deliver twice. The notice of a refusal."""
        for pause in itertools.chain(JOURNAL_PAUSES, itertools.repeat(JOURNAL_PAUSES[-1])):
            try:
                receipt = await inbox.accept(inbound)
            except JournalUnavailable:
                await trio.sleep(pause)
            except SchemaError:
                return ""
            else:
                return receipt.notice
        return ""

    # -- out

    async def send(self, outbound: Outbound) -> Delivery:
        """Say it in lines, and wait until the server has it. Without a connection it waits for one, up to 100 s.

        ``sent``: the server shows the lines to us (echo-message), or it has answered a PING that stands behind them.
        The id is the server's, where it has one. Two people never share a direct conversation: where the nick has gone
        to somebody else, nothing is sent.
        """
        where, text = outbound.address.conversation, text_of_parts(outbound)
        if not text.strip():
            return Delivery("failed", reason="the message has no words")
        if outbound.kind == "notice" and not self._is_news(where, text, outbound.id):
            return Delivery("failed", reason="the same was said there less than a minute ago")
        asker = "" if nick_in(where) else self._ears.asker(where, outbound.in_reply_to)
        command = "NOTICE" if outbound.kind == "notice" else "PRIVMSG"
        return await self._deliver(command, where, f"{asker}: {text}" if asker else text)

    async def _deliver(self, command: str, where: str, text: str) -> Delivery:
        delivery: Delivery | None = None
        while delivery is None:
            link: Link | None = None
            with trio.move_on_after(PATIENCE):
                link = await self._link_to(where)
            if link is None:
                return Delivery("failed", reason=self._obstacle(where), retry_after=AGAIN_SECONDS)
            nick = nick_in(where)
            fault = await self._changed_hands(link, nick, where) if nick else ""
            if link.lost:
                continue
            if fault:
                return Delivery("failed", reason=fault, retry_after=AGAIN_SECONDS)
            delivery = await link.deliver(command, nick or where, text)
        return delivery

    async def _link_to(self, where: str) -> Link | None:
        """A connection by which this place can be reached; None where the server keeps us out of it."""
        with trio.move_on_after(STARTING_SECONDS):
            while not self._runs:  # what a killed process left to send is asked for before the channel runs
                await self._next_news()
        while self._runs:
            link = self._link if self._link is not None and not self._link.lost else None
            if link is not None and (nick_in(where) or link.here.room_in(where) in link.here.joined):
                return link
            if link is not None and link.here.settled:
                return None
            await self._next_news()
        return None

    def _obstacle(self, where: str) -> str:
        link = self._link
        if link is None:
            return f"no connection to {self.options.place}: {self._trouble}"
        return link.here.faults.get(link.here.room_in(where), f"not in {where}")

    async def _changed_hands(self, link: Link, nick: str, where: str) -> str:
        """Why a direct message would not reach the person whom it is for; empty where it would."""
        if not self.options.whois or self._ears.heard_lately(where):
            return ""
        found = await link.whois(nick)
        if found is None:
            return f"nobody has the nick {nick!r} now"
        return "" if found.is_in(where) else f"somebody else has the nick {nick!r} now"

    def _is_news(self, where: str, text: str, key: str) -> bool:
        """Whether nobody has said that there within a minute, but for another try of the same message."""
        now = trio.current_time()
        self._noticed = {place: said for place, said in self._noticed.items() if said[1] > now}
        known, _ = self._noticed.setdefault((where, text), (key, now + SAME_NOTICE_SECONDS))
        return known == key

    # -- doctor

    async def check(self) -> Sequence[Finding]:
        """The connection, the nick, each channel; without a running connection one is tried."""
        findings = [await self._check_connection()]
        if (link := self._link) is not None:
            findings += [
                Finding(
                    f"{self.name} {name}",
                    ok=False,
                    detail=link.here.faults.get(link.here.fold(name), "not joined yet"),
                    next_step=JOIN_STEP,
                )
                for name in link.here.missing()
            ]
        if self.options.sasl == "PLAIN" and not self.options.tls:
            findings.append(Finding(self.name, ok=True, detail="plain: whoever is on the way can read the password"))
        return findings

    async def _check_connection(self) -> Finding:
        if self._link is not None:
            detail = f"connected to {self.options.place} as {self._link.here.me}"
            return Finding(self.name, ok=True, detail=detail)
        step = f"look at host, port and tls in [channels.{self.name}]"
        try:
            with trio.fail_after(CHECK_SECONDS):
                entry = await connect(self.options)
                await entry.stream.send_all(render("QUIT", "checked"))
                await entry.stream.aclose()
        except Refused as error:
            return Finding(self.name, ok=False, detail=error.problem, next_step=error.next_step)
        except (OSError, UnicodeError, trio.TooSlowError, trio.BrokenResourceError) as error:
            detail = f"{self.options.place}: {_said(error)}"
            return Finding(self.name, ok=False, detail=detail, next_step=step)
        known = f", account {self.options.account or 'of the certificate'}" if self.options.sasl else ""
        return Finding(self.name, ok=True, detail=f"{self.options.place} lets {entry.login.nick} in{known}")


def text_of_parts(outbound: Outbound) -> str:
    """The words of a message; IRC has nothing else."""
    return "\n".join(part.text for part in outbound.parts if isinstance(part, Text))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
