"""What is counted: money, tokens, requests. Money is in whole nano-dollars, so that sums are exact."""

from __future__ import annotations

import math

from attrs import frozen

from fairlead import ModelInfo, Usage

__all__ = ["NANO", "NOTHING", "Amount", "Price", "dollars", "nano_of", "number"]

NANO = 1_000_000_000
"""Nano-dollars of a dollar. A token of the cheapest models costs about 20 of them."""
_PER_TOKEN = 1000
"""A dollar for a million tokens is so many nano-dollars for one."""
_CENT = 0.01
_DIGITS = 2


@frozen
class Amount:
    """So much of each."""

    nano: int = 0
    tokens: int = 0
    requests: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.nano + other.nano, self.tokens + other.tokens, self.requests + other.requests)

    def __neg__(self) -> Amount:
        return Amount(-self.nano, -self.tokens, -self.requests)


NOTHING = Amount()


@frozen
class Price:
    """What a model costs, in US dollars for a million tokens."""

    input: float
    output: float
    cached: float | None = None
    """Of input that the provider had cached; None: as `input`."""

    def most(self, input_tokens: int, output_tokens: int) -> int:
        """Nano-dollars, rounded up, as if nothing were cached."""
        return math.ceil((input_tokens * self.input + output_tokens * self.output) * _PER_TOKEN)

    def of(self, usage: Usage) -> int:
        """Nano-dollars of what was used."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        rate = self.input if self.cached is None else self.cached
        fresh = (usage.input_tokens - cached) * self.input
        return round((fresh + cached * rate + usage.output_tokens * self.output) * _PER_TOKEN)

    @classmethod
    def listed(cls, info: ModelInfo | None) -> Price | None:
        """What the provider says; None where it does not."""
        if info is None or info.input_price is None or info.output_price is None:
            return None
        return cls(info.input_price, info.output_price)


def nano_of(amount: float) -> int:
    """Dollars as nano-dollars."""
    return round(amount * NANO)


def dollars(nano: int) -> str:
    """Money as people write it: ``$4.97``; less than a cent with the digits that say something."""
    value = nano / NANO
    if value and abs(value) < _CENT:
        return f"{'-' if value < 0 else ''}${abs(value):.{_DIGITS - 1 - math.floor(math.log10(abs(value)))}f}"
    return f"{'-' if value < 0 else ''}${abs(value):,.2f}"


def number(count: int) -> str:
    """``12,000``."""
    return f"{count:,}"
