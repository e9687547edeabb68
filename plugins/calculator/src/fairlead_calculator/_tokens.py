"""An expression, cut into tokens."""

from __future__ import annotations

from fractions import Fraction

from attrs import frozen

from fairlead.errors import ToolError
from fairlead_calculator._numbers import MAX_DIGITS

__all__ = ["MAX_CHARS", "Token", "tokenize"]

MAX_CHARS = 1_000
"""Longer expressions are refused."""
DIGITS = frozenset("0123456789")
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz_")
OPERATORS = ("**", "//", "+", "-", "*", "/", "%", "^", "!", "(", ")", ",")
SAME = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "π": " pi "})
"""What people and word processors write for an operator."""


@frozen
class Token:
    """A piece of an expression and where it stands, counted from 1."""

    kind: str
    """``number``, ``name``, ``end``, or the operator itself."""
    text: str
    at: int
    value: Fraction = Fraction(0)

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else f"{self.text!r} at {self.at}"


def tokenize(expression: str) -> list[Token]:
    """The tokens, with one of kind ``end`` last. `ToolError`: what cannot be part of an expression."""
    if len(expression) > MAX_CHARS:
        raise ToolError(f"the expression has {len(expression):,} characters, at most {MAX_CHARS:,} are taken")
    text = expression.translate(SAME).lower()
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _next(text, at)
        tokens.append(token)
        at += len(token.text)
    tokens.append(Token("end", "", at + 1))
    return tokens


def _next(text: str, at: int) -> Token:
    char = text[at]
    if char in DIGITS or (char == "." and text[at + 1 : at + 2] in DIGITS):
        return _number(text, at)
    if char in LETTERS:
        end = _skip(text, at, LETTERS | DIGITS)
        return Token("name", text[at:end], at + 1)
    for operator in OPERATORS:
        if text.startswith(operator, at):
            return Token(operator, operator, at + 1)
    raise ToolError(
        f"{char!r} at {at + 1} is no part of an expression; known are numbers, + - * / // % ^ ! ( ) and names"
    )


def _skip(text: str, at: int, allowed: frozenset[str]) -> int:
    while at < len(text) and text[at] in allowed:
        at += 1
    return at


def _number(text: str, start: int) -> Token:
    """``12``, ``1_000``, ``1.5``, ``.5``, ``1.5e-3``."""
    at = _skip(text, start, DIGITS | {"_"})
    if text[at : at + 1] == ".":
        at = _skip(text, at + 1, DIGITS | {"_"})
    mantissa, exponent = text[start:at].replace("_", ""), 0
    power = _exponent(text, at)
    if power != at:
        digits, at = text[at + 1 : power], power
        if len(digits) > len(str(MAX_DIGITS)) + 1:
            raise ToolError(f"{text[start:at][:40]!r} has an exponent beyond {MAX_DIGITS:,}")
        exponent = int(digits)
    if len(mantissa) + abs(exponent) > MAX_DIGITS:
        raise ToolError(f"a number may have {MAX_DIGITS:,} digits, found {len(mantissa) + abs(exponent):,}")
    _refuse_grouping(text, start, at)
    return Token("number", text[start:at], start + 1, Fraction(f"{mantissa.rstrip('.')}e{exponent}"))


def _exponent(text: str, at: int) -> int:
    """Where the exponent that begins at `at` ends; `at` itself where there is none."""
    if text[at : at + 1] != "e":
        return at
    digits = at + 2 if text[at + 1 : at + 2] in ("+", "-") else at + 1
    end = _skip(text, digits, DIGITS)
    return end if end > digits else at


def _refuse_grouping(text: str, start: int, end: int) -> None:
    """``1,000`` may be one number or two arguments: rather no answer than the wrong one."""
    group_end = _skip(text, end + 1, DIGITS)
    if text[end : end + 1] == "," and end - start <= 3 and group_end - end == 4:  # noqa: PLR2004  # a group of three and its comma
        found = text[start:group_end]
        joined, apart = found.replace(",", ""), found.replace(",", ", ")
        raise ToolError(
            f"{found!r} at {start + 1} is one number or two: write {joined!r}, or {apart!r} for two arguments"
        )
