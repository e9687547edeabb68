"""What the table ``[channels.NAME]`` says, checked beyond what its schema can."""

from __future__ import annotations

import ipaddress
from typing import Any, NoReturn
from urllib.parse import urlsplit

from attrs import frozen

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError

__all__ = ["Options", "foreign_url_fault", "is_loopback", "is_public", "read_options", "url_fault"]

SHORTEST_SECRET = 16
"""Characters. A shorter one can be found by trying, with one captured request and no traffic."""


@frozen
class Options:
    """The options with their defaults."""

    name: str
    """The channel's name in the configuration."""
    secrets: tuple[Secret, ...]
    """The one that signs first; all of them are accepted."""
    host: str = "127.0.0.1"
    port: int = 8080
    """0: the system picks one."""
    path: str = "/messages"
    reply_url: str = ""
    """Where answers go that their message gives no other place for."""
    reply_hosts: frozenset[str] = frozenset()
    """Hosts, in lower case, that a message may name in its own ``reply_url``."""
    reply_private: bool = False
    """A message's own ``reply_url`` may be plain HTTP and lead to a private address."""
    max_body_bytes: int = 1_000_000
    max_requests: int = 100
    """Requests that are read, handed in or waiting at the same time."""
    read_seconds: float = 10.0
    """For the body of one request."""
    retry_seconds: float = 30.0
    """For all tries of one answer."""


def read_options(settings: Settings) -> Options:
    """The options of a table. `PluginLoadError`: which key, what was found, what to write."""
    given: dict[str, Any] = dict(settings.options)
    secret, previous = given.pop("secret", None), given.pop("previous_secret", None)
    if not secret:
        _refuse(
            settings.name,
            "secret",
            "the webhook channel does not start without a secret: its requests would be anybody's",
            f'export FAIRLEAD_WEBHOOK_SECRET="$(openssl rand -hex 32)" and write '
            f'`secret = {{ env = "FAIRLEAD_WEBHOOK_SECRET" }}` into [channels.{settings.name}]',
        )
    secrets = tuple(
        _checked(settings.name, key, value)
        for key, value in (("secret", secret), ("previous_secret", previous))
        if value
    )
    hosts = frozenset(host.lower() for host in given.pop("reply_hosts", ()))
    options = Options(name=settings.name, secrets=secrets, reply_hosts=hosts, **given)
    fault = url_fault(options.reply_url) if options.reply_url else ""
    if fault:
        _refuse(settings.name, "reply_url", fault, "write the URL that takes the answers: https://example.org/answers")
    return options


def _checked(name: str, key: str, value: Secret | str) -> Secret:
    secret = value if isinstance(value, Secret) else Secret(value, "the configuration")
    if len(secret.reveal()) < SHORTEST_SECRET:
        _refuse(
            name,
            key,
            f"the secret from {secret.source or 'the configuration'} has {len(secret.reveal())} characters, "
            f"expected at least {SHORTEST_SECRET}",
            "make one with: openssl rand -hex 32",
        )
    return secret


def _refuse(name: str, key: str, problem: str, next_step: str) -> NoReturn:
    raise PluginLoadError(f"channels.{name}.{key}: {problem}", next_step=next_step, plugin=f"channels/{name}")


def url_fault(url: str) -> str:
    """Why nothing can be posted to a URL; empty where it has the right form."""
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        return f"{url!r} is not a URL: {error}"
    if split.scheme not in {"http", "https"} or not split.hostname or port == 0:
        return f"found {url!r}, expected an http or https URL with a host"
    if split.username is not None or split.password is not None:
        return "a password in a URL ends up in logs; the signature authenticates the request"
    return ""


def foreign_url_fault(url: str, options: Options) -> str:
    """Why a URL that a message names gets no answer; empty where its host is allowed.

    A bare host stands for the port of the scheme. The addresses behind the name are looked at when it is used.
    """
    fault = url_fault(url)
    if fault:
        return fault
    split = urlsplit(url)
    if split.scheme != "https" and not options.reply_private:
        return f"found {url!r}, expected https"
    usual = split.port in {None, 443 if split.scheme == "https" else 80}
    place = str(split.hostname) if usual else f"{split.hostname}:{split.port}"
    if place not in options.reply_hosts:
        return f"{place!r} is not among the hosts that this channel answers to"
    return ""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also where it wraps another (RFC 4291, 3056, 4380, 6052)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour or ip.teredo or ip in _NAT64:
            return False
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
