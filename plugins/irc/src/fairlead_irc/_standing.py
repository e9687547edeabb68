"""Who and where we are on a server, as its lines say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio
from attrs import define, field

from fairlead_irc._wire import Line, fold, seconds_of

__all__ = ["Standing"]

JOIN_FAULTS = {"403", "405", "407", "437", "471", "473", "474", "475", "476", "477", "480", "489", "520"}
"""No such channel, too many, full, by invitation only, banned, wrong key and the like."""
GREETED = {"376", "422"}
"""The end of the message of the day, or that there is none: from now on the server is at our service."""


@define(eq=False)
class Standing:
    """It is given each line of the server."""

    me: str
    """Our nick now."""
    channels: Sequence[str]
    """Where we want to be."""
    mask: str = ""
    """Our ``user@host`` as the server shows it; empty while it has not."""
    mapping: str = "rfc1459"
    channel_types: str = "#&"
    status_marks: str = ""
    joined: set[str] = field(factory=set)
    """Folded names."""
    faults: dict[str, str] = field(factory=dict)
    """Why we are not where we want to be, by folded names."""
    greeted: bool = False
    _clock: tuple[float, float] = (-math.inf, 0.0)
    """The server's clock when we last saw it, and trio's then."""

    def take(self, line: Line) -> bool:
        """Read one line; whether we may be somewhere else now, or somebody else."""
        if self.is_me(line.nick):
            self.mask = line.source.partition("!")[2] or self.mask
            if line.command in {"NICK", "JOIN", "PART"}:
                return self._move(line)
        if line.command == "KICK" and self.is_me(line.param(1)):
            self.joined.discard(self.fold(line.param(0)))
        elif line.command in JOIN_FAULTS and self.fold(line.param(1)) in map(self.fold, self.missing()):
            self.faults[self.fold(line.param(1))] = f"{line.command} {line.param(-1)}"
        elif line.command in GREETED:
            self.greeted = True
        else:
            self._learn(line)
            return False
        return True

    def _move(self, line: Line) -> bool:
        if line.command == "NICK":
            self.me = line.param(0) or self.me
            return True
        names = {self.fold(name) for name in line.param(0).split(",")}
        self.joined = self.joined | names if line.command == "JOIN" else self.joined - names
        self.faults = {name: fault for name, fault in self.faults.items() if name not in names}
        return True

    def _learn(self, line: Line) -> None:
        if line.command in {"001", "PONG"} and (seconds := seconds_of(line.tags.get("time", ""))) is not None:
            self._clock = (seconds, trio.current_time())
        elif line.command == "396":
            self.mask = ""  # a new host, which the next line of ours will show
        elif line.command == "005":
            told = dict(token.partition("=")[::2] for token in line.params[1:-1])
            self.mapping = told.get("CASEMAPPING", self.mapping)
            self.channel_types = told.get("CHANTYPES", self.channel_types)
            self.status_marks = told.get("STATUSMSG", self.status_marks)

    def now(self) -> float:
        """Unix seconds by the server's clock; minus infinity where it has not shown it."""
        return self._clock[0] + trio.current_time() - self._clock[1]

    def fold(self, name: str) -> str:
        """A name as the server compares it."""
        return fold(name, self.mapping)

    def is_me(self, nick: str) -> bool:
        return self.fold(nick) == self.fold(self.me)

    def room_in(self, target: str) -> str:
        """The folded name of the channel that a message is for, also one for its operators alone; empty: for no one."""
        name = target.lstrip(self.status_marks) if self.status_marks else target
        return self.fold(name) if name[:1] and name[:1] in self.channel_types else ""

    def missing(self) -> list[str]:
        """The channels that we are not in."""
        return [name for name in self.channels if self.fold(name) not in self.joined]

    @property
    def settled(self) -> bool:
        """Whether each channel was joined, or the server has said why not."""
        return self.greeted and all(self.fold(name) in self.faults for name in self.missing())
