"""What another package offers to be typed: found by name, imported when a command needs it."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from fairlead_cli._failures import Refused

__all__ = ["operations"]

PACKAGE = "fairlead-sandbox"


def operations() -> Any:
    """The functions of `fairlead-sandbox`. `Refused` where it is not installed.

    No other distribution is asked: to be installed must not be enough to run in this process.
    """
    for entry_point in entry_points(group="fairlead.operations"):
        if entry_point.dist is not None and entry_point.dist.name == PACKAGE:
            return entry_point.load()
    raise Refused(f"this needs the package {PACKAGE}, which is not installed", next_step=f"pip install {PACKAGE}")
