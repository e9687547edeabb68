"""The JSON Schemas as lines that can be compared: one for each place of a value, one for each word of an ``enum``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["REQUIRED", "schema_lines"]

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
