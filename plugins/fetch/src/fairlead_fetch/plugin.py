"""The entry point `fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_fetch._tool import Fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Settings, Tool

__all__ = ["fairlead_tools"]


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    """The tool that fetches."""
    return [Fetch(**settings.options)]
