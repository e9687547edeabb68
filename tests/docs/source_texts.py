"""What the source says beside its code: docstrings, and the texts below the fields of classes."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import sys
import textwrap
import typing
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ..house.api_snapshot import shown, signature

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["class_entry", "definition", "fields_entry", "methods_entry", "prose"]


def prose(text: str | None) -> str:
    """A docstring as Markdown, which has one backquote for literals and for the names of things."""
    return re.sub(r"``([^`]+)``", r"`\1`", inspect.cleandoc(text or ""))


@functools.cache
def _texts_of(cls: type) -> dict[str, str]:
    """The texts that stand directly below the fields of a class."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except OSError:  # made at run time
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in itertools.pairwise(body):
        named = isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if named and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[field.target.id] = prose(str(text.value.value))  # type: ignore[attr-defined]  # `named` says so
    return found


def literals(annotation: str, module: str) -> str:
    """A type as it is written, with the words for which a private alias stands: ``"read" | "once"``."""
    names = vars(sys.modules[module])

    def spelled(found: re.Match[str]) -> str:
        alias = names.get(found[0])
        if typing.get_origin(alias) is not Literal:
            return found[0]
        return "Literal[" + ", ".join(repr(word) for word in typing.get_args(alias)) + "]"

    text = re.sub(r"\b[A-Z]\w+\b", spelled, annotation)
    return re.sub(r"Literal\[([^\]]+)\]", lambda found: found[1].replace(", ", " | "), text)


def fields_entry(cls: type, *, inherited: bool = False) -> Iterator[str]:
    """A line for each field of an attrs class: name, type, default, meaning."""
    for field in attrs.fields(cls):
        if field.inherited and not inherited:
            continue
        home = next(base for base in cls.__mro__ if field.name in vars(base).get("__annotations__", {}))
        written = str(vars(home)["__annotations__"][field.name])  # `field.type` is resolved once cattrs has used it
        default = "" if field.default is attrs.NOTHING else f" = {_default(field.default)}"
        text = _texts_of(home).get(field.name, "")
        yield f"- `{field.name}: {literals(written, home.__module__)}{default}`" + (f": {text}" if text else "")


def _default(value: Any) -> str:
    if not isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # the stub makes a function of the class
        return shown(value)
    made = "" if value.takes_self else value.factory()
    return shown(made) if made in ({}, [], ()) else "..."


def class_entry(cls: type, name: str, *, level: int = 2, inherited: bool = False) -> Iterator[str]:
    """A heading, the docstring and the fields."""
    yield f"{'#' * level} {name}"
    yield ""
    yield prose(cls.__doc__)
    yield ""
    lines = list(fields_entry(cls, inherited=inherited)) if attrs.has(cls) else list(_variables(cls))
    if lines:
        yield from (*lines, "")


def _variables(cls: type) -> Iterator[str]:
    texts = _texts_of(cls)
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if not name.startswith("_"):
            given = vars(cls).get(name, None)
            default = "" if given is None or callable(given) else f" = {shown(given)}"
            written = re.sub(r"ClassVar\[(.+)\]", r"\1", str(annotation))
            text = f": {texts[name]}" if name in texts else ""
            yield f"- `{name}: {literals(written, cls.__module__)}{default}`{text}"


def methods_entry(cls: type, *, level: int = 3) -> Iterator[str]:
    """A heading with the signature, and the docstring, for each public method and property of the class itself."""
    made = vars(cls).get("__init__")
    if made is not None and made.__doc__ and not attrs.has(cls):
        yield from (*definition(cls.__name__, made), prose(made.__doc__), "")
    for name, member in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield from (f"{'#' * level} {name}", "", prose(member.__doc__), "")
        elif inspect.isfunction(member):
            yield from (f"{'#' * level} {name}", "", *definition(name, member), prose(member.__doc__), "")


def definition(name: str, function: Any) -> Iterator[str]:
    """``async def ask(...)`` in a block, a parameter a line where one line would be long."""
    word = "" if name[0].isupper() or hasattr(function, "fairlead_spec") else "def "
    word = f"async {word}" if inspect.iscoroutinefunction(function) else word
    line = f"{word}{name}{literals(signature(function), function.__module__)}".removesuffix(" -> None")
    head, _, rest = line.partition("(")
    inside, closing, result = rest.rpartition(")")
    lines = [line]
    if len(line) > WIDTH:
        parts = re.split(r", (?![^\[\]()]*[\])])", inside)
        lines = [f"{head}(", *(f"    {part}," for part in parts), f"{closing}{result}"]
    yield from ("```text", *lines, "```", "")


WIDTH = 100
"""Columns of a definition on one line."""
