"""The core can be read in an afternoon, and every file and function in one go."""

from __future__ import annotations

import ast
import io
import tokenize

import fairlead

from .checkout import CORE, parse, place, python_files, report

PATH_LINES = 5_000
"""Lines of code of the path: what a message passes on its way to an answer, and what data and words it is made of.
Docstrings, comments and blank lines do not count: a limit on them would be paid for in reading time. `fairlead.testing`
does not count either: it is what plugins are tested with, and nothing that runs imports it."""
BESIDE: dict[str, tuple[int, str]] = {
    "loading": (670, "_deprecations _discovery _isolation _loading _plugins _workers"),
    "configuration file": (340, "_config_faults _config_file"),
    "functions as tools": (310, "_function _structured _types"),
    "sessions that are kept": (210, "_store"),
    "compaction": (350, "_compaction _context _essentials"),
    "approvals": (290, "_approval_text _approvals"),
    "health of models": (260, "_health _health_log"),
    "outages": (160, "_outage _watch"),
    "embedding": (320, "embed"),
}
"""The parts beside the path, each of which can be read by itself in half an hour: its limit, and its modules."""
PUBLIC_NAMES = 40
FILE_LINES = 500
FUNCTION_LINES = 50

LONG_FILES: dict[str, str] = {}
"""Path to the reason why it may be longer; empty, and best kept so."""
LONG_FUNCTIONS: dict[str, str] = {}
"""``path:function`` to the reason why it may be longer; empty, and best kept so."""


def lines(text: str) -> int:
    return len(text.splitlines())


def code_lines(text: str) -> int:
    """Lines that hold a token of the program."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    held: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _NO_CODE:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held - prose)


_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def part_of(name: str) -> str:
    """Which part a file or package of the core belongs to; empty for the path."""
    return next((part for part, (_, modules) in BESIDE.items() if name in modules.split()), "")


def sizes_of_parts() -> dict[str, int]:
    sizes = dict.fromkeys(["", *BESIDE], 0)
    for path in python_files(CORE.source):
        first = path.relative_to(CORE.source).parts[0].removesuffix(".py")
        if first != "testing":
            sizes[part_of(first)] += code_lines(path.read_text("utf-8"))
    return sizes


def test_core_is_small() -> None:
    """What can be a plugin is one; and what is none lies beside the path, where it can."""
    limits = {"": PATH_LINES, **{part: limit for part, (limit, _) in BESIDE.items()}}
    over = {part: size for part, size in sizes_of_parts().items() if size > limits[part]}
    faults = [
        f"{part or 'the path'}: {size} lines of code, {limits[part]} are the limit" for part, size in over.items()
    ]
    report(faults, "say it in fewer lines, or make a plugin of it")


def test_parts_beside_the_path_have_their_modules() -> None:
    """A module that was renamed counts where it did."""
    found = {path.name.removesuffix(".py") for path in CORE.source.iterdir()}
    assert set() == {name for _, modules in BESIDE.values() for name in modules.split()} - found


def test_code_is_told_from_prose() -> None:
    """A docstring of three lines, a comment and a blank line count nothing."""
    assert 3 == code_lines('"""One.\n\nTwo.\n"""\n\n# why\nx = (\n    1\n)\n')


def test_public_names_are_few() -> None:
    """What `fairlead` offers by itself fits on a page; the rest lies in its public modules."""
    assert len(fairlead.__all__) <= PUBLIC_NAMES


def test_public_names_are_sorted_and_exist() -> None:
    """Constants, then classes, then functions, each by the alphabet, as ruff sorts them (RUF022)."""

    def key(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)

    assert sorted(set(fairlead.__all__), key=key) == list(fairlead.__all__)
    assert [] == [name for name in fairlead.__all__ if not hasattr(fairlead, name)]


def test_public_module_only_imports_and_lists() -> None:
    """`fairlead/__init__.py` has a text, imports, and `__all__`; what it imports, at once or late, is what it lists."""
    body = parse(CORE.source / "__init__.py").body
    blocks = [node for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    every = [*body, *(inner for block in blocks for inner in block.body)]
    imported = {
        alias.asname or alias.name for node in every if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    late = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__getattr__"]
    known = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    others = [node for node in body if not isinstance(node, known) and node not in (*blocks, *late)]
    assert set(fairlead.__all__) - imported <= {"__version__"}
    assert imported - set(fairlead.__all__) <= {"annotations", "TYPE_CHECKING"}
    assert [True] == [isinstance(node, ast.Expr) for node in others], "code belongs into a private module"


def test_files_are_short() -> None:
    """Split by concept before a file passes 500 lines."""
    sizes = {place(path): lines(path.read_text("utf-8")) for path in python_files()}
    faults = [f"{name}: {size} lines" for name, size in sizes.items() if size > FILE_LINES and name not in LONG_FILES]
    report(faults, f"split by concept: {FILE_LINES} lines are the limit")


def test_functions_are_short() -> None:
    """Most have under 25 lines, none more than 50."""
    faults = []
    for path in python_files():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > FUNCTION_LINES and f"{place(path)}:{node.name}" not in LONG_FUNCTIONS:
                    faults.append(f"{place(path, node.lineno)} {node.name}: {size} lines")
    report(faults, f"split by concept: {FUNCTION_LINES} lines are the limit")
