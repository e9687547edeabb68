"""The public API of the core as text: every public name with its signature, fields and hook arguments; every schema.

uv run python tests/house/api_snapshot.py              print it
uv run python tests/house/api_snapshot.py --write      keep it in tests/house/api.txt, and so declare a change
uv run python tests/house/api_snapshot.py --release    keep it for good, as what this version of the plugin API was
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import pkgutil
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from fairlead.hookspecs import API_VERSION
from fairlead.wire import load_schema, schema_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType

SNAPSHOT = Path(__file__).parent / "api.txt"
RELEASED = Path(__file__).parent / "released"
"""What each released version of the plugin API was: ``1.0.txt``. These files are never changed."""
PACKAGE = "fairlead"
KIT = "Conformance"
"""How the names of the kits end."""


def render_api() -> str:
    """The whole public API: a paragraph for each public module, `fairlead` itself first, and for each schema."""
    modules = [importlib.import_module(name) for name in public_modules()]
    homes: dict[int, str] = {}
    for module in modules:
        for name in module.__all__:
            homes.setdefault(id(getattr(module, name)), f"{module.__name__}.{name}")
    parts = [list(describe_module(module, homes)) for module in modules]
    parts += [
        [f"schema {name}", *(f"    {line}" for line in schema_lines(load_schema(name)))] for name in schema_names()
    ]
    return "\n".join("\n".join(part) + "\n" for part in parts)


def public_modules() -> list[str]:
    """The names of the core's modules that have no underscore."""
    package = importlib.import_module(PACKAGE)
    found = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [PACKAGE, *(f"{PACKAGE}.{name}" for name in found if not name.startswith("_"))]


def describe_module(module: ModuleType, homes: dict[int, str]) -> Iterator[str]:
    """The lines of one module. `homes`: the id of each public object, and its first public name."""
    yield module.__name__
    for name in sorted(module.__all__):
        value = getattr(module, name)
        home = homes[id(value)]
        told = home != f"{module.__name__}.{name}" and (inspect.isclass(value) or inspect.isfunction(value))
        lines = [f"{name} = {home}"] if told else describe(name, value, homes)
        yield from (f"    {line}" for line in lines)


def describe(name: str, value: object, homes: dict[int, str]) -> Iterator[str]:
    if inspect.isclass(value):
        yield from describe_class(name, value, homes)
    elif inspect.isfunction(function := inspect.unwrap(value)):  # type: ignore[arg-type]  # it takes any object
        yield describe_function(name, function)
    elif (
        isinstance(value, str | int | float | bool | tuple | dict | types.GenericAlias | types.UnionType)
        or type(value).__module__ == "typing"
    ):
        yield f"{name} = {value!r}"
    else:
        yield f"{name}: {type(value).__qualname__}"


def describe_function(name: str, function: Callable[..., Any]) -> str:
    marks = getattr(function, f"{PACKAGE}_spec", None)
    words = [
        "abstract" if getattr(function, "__isabstractmethod__", False) else "",
        "async" if inspect.iscoroutinefunction(function) else "",
        "def" if marks is None else "hook (first result)" if marks["firstresult"] else "hook",
        f"{name}{signature(function)}",
    ]
    return " ".join(word for word in words if word)


def describe_class(name: str, value: type, homes: dict[int, str]) -> Iterator[str]:
    """A class with its own members and those of its private bases; a public base tells of itself."""
    kit = name.endswith(KIT)
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object and not kit)
    yield f"class {name}({bases})" if bases else f"class {name}"
    ours = [base for base in value.__mro__ if base.__module__.partition(".")[0] == PACKAGE]
    members: dict[str, str] = {}
    for base in reversed(ours):
        if base is value or id(base) not in homes:
            members |= dict(fields_of(base)) | dict(members_of(base))
    yield from (f"    {line}" for key, line in members.items() if not kit or is_hook(value, key))


def is_hook(kit: type, name: str) -> bool:
    """Of a conformance kit authors override what says so, and set its class variables; the rest is how it checks."""
    members = [vars(base)[name] for base in kit.__mro__ if name in vars(base)]
    return not callable(members[0]) or any((inspect.getdoc(one) or "").startswith("Override") for one in members)


def fields_of(base: type) -> Iterator[tuple[str, str]]:
    """The fields that an attrs class adds, as they are written: ``name: type = default``."""
    # As it is written: cattrs puts the classes themselves into the fields' types when it first needs them.
    written = vars(base).get("__annotations__", {})
    for one in attrs.fields(base) if attrs.has(base) else ():
        default = "" if one.default is attrs.NOTHING else f" = {shown(one.default)}"
        keyword = " (keyword)" if one.kw_only else ""
        if not one.inherited and not one.name.startswith("_"):
            yield one.name, f"{one.name}: {annotation(written.get(one.name, one.type))}{default}{keyword}"


def members_of(base: type) -> Iterator[tuple[str, str]]:
    """Everything public that is no field: methods, properties, class variables, members of an enumeration."""
    fields = {one.name for one in attrs.fields(base)} if attrs.has(base) else set()
    names = [name for name in (*vars(base).get("__annotations__", {}), *vars(base)) if not name.startswith("_")]
    # How a conformance kit runs, and what it checks, is no promise to those who subclass it.
    names = [name for name in names if name != "pytestmark" and not name.startswith("test_")]
    if not fields and "__init__" in vars(base):
        yield "__init__", describe_function("__init__", vars(base)["__init__"])
    for name in sorted(set(names) - fields):
        yield name, describe_member(name, base)


