"""Channels that break one promise each, and the check that finds it.

Each is made so that, where that is possible, no other check sees it: `also` names those that may see it too, most
often because what was not acknowledged when a connection broke comes again by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import evolve, frozen

from fairlead import Delivery, Outbound, Text

from .kit_channel import MemoryChannel
from .kit_platform import Platform

__all__ = ["Counting", "Mutant", "into", "reworded", "text_of"]


@frozen
class Mutant:
    """`words`: of the promise that is then broken."""

    check: str
    words: str
    make: Callable[[Platform, Path], MemoryChannel]
    also: frozenset[str]


M = type[MemoryChannel]


def into(mutants: list[Mutant], check: str, words: str, *also: str) -> Callable[[M], M]:
    def add(cls: M) -> M:
        mutants.append(Mutant(f"test_{check}", words, cls, frozenset(f"test_{name}" for name in also)))
        return cls

    return add


def text_of(outbound: Outbound) -> str:
    return "\n".join(part.text for part in outbound.parts if isinstance(part, Text))


def reworded(outbound: Outbound, text: str) -> Outbound:
    return evolve(outbound, parts=(Text(text), *(part for part in outbound.parts if not isinstance(part, Text))))


class Counting(MemoryChannel):
    """Knows how many sends are on their way."""

    sending = 0

    async def send(self, outbound: Outbound) -> Delivery:
        self.sending += 1
        try:
            return await self.send_counted(outbound)
        finally:
            self.sending -= 1

    async def send_counted(self, outbound: Outbound) -> Delivery:
        return await super().send(outbound)
