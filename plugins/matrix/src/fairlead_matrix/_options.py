"""What the table ``[channels.NAME]`` says, checked beyond what its schema can."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from attrs import frozen

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError

__all__ = ["Options", "admits", "crosses_network", "read_options"]


@frozen
class Options:
    """The options with their defaults; the manifest describes them."""

    name: str
    """The channel's name in the configuration."""
    directory: Path
    """Where the login and the position in the stream are kept."""
    homeserver: str
    """Without a slash at its end."""
    user: str = ""
    password: Secret | None = None
    access_token: Secret | None = None
    device_name: str = "Fairlead"
    groups: Literal["mention", "all", "off"] = "mention"
    invites: Literal["off", "listed", "server", "all"] = "server"
    invite_from: frozenset[str] = frozenset()
    """User ids and names of servers."""
    edits: Literal["ignore", "answer"] = "ignore"
    streaming: bool = True
    edit_seconds: float = 1.5
    """Between two forms of an answer that grows."""
    receipts: bool = True
    typing: bool = True
    answer_type: Literal["m.text", "m.notice"] = "m.text"
    max_chars: int = 4000
    media_types: tuple[str, ...] = ("image/*", "audio/*", "video/*", "text/*", "application/*")
    media_bytes: int = 5_000_000


def read_options(settings: Settings) -> Options:
    """The options of a table. `PluginLoadError`: which key, what was found, what to write."""
    given: dict[str, Any] = dict(settings.options)
    name = settings.name
    for key in ("password", "access_token"):
        if isinstance(given.get(key), str):
            given[key] = Secret(given[key], "the configuration")
    for key, kind in (("invite_from", frozenset), ("media_types", tuple)):
        if key in given:
            given[key] = kind(given[key])
    homeserver = str(given.pop("homeserver", "")).rstrip("/")
    fault = _url_fault(homeserver)
    if fault:
        _refuse(name, "homeserver", fault, 'write its base URL: homeserver = "https://matrix.example.org"')
    if not given.get("access_token") and not (given.get("user") and given.get("password")):
        _refuse(
            name,
            "access_token",
            "expected an access token, or a user and a password; found neither",
            f'write `user = "@bot:example.org"` and `password = {{ env = "MATRIX_PASSWORD" }}` into [channels.{name}]',
        )
    return Options(name=name, directory=settings.data_dir / name, homeserver=homeserver, **given)


def _refuse(name: str, key: str, problem: str, next_step: str) -> NoReturn:
    raise PluginLoadError(f"channels.{name}.{key}: {problem}", next_step=next_step, plugin=f"channels/{name}")


def _url_fault(url: str) -> str:
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        return f"{url!r} is not a URL: {error}"
    if split.scheme not in {"http", "https"} or not split.hostname or port == 0 or split.query or split.fragment:
        return f"found {url!r}, expected an http or https URL with a host"
    return "a password in a URL ends up in logs" if split.username or split.password else ""


def crosses_network(url: str) -> bool:
    """Whether the token goes over a network in the clear."""
    split = urlsplit(url)
    try:
        loopback = ipaddress.ip_address(split.hostname or "").is_loopback
    except ValueError:
        loopback = split.hostname == "localhost"
    return split.scheme == "http" and not loopback


def admits(options: Options, inviter: str, ours: str) -> bool:
    """Whether an invitation of this user is accepted. `ours`: the user id of the channel."""
    if options.invites == "off" or not inviter.startswith("@") or ":" not in inviter:
        return False
    server = inviter.partition(":")[2]
    if options.invites == "all" or inviter in options.invite_from or server in options.invite_from:
        return True
    return options.invites == "server" and server == ours.partition(":")[2]
