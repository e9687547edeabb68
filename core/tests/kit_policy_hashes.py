"""A policy whose rules have the order of a set, which is another one in each process.

The kit runs this file in other processes, which must find the class by its name; pytest alone does not collect it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from fairlead import Review, Verdict

from .kit_policy import HousePolicy, PolicyKit

__all__ = ["DrawsFromASet", "TestDrawsFromASet"]

RULES = {f"rule-{number}" for number in range(50)}


class DrawsFromASet(HousePolicy):
    def judge(self, review: Review) -> Sequence[Verdict]:
        return [evolve(verdict, rule=next(iter(RULES))) for verdict in super().judge(review)]


class TestDrawsFromASet(PolicyKit):
    @staticmethod
    def make(directory: Path) -> HousePolicy:
        return DrawsFromASet(directory)
