"""The dialogue of a new connection: capabilities, SASL, a nick. It is given lines and says which to send."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from attrs import define, field

from fairlead.errors import FairleadError
from fairlead_irc._options import Options
from fairlead_irc._wire import Line, render

__all__ = ["Login", "Refused"]

WANTED = (
    *("message-tags", "server-time", "echo-message", "account-tag", "batch", "labeled-response"),
    *("draft/multiline", "cap-notify"),
)
"""https://ircv3.net/irc; what a server does not offer is done without."""
CHUNK = 400
"""Characters of one AUTHENTICATE line (https://ircv3.net/specs/extensions/sasl-3.1)."""
NICK_TAKEN = {"432", "433", "436", "437"}
SASL_FAILED = {"902", "904", "905", "906"}
ENDED = {"464", "465", "ERROR"}


class Refused(FairleadError):
    """The server does not let us in; another try with the same options will hardly help."""


@define(eq=False)
class Login:
    """One dialogue."""

    options: Options
    nick: str = field(init=False)
    """The one that was asked for last; once it is `done`, ours."""
    caps: dict[str, str] = field(factory=dict, init=False)
    """What the server has switched on, with the values that it offered."""
    done: bool = field(default=False, init=False)
    _offered: dict[str, str] = field(factory=dict, init=False)
    _asked: set[str] = field(factory=set, init=False)
    _known: bool = field(default=False, init=False)
    """The server has accepted our account."""
    _nicks: Iterator[str] = field(init=False)

    def begin(self) -> list[bytes]:
        """The first lines."""
        options = self.options
        self._nicks = iter(options.nicks())
        self.nick = next(self._nicks)
        password = [render("PASS", options.server_password.reveal())] if options.server_password else []
        user = render("USER", options.username or options.nick, "0", "*", options.realname)
        return [render("CAP", "LS", "302"), *password, render("NICK", self.nick), user]

    def take(self, line: Line) -> list[bytes]:
        """What to answer to one line. `Refused`: the server's reason."""
        command = line.command
        if command == "PING":
            return [render("PONG", *line.params)]
        if command == "CAP":
            return self._take_cap(line)
        if command == "AUTHENTICATE" and line.param(0) == "+":
            return self._credentials()
        if command in {"903", "907"}:
            self._known = True
            return [render("CAP", "END")]
        if command in SASL_FAILED:
            raise self._refused(f"the server does not accept the account: {line.param(-1)}", "account, password")
        if command in NICK_TAKEN:
            return self._next_nick(line)
        if command in ENDED:
            raise self._refused(f"the server refused the connection: {line.param(-1)}", "server_password")
        if command == "001":
            return self._welcome(line)
        return []

    def _welcome(self, line: Line) -> list[bytes]:
        if self.options.sasl and not self._known:
            raise self._refused("the server let us in without looking at the account", "account")
        self.nick = line.param(0) or self.nick
        self.done = True
        return []

    def _take_cap(self, line: Line) -> list[bytes]:
        verb, names = line.param(1).upper(), _caps(line.param(-1))
        if verb == "LS":
            self._offered.update(names)
            return [] if line.param(2) == "*" and len(line.params) > 3 else self._ask()  # noqa: PLR2004  # nick, verb, *, list
        if verb == "ACK":
            self.caps.update({name: self._offered.get(name, "") for name in names if name[:1] != "-"})
            self._asked.difference_update(names)
        elif verb == "NAK":
            self._asked.difference_update(names)
            if self.options.sasl and "sasl" in names and len(names) > 1:
                return self._request({"sasl"})
        else:
            return []
        return [] if self._asked else self._authenticate()

    def _ask(self) -> list[bytes]:
        if self.options.sasl:
            offered = self._offered.get("sasl")
            if offered is None or (offered and self.options.sasl not in offered.upper().split(",")):
                raise self._refused(f"the server offers no SASL {self.options.sasl}", "nickserv_password")
        wanted = {*WANTED, *(["sasl"] if self.options.sasl else [])} & self._offered.keys()
        return self._request(wanted) if wanted else [render("CAP", "END")]

    def _request(self, names: set[str]) -> list[bytes]:
        self._asked = set(names)
        return [render("CAP", "REQ", " ".join(sorted(names)))]

    def _authenticate(self) -> list[bytes]:
        if not self.options.sasl:
            return [render("CAP", "END")]
        if "sasl" not in self.caps:
            raise self._refused("the server offers SASL and does not switch it on", "nickserv_password")
        return [render("AUTHENTICATE", self.options.sasl)]

    def _credentials(self) -> list[bytes]:
        account, password = self.options.account, self.options.password
        said = (
            account
            if self.options.sasl == "EXTERNAL"
            else f"{account}\0{account}\0{password.reveal() if password else ''}"
        )
        encoded = base64.b64encode(said.encode("utf-8")).decode("ascii")
        chunks = re.findall(f".{{1,{CHUNK}}}", encoded)
        if len(encoded) % CHUNK == 0:  # also for an empty one: the server must know that it was the last
            chunks.append("+")
        return [render("AUTHENTICATE", chunk) for chunk in chunks]

    def _next_nick(self, line: Line) -> list[bytes]:
        nick = next(self._nicks, None)
        if nick is None:
            raise self._refused(f"no nick is free or allowed: {line.param(-1)}", "nick, alternates")
        self.nick = nick
        return [render("NICK", nick)]

    def _refused(self, problem: str, keys: str) -> Refused:
        return Refused(problem, next_step=f"look at {keys} in [channels.{self.options.name}]")


def _caps(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (cap.partition("=") for cap in text.split())}
