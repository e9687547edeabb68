"""Requests for programs, commands, files and pages: what is read out of them, and that the programs are right."""

from __future__ import annotations

import ast
import contextlib
import io
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead_rehearsal._programs import write_program
from fairlead_rehearsal._reading import read

Read = list[tuple[str, Any]]


def value(code: str) -> str:
    """What a notebook shows: all that is printed, and the value of the last expression."""
    tree = ast.parse(code)
    last = tree.body.pop()
    assert isinstance(last, ast.Expr)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(tree, "program", "exec"), names)  # noqa: S102  # it is our own code
        shown = eval(compile(ast.Expression(last.value), "program", "eval"), names)  # noqa: S307  # the same
    return output.getvalue().strip() + ("" if shown is None else repr(shown))


COMPUTED = {
    "the 1000th prime": "7919",
    "the thousandth prime": "7919",
    "the 1st prime": "2",
    "the first prime": "2",
    "the 6th prime number": "13",
    "prime number 25": "97",
    "the 100000th prime": "1299709",
    "the first 10 primes": "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
    "the first 1 primes": "[2]",
    "primes below 30": "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
    "all the primes below 29": "[2, 3, 5, 7, 11, 13, 17, 19, 23]",
    "the prime numbers up to 29": "[2, 3, 5, 7, 11, 13, 17, 19, 23, 29]",
    "primes below 0": "[]",
    "primes up to 1": "[]",
    "primes below 3": "[2]",
    "how many primes are below 1000": "168",
    "the number of primes below 1000000": "78498",
    "the sum of the primes below 10": "17",
    "the sum of the first 5 primes": "28",
    "whether 97 is prime": "True",
    "is 91 prime": "False",
    "whether 1 is a prime number": "False",
    "whether 1000000007 is prime": "True",
    "the prime factors of 360": "[2, 2, 2, 3, 3, 5]",
    "factorize 97": "[97]",
    "the divisors of 12": "[1, 2, 3, 4, 6, 12]",
    "the factorial of 20": "2432902008176640000",
    "20!": "2432902008176640000",
    "5 factorial": "120",
    "factorial(5)": "120",
    "fibonacci(50)": "12586269025",
    "the 10th fibonacci number": "55",
    "the first fibonacci number": "1",
    "fibonacci of 0": "0",
    "the first 10 fibonacci numbers": "[1, 1, 2, 3, 5, 8, 13, 21, 34, 55]",
    "the sum of squares from 1 to 10": "385",
    "the sum of the squares of the first 10 numbers": "385",
    "the sum of cubes of 1 to 10": "3025",
    "the sum of squares of 3 and 4": "25",
    "the sum of the numbers from 1 to 100": "5050",
    "the sum of the first 100 natural numbers": "5050",
    "the sum of 3 and 5": "8",
    "add 2, 3 and 4": "9",
    "the sum of 1.5, 2.5": "4.0",
    "the product of 2, 3 and 7": "42",
    "the mean of 1, 2, 3, 4": "2.5",
    "the average of 2 and 4": "3",
    "the median of 3, 1, 2": "2",
    "the standard deviation of 1, 2, 3": "1.0",
    "the largest of 3, 17, 5": "17",
    "the min of -3, 17": "-3",
    "the gcd of 12 and 18": "6",
    "gcd(12, 18)": "6",
    "the least common multiple of 4, 6": "12",
    "sort these numbers: 3, 1, and 2": "[1, 2, 3]",
    "sort [3, 1, 2] in descending order": "[3, 2, 1]",
    "sort the numbers 007 05 0": "[0, 5, 7]",
    "the first 20 digits of pi": "3.1415926535897932384",
    "pi to 1 digits": "3.",
    "2^10": "1024",
    "2**100": "1267650600228229401496703205376",
    "2 to the power of 10": "1024",
    "17 times 23": "391",
    "10 mod 3": "1",
    "6 × 7": "42",
    "sqrt(16) + pi * 0": "4.0",
    "3! + 4!": "30",
    "sum(i * i for i in range(10))": "285",
    "[n for n in range(20) if n % 7 == 3]": "[3, 10, 17]",
    "(lambda n: n + 1)(41)": "42",
    "len('hello, world')": "12",
    "pi": "3.141592653589793",
}


