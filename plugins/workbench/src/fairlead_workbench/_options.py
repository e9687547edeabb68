"""What the table ``[tools.NAME]`` says."""

from __future__ import annotations

from attrs import frozen

from fairlead import Settings

__all__ = ["MAX_SECONDS", "Options", "read_options"]

MAX_SECONDS = 600
"""The longest that a program may be given, whatever the table or a call says."""


@frozen
class Options:
    """The options with their defaults. The manifest's schema has checked each by itself."""

    tools: frozenset[str] | None = None
    """The tools that are offered; None for all."""
    seconds: float = 60.0
    """For one program, where the call says nothing."""
    max_seconds: float = float(MAX_SECONDS)
    """What a call may ask for."""
    kept_bytes: int = 100_000
    """Of a program's output that are kept, beginning and end."""
    output_bytes: int = 64 * 1024 * 1024
    """A program that writes more is stopped."""
    file_bytes: int = 10 * 1024 * 1024
    """Of a file that is read, written, edited or searched."""
    sent_bytes: int = 3_000_000
    """Of a file that is sent: it goes as base64 through a boundary that takes 4 MiB by itself."""


def read_options(settings: Settings) -> Options:
    """The options of a table."""
    given = dict(settings.options)
    tools = given.pop("tools", None)
    return Options(tools=None if tools is None else frozenset(tools), **given)
