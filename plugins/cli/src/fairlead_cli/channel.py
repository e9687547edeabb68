"""The terminal as a plugin: ``[channels.terminal]`` lets the person who started ``fairlead run`` take part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_cli._lines import open_lines
from fairlead_cli._screen import Screen
from fairlead_cli._terminal import TerminalChannel
from fairlead_cli._view import TextView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Channel, Settings

__all__ = ["TerminalChannel", "fairlead_channels"]


@hookimpl
def fairlead_channels(settings: Settings) -> Sequence[Channel]:
    """The one terminal of the process."""
    screen = Screen()
    conversation = settings.options.get("conversation", "main")
    return [TerminalChannel(lambda: open_lines(screen.prompt), TextView(screen), conversation=conversation)]
