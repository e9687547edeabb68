"""A parser by precedence, which computes while it reads.

From loose to tight: ``+ -``; ``* / // mod of`` and ``%`` as modulo; unary ``-``; ``^`` (to the right); ``!`` and ``%``
as percent; parentheses, functions, numbers.
"""

from __future__ import annotations

import math
from fractions import Fraction

from fairlead.errors import ToolError
from fairlead_calculator._functions import CONSTANTS, FUNCTIONS, apply
from fairlead_calculator._numbers import Number, bounded, factorial, power, real, render
from fairlead_calculator._tokens import Token, tokenize

__all__ = ["calculate"]

MAX_DEPTH = 50
"""Parentheses, powers and functions inside one another; the interpreter's stack takes about four times as many."""
OPERAND = frozenset({"number", "name", "("})
PRODUCTS = frozenset({"*", "/", "//", "%", "mod", "of"})


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, as text: ``calculate("0.1 + 0.2") == "0.3"``.

    A value that could not be kept exact begins with ``≈``. Any text gives a value or a `ToolError` that says what was
    found and expected, in bounded time: at most 1,000 characters, 1,000 digits a number, 50 levels of nesting.
    """
    parser = _Parser(tokenize(expression))
    value = parser.sum()
    if parser.token.kind != "end":
        raise ToolError(f"expected an operator or the end, found {parser.token}{_hint(parser.token)}")
    return render(value)


def _hint(token: Token) -> str:
    if token.kind == ",":
        return "; a comma only separates the arguments of a function: write 1000.5 for one thousand and a half"
    return "; write * between factors" if token.kind in OPERAND else ""


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def take(self) -> Token:
        taken = self._tokens[self._at]
        if taken.kind != "end":
            self._at += 1
        return taken

    def expect(self, kind: str) -> None:
        if self.token.kind != kind:
            raise ToolError(f"expected {kind!r}, found {self.token}")
        self.take()

    def sum(self) -> Number:
        value = self.product()
        while self.token.kind in ("+", "-"):
            operator = self.take().kind
            right = self.product()
            value = bounded(_add(value, right if operator == "+" else -right))
        return value

    def product(self) -> Number:
        value = self.signed()
        while (operator := self._product_operator()) is not None:
            self.take()
            value = bounded(_multiply(operator, value, self.signed()))
        return value

    def _product_operator(self) -> str | None:
        token = self.token
        name = token.text if token.kind == "name" else token.kind
        return name if name in PRODUCTS else None

    def signed(self) -> Number:
        negative = False
        while self.token.kind in ("+", "-"):
            negative ^= self.take().kind == "-"
        value = self.powers()
        return -value if negative else value

    def powers(self) -> Number:
        self._deeper()
        base = self.postfix()
        if self.token.kind in ("^", "**"):
            self.take()
            base = power(base, self.signed())
        self._depth -= 1
        return base

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ToolError(
                f"parentheses, powers and functions may be nested {MAX_DEPTH} deep, found more at {self.token}"
            )

    def postfix(self) -> Number:
        value = self.operand()
        while self.token.kind == "!" or self._percent_follows():
            value = factorial(value) if self.take().kind == "!" else bounded(_multiply("/", value, Fraction(100)))
        return value

    def _percent_follows(self) -> bool:
        """``%`` before an operand is modulo (17 % 5); elsewhere it is percent (15% of 80, 5% + 1)."""
        if self.token.kind != "%":
            return False
        after = self._tokens[self._at + 1]
        return after.kind not in OPERAND or (after.kind == "name" and after.text in PRODUCTS)

    def operand(self) -> Number:
        token = self.take()
        if token.kind == "number":
            return bounded(token.value)
        if token.kind == "(":
            value = self.sum()
            self.expect(")")
            return value
        if token.kind == "name" and token.text not in PRODUCTS:
            return self._named(token)
        raise ToolError(f"expected a number, a function or '(', found {token}")

    def _named(self, name: Token) -> Number:
        if self.token.kind == "(":
            self.take()
            return apply(name.text, self._arguments())
        if name.text in CONSTANTS:
            return CONSTANTS[name.text]
        if name.text in FUNCTIONS:
            raise ToolError(f"{name} is a function: expected '(' after it, found {self.token}")
        known = ", ".join([*CONSTANTS, *FUNCTIONS])
        raise ToolError(f"{name} is not known; there are {known}")

    def _arguments(self) -> list[Number]:
        found = [self.sum()]
        while self.token.kind == ",":
            self.take()
            found.append(self.sum())
        self.expect(")")
        return found


def _add(left: Number, right: Number) -> Number:
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left + right
    return real(left) + real(right)


def _multiply(operator: str, left: Number, right: Number) -> Number:
    if operator in ("*", "of"):
        return left * right if isinstance(left, Fraction) and isinstance(right, Fraction) else real(left) * real(right)
    if right == 0:
        raise ToolError(f"division by zero: {operator} needs a right side that is not 0")
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return _divide(operator, left, right)
    return _divide(operator, real(left), real(right))


def _divide(operator: str, left: Number, right: Number) -> Number:
    """``//`` and modulo round down, so that the remainder has the divisor's sign: -7 % 3 is 2."""
    if operator == "/":
        return left / right
    quotient = bounded(left / right)
    return Fraction(math.floor(quotient)) if operator == "//" else left % right
