"""Attacks with the schema of a tool's arguments: the host reads it, and a stranger has written it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import fairlead
from fairlead import Tool, ToolCall, ToolContext, ToolSpec
from fairlead.config import Config
from fairlead.errors import SchemaError
from fairlead.events import ToolReturned
from fairlead.testing import ScriptedProvider, calls
from fairlead.types import Isolation
from fairlead_sandbox.inside._arguments import fault, prepare
from fairlead_sandbox.remote._data import parsed_list

QUICK = 2.0
"""Seconds: what is asked of the host here takes it milliseconds, and what is attacked would take hours."""


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def doubled(times: int) -> dict[str, Any]:
    """Each definition asks twice for the one before."""
    made: dict[str, Any] = {"d0": {"type": "string"}}
    for place in range(1, times):
        made[f"d{place}"] = {"allOf": [{"$ref": f"#/$defs/d{place - 1}"}] * 2}
    return {**schema(x={"$ref": f"#/$defs/d{times - 1}"}), "$defs": made}


class Strange(Tool):
    """A tool of somebody else's, as the host sees it."""

    def __init__(self, parameters: Mapping[str, Any], level: Isolation) -> None:
        self.name, self.level = "strange", level
        self._parameters = parameters

    def specs(self) -> Sequence[ToolSpec]:
        return [ToolSpec("strange", "", self._parameters)]

    async def call(self, call: ToolCall, context: ToolContext) -> str:
        return ""


async def checked(
    directory: Path, parameters: Mapping[str, Any], arguments: Any, level: Isolation = "container"
) -> str:
    """What the host says of the arguments."""
    provider = ScriptedProvider([calls(("strange", arguments)), "done"])
    config = Config(data_dir=directory)
    async with fairlead.open(config, providers=[provider], tools=[Strange(parameters, level)]) as app:
        await app.ask("go", session="s")
        records = await app.sessions.records("s")
    result = next(record.event.result for record in records if isinstance(record.event, ToolReturned))
    assert result.error in ("", "invalid")
    return result.text if result.error == "invalid" else ""


SLOW = "a" * 60 + "!"
EXPONENTIAL = {"pattern": "^(a+)+$"}


@pytest.mark.parametrize(
    ("parameters", "arguments"),
    [
        (schema(x=EXPONENTIAL), {"x": SLOW}),
        (schema(x={"properties": {"y": EXPONENTIAL}}), {"x": {"y": SLOW}}),
        (schema(x={"items": EXPONENTIAL}), {"x": [SLOW]}),
        (schema(x={"not": EXPONENTIAL}), {"x": SLOW}),
        (schema() | {"patternProperties": {"^(a+)+$": {}}}, {SLOW: 1}),
        (schema() | {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {SLOW: 1}),
        (schema() | {"propertyNames": EXPONENTIAL}, {SLOW: 1}),
        (schema(x={"uniqueItems": True}), {"x": [{"y": place} for place in range(20_000)]}),
        (doubled(40), {"x": "text"}),
    ],
    ids=["pattern", "deep", "items", "not", "names", "other names", "all names", "unique", "doubled"],
)
async def test_host_is_not_kept_busy_by_what_a_stranger_wrote(
    tmp_path: Path, parameters: Mapping[str, Any], arguments: Any
) -> None:
    """The rest is looked at where the tool runs."""
    began = time.monotonic()
    assert "" == await checked(tmp_path, parameters, arguments)
    assert time.monotonic() - began < QUICK


@pytest.mark.parametrize("level", ["host", "process", "container"])
@pytest.mark.parametrize(
    ("parameters", "arguments", "said"),
    [
        (schema(x={"type": "string"}), {"x": 1}, "is not of type 'string'"),
        (schema(x={"enum": ["a"]}), {"x": "b"}, "is not one of ['a']"),
        (schema(x={"maximum": 3}), {"x": 4}, "is greater than the maximum of 3"),
        (schema(x={}) | {"required": ["x"]}, {}, "'x' is a required property"),
        (schema(x={}) | {"additionalProperties": False}, {"y": 1}, "Additional properties are not allowed"),
        (schema(x={"type": "object", "required": ["y"]}), {"x": {}}, "'y' is a required property"),
    ],
)
async def test_host_checks_the_first_levels_everywhere(
    tmp_path: Path, parameters: Mapping[str, Any], arguments: Any, said: str, level: Isolation
) -> None:
    """A policy must not see arguments of another kind than the tool has asked for."""
    assert said in await checked(tmp_path, parameters, arguments, level)


@pytest.mark.parametrize(
    ("parameters", "arguments", "said"),
    [
        (schema(x={"pattern": "^a$"}), {"x": "b"}, "arguments/x: 'b' does not match '^a$'"),
        (schema(x={"items": {"type": "string"}}), {"x": [1]}, "arguments/x/0: 1 is not of type 'string'"),
        (schema(x=schema(y=schema(z={"type": "string"}))), {"x": {"y": {"z": 1}}}, "arguments/x/y/z: 1 is not of"),
        (schema(x=schema(y={"type": "string"})), {"x": {"y": 1}}, "arguments/x/y: 1 is not of type 'string'"),
        (doubled(3), {"x": 1}, "arguments/x: 1 is not of type 'string'"),
        (schema() | {"additionalProperties": {"type": "string"}}, {"x": 1}, "arguments/x: 1 is not of type"),
        (schema(x={"$ref": "#/$defs/d"}) | {"$defs": {"d": {"const": 1}}}, {"x": 2}, "arguments/x: 1 was expected"),
    ],
)
async def test_what_the_host_leaves_is_checked_where_the_tool_runs(
    tmp_path: Path, parameters: Mapping[str, Any], arguments: Any, said: str
) -> None:
    """In words for the model; what fits passes both."""
    assert "" == await checked(tmp_path, parameters, arguments)
    assert fault(parameters, arguments).startswith(said)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (schema(x={"type": [{"a": place} for place in range(20_000)]}), "a list of 20000 types"),
        (schema(**{f"x{place}": {"type": "string"} for place in range(100_000)}), "at most 524288 are taken"),
        (schema(x={"description": "x" * 600_000}), "at most 524288 are taken"),
    ],
    ids=["types", "properties", "words"],
)
def test_tools_that_are_expensive_to_check_are_refused(parameters: Mapping[str, Any], said: str) -> None:
    """When the plugin describes them, and at once."""
    began = time.monotonic()
    with pytest.raises(SchemaError, match=said):
        parsed_list([{"name": "strange", "description": "", "parameters": parameters}], ToolSpec, 10)
    assert time.monotonic() - began < QUICK


def test_what_the_host_has_checked_is_not_checked_again() -> None:
    """Most tools ask for texts and numbers by name: their calls load no validator."""
    plain = schema(x={"type": "string", "description": "A text.", "default": "a"}, y={"type": "integer", "minimum": 1})
    assert not prepare(plain | {"required": ["x"], "additionalProperties": False})
    assert prepare(schema(x={"type": "string", "pattern": "^a*$"}))
