"""The same figures from the entries alone: what the ledger says it has, and what its entries amount to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from fairlead_budgets._rows import rows

if TYPE_CHECKING:
    import apsw

__all__ = ["Audit", "audit"]

_ENDS = ("settled", "kept", "released", "lost")
_Figures = list[int]
"""Nano-dollars, tokens, requests; the same of what is held."""


@frozen
class Audit:
    """What was compared."""

    entries: int
    requests: int
    """That were reserved."""
    held: int
    faults: tuple[str, ...]
    """In words; empty where all is well."""


@define
class _Replay:
    accounts: dict[tuple[str, str, int], _Figures] = field(factory=lambda: defaultdict(lambda: [0] * 6))
    holds: dict[str, tuple[int, int, list[list[object]]]] = field(factory=dict)
    """Nano-dollars, tokens and charges, by request."""
    reserved: set[str] = field(factory=set)
    faults: list[str] = field(factory=list)

    def take(self, kind: str, request: str, nano: int, tokens: int, requests: int, detail: str) -> None:
        """One entry."""
        if kind not in (*_ENDS, "reserved", "credited"):
            return
        charges = json.loads(detail)["charges"]
        if kind == "reserved":
            self._let_go(request)  # it was revised
            self.reserved.add(request)
            self.holds[request] = nano, tokens, charges
            self._add(charges, held=(nano, tokens, 1))
        elif kind == "credited" or self._let_go(request):
            self._add(charges, used=(nano, tokens, requests))
        else:
            self.faults.append(f"request {request!r} was {kind} and not reserved then")

    def _let_go(self, request: str) -> bool:
        if request not in self.holds:
            return False
        nano, tokens, charges = self.holds.pop(request)
        self._add(charges, held=(-nano, -tokens, -1))
        return True

    def _add(
        self, charges: list[list[object]], used: tuple[int, ...] = (0, 0, 0), held: tuple[int, ...] = (0, 0, 0)
    ) -> None:
        for budget, key, start in charges:
            figures = self.accounts[budget, key, start]  # type: ignore[index]  # as they were written
            for place, amount in enumerate((*used, *held)):
                figures[place] += amount


def audit(connection: apsw.Connection) -> Audit:
    """Read all entries in one look, and compare what they amount to with the accounts."""
    replay = _Replay()
    count = 0
    connection.execute("BEGIN")  # one look, whoever writes meanwhile
    try:
        entries: Iterator[Any] = connection.execute(
            "SELECT kind, request, nano, input + output, requests, detail FROM entries ORDER BY seq"
        )
        for entry in entries:
            replay.take(*entry)
            count += 1
        accounts = rows(connection, "SELECT * FROM accounts")
        holds = {request for (request,) in rows(connection, "SELECT request FROM holds")}
    finally:
        connection.execute("COMMIT")
    faults = replay.faults
    found = {tuple(row[:3]): list(row[3:]) for row in accounts}
    for place in sorted({*found, *replay.accounts}, key=str):
        says, amounts = found.get(place, [0] * 6), replay.accounts.get(place, [0] * 6)
        if says != amounts:
            faults.append(f"account {place!r} says {says}, and its entries amount to {amounts}")
    if holds != set(replay.holds):
        faults.append(f"held are {sorted(holds)}, and by the entries {sorted(replay.holds)}")
    return Audit(count, len(replay.reserved), len(holds), tuple(faults))
