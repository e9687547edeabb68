"""The language of expressions: what each one gives, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead.errors import ToolError
from fairlead_calculator import calculate

VALUES = {
    "17 * 23": "391",
    "0.1 + 0.2": "0.3",
    "1/3 + 2/3": "1",
    "1/3": "≈ 0.333333333333333 (exactly 1/3)",
    "1/8": "0.125",
    "-1/8": "-0.125",
    "1_000 + 1": "1001",
    "2 ^ 10": "1024",
    "2 ** -2": "0.25",
    "-2 ^ 2": "-4",
    "(-2) ^ 2": "4",
    "2 ^ 3 ^ 2": "512",
    "2 ^ -1 ^ 2": "0.5",
    "0 ^ 0": "1",
    "--3": "3",
    "3 - -3": "6",
    "+5": "5",
    "7 // 2": "3",
    "-7 // 2": "-4",
    "17 % 5": "2",
    "17 mod 5": "2",
    "-7 % 3": "2",
    "7.5 % 2": "1.5",
    "15% of 80": "12",
    "80 * 15%": "12",
    "100 + 10%": "100.1",
    "10% - 3": "-2.9",
    "50%": "0.5",
    "50% * 50%": "0.25",
    "5!": "120",
    "2^3!": "64",
    "factorial(20)": "2432902008176640000",
    "sqrt(16)": "4",
    "sqrt(0.25)": "0.5",
    "4 ^ 0.5": "2",
    "4 ^ 1.5": "8",
    "sqrt(2)": "≈ 1.4142135623731",
    "abs(-3.5)": "3.5",
    "min(3, 1, 2)": "1",
    "max(3, 1/2, sqrt(2))": "3",
    "round(2.5)": "3",
    "round(-2.5)": "-3",
    "round(2.675, 2)": "2.68",
    "round(1234, -2)": "1200",
    "floor(-1.5)": "-2",
    "ceil(1.2)": "2",
    "log(e)": "≈ 1",
    "log(8, 2)": "3",
    "log10(1000)": "3",
    "log2(10)": "≈ 3.32192809488736",
    "log(2, 1.001)": "≈ 693.493696416899",
    "log10(10 ^ 900)": "900",
    "exp(0)": "1",
    "sin(pi)": "≈ 0",
    "cos(0)": "≈ 1",
    "tan(pi / 4)": "≈ 1",
    "2 × 3 ÷ 4 − 1": "0.5",
    "2 · π": "≈ 6.28318530717959",
    "1.5e3": "1500",
    "2E-3": "0.002",
    ".5 + 5.": "5.5",
    "PI > 3".removesuffix(" > 3"): "≈ 3.14159265358979",
    "10 ^ 999": "1" + "0" * 999,
    "1 ^ (10 ^ 900)": "1",
    "(-1) ^ (10 ^ 900 + 1)": "-1",
    "2 ^ -100": "≈ 7.88860905221012e-31",
    "1 / 10 ^ 400": "≈ 1e-400",
}

REFUSALS = {
    "": "found the end",
    "   ": "found the end",
    "2 +": "found the end",
    "2 3": "write * between factors",
    "2 (3)": "write * between factors",
    "2 pi": "write * between factors",
    ")": "found ')' at 1",
    "(1": "expected ')'",
    "1,000 + 1": "write '1000', or '1, 000'",
    "max(1,500, 2)": "write '1500', or '1, 500'",
    "0,5": "separates the arguments",
    "1 / 0": "division by zero",
    "5 // 0": "division by zero",
    "5 % 0": "division by zero",
    "0 ^ -1": "divide by zero",
    "sqrt(-1)": "no real square root",
    "(-8) ^ (1/3)": "no real power",
    "log(0)": "above 0",
    "log(2, 1)": "not 1",
    "tan(pi / 2)": "no value",
    "(-1)!": "from 0 up",
    "2.5!": "whole number",
    "round(1, 0.5)": "whole number",
    "round(1, 1000)": "at most 100 places",
    "sqrt(1, 2)": "takes 1 arguments, found 2",
    "log(1, 2, 3)": "takes 1 to 2 arguments",
    "sqrt 2": "is a function",
    "sqrt()": "found ')'",
    "exec(1)": "no function is named 'exec'",
    "__import__": "is not known",
    "x + 1": "is not known",
    "1 = 1": "'=' at 3 is no part",
    "10 ** 10 ** 10": "more than 1,000 digits",
    "9 ^ 9 ^ 9 ^ 9": "more than 1,000 digits",
    "(1/3) ^ 100000": "more than 1,000 digits",
    "1.0000001 ^ 100000000": "more than 1,000 digits",
    "99999!": "more than 1,000 digits",
    "5!!!!": "more than 1,000 digits",
    "1e999999999": "exponent beyond",
    "1e1000": "a number may have",
    "10 ^ 600 * 10 ^ 600": "more than 1,000 digits",
    "exp(1000)": "beyond 1.8e308",
    "sin(10 ^ 900)": "beyond 1.8e308",
    "10 ^ 900 * pi": "beyond 1.8e308",
    "exp(500) * exp(500)": "beyond 1.8e308",
    "(" * 500 + "1" + ")" * 499: "nested 50 deep",
    "2 ^ " * 200 + "1": "nested 50 deep",
    "1" * 1001: "at most 1,000",
    "2 + двa": "no part of an expression",
    "1 + ٣": "no part of an expression",
}


@pytest.mark.parametrize(("expression", "value"), VALUES.items())
def test_expression_has_its_value(expression: str, value: str) -> None:
    """Exact where that is possible, and marked with ≈ where it is not."""
    assert value == calculate(expression)


@pytest.mark.parametrize(("expression", "words"), REFUSALS.items())
def test_refusal_says_what_was_found(expression: str, words: str) -> None:
    """Each message names what was found; huge results are refused before they are computed."""
    began = time.perf_counter()
    with pytest.raises(ToolError) as caught:
        calculate(expression)
    assert words in str(caught.value)
    assert time.perf_counter() - began < 1


def test_deep_nesting_below_the_bound_is_computed() -> None:
    """The bound is not reached by what people write."""
    assert "1" == calculate("(" * 45 + "1" + ")" * 45)
    assert "-1" == calculate("-" * 999 + "1")


Tree = tuple[str, Fraction]


def _joined(operator: str, left: Tree, right: Tree) -> Tree:
    values: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "//": lambda a, b: Fraction(a // b),
        "%": lambda a, b: a % b,
    }
    return f"({left[0]} {operator} {right[0]})", values[operator](left[1], right[1])


numbers = st.decimals(min_value=0, max_value=10_000, places=2).map(lambda number: (str(number), Fraction(number)))


def _grow(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    pairs = st.tuples(st.sampled_from(["+", "-", "*", "/", "//", "%"]), children, children)
    usable = pairs.filter(lambda drawn: drawn[0] not in ("/", "//", "%") or drawn[2][1] != 0)
    powers = st.tuples(children, st.integers(0, 3)).map(
        lambda drawn: (f"({drawn[0][0]})^{drawn[1]}", drawn[0][1] ** drawn[1])
    )
    return usable.map(lambda drawn: _joined(*drawn)) | children.map(lambda one: (f"(-{one[0]})", -one[1])) | powers


@settings(max_examples=200, deadline=None)
@given(st.recursive(numbers, _grow, max_leaves=8))
def test_value_is_the_one_of_exact_fractions(tree: Tree) -> None:
    """Random expressions, fully parenthesised, against Python's fractions computed beside them."""
    text, expected = tree
    found = calculate(text)
    if found.startswith("≈"):
        _, _, exact = found.partition("(exactly ")
        approximate = Fraction(found.split()[1])
        assert abs(approximate - expected) <= abs(expected) * Fraction(1, 10**14)
        assert not exact or Fraction(exact.removesuffix(")")) == expected
    else:
        assert expected == Fraction(found)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), min_size=1, max_size=12), st.integers(0, 99))