@pytest.mark.parametrize(("request_", "expected"), COMPUTED.items())
def test_program_computes_what_is_asked_for(request_: str, expected: str) -> None:
    """Each one is run."""
    assert expected == value(write_program(request_))


@pytest.mark.parametrize(
    "request_",
    [
        "the meaning of life",
        "life",
        "hello",
        "the 0th prime",
        "the 99999999th prime",
        "sort these words: b, a",
        "something",
        "x + 1",
        "15% of 80",
        "import os",
        "os.system('ls')",
        "print(",
        "",
        "((((",
        "the sum of the prime ministers",
    ],
)
def test_what_it_has_no_program_for_has_none(request_: str) -> None:
    """It writes no program that it does not know to be right."""
    assert "" == write_program(request_)


TEXTS: dict[str, Read] = {
    "Use python to compute gcd(4, 6).": [("python", {"code": "from math import gcd\n\ngcd(4, 6)"})],
    "can you compute 2**10 with Python?": [("python", {"code": "2**10"})],
    "in python, what is 7**7?": [("python", {"code": "7**7"})],
    "use python to add 2 and 3, and what is 2 + 2?": [
        ("python", {"code": "sum([2, 3])"}),
        ("calculate", {"expression": "2 + 2"}),
    ],
    "run python: print('a. b'); x = 1, and 2": [("python", {"code": "print('a. b'); x = 1, and 2"})],
    "Please run this python code:\nx = 1\n\nprint(x)": [("python", {"code": "x = 1\n\nprint(x)"})],
    "python: `1 + 1`": [("python", {"code": "1 + 1"})],
    "run `print(1)` in python": [("python", {"code": "print(1)"})],
    "use python to run `1 + 1`": [("python", {"code": "1 + 1"})],
    "```python\nprint(1)\n```": [("python", {"code": "print(1)"})],
    "Run this with python:\n\n```\nprint(1)\n```": [("python", {"code": "print(1)"})],
    "Run this with python:\n```\nprint(1)\n```\nWhat is 2 + 2?": [
        ("python", {"code": "print(1)"}),
        ("calculate", {"expression": "2 + 2"}),
    ],
    "What does this do?\n```python\nprint(1)\n```": [("unknown", "What does this do? (python of 9 characters)")],
    "Don't run this:\n```python\nprint(1)\n```": [("unknown", "Don't run this: (python of 9 characters)")],
    "run:\n```sh\nls -la\nexit 3": [("shell", {"command": "ls -la\nexit 3"})],
    "run `ls -la`": [("shell", {"command": "ls -la"})],
    "use the shell to run `ls -la; echo a, and b. c` please.": [("shell", {"command": "ls -la; echo a, and b. c"})],
    "use the shell to `ls`": [("shell", {"command": "ls"})],
    "run the command `ls`, and what is 2 + 2?": [("shell", {"command": "ls"}), ("calculate", {"expression": "2 + 2"})],
    "shell: echo hi; ls": [("shell", {"command": "echo hi; ls"})],
    "run ls -la": [("unknown", "run ls -la")],
    "list the files": [("list_files", {})],
    "What files are there?": [("list_files", {})],
    "list the files in src/deep.": [("list_files", {"path": "src/deep"})],
    "list the *.py files": [("list_files", {"pattern": "*.py"})],
    "show me all files in the workspace": [("list_files", {})],
    "read notes.txt": [("read_file", {"path": "notes.txt"})],
    "show me the file Makefile": [("read_file", {"path": "Makefile"})],
    "what is in the file src/a.py?": [("read_file", {"path": "src/a.py"})],
    "read `a b`": [("unknown", "read `a b`")],
    "read a book": [("unknown", "read a book")],
    "read 2.5": [("unknown", "read 2.5")],
    "write notes.txt: tea, and milk. What is 2 + 2?": [
        ("write_file", {"path": "notes.txt", "content": "tea, and milk. What is 2 + 2?"})
    ],
    "write to the file notes.txt:\ntea\nmilk\n": [("write_file", {"path": "notes.txt", "content": "tea\nmilk"})],
    'write "some words" to notes.txt': [("write_file", {"path": "notes.txt", "content": "some words"})],
    "write hello.py:\n```python\nprint('hi')\n```\nrun `python3 hello.py`": [
        ("write_file", {"path": "hello.py", "content": "print('hi')\n"}),
        ("shell", {"command": "python3 hello.py"}),
    ],
    "search the files for main(": [("search_files", {"pattern": "main\\("})],
    "search the files for `ma.n`": [("search_files", {"pattern": "ma.n"})],
    "find 'TODO' in the files": [("search_files", {"pattern": "TODO"})],
    "fetch https://example.org/a?b=1.": [("fetch", {"url": "https://example.org/a?b=1"})],
    "what is at <http://127.0.0.1:8000/>?": [("fetch", {"url": "http://127.0.0.1:8000/"})],
    "fetch the milk": [("unknown", "fetch the milk")],
    "remember that I write code in python": [("remember", {"text": "I write code in python"})],
    "say run `ls`": [("say", "run `ls`")],
    "say:\n```\nx\n```": [("unknown", "say: (a block of 2 characters)")],
    "use python": [("use", {})],
    "use `calculate` please": [("unknown", "use `calculate` please")],
    "Command: attack at dawn.": [("unknown", "Command: attack at dawn.")],
    "run the command: ls -la": [("shell", {"command": "ls -la"})],
    "run this in the shell: ls -la": [("shell", {"command": "ls -la"})],
    "run this with python: print(1)": [("python", {"code": "print(1)"})],
    "write the report: all is well": [("unknown", "write the report: all is well")],
    "write the file report: all is well": [("write_file", {"path": "report", "content": "all is well"})],
    "read 1.txt": [("read_file", {"path": "1.txt"})],
    "use python for it": [("unknown", "use python for it")],
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.items())
def test_text_is_read_as(text: str, expected: Read) -> None:
    """Code, commands and texts as they stand; requests around them as ever."""
    found = [(wish.kind, wish.text if wish.kind in ("say", "unknown") else dict(wish.arguments)) for wish in read(text)]
    assert expected == found


