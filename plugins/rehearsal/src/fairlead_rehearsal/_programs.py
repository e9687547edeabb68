"""Computations in the words of people, as programs in Python. The tool runs them; nothing is computed here."""

from __future__ import annotations

import ast
import builtins
import math
import re
import warnings

from attrs import frozen

from fairlead_rehearsal._arithmetic import read_arithmetic

__all__ = ["write_program"]

MAX_CHARS = 1_000
MAX_NUMBERS = 200
ARTICLES = ("the ", "all ", "a ")
ORDINALS = {
    word: f"{number}th"
    for number, word in enumerate(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 1
    )
} | {"hundredth": "100th", "thousandth": "1000th", "millionth": "1000000th"}
NUMBER = re.compile(r"[-+]?\d{1,30}(?:\.\d{1,30})?")

PRIMES = """\
def primes(limit):
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = bytes(min(2, limit + 1))
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n :: n] = bytes(len(range(n * n, limit + 1, n)))
    return [n for n, prime in enumerate(sieve) if prime]

"""
FIRST_PRIMES = f"""\
import math

{PRIMES}def first(count):
    limit = 15 if count < 6 else int(count * (math.log(count) + math.log(math.log(count)))) + 1
    return primes(limit)[:count]

"""
FIBONACCI = """\
import sys

sys.set_int_max_str_digits(0)

def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a

"""
FACTORS = """\
def factors(n):
    found, d = [], 2
    while d * d <= n:
        while n % d == 0:
            found.append(d)
            n //= d
        d += 1
    return found + [n] if n > 1 else found

"""
PI = """\
from decimal import Decimal, getcontext

def arctan_of_inverse(x):
    power = total = Decimal(1) / x
    n, sign = 1, 1
    while power:
        power /= x * x
        n, sign = n + 2, -sign
        term = power / n
        if total + term == total:
            return total
        total += sign * term
    return total

"""

TO = r"(?:to|through|until|up to)"
BELOW = r"(below|under|less than|smaller than|up to|until)"
PRIME = r"primes?(?: numbers?)?"


@frozen
class Form:
    """One way to ask for something, and the program for it; its groups stand for ``?1`` and ``?2``."""

    pattern: re.Pattern[str]
    code: str


def _form(pattern: str, code: str) -> Form:
    return Form(re.compile(pattern), code)


FORMS = (
    _form(rf"([1-9]\d{{0,6}})(?:st|nd|rd|th) {PRIME}", FIRST_PRIMES + "first(?1)[-1]"),
    _form(r"prime number #?([1-9]\d{0,6})", FIRST_PRIMES + "first(?1)[-1]"),
    _form(rf"first ([1-9]\d{{0,4}}) {PRIME}", FIRST_PRIMES + "first(?1)"),
    _form(rf"sum of (?:the )?first ([1-9]\d{{0,5}}) {PRIME}", FIRST_PRIMES + "sum(first(?1))"),
    _form(rf"{PRIME} {BELOW} (\d{{1,6}})", PRIMES + "primes(?1)"),
    _form(
        rf"(?:how many|number of|count of|count)(?: the)? {PRIME} (?:are |there are |are there )?{BELOW} (\d{{1,8}})",
        PRIMES + "len(primes(?1))",
    ),
    _form(rf"sum of (?:the |all |all the )?{PRIME} {BELOW} (\d{{1,7}})", PRIMES + "sum(primes(?1))"),
    _form(
        r"(?:if |whether |is )?(\d{1,13}) (?:is )?(?:a )?prime(?: number)?",
        "import math\n\nn = ?1\nn > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))",
    ),
    _form(r"(?:prime factors|prime factorization|factorization) of (\d{1,15})", FACTORS + "factors(?1)"),
    _form(r"(?:factorize|factorise|factor) (\d{1,15})", FACTORS + "factors(?1)"),
    _form(r"divisors of (\d{1,7})", "n = ?1\n[d for d in range(1, n + 1) if n % d == 0]"),
    *(
        _form(pattern, "import math\nimport sys\n\nsys.set_int_max_str_digits(0)\nmath.factorial(?1)")
        for pattern in (r"factorial (?:of )?(\d{1,5})", r"(\d{1,5})(?:!| factorial)", r"factorial\((\d{1,5})\)")
    ),
    *(
        _form(pattern, FIBONACCI + "fibonacci(?1)")
        for pattern in (
            r"(\d{1,6})(?:st|nd|rd|th) fibonacci(?: number)?",
            r"fibonacci (?:number |of )?#?(\d{1,6})",
            r"(?:fibonacci|fib)\((\d{1,6})\)",
        )
    ),
    _form(r"first ([1-9]\d{0,3}) fibonacci numbers?", FIBONACCI + "[fibonacci(n) for n in range(1, ?1 + 1)]"),
    *(
        _form(
            rf"sum of (?:the )?{name} (?:of |from |between )?(?:the )?(?:numbers |integers )?(?:from )?"
            rf"(\d{{1,6}}) {TO} (\d{{1,6}})",
            f"sum(n ** {power} for n in range(?1, ?2 + 1))",
        )
        for name, power in (("squares", 2), ("cubes", 3))
    ),
    *(
        _form(
            rf"sum of (?:the )?{name} of (?:the )?first ([1-9]\d{{0,6}})(?: natural| positive)?(?: numbers| integers)?",
            f"sum(n ** {power} for n in range(1, ?1 + 1))",
        )
        for name, power in (("squares", 2), ("cubes", 3))
    ),
    _form(
        rf"sum of (?:all |the |all the )?(?:numbers |integers )?(?:from )?(\d{{1,7}}) {TO} (\d{{1,7}})",
        "sum(range(?1, ?2 + 1))",
    ),
    _form(r"sum of (?:the )?first ([1-9]\d{0,6}) (?:natural |positive )?(?:numbers|integers)", "sum(range(1, ?1 + 1))"),
    *(
        _form(
            pattern,
            PI + "digits = ?1\ngetcontext().prec = digits + 10\n"
            "pi = 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))\nprint(str(pi)[: digits + 1])",
        )
        for pattern in (r"first ([1-9]\d{0,3}) digits of pi", r"pi to ([1-9]\d{0,3}) digits")
    ),
)
"""What a whole request may look like, in small letters and without an article."""

LISTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("sort", "sorted list of"), "sorted([?])"),
    (("sum of squares of", "sum of the squares of"), "sum(n ** 2 for n in [?])"),
    (("sum of", "sum", "add up", "add"), "sum([?])"),
    (("product of", "multiply"), "import math\n\nmath.prod([?])"),
    (("mean of", "average of"), "import statistics\n\nstatistics.mean([?])"),
    (("median of",), "import statistics\n\nstatistics.median([?])"),
    (("standard deviation of",), "import statistics\n\nstatistics.stdev([?])"),
    (("maximum of", "max of", "largest of", "greatest of"), "max([?])"),
    (("minimum of", "min of", "smallest of"), "min([?])"),
    (("gcd of", "greatest common divisor of"), "import math\n\nmath.gcd(?)"),
    (("lcm of", "least common multiple of"), "import math\n\nmath.lcm(?)"),
)
"""What is done with a list of numbers."""
DESCENDING = (" in descending order", " descending", " in reverse order", " from largest to smallest")
ASCENDING = (" in ascending order", " ascending", " in order", " from smallest to largest")
BEFORE_NUMBERS = ("these numbers", "the numbers", "the following numbers", "numbers", "the list", "this list")


def write_program(request: str) -> str:
    """A program whose last expression is what is asked for, or which prints it; empty where none is known."""
    text = request.strip().rstrip("?. ")
    if not text or len(text) > MAX_CHARS:
        return ""
    low = " ".join(text.lower().split())
    while article := next((one for one in ARTICLES if low.startswith(one)), None):
        low = low[len(article) :]
    first, _, rest = low.partition(" ")
    if first in ORDINALS and not rest[:1].isdigit():
        low = f"{ORDINALS[first]} {rest}"
    return _by_form(low) or _by_list(low) or _by_expression(text)


def _by_form(low: str) -> str:
    for form in FORMS:
        if found := form.pattern.fullmatch(low):
            groups = list(found.groups())
            if len(groups) == 2 and not groups[0].isdigit():  # noqa: PLR2004  # the bound and its kind
                groups = [groups[1] if groups[0] in ("up to", "until") else str(max(0, int(groups[1]) - 1))]
            code = form.code
            for place, group in enumerate(groups, 1):  # a leading zero would be no number for Python
                code = code.replace(f"?{place}", str(int(group)))
            return code
    return ""


def _by_list(low: str) -> str:
    for names, code in LISTS:
        name = next((one for one in names if low.startswith(f"{one} ")), None)
        if name is None:
            continue
        rest, reverse = low[len(name) :].strip(), False
        for ending in (*DESCENDING, *ASCENDING):
            if rest.endswith(ending):
                rest, reverse = rest.removesuffix(ending), ending in DESCENDING
        words = next((one for one in BEFORE_NUMBERS if rest.startswith(one)), "")
        numbers = _numbers(rest[len(words) :].lstrip(": "))
        if numbers:
            program = code.replace("?", ", ".join(numbers))
            return program.replace("])", "], reverse=True)") if reverse and name.startswith("sort") else program
    return ""


def _numbers(text: str) -> list[str]:
    """``3, 1 and 2``; empty where anything else is among them."""
    words = text.strip("[]() ").replace(",", " ").replace(" and ", " ").split()
    if len(words) > MAX_NUMBERS or not all(NUMBER.fullmatch(word) for word in words):
        return []
    return [_plain(word) for word in words]


def _plain(number: str) -> str:
    return number if "." in number else str(int(number))


def _by_expression(text: str) -> str:
    """An expression of Python, or arithmetic as people write it. ``^`` is a power, as people mean it."""
    wish = read_arithmetic(text)
    spoken = str(wish.arguments["expression"]) if wish is not None else ""
    for written in (text, spoken):
        expression = re.sub(r"(\d{1,5})!(?!=)", r"factorial(\1)", written.replace("^", "**"))
        for sign, operator in (("×", "*"), ("·", "*"), ("÷", "/"), ("−", "-"), ("π", "pi"), (" mod ", " % ")):
            expression = expression.replace(sign, operator)
        names = _free_names(expression)
        if names is not None:
            needed = sorted(name for name in names if not hasattr(builtins, name))
            return (f"from math import {', '.join(needed)}\n\n" if needed else "") + expression
    return ""


def _free_names(expression: str) -> set[str] | None:
    """The names that an expression takes from outside; None where it is none, or wants something that is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful code of others
            tree = ast.parse(expression, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    nodes = list(ast.walk(tree))
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    own = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    names = found - own
    if isinstance(tree.body, ast.Name) and not hasattr(math, tree.body.id):
        return None  # a word alone
    return names if all(hasattr(builtins, name) or hasattr(math, name) for name in names) else None
