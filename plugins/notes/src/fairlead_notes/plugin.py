"""The entry point `notes`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_notes._tool import Notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Settings, Tool

__all__ = ["fairlead_tools"]


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:  # noqa: ARG001  # the hook's arguments are fixed; no options
    """The notes."""
    return [Notes()]
