"""Values: exact fractions as long as possible, else floating point; both bounded.

An operation costs what its operands weigh, so every result is held against `MAX_BITS`, and those that can grow from
small operands (powers, factorials) are estimated before they are computed.
"""

from __future__ import annotations

import math
from fractions import Fraction

from fairlead.errors import ToolError

__all__ = ["MAX_DIGITS", "Number", "bounded", "factorial", "power", "real", "render", "whole"]

Number = Fraction | float
"""A float is what could not be kept exact: sqrt(2), sin(1)."""

MAX_DIGITS = 1_000
MAX_BITS = 3_322
"""`MAX_DIGITS` decimal digits."""
EXACT_DIGITS = 30
"""A decimal fraction of up to so many digits is shown whole."""
SHOWN_DENOMINATOR = 1_000_000
"""A fraction with a denominator below is shown beside its approximation."""


def too_large() -> ToolError:
    return ToolError(f"a number of this calculation would have more than {MAX_DIGITS:,} digits")


def bounded(value: Number) -> Number:
    """The same value. `ToolError`: it is too large, or no number any more."""
    if isinstance(value, Fraction):
        if value.numerator.bit_length() > MAX_BITS or value.denominator.bit_length() > MAX_BITS:
            raise too_large()
    elif not math.isfinite(value):
        raise ToolError("a number of this calculation is beyond 1.8e308, the largest of floating point")
    return value


def real(value: Number) -> float:
    """As floating point. `ToolError`: too large for it."""
    try:
        return float(value)
    except OverflowError:
        raise ToolError("a number is beyond 1.8e308, the largest for this function") from None


def whole(value: Number, what: str) -> int:
    """A value that must be a whole number. `ToolError`: it is not; `what` names it."""
    if value != int(value):
        raise ToolError(f"{what} must be a whole number, found {render(value)}")
    return int(value)


def power(base: Number, exponent: Number) -> Number:
    """`base` to the power of `exponent`; exact where the exponent is whole, or a half of a perfect square."""
    if base == 0 and exponent < 0:
        raise ToolError("0 has no negative power: that would divide by zero")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        if exponent.denominator == 2 and (root := exact_root(base)) is not None:  # noqa: PLR2004  # a half is a square root
            return _whole_power(root, exponent.numerator)
    if base < 0 and exponent != int(exponent):
        raise ToolError(f"a negative number has no real power of {render(exponent)}")
    try:
        return bounded(real(base) ** real(exponent))
    except OverflowError:
        raise too_large() from None


def _whole_power(base: Fraction, exponent: int) -> Fraction:
    if abs(base) in (0, 1):
        return base if exponent % 2 else base * base if exponent else Fraction(1)
    # The last bit is lost where the top bits are not all ones: an estimate from below, exact enough for a bound.
    bits = max(abs(base.numerator).bit_length(), base.denominator.bit_length()) - 1
    if bits * abs(exponent) > MAX_BITS:
        raise too_large()
    result = bounded(base**exponent)
    assert isinstance(result, Fraction)
    return result


def exact_root(value: Fraction) -> Fraction | None:
    """The square root, where it is a fraction."""
    if value < 0:
        return None
    top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
    return Fraction(top, bottom) if top * top == value.numerator and bottom * bottom == value.denominator else None


def factorial(value: Number) -> Fraction:
    """1 * 2 * ... * value."""
    count = whole(value, "the operand of factorial")
    if count < 0:
        raise ToolError(f"factorial is for whole numbers from 0 up, found {count}")
    if count > MAX_DIGITS:
        raise too_large()
    result = bounded(Fraction(math.factorial(count)))
    assert isinstance(result, Fraction)
    return result


def render(value: Number) -> str:
    """A value as text: ``391``, ``0.3``, ``≈ 0.333333333333333 (exactly 1/3)``, ``≈ 1.4142135623731``."""
    if isinstance(value, float):
        return f"≈ {value:.15g}"
    if value.denominator == 1:
        return str(value.numerator)
    decimal = _decimal(value)
    if decimal is not None:
        return decimal
    shown = f"≈ {_approximate(value)}"
    return f"{shown} (exactly {value})" if value.denominator < SHOWN_DENOMINATOR else shown


def _decimal(value: Fraction) -> str | None:
    """The exact decimal fraction, where there is a short one."""
    for places in range(1, EXACT_DIGITS + 1):
        shifted = value * 10**places
        if shifted.denominator == 1:
            digits = str(abs(shifted.numerator)).rjust(places + 1, "0")
            return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return None


def _approximate(value: Fraction) -> str:
    """15 significant digits, also of what floating point cannot hold."""
    from decimal import Context, Decimal  # noqa: PLC0415  # only where a fraction has no short decimal form

    quotient = Context(prec=15).divide(Decimal(value.numerator), Decimal(value.denominator))
    return f"{quotient.normalize():f}" if -7 < quotient.adjusted() < 15 else f"{quotient.normalize():e}"  # noqa: PLR2004  # as `g` does
