"""How the budgets stand, for ``fairlead doctor``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fairlead import Finding
from fairlead_budgets._amounts import number
from fairlead_budgets._errors import LedgerUnavailable
from fairlead_budgets._file import explained, open_reading
from fairlead_budgets._ledger import State, accounts_of, time_of
from fairlead_budgets._options import Limit
from fairlead_budgets._words import named

__all__ = ["findings"]

CLOCK_SECONDS = 60.0
"""By which a clock may be behind the ledger: what clocks are set back by when they are kept right."""


def findings(name: str, path: Path, limits: Sequence[Limit], clock: float, lost: int) -> tuple[Finding, ...]:
    """One line for the ledger, and one more where something wants an operator."""
    try:
        connection = open_reading(path)
        if connection is None:
            return (Finding(name, ok=False, detail=f"{path} is gone", next_step="restart the gateway"),)
        try:
            with explained(path):
                now = time_of(connection, clock)
                states = [state for limit in limits for state in accounts_of(connection, limit, now)]
        finally:
            connection.close()
    except LedgerUnavailable as error:
        return (Finding(name, ok=False, detail=error.problem, next_step=error.next_step),)
    found = [Finding(name, ok=True, detail=_summary(limits, states, lost))]
    if now - clock > CLOCK_SECONDS:
        detail = f"the clock is {number(round(now - clock))} s behind the ledger: no budget renews before it is there"
        mend = 'set the clock; if it is right: fairlead budgets time --reason "the clock was wrong"'
        found.append(Finding(f"{name}: clock", ok=False, detail=detail, next_step=mend))
    return tuple(found)


def _summary(limits: Sequence[Limit], states: Sequence[State], lost: int) -> str:
    full = sum(state.limit.share(state.used + state.held) >= 1 for state in states)
    words = f"budgets: {len(limits)}; accounts in use: {len(states)}; used up: {full}"
    if states:
        most = max(states, key=lambda state: state.limit.share(state.used))
        words += f"; most used: {named(most)} at {most.limit.share(most.used):.0%}"
    if lost:
        words += f"; requests of a process that died, counted as spent: {lost}"
    return words
