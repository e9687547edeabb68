"""The check of a call's arguments where the tool's own code runs.

The host has looked at the first two levels, and at nothing that a stranger could make expensive: patterns, references,
unique items. Here that may take as long as the call has; what hangs is ended with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["fault", "prepare"]

CHECKED = {"type", "enum", "const", "required", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
"""Words that the host has checked."""
SAID = {"$schema", "title", "description", "default", "examples", "additionalProperties"}
"""Words that ask for nothing; the last one only where it is true or false, as it is for the host."""
SHOWN = 300
"""Characters of a validator's message: it repeats the value, which may be large."""


_validators: dict[str, Any] = {}
"""By their schema as JSON. A process that is forked finds those that were made before."""


def prepare(schema: Any) -> bool:
    """Whether the host could not check all that it asks for; then what `fault` needs is made ready."""
    if _is_checked(schema, 2):
        return False
    _validator(schema)
    return True


def fault(schema: Any, arguments: Any) -> str:
    """What is wrong with the arguments, in words for the model; empty where they fit."""
    from jsonschema.exceptions import best_match  # noqa: PLC0415  # lies in the plugins' directories

    error = best_match(_validator(schema).iter_errors(arguments))
    if error is None:
        return ""
    path = "".join(f"/{step}" for step in error.absolute_path)
    return f"arguments{path}: {error.message[:SHOWN]}"


def _validator(schema: Any) -> Any:
    from fairlead.wire import build_validator  # noqa: PLC0415  # lies in the plugins' directories

    key = json.dumps(schema, sort_keys=True, default=dict)
    if key not in _validators:
        _validators[key] = build_validator(json.loads(key))
    return _validators[key]


def _is_checked(schema: Any, levels: int) -> bool:
    """Whether the host has checked all that this asks for: its words on so many levels, and nothing below."""
    if not isinstance(schema, Mapping):
        return isinstance(schema, bool)
    inner = schema.get("properties", {})
    others = schema.keys() - SAID - (CHECKED | {"properties"} if levels else set())
    known = isinstance(schema.get("additionalProperties", True), bool) and isinstance(inner, Mapping)
    return known and not others and all(_is_checked(each, levels - 1) for each in inner.values())
