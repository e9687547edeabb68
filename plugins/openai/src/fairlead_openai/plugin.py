"""The entry point: thin, so that starting an app costs little."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Provider, Settings
from fairlead.hookspecs import hookimpl
from fairlead_openai._provider import OpenAIProvider

__all__ = ["OpenAIProvider", "fairlead_providers"]


@hookimpl
def fairlead_providers(settings: Settings) -> Sequence[Provider]:
    """One provider for each table that names this plugin."""
    return [OpenAIProvider(settings)]