def describe_member(name: str, base: type) -> str:
    member = vars(base).get(name)
    if isinstance(member, staticmethod | classmethod):
        return f"@{type(member).__name__} {describe_function(name, member.__func__)}"
    if isinstance(member, property) and member.fget is not None:
        return f"{name}: {annotation(inspect.signature(member.fget).return_annotation)} (property)"
    if inspect.isfunction(member):
        return describe_function(name, member)
    if isinstance(member, enum.Enum):
        return f"{name} = {member.value!r}"
    typed = vars(base).get("__annotations__", {}).get(name)
    given = "" if name not in vars(base) or inspect.isdatadescriptor(member) else f" = {shown(member)}"
    return f"{name}: {annotation(typed)}{given}" if typed else f"{name}{given}"


def shown(value: object) -> str:
    """A value that is the same in every process and on every machine; three dots for any other."""
    if isinstance(value, frozenset):
        return f"frozenset({{{', '.join(sorted(map(repr, value)))}}})"
    if isinstance(value, str | int | float | tuple | types.NoneType) or attrs.has(type(value)):
        return repr(value)
    return "..."


def annotation(value: Any) -> str:
    return value if isinstance(value, str) else inspect.formatannotation(value)


def signature(function: Any) -> str:
    """The signature as it is written, without the quotes that ``from __future__ import annotations`` leaves."""
    found = inspect.signature(function)
    words: list[str] = []
    star = False
    for one in found.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not star:
            words.append("*")
        star = star or one.kind in {one.VAR_POSITIONAL, one.KEYWORD_ONLY}
        words.append(parameter(one))
        if one.kind is one.POSITIONAL_ONLY:
            words.append("/")
    slashes = [place for place, word in enumerate(words) if word == "/"]
    text = ", ".join(word for place, word in enumerate(words) if place not in slashes[:-1])
    result = found.return_annotation
    return f"({text})" if result is found.empty else f"({text}) -> {annotation(result)}"


def parameter(one: inspect.Parameter) -> str:
    stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
    typed = "" if one.annotation is one.empty else f": {annotation(one.annotation)}"
    default = "" if one.default is one.empty else f" = {shown(one.default)}"
    return f"{stars}{one.name}{typed}{default}"


# -- schemas: a line for each place of a value, and one for each word of an ``enum``


REQUIRED = "required"
WORDS = {"$id", "$schema", "$comment", "title", "description", "examples"}
"""For people; what they say promises nothing."""
INNER = {"items": "[]", "additionalProperties": ".*", "propertyNames": "(names)", "contains": "(contains)"}
LOGIC = ("not", "if", "then", "else")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = {"properties": ".", "patternProperties": "./", "$defs": "#", "dependentSchemas": "(with) "}


def schema_lines(schema: Any, path: str = "", *, required: bool = False) -> Iterator[str]:
    """A line for a schema (what it asks for, in the order of the alphabet), and the lines of all schemas in it."""
    place = path or "."
    if not isinstance(schema, dict):
        yield f"{place}: {'anything' if schema else 'nothing'}"
        return
    here = {word: value for word, value in schema.items() if is_asked_here(word, value)}
    facts = [REQUIRED] * required + [f"{word} {json.dumps(here[word], sort_keys=True)}" for word in sorted(here)]
    yield f"{place}: {', '.join(facts) or 'anything'}"
    for value in schema.get("enum", ()):
        yield f"{place} = {json.dumps(value)}"
    for inner, below, needed in below_of(schema, path):
        yield from schema_lines(inner, below, required=needed)


def is_asked_here(word: str, value: Any) -> bool:
    """Whether a word is a demand on this place, and no schema inside."""
    if word in WORDS or word in MAPS or word in LISTS or word in LOGIC or word in {"enum", "required"}:
        return False
    return word not in INNER or isinstance(value, bool)


def below_of(schema: Mapping[str, Any], path: str) -> Iterator[tuple[Any, str, bool]]:
    """The schemas inside, each with its place, and whether a value must have it."""
    needed = schema.get("required", ())
    for word, mark in MAPS.items():
        for name, inner in schema.get(word, {}).items():
            yield inner, f"{path}{mark}{name}", word == "properties" and name in needed
    for name in needed:
        if name not in schema.get("properties", {}):
            yield {}, f"{path}.{name}", True
    found = [(schema[word], mark) for word, mark in INNER.items() if isinstance(schema.get(word), dict)]
    found += [(schema[word], f"({word})") for word in LOGIC if word in schema]
    found += [(inner, f"({word} {place})") for word in LISTS for place, inner in enumerate(schema.get(word, ()))]
    yield from ((inner, f"{path}{mark}", False) for inner, mark in found)


def main() -> None:
    if sys.argv[1:] == ["--write"]:
        SNAPSHOT.write_text(render_api(), "utf-8")
    elif sys.argv[1:] == ["--release"]:
        (RELEASED / f"{API_VERSION}.txt").write_text(SNAPSHOT.read_text("utf-8"), "utf-8")
    else:
        sys.stdout.write(render_api())


if __name__ == "__main__":
    main()
