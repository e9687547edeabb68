"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl
from fairlead_email._channel import EmailChannel
from fairlead_email._options import read_options

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One mailbox for each table. `PluginLoadError`: something that is needed is missing, or an option is wrong."""
    return [EmailChannel(read_options(settings))]
