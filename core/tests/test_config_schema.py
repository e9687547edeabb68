"""The lines of a configuration's keys, and its schema."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from fairlead import config
from fairlead._config_faults import line_of
from fairlead.wire import build_validator, load_schema

TEXT = '''# a comment
profile = "development"

[limits]  # another
steps = 5
[models]
default = [
  "a/b",
  # inside
  { provider = "c", model = "d" },
]
[agents."the main"]
instructions = """
steps = 6
[lanes]
"""
model = "x"

[[bindings]]
agent = "one"
[[bindings]]

# before it
agent = "two"
[profiles.production]
limits.steps = 9
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("profile",), 2),
        (("limits",), 4),
        (("limits", "steps"), 5),
        (("limits", "queue"), 4),
        (("models", "default", 1, "model"), 7),
        (("agents", "the main", "model"), 17),
        (("lanes", "total"), None),
        (("bindings", 0, "agent"), 20),
        (("bindings", 1), 21),
        (("bindings", 1, "agent"), 24),
        (("profiles", "production", "limits", "steps"), 26),
    ],
)
def test_line_of_a_key(path: tuple[str | int, ...], line: int | None) -> None:
    """In tables, arrays of tables, dotted keys; a value's inside has the line of its key, a missing key its table's."""
    assert line == line_of(TEXT, path)


def test_line_of_a_key_of_the_profile() -> None:
    """It is looked for in the profile's tables first."""
    assert 26 == line_of(TEXT, ("limits", "steps"), "production")


def test_schema_and_classes_agree() -> None:
    """Each field of the data is a key of the schema, with the same default."""
    defs = load_schema("config")["$defs"]
    tables: list[tuple[dict[str, Any], type[Any]]] = [
        (defs["limits"], config.Limits),
        (defs["lanes"], config.LaneLimits),
        (defs["compaction"], config.Compaction),
        (defs["sessions"], config.SessionLimits),
        (defs["bindings"]["items"], config.Binding),
        (defs["agents"]["additionalProperties"], config.Agent),
        (defs["link"]["anyOf"][1], config.ModelRef),
    ]
    for schema, cls in tables:
        fields = {field.name: field.default for field in attrs.fields(cls)}
        fields.pop("name", None)
        assert set(fields) == set(schema["properties"])
        for key, described in schema["properties"].items():
            assert fields[key] == described.get("default", fields[key])


def test_every_key_is_described() -> None:
    """Whoever reads the schema needs nothing else."""

    def undescribed(schema: Any, path: str) -> list[str]:
        if not isinstance(schema, dict):
            return []
        found = [
            f"{path}.{key}"
            for key, value in schema.get("properties", {}).items()
            if "description" not in value and "$ref" not in value
        ]
        return found + [name for key, value in schema.items() for name in undescribed(value, f"{path}/{key}")]

    for name in ("config", "plugin-manifest"):
        build_validator(load_schema(name))
        assert [] == undescribed(load_schema(name), name)
