"""Types that only annotations need: what the fields and parameters of the public classes are."""

import importlib
from typing import TYPE_CHECKING

from fairlead._message import Part
from fairlead._work import Boundary, Effect, Emit, Isolation, Mode, Progress, WorkClass

if TYPE_CHECKING:
    from fairlead._policy import Explanation
    from fairlead._store import SessionStore

__all__ = [
    "Boundary",
    "Effect",
    "Emit",
    "Explanation",
    "Isolation",
    "Mode",
    "Part",
    "Progress",
    "SessionStore",
    "WorkClass",
]


def __getattr__(name: str) -> object:
    """As `fairlead` does it: these two belong to the engine."""
    module = {"Explanation": "_policy", "SessionStore": "_store"}.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"fairlead.{module}"), name)
