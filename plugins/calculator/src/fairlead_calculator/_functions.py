"""The functions and constants that an expression may name."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from attrs import frozen

from fairlead.errors import ToolError
from fairlead_calculator._numbers import Number, bounded, exact_root, factorial, power, real, render, whole

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONSTANTS", "FUNCTIONS", "Function", "apply"]

CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e}
ROUNDING_NOISE = 15
"""Decimal places to which sine, cosine and tangent are rounded, so that sin(pi) is 0 and tan(pi / 4) is 1."""
MAX_PLACES = 100
"""Decimal places for round()."""


@frozen
class Function:
    """A function, and how many arguments it takes."""

    call: Callable[..., Number]
    least: int = 1
    most: int = 1


def _sqrt(value: Number) -> Number:
    if value < 0:
        raise ToolError(f"a negative number has no real square root, found {render(value)}")
    exact = exact_root(value) if isinstance(value, Fraction) else None
    return math.sqrt(real(value)) if exact is None else exact


def _round(value: Number, places: Number = Fraction(0)) -> Number:
    """Half away from zero, as taught in school: round(2.5) is 3."""
    count = whole(places, "the second argument of round")
    if abs(count) > MAX_PLACES:
        raise ToolError(f"round takes at most {MAX_PLACES} places, found {count}")
    # A float goes through its shortest decimal form, so that round(2.675 + sin(0), 2) is 2.68.
    exact = value if isinstance(value, Fraction) else Fraction(repr(value))
    scale = Fraction(10) ** count
    rounded = Fraction(math.floor(abs(exact) * scale + Fraction(1, 2))) / scale
    return -rounded if exact < 0 else rounded


def _natural(value: Number) -> float:
    if value <= 0:
        raise ToolError(f"log is for numbers above 0, found {render(value)}")
    try:
        return math.log(value)
    except (OverflowError, ValueError):  # beyond floating point, above or below
        exact = Fraction(value)
        return math.log(exact.numerator) - math.log(exact.denominator)


def _log(value: Number, base: Number | None = None) -> Number:
    """The natural logarithm, or the one to `base`; whole where it is."""
    if base is None:
        return Fraction(0) if value == 1 else _natural(value)
    if base <= 0 or base == 1:
        raise ToolError(f"the base of log must be above 0 and not 1, found {render(base)}")
    quotient = _natural(value) / _natural(base)
    near = Fraction(round(quotient))
    try:
        return near if power(base, near) == value else quotient
    except ToolError:  # the power is too large to be computed, so it is not this value
        return quotient


def _exp(value: Number) -> Number:
    try:
        return Fraction(1) if value == 0 else math.exp(real(value))
    except OverflowError:
        raise ToolError("exp() of this is beyond 1.8e308, the largest of floating point") from None


def _sin(value: Number) -> Number:
    return round(math.sin(real(value)), ROUNDING_NOISE)


def _cos(value: Number) -> Number:
    return round(math.cos(real(value)), ROUNDING_NOISE)


def _tan(value: Number) -> Number:
    if _cos(value) == 0:
        raise ToolError(f"tan has no value at {render(value)}")
    return round(math.tan(real(value)), ROUNDING_NOISE)


def _at_most(most: int) -> dict[str, int]:
    return {"least": 1, "most": most}


FUNCTIONS: dict[str, Function] = {
    "abs": Function(abs),
    "ceil": Function(lambda value: Fraction(math.ceil(value))),
    "cos": Function(_cos),
    "exp": Function(_exp),
    "factorial": Function(factorial),
    "floor": Function(lambda value: Fraction(math.floor(value))),
    "ln": Function(_log),
    "log": Function(_log, **_at_most(2)),
    "log10": Function(lambda value: _log(value, Fraction(10))),
    "log2": Function(lambda value: _log(value, Fraction(2))),
    "max": Function(lambda *values: max(values), **_at_most(100)),
    "min": Function(lambda *values: min(values), **_at_most(100)),
    "round": Function(_round, **_at_most(2)),
    "sin": Function(_sin),
    "sqrt": Function(_sqrt),
    "tan": Function(_tan),
}


def apply(name: str, arguments: list[Number]) -> Number:
    """The function's value. `ToolError`: no such function, too many or few arguments, or no value there."""
    function = FUNCTIONS.get(name)
    if function is None:
        raise ToolError(f"no function is named {name!r}; there are {', '.join(FUNCTIONS)}")
    if not function.least <= len(arguments) <= function.most:
        wanted = f"{function.least}" if function.least == function.most else f"{function.least} to {function.most}"
        raise ToolError(f"{name} takes {wanted} arguments, found {len(arguments)}")
    return bounded(function.call(*arguments))
