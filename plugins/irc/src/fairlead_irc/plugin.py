"""The entry point of the IRC channel; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl
from fairlead_irc._channel import IrcChannel
from fairlead_irc._options import read_options

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One bot for each table. `PluginLoadError`: an option is wrong."""
    return [IrcChannel(read_options(settings))]
