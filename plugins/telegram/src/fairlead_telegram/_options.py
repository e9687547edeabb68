"""What the table ``[channels.NAME]`` says, checked beyond what its schema can."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

from attrs import field, frozen

from fairlead import Secret, Settings
from fairlead.errors import PluginLoadError

__all__ = ["Options", "read_options"]

TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{10,200}|flsec-[0-9a-f]{32}")
"""A bot's number and its secret; or, where this plugin runs isolated, the handle that stands for the token."""


@frozen
class Options:
    """The options with their defaults."""

    name: str
    """The channel's name in the configuration."""
    token: Secret = field(repr=False)
    folder: Path
    """Where the channel keeps its few facts."""
    api_url: str = "https://api.telegram.org"
    groups: Literal["mention", "all", "off"] = "mention"
    edited: bool = False
    """An edited message is handed in as a new one."""
    channel_posts: bool = False
    markup: Literal["markdown", "plain"] = "markdown"
    streaming: bool = True
    replies: Literal["groups", "all", "off"] = "groups"
    """Where an answer points to the message that it answers."""
    link_previews: bool = False
    max_media_bytes: int = 5_000_000
    poll_seconds: int = 25
    """How long Telegram may hold one question for news."""
    webhook_url: str = ""
    """The public address that Telegram posts to; empty for long polling."""
    host: str = "127.0.0.1"
    port: int = 8081

    @property
    def base(self) -> str:
        """Where requests go: Telegram, or where this plugin runs isolated, the host's way out, which adds the token."""
        egress = os.environ.get("FAIRLEAD_EGRESS", "")
        scheme, _, rest = self.api_url.rstrip("/").partition("://")
        return f"{egress}/{scheme}/{rest}" if egress.startswith("http://127.0.0.1:") else f"{scheme}://{rest}"


def read_options(settings: Settings) -> Options:
    """The options of a table. `PluginLoadError`: which key, what was found, what to write; never the token."""
    given: dict[str, Any] = dict(settings.options)
    token = given.pop("token", None)
    if not token:
        _refuse(
            settings.name,
            "token",
            "the channel needs the token of a bot",
            f"talk to @BotFather in Telegram, send /newbot, and write "
            f'`token = {{ env = "TELEGRAM_TOKEN" }}` into [channels.{settings.name}]',
        )
    secret = token if isinstance(token, Secret) else Secret(token, "the configuration")
    if not TOKEN.fullmatch(secret.reveal().strip()):
        problem = f"what stands in {secret.source or 'the configuration'} is no token of a bot, such as 123456:ABC-DEF"
        _refuse(settings.name, "token", problem, "copy the whole line that @BotFather has sent")
    secret = Secret(secret.reveal().strip(), secret.source)
    for key, schemes in (("api_url", {"http", "https"}), ("webhook_url", {"https"})):
        url = given.get(key, "")
        if url and not _is_url(url, schemes):
            expected = " or ".join(sorted(schemes))
            problem = f"found {url!r}, expected an address that begins with {expected}:// and has no password"
            _refuse(settings.name, key, problem, f'write {key} = "https://example.org/telegram"')
    return Options(name=settings.name, token=secret, folder=settings.data_dir / settings.name, **given)


def _is_url(url: str, schemes: set[str]) -> bool:
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port != 0
    except ValueError:
        return False
    return port_is_fine and parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc


def _refuse(name: str, key: str, problem: str, next_step: str) -> NoReturn:
    raise PluginLoadError(f"channels.{name}.{key}: {problem}", next_step=next_step, plugin=f"channels/{name}")
