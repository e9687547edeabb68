"""The entry point of the webhook channel; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Channel, Settings
from fairlead.hookspecs import hookimpl
from fairlead_webhook._channel import WebhookChannel
from fairlead_webhook._options import read_options

__all__ = ["fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """One webhook for each table. `PluginLoadError`: it has no secret, or an option is wrong."""
    return [WebhookChannel(read_options(settings))]
