"""The JSON Schemas of `schemas/`, and validators that fetch nothing and are built once."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonschema.protocols import Validator
    from referencing import Registry, Resource
    from referencing._core import Resolver

__all__ = ["build_validator", "check", "load_schema", "schema_names"]

_BASE = "https://fairlead.dev/schemas/"


@functools.cache
def _directory() -> Path:
    """`schemas/` inside the installed package, or beside `core/` in a checkout (an editable install has no copy)."""
    here = Path(__file__).resolve().parent
    packaged = here / "schemas"
    return packaged if packaged.is_dir() else here.parents[2] / "schemas"


def schema_names() -> tuple[str, ...]:
    """The names of all published schemas, sorted."""
    return tuple(sorted(path.name.removesuffix(".schema.json") for path in _directory().glob("*.schema.json")))


@functools.cache
def load_schema(name: str) -> Mapping[str, Any]:
    """The published schema of that name: ``config``, ``event``, ``message``. `SchemaError`: there is none."""
    if name not in schema_names():  # a list, so that a name is never a path
        known = ", ".join(schema_names())
        raise SchemaError(f"no schema is named {name!r}; there are: {known}", next_step="fairlead schema")
    loaded: dict[str, Any] = json.loads((_directory() / f"{name}.schema.json").read_text("utf-8"))
    return loaded


@functools.cache
def _published(name: str) -> Validator:
    return build_validator(load_schema(name))


def build_validator(schema: Mapping[str, Any]) -> Validator:
    """A validator for a schema of draft 2020-12, which may refer to our published schemas and to nothing else.

    `SchemaError`: the schema itself is wrong, or refers elsewhere. jsonschema fetches remote and file references by
    default: hence a registry that retrieves nothing.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415  # 60 ms that `--help` must not pay for
    from jsonschema.exceptions import SchemaError as Malformed  # noqa: PLC0415  # see above
    from referencing import Registry  # noqa: PLC0415  # jsonschema's own dependency
    from referencing.exceptions import Unresolvable  # noqa: PLC0415  # see above
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415  # see above

    try:
        Draft202012Validator.check_schema(schema)
    except Malformed as error:
        where = "/".join(str(step) for step in error.absolute_path)
        raise SchemaError(f"not a JSON Schema of draft 2020-12: {error.message}", path=where) from None
    resource = DRAFT202012.create_resource(schema)
    registry: Registry[Any] = _published_registry() if _BASE in str(schema) else Registry()
    try:
        _resolve_references(resource, registry.resolver_with_root(resource))
    except Unresolvable as error:
        raise SchemaError(f"the schema refers to {error.ref!r}, expected a part of itself or of {_BASE}") from None
    return Draft202012Validator(schema, registry=registry)


@functools.cache
def _published_registry() -> Registry[Any]:
    """All that a schema may refer to beside itself; indexed once, or each validation would do it again."""
    from referencing import Registry  # noqa: PLC0415  # jsonschema's own dependency
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415  # see above

    ours = (load_schema(name) for name in schema_names())
    empty: Registry[Any] = Registry()
    return empty.with_resources((schema["$id"], DRAFT202012.create_resource(schema)) for schema in ours).crawl()


def _resolve_references(resource: Resource[Any], resolver: Resolver[Any]) -> None:
    """Look every reference up now: one that leads nowhere would otherwise raise while a value is validated."""
    if isinstance(resource.contents, dict):
        for word in ("$ref", "$dynamicRef"):
            if word in resource.contents:
                resolver.lookup(resource.contents[word])
    for inner in resource.subresources():
        _resolve_references(inner, resolver.in_subresource(inner))


def outline(schema: Any, level: int = 2) -> Any:
    """Of a stranger's schema what is checked at once whatever it says: two levels, and words that cost nothing.

    A pattern may take exponential time and hold the whole process, references may multiply, unique items are compared
    each with each. Whoever runs the stranger's code checks the rest there.
    """
    if not level or not isinstance(schema, dict):
        return schema is not False
    found = {word: schema[word] for word in _CHEAP if word in schema}
    inner = {name: outline(each, level - 1) for name, each in schema.get("properties", {}).items()}
    is_open = schema.get("additionalProperties") is not False or "patternProperties" in schema
    return {**found, "properties": inner, "additionalProperties": is_open}


_CHEAP = ("type", "enum", "const", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def fault(validator: Validator, value: Any) -> tuple[str, str] | None:
    """The most telling fault as (JSON pointer, what was found and expected), or None."""
    if _plainly_fits(validator.schema, value) or validator.is_valid(value):
        return None
    from jsonschema.exceptions import best_match  # noqa: PLC0415  # only where something is wrong

    error = best_match(validator.iter_errors(value))
    if error is None:  # pragma: no cover  # is_valid and iter_errors agree
        return None
    message = error.message if len(error.message) <= _SHOWN else error.message[:_SHOWN] + "..."
    return "".join(f"/{step}" for step in error.absolute_path), message


def _plainly_fits(schema: Any, value: Any) -> bool:
    """Whether an object surely has the simple types that a schema asks for; False: ask the validator.

    Most tools take a few texts and numbers. A validator needs 10 us for two of them on the path of each call, this 1.5.
    """
    if type(value) is not dict or type(schema) is not dict or not schema.keys() <= _OUTER:
        return False
    rules = schema.get("properties", {})
    for name, each in value.items():
        rule = rules.get(name)
        if type(rule) is not dict or not rule.keys() <= _INNER or type(each) is not _TYPES.get(str(rule.get("type"))):
            return False
    return schema.get("type") == "object" and all(name in value for name in schema.get("required", ()))


_OUTER = {"type", "properties", "required", "additionalProperties", "title", "description"}
_INNER = {"type", "title", "description", "default"}
_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool}
_SHOWN = 300
"""Characters of a validator's message: it repeats the value, which may be large."""


def check(name: str, value: Any) -> None:
    """Hold a value against a published schema. `SchemaError`: the path, what was found, what was expected."""
    found = fault(_published(name), value)
    if found is not None:
        path, message = found
        raise SchemaError(f"at {path or '/'}: {message}", schema=name, path=path, next_step=f"fairlead schema {name}")
