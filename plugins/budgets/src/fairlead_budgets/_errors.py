"""What can go wrong, for whoever uses the ledger.

::

    FairleadError
    ├── LedgerUnavailable   it cannot be read or written now
    └── UnknownBudget       the configuration has no budget of that name
"""

from __future__ import annotations

from fairlead.errors import FairleadError

__all__ = ["LedgerUnavailable", "UnknownBudget"]


class LedgerUnavailable(FairleadError):
    """The ledger cannot be read or written now, or is no ledger; nothing was written, and no request passes."""


class UnknownBudget(FairleadError):
    """The configuration has no budget of that name, or it has no such account or unit."""
