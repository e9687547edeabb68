"""The core can be read in an afternoon, and every file and function in one go."""

from __future__ import annotations

import ast
import io
import tokenize

import fairlead

from .checkout import CORE, parse, place, python_files, report

CORE_LINES = 5_000
"""Lines of code. Docstrings, comments and blank lines do not count: a limit on them would be paid for in reading time.
`fairlead.testing` does not count either: it is what plugins are tested with, and nothing that runs imports it. Nor does
`fairlead.embed`: it stands around the core for hosts that are not on trio, the core imports nothing of it, and whoever
reads how a message becomes an answer need not read it. It has a limit of its own."""
EMBED_LINES = 320
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


def test_core_is_small() -> None:
    """What can be a plugin is one."""
    parts = [path for path in python_files(CORE.path / "src") if not {"testing", "embed"} & {*path.parts}]
    sizes = {place(path): code_lines(path.read_text("utf-8")) for path in parts}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:10]
    faults = [f"{name}: {sizes[name]} lines" for name in largest] if sum(sizes.values()) > CORE_LINES else []
    report(faults, f"are the largest; the core has {sum(sizes.values())} lines of code, and {CORE_LINES} are the limit")


def test_what_stands_around_the_core_is_small() -> None:
    """`fairlead.embed`: a thread, and two faces of an app."""
    files = python_files(CORE.path / "src" / "fairlead" / "embed")
    assert sum(code_lines(path.read_text("utf-8")) for path in files) <= EMBED_LINES


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
