"""The entry point of the Matrix channel; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl
from fairlead_matrix._channel import MatrixChannel
from fairlead_matrix._options import read_options

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One account for each table. `PluginLoadError`: it has no way to log in, or an option is wrong."""
    return [MatrixChannel(read_options(settings))]
