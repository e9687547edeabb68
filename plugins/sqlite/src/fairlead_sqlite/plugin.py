"""The entry point: thin, since it is imported when the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Memory, Settings
from fairlead.hookspecs import hookimpl
from fairlead_sqlite._memory import SqliteMemory

__all__ = ["fairlead_memories"]


@hookimpl
def fairlead_memories(settings: Settings) -> Sequence[Memory]:
    """One memory with both facets for each table that names this plugin."""
    return [SqliteMemory(settings)]
