"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One for each table."""
    return []
