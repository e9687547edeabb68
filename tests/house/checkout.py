"""The checkout as the house tests see it: its rooms and its Python files."""

from __future__ import annotations

import ast
import functools
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"__pycache__", "dist", "build", "node_modules"}
"""Directories that tools make and git ignores."""


@frozen
class Room:
    """A distribution with code of its own: ``core``, ``sandbox``, ``plugins/openai``."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def package(self) -> str:
        return "fairlead" if self.name == "core" else f"fairlead_{self.path.name}"

    @property
    def source(self) -> Path:
        return self.path / "src" / self.package

    @property
    def project(self) -> dict[str, Any]:
        return read_toml(self.path / "pyproject.toml")


CORE = Room(ROOT / "core")
SANDBOX = Room(ROOT / "sandbox")
PLUGINS = tuple(Room(path) for path in sorted((ROOT / "plugins").iterdir()) if path.is_dir() and path.name[0] != ".")
ROOMS = (CORE, SANDBOX, *PLUGINS)


@functools.cache
def read_toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


def python_files(*below: Path) -> Iterator[Path]:
    """The Python files under these directories (of the whole checkout without any), without what tools generated."""
    for top in below or (*(room.path for room in ROOMS), ROOT / "tests", ROOT / "docs"):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if not any(part in GENERATED or part.startswith(".") for part in parts):
                yield path


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def place(path: Path, line: int = 0) -> str:
    """A place as editors read it: ``core/src/fairlead/_app.py:12``."""
    name = path.relative_to(ROOT).as_posix()
    return f"{name}:{line}" if line else name


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every absolute import of a file, wherever it stands, as (dotted name, line): for ``from a import b``, ``a.b``."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def report(faults: list[str], advice: str) -> None:
    """Fail with all the faults and what to do, or pass where there is none."""
    assert not faults, "\n  ".join(["", *faults, advice])
