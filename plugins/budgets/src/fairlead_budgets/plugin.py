"""The entry point; thin, since it is imported whenever the app starts."""

from __future__ import annotations

from collections.abc import Sequence

from fairlead import Policy, Settings
from fairlead.hookspecs import hookimpl
from fairlead_budgets._policy import Budgets

__all__ = ["fairlead_policies"]


@hookimpl
def fairlead_policies(settings: Settings) -> Sequence[Policy]:
    """One policy for each table, with a ledger of its own. `ConfigError`: which budget is wrong, and how."""
    return [Budgets(settings)]
