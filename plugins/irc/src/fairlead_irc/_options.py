"""What the table ``[channels.NAME]`` says, checked beyond what its schema can."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from attrs import frozen

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError

__all__ = ["Options", "read_options"]

NICK = re.compile(r"[A-Za-z_\[\]\\`^{}|][A-Za-z0-9_\-\[\]\\`^{}|]{0,49}")
CHANNEL = re.compile(r"[#&+!][^\x00-\x20,\x7f]{1,63}")


@frozen
class Options:
    """The options with their defaults."""

    name: str
    """The channel's name in the configuration."""
    host: str
    nick: str
    port: int
    tls: bool = True
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    network: str = ""
    """The name of the network in the ids of people; the host where it is not given."""
    alternates: Sequence[str] = ()
    username: str = ""
    realname: str = "fairlead"
    account: str = ""
    password: Secret | None = None
    server_password: Secret | None = None
    nickserv_password: Secret | None = None
    channels: Sequence[str] = ()
    channel_keys: Mapping[str, Secret] = {}  # read only; attrs shares the one default
    groups: Literal["mention", "all", "off"] = "mention"
    direct: bool = True
    whois: bool = True
    flood_burst: int = 5
    flood_seconds: float = 2.0
    max_lines: int = 40
    history_seconds: float = 600.0
    ping_seconds: float = 90.0
    reconnect_seconds: float = 1.0
    reconnect_max_seconds: float = 60.0

    @property
    def sasl(self) -> str:
        """The mechanism; empty for none."""
        if self.account and self.password is not None:
            return "PLAIN"
        return "EXTERNAL" if self.client_cert else ""

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def pauses(self) -> tuple[float, float]:
        """Seconds before the next try: the first one and the longest one."""
        return self.reconnect_seconds, max(self.reconnect_seconds, self.reconnect_max_seconds)

    def nicks(self) -> Sequence[str]:
        """The nick that is wanted, and those that are taken where it is not free."""
        return (self.nick, *(self.alternates or (f"{self.nick}_", f"{self.nick}__", f"{self.nick}-ai")))


def read_options(settings: Settings) -> Options:
    """The options of a table. `PluginLoadError`: which key, what was found, what to write."""
    given: dict[str, Any] = dict(settings.options)
    keys = {name: _secret(key) for name, key in (given.pop("channel_keys", None) or {}).items()}
    for key in ("password", "server_password", "nickserv_password"):
        if given.get(key):
            given[key] = _secret(given[key])
    for key in ("host", "nick"):
        if not given.get(key):
            _refuse(settings.name, key, "found none", f'write `{key} = "..."` into [channels.{settings.name}]')
    given.setdefault("port", 6697 if given.get("tls", True) else 6667)
    given["network"] = given.get("network") or str(given["host"]).lower()
    options = Options(name=settings.name, channel_keys=keys, **given)
    _check(options)
    return options


def _check(options: Options) -> None:
    for nick in options.nicks():
        if not NICK.fullmatch(nick):
            _refuse(options.name, "nick", f"found {nick!r}, expected letters, digits and _ - [ ] \\ ` ^ {{ }} |", "")
    for channel in (*options.channels, *options.channel_keys):
        if not CHANNEL.fullmatch(channel):
            _refuse(options.name, "channels", f"found {channel!r}, expected a name as #fairlead", "")
    if stray := options.channel_keys.keys() - set(options.channels):
        _refuse(options.name, "channel_keys", f"found {min(stray)!r}, which is not in `channels`", "")
    if options.password is not None and not options.account:
        _refuse(options.name, "account", "found a password without an account", "set account to the registered name")
    if options.client_cert and not options.tls:
        _refuse(options.name, "client_cert", "a certificate needs TLS", "set tls = true")
    for key in ("ca_file", "client_cert", "client_key"):
        path = getattr(options, key)
        if path and not Path(path).expanduser().is_file():
            _refuse(options.name, key, f"found {path!r}, which is no file", f"ls -l {path}")


def _secret(value: Secret | str) -> Secret:
    return value if isinstance(value, Secret) else Secret(value, "the configuration")


def _refuse(name: str, key: str, problem: str, next_step: str) -> NoReturn:
    next_step = next_step or f"change {key} in [channels.{name}]"
    raise PluginLoadError(f"channels.{name}.{key}: {problem}", next_step=next_step, plugin=f"channels/{name}")
