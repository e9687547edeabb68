"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl
from fairlead_telegram._channel import TelegramChannel
from fairlead_telegram._options import read_options

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One bot for each table. `PluginLoadError`: it has no token, or an option is wrong."""
    return [TelegramChannel(read_options(settings))]
