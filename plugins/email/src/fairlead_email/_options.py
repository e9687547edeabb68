"""What the table ``[channels.NAME]`` says, checked beyond what its schema can."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from attrs import frozen

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError
from fairlead_email._letter import normal_address

__all__ = ["Options", "Server", "read_options"]

PORTS = {"imaps": 993, "imap": 143, "smtps": 465, "smtp": 587}


@frozen
class Server:
    """Where a server listens, and how it is spoken to."""

    host: str
    port: int
    tls: Literal["implicit", "starttls", "none"]
    ca_file: str = ""
    """Certificates to trust instead of the system's."""

    def context(self) -> ssl.SSLContext:
        """A TLS context that checks the server's certificate and name."""
        return ssl.create_default_context(cafile=self.ca_file or None)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@frozen
class Options:
    """The options with their defaults. All durations are in seconds."""

    name: str
    """The channel's name in the configuration."""
    data_dir: Path
    address: str
    """The own address, which answers come from."""
    password: Secret
    imap: Server
    smtp: Server
    username: str
    own: frozenset[str]
    """All own addresses."""
    display_name: str = ""
    mailbox: str = "INBOX"
    move_to: str = ""
    hold_in: str = ""
    backlog: bool = False
    authentication: Literal["required", "preferred", "off"] = "required"
    authserv_id: str = ""
    verify_dkim: bool = True
    groups: Literal["mention", "all", "off"] = "mention"
    quotes: Literal["drop", "keep"] = "drop"
    max_bytes: int = 25_000_000
    max_text: int = 100_000
    """Characters of one mail's text."""
    attachment_types: tuple[str, ...] = ("image/*", "audio/*", "text/*", "application/pdf", "application/json")
    attachment_bytes: int = 5_000_000
    max_attachments: int = 10
    per_hour: int = 30
    idle_seconds: float = 540.0
    poll_seconds: float = 60.0
    retry_seconds: float = 30.0
    reconnect_seconds: float = 60.0


def read_options(settings: Settings) -> Options:
    """The options of a table. `PluginLoadError`: which key, what was found, what to write."""
    given: dict[str, Any] = dict(settings.options)
    name = settings.name
    for key, example in (
        ("address", 'address = "assistant@example.org"'),
        ("password", 'password = { env = "FAIRLEAD_EMAIL_PASSWORD" }'),
        ("imap", 'imap = "imaps://imap.example.org"'),
        ("smtp", 'smtp = "smtps://smtp.example.org"'),
    ):
        if not given.get(key):
            _refuse(name, key, "it is missing", f"write `{example}` into [channels.{name}]")
    address, password = normal_address(given.pop("address")), given.pop("password")
    if not address:
        _refuse(name, "address", "found no mail address", 'write it as "assistant@example.org"')
    plaintext, ca_file = given.pop("plaintext", False), given.pop("ca_file", "")
    for key in ("imap", "smtp"):
        given[key] = _server(name, key, given[key], plaintext=plaintext, ca_file=ca_file)
    aliases = (normal_address(alias) for alias in given.pop("aliases", ()))
    if "attachment_types" in given:
        given["attachment_types"] = tuple(kind.lower() for kind in given["attachment_types"])
    options = Options(
        name=name,
        data_dir=settings.data_dir / name,
        address=address,
        password=password if isinstance(password, Secret) else Secret(password, "the configuration"),
        username=given.pop("username", "") or address,
        own=frozenset({address, *filter(None, aliases)}),
        **given,
    )
    if options.authentication != "off" and not options.authserv_id and not options.verify_dkim:
        _refuse(
            name,
            "authentication",
            f"{options.authentication!r} with neither `authserv_id` nor `verify_dkim`: no mail could ever be authentic",
            "set `verify_dkim = true`, or `authserv_id` to the name of your own mail server",
        )
    return options


def _server(name: str, key: str, url: str, *, plaintext: bool, ca_file: str) -> Server:
    wanted = f"write {key}s://HOST (TLS from the start) or {key}://HOST (STARTTLS), with :PORT where it is another"
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        _refuse(name, key, f"{url!r} is not a URL: {error}", wanted)
    if split.scheme not in {key, f"{key}s"} or not split.hostname or split.username is not None or port == 0:
        _refuse(name, key, f"found {url!r}", wanted)
    host = split.hostname
    secure: Literal["implicit", "starttls"] = "implicit" if split.scheme == f"{key}s" else "starttls"
    if plaintext and secure == "starttls":
        if not _is_loopback(host):
            _refuse(name, "plaintext", f"{host!r} is not this machine, and the password would be readable", wanted)
        return Server(host, port or PORTS[split.scheme], "none")
    return Server(host, port or PORTS[split.scheme], secure, ca_file)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refuse(name: str, key: str, problem: str, next_step: str) -> NoReturn:
    raise PluginLoadError(f"channels.{name}.{key}: {problem}", next_step=next_step, plugin=f"channels/{name}")
