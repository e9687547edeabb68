"""Words that we do not write, and what they stand for."""

from __future__ import annotations

import ast
import re
import tokenize
from typing import TYPE_CHECKING

import pytest

from .checkout import ROOT, imports, parse, place, python_files, report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMPTY_NAMES = re.compile(r"Manager|Helper|Util(?=s?$|s?[A-Z])")
EMPTY_FILES = re.compile(r"(^|_)(manager|helper|util)s?(_|$)")
MOCKS = ("unittest.mock", "mock", "pytest_mock")
CLOCKS = ("autojump_clock", "mock_clock", "MockClock")
"""A file that names one of them sleeps on a virtual clock."""
SLEEPS = {"trio.sleep", "trio.sleep_until", "time.sleep", "asyncio.sleep"}

EXCEPTION = re.compile(r"#\s*(noqa|type:\s*ignore|ruff:\s*ignore|ruff:\s*noqa|mypy:)")
REASONED = re.compile(
    r"#\s*(noqa: [A-Z]+[0-9]+(,\s?[A-Z]+[0-9]+)*|type: ignore\[[a-z-]+(,\s?[a-z-]+)*\]|ruff:\s?ignore\[[a-z-, ]+\])"
    r"\s+(#|-)\s*\S.{2,}"
)


def test_names_say_something() -> None:
    """Manager, Helper and Utils say that something is done, and not what."""
    faults = [place(path) for path in python_files() if EMPTY_FILES.search(path.stem)]
    for path in python_files():
        classes = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)]
        faults += [f"{place(path, node.lineno)} {node.name}" for node in classes if EMPTY_NAMES.search(node.name)]
    report(faults, "name the thing after what it is")


def test_nothing_is_mocked() -> None:
    """A fake keeps the contract of what it stands for; a mock only repeats what the test believes."""
    faults = [
        f"{place(path, line)} imports {name}"
        for path in python_files()
        for name, line in imports(path)
        if name.startswith(tuple(f"{mock}." for mock in MOCKS)) or name in MOCKS
    ]
    report(faults, "write a small fake, or use one of fairlead.testing")


def test_tests_wait_on_virtual_clocks_only() -> None:
    """A test that sleeps is slow, and fails when the machine is slower."""
    faults = [
        f"{place(path, line)} {name}"
        for path in python_files()
        if is_test(path) and not any(clock in path.read_text("utf-8") for clock in CLOCKS)
        for name, line in sleeps(path)
        if line not in reasoned_sleeps(path)
    ]
    clocks = ", ".join(CLOCKS)
    report(faults, f"wait for an event, take one of the virtual clocks ({clocks}), or say `# real time: why` there")


def reasoned_sleeps(path: Path) -> set[int]:
    """The lines that say why only real time will do: a thread that blocks, another process."""
    return {line for comment, line in comments(path) if re.match(r"# real time: \S.{5,}", comment)}


def is_test(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return "tests" in parts and "benchmarks" not in parts


def sleeps(path: Path) -> Iterator[tuple[str, int]]:
    """Each call of a function that sleeps; ``sleep(0)`` only lets others run."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in SLEEPS:
            nothing = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if name == "time.sleep" or not nothing:
                yield name, node.lineno


def test_every_exception_to_a_check_has_its_code_and_reason() -> None:
    """Whoever removes it one day must know why it was there."""
    faults = [
        f"{place(path, line)} {comment}"
        for path in python_files()
        for comment, line in comments(path)
        if EXCEPTION.search(comment) and not REASONED.search(comment)
    ]
    report(faults, "write the code and the reason: `# noqa: BLE001  # a plugin may raise anything`")


@pytest.mark.parametrize(
    ("comment", "fine"),
    [
        ("# noqa: BLE001  # a plugin may raise anything", True),
        ("# noqa: BLE001, S110 - a plugin may raise anything", True),
        ("# type: ignore[arg-type]  # the stub is wrong", True),
        ("# the noqa of the line above", True),
        ("# noqa", False),
        ("# noqa: BLE001", False),
        ("# type: ignore", False),
        ("# type: ignore[arg-type]", False),
        ("# ruff: noqa", False),
        ("# mypy: ignore-errors", False),
    ],
)
def test_exceptions_are_told_apart(comment: str, fine: bool) -> None:  # noqa: FBT001  # a column of the table
    """A code and a reason, or it is no exception that we accept."""
    assert fine == (not EXCEPTION.search(comment) or bool(REASONED.search(comment)))


@pytest.mark.parametrize("name", ["LaneManager", "PathHelper", "Utils", "UtilBox"])
def test_empty_names_are_recognised(name: str) -> None:
    """Also in the middle of a name."""
    assert EMPTY_NAMES.search(name)


@pytest.mark.parametrize("name", ["Utility", "Utilisation", "Futile"])
def test_words_that_only_look_like_empty_names_pass(name: str) -> None:
    """A utility is a field's own term."""
    assert not EMPTY_NAMES.search(name)


def comments(path: Path) -> Iterator[tuple[str, int]]:
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.string, token.start[0]


def test_nothing_is_skipped_without_a_word() -> None:
    """A test that cannot run says what is missing and how to get it; one that is never run is removed."""
    faults = [
        f"{place(path, node.lineno)} {ast.unparse(node)[:80]}"
        for path in python_files()
        if is_test(path)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in {"pytest.mark.skip", "pytest.mark.xfail", "pytest.importorskip"}
    ]
    report(faults, "call pytest.skip with the reason and the command that would help, in a fixture")
