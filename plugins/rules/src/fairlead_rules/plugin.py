"""The entry point `rules`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.hookspecs import hookimpl
from fairlead_rules._policy import Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fairlead import Policy, Settings

__all__ = ["fairlead_policies"]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """One policy of all rules in the table. `ConfigError`: which rule is wrong, and how."""
    return [Rules(settings)]
