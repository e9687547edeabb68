"""The entry point."""

from __future__ import annotations

from collections.abc import Sequence

from acme_pager.channel import PagerChannel
from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One switchboard for each table."""
    return [PagerChannel(settings.name, settings.options.get("port", 0), settings.options.get("seconds", 5.0))]
