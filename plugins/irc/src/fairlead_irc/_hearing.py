"""From a line that somebody has said to the message that is handed in; and which lines are none."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import trio
from attrs import define, field

from fairlead import Address, Inbound, Text
from fairlead_irc._batches import REPLAY
from fairlead_irc._link import Link
from fairlead_irc._options import Options
from fairlead_irc._people import Speaker
from fairlead_irc._text import addressed
from fairlead_irc._wire import Line, plain, seconds_of

__all__ = ["Ears"]

REMEMBERED = 1000
"""People, and messages that wait for their answer."""
TRUST_SECONDS = 60.0
"""How long an answer to WHOIS, or a message, says who has a nick."""


@define(eq=False)
class Ears:
    """Makes messages of lines, and remembers who said them."""

    options: Options
    clock: Callable[[], float]
    """Unix seconds."""
    _people: OrderedDict[str, tuple[Speaker, float]] = field(factory=OrderedDict, init=False)
    """By mask: who it is, and until when that is believed, by trio's clock."""
    _askers: OrderedDict[str, str] = field(factory=OrderedDict, init=False)
    """By the id of a message: the nick to turn to."""
    _count: int = field(default=0, init=False)

    async def inbound(self, link: Link, line: Line) -> Inbound | None:
        """The message; None where it is not for us."""
        said = self._said(link, line)
        if said is None or self._is_old(link, line):
            return None
        room, text = said
        speaker = await self._speaker(link, line)
        conversation = room or speaker.conversation
        key = self._key(line)
        _remember(self._askers, f"{conversation} {key}", speaker.nick)
        address = Address(self.options.name, self.options.network, conversation)
        return Inbound(address, speaker.principal(self.options.network), (Text(text),), key)

    def asker(self, conversation: str, key: str) -> str:
        """Who said the message with that id in a room; empty where that is forgotten."""
        return self._askers.get(f"{conversation} {key}", "")

    def heard_lately(self, conversation: str) -> bool:
        """Whether the person of a direct conversation has been seen under that nick a moment ago."""
        now = trio.current_time()
        return any(known.conversation == conversation and until > now for known, until in self._people.values())

    def _said(self, link: Link, line: Line) -> tuple[str, str] | None:
        """The room (empty for a direct message) and the words; None where they are not for us."""
        here, target, text = link.here, line.param(0), line.param(-1)
        if not line.nick or "@" not in line.source or len(line.params) < 2:  # noqa: PLR2004  # servers, and half a line
            return None
        action = ""
        if text.startswith("\x01"):
            kind, _, text = text.strip("\x01").partition(" ")
            if kind != "ACTION":
                return None  # a question to the program (CTCP), which is not answered: answers can be made to flood
            action = f"* {line.nick} "
        text = plain(text).strip()
        if not text:
            return None
        if not here.room_in(target):
            return ("", action + text) if self.options.direct and here.is_me(target) else None
        heard = {"off": None, "all": addressed(text, here.me, here.mapping) or text}
        words = heard.get(self.options.groups, addressed(text, here.me, here.mapping))
        return None if words is None else (here.fold(target), action + words)

    async def _speaker(self, link: Link, line: Line) -> Speaker:
        """By the account of the tag, or as WHOIS says it, if that is about the same user and host."""
        nick, _, mask = line.source.partition("!")
        known, until = self._people.get(line.source, (None, 0.0))
        if "account-tag" in link.caps:
            known = Speaker(nick, mask, line.tags.get("account", ""))
        elif known is None or until < trio.current_time():
            known = Speaker(nick, mask)
            if self.options.whois and (found := await link.whois(nick)) is not None and found.mask == mask:
                known = Speaker(nick, mask, found.account)
        _remember(self._people, line.source, (known, trio.current_time() + TRUST_SECONDS))
        return known

    def _key(self, line: Line) -> str:
        """The id of the message: the server's; or made of the server's time and the words; or ours.

        Without both nothing on the line tells a second delivery from a second message, and such servers deliver once.
        """
        if "msgid" in line.tags:
            return line.tags["msgid"]
        if "time" in line.tags:
            words = "\n".join((line.source, *line.params))
            return f"{line.tags['time'][:40]}:{hashlib.sha256(words.encode('utf-8', 'replace')).hexdigest()[:16]}"
        self._count += 1
        return f"{self.clock():.6f}:{self._count}"

    def _is_old(self, link: Link, line: Line) -> bool:
        """Whether it is played again from times from which nobody waits for an answer any more, by the server's clock.

        One that is played again and has neither id nor time could be an old one or one that we know: it is left out.
        """
        said = seconds_of(line.tags.get("time", ""))
        if said is None:
            return REPLAY in line.tags and "msgid" not in line.tags
        return link.here.now() - said > self.options.history_seconds


V = TypeVar("V")


def _remember(kept: OrderedDict[str, V], key: str, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > REMEMBERED:
        kept.popitem(last=False)
