"""Budgets keep the promises of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from fairlead import Policy, Review, Settings
from fairlead.testing import PolicyConformance
from fairlead_budgets._policy import Budgets

from .spending import review

OPTIONS: dict[str, Any] = {
    "limits": {
        "all": {"dollars": 1_000_000, "tokens": 1_000_000_000_000},
        "mallory": {"scope": "principal", "who": "kit:mal*", "requests": 0},
        "costly": {"scope": "model", "who": "q/*", "dollars": 0.000_001, "rolling": "24h", "warn_at": 0.8},
        "talk": {"scope": "conversation", "requests": 1_000_000, "window": "day", "tell": True, "warn_at": 1},
    },
    "prices": {"p/m": {"input": 1, "output": 2}, "q/*": {"input": 2.5, "output": 10, "cached": 0.25}},
    "unknown_price": "tokens",
    "timezone": "Europe/Berlin",
}


NARROWER = {"none": {"scope": "agent", "who": "main", "requests": 0}}


class TestBudgets(PolicyConformance):
    more: Mapping[str, Any] = {}

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("budgets", OPTIONS | {"limits": {**OPTIONS["limits"], **self.more}}, tmp_path)

    async def make_worker(self, tmp_path: Path) -> Policy:
        return Budgets(self.settings(tmp_path))

    async def reviews(self) -> Sequence[Review]:
        """The kit's, and requests of several people, with and without a bound, a price, a provider."""
        people = [review(f"r-{who}", who=f"kit:{who}") for who in ("ann", "bob", "mallory")]
        more = [review("r-q", provider="q"), review("r-none", model=None), review("r-say", max_output_tokens=7)]
        return [*await super().reviews(), *people, *more]

    async def denied(self) -> Sequence[Review]:
        """Who may make no request at all; what costs more than there is."""
        return [review("r-m", who="kit:mallory"), review("r-q", provider="q")]

    async def make_narrower(self, tmp_path: Path) -> Policy:
        self.more = NARROWER
        try:
            return await self.make_worker(tmp_path)
        finally:
            self.more = {}

    async def lesser(self) -> Sequence[tuple[Review, Review]]:
        """Ann and Mallory; a cheap provider and a dear one."""
        ann = review("r-1")
        return [(ann, review("r-2", who="kit:mallory")), (ann, evolve(ann, provider="q"))]