HOSTILE = ["use python to ", "compute ", "run ", "`", "```", "```python\n", "write a:", "\n", "list ", "files ", "in "]
HOSTILE += [
    "sum of ",
    "first ",
    "9",
    "1 and ",
    "https://",
    "the ",
    "search the files for ",
    "*",
    " (",
    "to run ",
    "sort ",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(HOSTILE), max_size=100).map("".join))
@example("use python to " + "(" * 900)
@example("use python to " + "1+" * 490 + "1")
@example("use python to " + "lambda:" * 140 + "1")
@example("use python to " + "-" * 980 + "1")
@example("use python to sort " + "1, " * 300 + "1")
@example("use python to " + "compute " * 200)
@example("`" * 10_000)
@example("```\n" * 2_500)
@example("run `a` " * 1_200)
@example("write a:" + " " * 9_000)
@example("use python to compute 1_" + "0" * 900)
@example("the " * 400 + " in python")
def test_any_text_is_read_in_bounded_time(text: str) -> None:
    """The text is hostile: the longest that is taken apart takes well under a second."""
    began = time.perf_counter()
    wishes = read(text)
    assert 1 <= len(wishes) <= 20
    assert time.perf_counter() - began < 1


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*"0123456789+-*/()!^%,. ", "pi", "sqrt", "x"]), max_size=30).map("".join)
)
def test_every_program_is_python(text: str) -> None:
    """Whatever is asked for."""
    if program := write_program(text):
        compile(program, "program", "exec", dont_inherit=True)
