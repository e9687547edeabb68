"""At which addresses of the host a guest may be reached: the grammar of ``listen``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from attrs import frozen

from fairlead.errors import ConfigError

__all__ = ["Entrance", "as_reached", "parse_entrance", "parse_entrances"]

MAX_PORT = 65_535
PORT = re.compile(r"0|[1-9][0-9]{0,4}")
V6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")


@frozen
class Entrance:
    """``address:port``. An address and nothing that has to be resolved: what is opened is what was written."""

    host: str
    """An address in its shortest form, without brackets."""
    port: int
    """The guest's own port is the same. 0: a free one of the host, and the only one at which the guest listens."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_entrance(text: str) -> Entrance:
    """A line of ``listen = [...]``; ``localhost`` is 127.0.0.1. `ConfigError`: what is wrong with it."""
    host, _, port = text.rpartition(":")
    try:
        return Entrance(_parse_host(host), _parse_port(port))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no address to be reached at: {error}",
            path="listen",
            next_step='write listen = ["127.0.0.1:8080"], or "[::1]:8080", or "0.0.0.0:8080" for the whole network',
        ) from None


def parse_entrances(texts: Iterable[str]) -> tuple[Entrance, ...]:
    """All lines. `ConfigError`: one is malformed, or there twice."""
    found: list[Entrance] = []
    for entrance in map(parse_entrance, texts):
        if entrance.port and entrance in found:
            raise ConfigError(f"{entrance} is granted twice", path="listen", next_step="remove one of the two")
        found.append(entrance)
    return tuple(found)


def _parse_port(text: str) -> int:
    if not PORT.fullmatch(text) or int(text) > MAX_PORT:
        raise ValueError("expected address:port with a port up to 65535")
    return int(text)


def _parse_host(text: str) -> str:
    if text == "localhost":
        return "127.0.0.1"
    address: IPv4Address | IPv6Address
    try:
        if text[:1] == "[" and text[-1:] == "]" and V6.fullmatch(text[1:-1]):
            address = IPv6Address(text[1:-1])
        else:
            address = IPv4Address(text)  # four decimal numbers without leading zeros, and nothing else
    except ValueError:
        raise ValueError("an address of this machine is written as 192.0.2.1, [2001:db8::1] or localhost") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f"write {address.ipv4_mapped} for it")
    return str(address)


def as_reached(where: str, listen: Iterable[str], hosts: Collection[str] = ()) -> str:
    """The place at which a guest says it is, with the warning that nobody comes there where no entrance leads to it.

    `hosts`: what it may reach itself; such a place is a server's, and not its own.
    """
    try:
        place = urlsplit(where)
        port = place.port or {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(place.scheme)
    except ValueError:
        return where
    if not place.hostname or port is None or any(each.port in (0, port) for each in parse_entrances(listen)):
        return where  # no address at all, or one with a way in
    is_own = place.hostname in _OWN or place.hostname.startswith("127.")
    if not is_own or f"{place.hostname}:{port}" in hosts:
        return where
    return f'{where} inside of its own walls, where nobody reaches it (set listen = ["127.0.0.1:{port}"] in its table)'


_OWN = ("localhost", "0.0.0.0", "::1", "::")  # noqa: S104  # names are compared, nothing is opened
