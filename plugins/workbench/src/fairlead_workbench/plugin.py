"""The entry point `workbench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_workbench._options import read_options
from fairlead_workbench._tool import Workbench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Settings, Tool

__all__ = ["fairlead_tools"]


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:
    """One workbench for each table."""
    return [Workbench(read_options(settings))]
