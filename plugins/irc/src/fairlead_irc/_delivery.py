"""What becomes of one message that we send: the signs of the server are put together to one delivery."""

from __future__ import annotations

import re

import trio
from attrs import define, field

from fairlead import Delivery
from fairlead_irc._wire import Line, fold

__all__ = ["Ticket"]

FOR_GOOD = {
    *("401", "403", "404", "407", "411", "412", "413", "415", "416", "442", "477", "482", "486", "489", "492", "494"),
    *("531", "716"),
}
"""Numerics that say that a message was not taken; no such nick or channel, not allowed to speak, not wanted."""
NOT_NOW = {"263", "439"}
"""Too fast, for the server as a whole or for new targets."""
LATER_SECONDS = 60.0


@define(eq=False)
class Ticket:
    """One message under way. Only one of a connection is, so the server's errors belong to it."""

    target: str
    """Folded."""
    token: str
    """In the label of each line, and in the PING behind the last one."""
    mapping: str
    echo: bool
    """The server shows us each line that it has taken."""
    waiting: list[str] = field(factory=list)
    """Texts that have not been echoed."""
    written: int = 0
    """Messages, as the server counts them, of which at least the beginning was given to the connection."""
    whole: bool = False
    """All of it was."""
    faults: list[str] = field(factory=list)
    after: float | None = None
    lost: str = ""
    """Why the connection ended."""
    msgid: str = ""
    _ponged: bool = False
    _news: trio.Event = field(factory=trio.Event)

    def expect(self, text: str) -> str:
        """One more message goes to the connection; its label."""
        self.written += 1
        self.waiting.append(text)
        return f"{self.token}.{self.written}"

    def take(self, line: Line, *, own: bool) -> None:
        """Look at a line of the server; `own`: it shows something that our nick has said."""
        labelled = line.tags.get("label", "").startswith(f"{self.token}.")
        if line.command == "PONG":
            self._ponged = self._ponged or line.param(-1) == self.token
        elif own and line.command in {"PRIVMSG", "NOTICE"}:
            if labelled or ("label" not in line.tags and line.param(1) in self.waiting and self._is_for(line.param(0))):
                self.waiting[:] = self.waiting[1:] if labelled else _without(self.waiting, line.param(1))
                self.msgid = line.tags.get("msgid", "") or self.msgid
        elif line.command in FOR_GOOD | NOT_NOW | {"FAIL"} and (labelled or self._is_about(line)):
            self.faults.append(f"{line.command} {line.param(-1)}")
            if line.command in NOT_NOW:
                seconds = re.search(r"(\d{1,5}) sec", line.param(-1))
                self.after = float(seconds[1]) if seconds else LATER_SECONDS
        self._news.set()

    def _is_for(self, name: str) -> bool:
        return fold(name, self.mapping) == self.target

    def _is_about(self, line: Line) -> bool:
        return any(self._is_for(param) or param in {"PRIVMSG", "NOTICE", "BATCH"} for param in line.params[:-1])

    def lose(self, reason: str) -> None:
        """The connection has ended."""
        self.lost = reason
        self._news.set()

    async def wait(self) -> None:
        """Until the server has said what became of it."""
        while not self._is_settled():
            self._news = trio.Event()
            await self._news.wait()

    def _is_settled(self) -> bool:
        if self.lost or len(self.faults) >= self.written:
            return True
        return not self.waiting if self.echo and not self.faults else self._ponged

    def delivery(self) -> Delivery | None:
        """What is known now; None: nothing was written, so it can go by another connection."""
        if not self.written:
            return None
        if len(self.faults) >= self.written:
            return Delivery("failed", reason=f"the server answered {self.faults[0]}", retry_after=self.after)
        if self.faults:
            return Delivery("ambiguous", reason=f"a part of it was refused: {self.faults[0]}")
        if self.whole and (not self.waiting if self.echo else self._ponged):
            return Delivery("sent", external_id=self.msgid or self.token)
        return Delivery("ambiguous", reason=self.lost or "the server did not say in time that it has it")


def _without(texts: list[str], text: str) -> list[str]:
    place = texts.index(text)
    return [*texts[:place], *texts[place + 1 :]]
