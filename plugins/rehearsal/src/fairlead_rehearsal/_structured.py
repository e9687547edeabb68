"""Answers as JSON values: only what the tools or the person have said, never made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead import ToolResult
from fairlead.errors import ContentRefused, SchemaError
from fairlead.wire import build_validator, loads
from fairlead_rehearsal._wish import Wish

__all__ = ["structured"]


def structured(schema: Mapping[str, Any], wishes: Sequence[Wish], results: Mapping[int, ToolResult]) -> str:
    """One JSON value of the schema as text: what shall be repeated, or the result of the only request.

    An object is filled where one property is all it requires. `ContentRefused`: nothing that was said fits, and this
    model does not invent values.
    """
    validator = build_validator(schema)
    for value in _values(wishes, results):
        for shaped in (value, *_as_object(schema, value)):
            if validator.is_valid(shaped):
                return json.dumps(shaped, ensure_ascii=False)
    raise ContentRefused(
        "the rehearsal model gives a JSON value only where it was told one (say {...}) or where the only request has a"
        f" result that is one; found requests: {len(wishes)}, results: {len(results)}, and none fits the schema",
        next_step="fairlead init",
    )


def _values(wishes: Sequence[Wish], results: Mapping[int, ToolResult]) -> list[Any]:
    """What could be meant, the most exact first."""
    if len(wishes) != 1:
        return []
    wish, result = wishes[0], results.get(0)
    if wish.kind == "say":
        return [*_json(wish.text), wish.text]
    if result is None or result.error:
        return []
    text = result.text.strip()
    # "≈ 0.333 (exactly 1/3)": the number alone.
    number = text.removeprefix("≈ ").partition(" ")[0]
    return [*_json(number), *_json(text), text]


def _json(text: str) -> list[Any]:
    try:
        return [loads(text)]
    except SchemaError:
        return []


def _as_object(schema: Mapping[str, Any], value: Any) -> list[dict[str, Any]]:
    properties = schema.get("properties", {})
    names = schema.get("required") or list(properties)
    return [{names[0]: value}] if len(names) == 1 and names[0] in properties else []
