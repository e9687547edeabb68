"""The entry point `calculator`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_calculator._tool import Calculator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Settings, Tool

__all__ = ["fairlead_tools"]


@hookimpl
def fairlead_tools(settings: Settings) -> Sequence[Tool]:  # noqa: ARG001  # the hook's arguments are fixed; no options
    """The calculator."""
    return [Calculator()]