def test_precedence_is_that_of_python(steps: list[tuple[str, int]], first: int) -> None:
    """Without parentheses: products before sums, and from the left."""
    terms, sign = [first], 1
    signs = [1]
    for operator, number in steps:
        if operator == "*":
            terms[-1] *= number
        else:
            sign = 1 if operator == "+" else -1
            terms.append(number)
            signs.append(sign)
    text = str(first) + "".join(f" {operator} {number}" for operator, number in steps)
    assert sum(term * sign for term, sign in zip(terms, signs, strict=True)) == int(calculate(text))


SYMBOLS = "0123456789.,_+-*/%^!()eE× ÷π√\n\t"
pieces = st.sampled_from(
    [*SYMBOLS, "sqrt(", "log(", "round(", "exp(", "tan(", "factorial(", "pi", "of", "mod", "**", "//", "9e99"]
)


@settings(max_examples=400, deadline=2_000)
@given(st.text(max_size=60) | st.lists(pieces, max_size=60).map("".join))
@example("9!^9!^9!")
@example("(" * 999)
@example("2^(" * 300)
@example("9" * 1000)
@example("400!*" * 50 + "1")
@example("1/7+" * 240 + "1")
@example("1." + "1" * 500 + "^2^2")
def test_any_text_gives_a_value_or_a_tool_error_in_bounded_time(text: str) -> None:
    """Nothing else is raised, whatever a model sends."""
    try:
        found = calculate(text)
    except ToolError as error:
        found = error.problem
    assert 0 < len(found) <= 2_100
