"""Which hosts may be reached: the grammar of hosts, and the grants of the configuration.

A host has one spelling here, and what has two is refused, for two programs that read one text in two ways are how walls
are passed (decimal and octal addresses, a dot at the end, percent signs, letters that only look like ASCII).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from attrs import frozen

from fairlead.errors import ConfigError

__all__ = ["Grant", "Grants", "Target", "parse_authority", "parse_grant"]

MAX_NAME = 253
MAX_PORT = 65_535
# RFC 1123, section 2.1: letters, digits and hyphens; 63 of them at most.
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
PORT = re.compile(r"[1-9][0-9]{0,4}")
# WHATWG URL, "ends in a number": such a host is an IPv4 address, or nothing.
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
V6 = re.compile(r"[0-9A-Fa-f:.]{2,45}")


@frozen
class Target:
    """A host and a port, as the guest asked for them."""

    host: str
    """A name in small letters, or an address in its shortest form, without brackets."""
    port: int
    literal: bool
    """The host is an address."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen
class Grant:
    """``host:port``, or ``*.example.org:443`` for exactly one label before it."""

    host: str
    port: int
    literal: bool = False
    wildcard: bool = False

    def covers(self, target: Target) -> bool:
        """Whether it lets through."""
        if self.port != target.port or self.literal != target.literal:
            return False
        return self.host == (target.host.partition(".")[2] if self.wildcard else target.host)


class Grants:
    """What one guest may reach. Nothing granted, nothing reached."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._grants = tuple(map(parse_grant, texts))

    def covers(self, target: Target) -> bool:
        """Whether one of them lets it through."""
        return any(grant.covers(target) for grant in self._grants)


def parse_host(text: str) -> tuple[str, bool]:
    """The one spelling of a host, and whether it is an address. `ValueError`: it is neither name nor address."""
    if text[:1] == "[" and text[-1:] == "]" and V6.fullmatch(text[1:-1]):
        return _parse_address(text[1:-1], IPv6Address), True
    # Before the letters are made small: U+212A, the Kelvin sign, would become a k.
    if not text.isascii():
        raise ValueError("a host is ASCII: write an international name in its xn-- form")
    name = text.lower()
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(map(LABEL.fullmatch, labels)):
        raise ValueError("a host is a name of letters, digits, hyphens and single dots, or an address")
    if NUMBER.fullmatch(labels[-1]):
        return _parse_address(name, IPv4Address), True
    return name, False


def _parse_address(text: str, kind: type[IPv4Address | IPv6Address]) -> str:
    try:
        return str(kind(text))  # of IPv4: four decimal numbers without leading zeros, and nothing else
    except ValueError:
        raise ValueError("an address is written as 192.0.2.1 or [2001:db8::1]") from None


def parse_authority(text: str, default_port: int | None = None) -> Target:
    """``host:port`` or ``[v6]:port`` as a target. `ValueError`: it is not of the grammar, or has no port."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon and default_port is not None:
        host, port = text, str(default_port)
    if not PORT.fullmatch(port) or int(port) > MAX_PORT:
        raise ValueError("expected host:port with a port from 1 to 65535")
    name, literal = parse_host(host)
    return Target(name, int(port), literal)


def parse_grant(text: str) -> Grant:
    """A line of ``hosts = [...]``. `ConfigError`: what is wrong with it."""
    wildcard = text.startswith("*.")
    try:
        target = parse_authority(text.removeprefix("*."))
    except ValueError as error:
        raise _no_grant(text, str(error)) from None
    if wildcard and (target.literal or "." not in target.host):
        raise _no_grant(text, "a wildcard stands for one label of a name that has two more")
    return Grant(target.host, target.port, target.literal, wildcard)


def _no_grant(text: str, problem: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no host that can be granted: {problem}",
        path="hosts",
        next_step='write hosts = ["example.org:443"], or ["*.example.org:443"] for every name with one label more',
    )
