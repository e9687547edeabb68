"""Which of our plugins implement which hook, read from their source: an implementation is a call that works."""

from __future__ import annotations

import ast

from ..house.checkout import PLUGINS, parse, place, python_files

__all__ = ["implementers"]


def implementers() -> dict[str, list[str]]:
    """Hook to the files of our plugins with a function of that name that is marked with `hookimpl`."""
    found: dict[str, list[str]] = {}
    for path in python_files(*(room.source for room in PLUGINS)):
        for node in parse(path).body:
            if isinstance(node, ast.FunctionDef) and "hookimpl" in map(ast.unparse, node.decorator_list):
                found.setdefault(node.name, []).append(place(path))
    return found
