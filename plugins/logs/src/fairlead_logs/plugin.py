"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Observer, Settings
from fairlead.hookspecs import hookimpl
from fairlead_logs._observer import Log

__all__ = ["fairlead_observers"]


@hookimpl
def fairlead_observers(settings: Settings) -> Sequence[Observer]:
    """One log for each table."""
    return [Log(settings)]
