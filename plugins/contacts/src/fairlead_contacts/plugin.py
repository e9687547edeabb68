"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Policy, Settings
from fairlead.hookspecs import hookimpl

__all__ = ["fairlead_policies"]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """One for each table."""
    return []
