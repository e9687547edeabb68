"""The promises of a tool."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import trio

from fairlead._contracts import Tool
from fairlead._events import ToolReturned
from fairlead._message import Principal, Text, ToolCall, ToolResult, new_id
from fairlead._schemas import build_validator, fault
from fairlead._work import Effect, Isolation, ToolSpec
from fairlead.errors import SchemaError, ToolError
from fairlead.testing._fakes import FakeToolContext
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, same, within, writable

__all__ = ["ToolConformance"]

CALL, SPEC, SPECS = "fairlead.Tool.call", "fairlead.ToolSpec", "fairlead.Tool.specs"
HOSTILE_VALUES: tuple[Any, ...] = (
    0,
    -1,
    2**63,
    -(2**63),
    10**300,
    1e308,
    -1e-308,
    "",
    [],
    {},
    True,
    None,
    ["x"] * 1000,
)
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolConformance(WorkerConformance[Tool]):
    """Subclass it and override `make_worker`; `example` where a schema has no ``examples``."""

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        """Override where needed: arguments with which that tool succeeds.

        As it is: the schema's first ``examples``, or nothing where it requires nothing.
        """
        examples = spec.parameters.get("examples") or ([] if spec.parameters.get("required") else [{}])
        promise(examples, f"the schema of {spec.name!r} has examples, or the test overrides example()", SPEC)
        found: Mapping[str, Any] = examples[0]
        return found

    async def context(self, spec: ToolSpec) -> FakeToolContext:
        """Override where the tool needs more: a recall, another clock."""
        return FakeToolContext(principal=Principal("kit:alice", "Alice"))

    async def call(self, tool: Tool, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult | str:
        call = ToolCall(new_id(), spec.name, arguments)
        with within(spec.timeout or 60, f"{spec.name} ends", CALL):
            result = await tool.call(call, await self.context(spec))
        promise(isinstance(result, ToolResult | str), "a call gives a ToolResult or text", CALL, result)
        whole = ToolResult(call.id, call.tool, (Text(result),)) if isinstance(result, str) else result
        writable(ToolReturned(turn="t", result=whole))
        if isinstance(result, ToolResult):
            same((call.id, call.tool), (result.call, result.tool), "a result names its call", "fairlead.ToolResult")
        return result

    async def succeed(self, tool: Tool, spec: ToolSpec) -> None:
        arguments = await self.example(spec)
        given = copy.deepcopy(arguments)
        result = await self.call(tool, spec, arguments)
        promise(not getattr(result, "error", ""), "the example succeeds", CALL, result)
        same(given, arguments, "a tool leaves its arguments alone", CALL)

    async def test_specs_are_complete(self, tmp_path: Path) -> None:
        """Names that every provider accepts, words for the model, effect and floor of the list, a positive timeout."""
        async with self.opened(tmp_path) as tool:
            specs = tuple(tool.specs())
            same(specs, tuple(tool.specs()), "specs are fixed from open() on", SPECS)
        names = [spec.name for spec in specs]
        promise(len(set(names)) == len(names) > 0, "each tool has a name of its own", SPECS, names)
        for spec in specs:
            promise(NAME.fullmatch(spec.name), "a name has letters, digits, _ and -, at most 64", SPEC, spec)
            promise(spec.description.strip(), "a description tells the model what it does", SPEC, spec)
            promise(spec.effect in get_args(Effect), "the effect is declared", SPEC, spec)
            promise(spec.isolation in get_args(Isolation), "the floor is declared", SPEC, spec)
            promise(spec.timeout is None or spec.timeout > 0, "a timeout is positive", SPEC, spec)

    async def test_schemas_are_valid(self, tmp_path: Path) -> None:
        """JSON Schema 2020-12 of an object that refers to nothing outside; the example matches it."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                same("object", spec.parameters.get("type"), "arguments are an object", SPEC)
                try:
                    wrong = fault(build_validator(spec.parameters), await self.example(spec))
                except SchemaError as error:
                    wrong = ("", str(error))
                promise(wrong is None, "the schema is valid and takes the example", SPEC, (spec.name, wrong))

    async def test_example_succeeds(self, tmp_path: Path) -> None:
        """Alone, and several at a time where the spec says ``parallel``; the arguments are left alone."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                await self.succeed(tool, spec)
            async with trio.open_nursery() as nursery:
                for spec in tool.specs():
                    for _ in range(5 if spec.parallel else 0):
                        nursery.start_soon(self.succeed, tool, spec)

    async def test_hostile_arguments_raise_nothing_but_tool_errors(self, tmp_path: Path) -> None:
        """Whatever the schema lets through has a result or a `ToolError`, whose words are for the model."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                validator = build_validator(spec.parameters)
                for arguments in filter(validator.is_valid, _hostile(spec.parameters, await self.example(spec))):
                    try:
                        await self.call(tool, spec, arguments)
                    except ToolError as error:
                        promise(error.problem.strip(), "a ToolError has words", "fairlead.errors", error)
                    except AssertionError:
                        raise
                    except Exception as error:  # noqa: BLE001  # it is what the check is after
                        promise(False, "a tool raises ToolError alone", CALL, (spec.name, arguments, error))

    async def test_cancelled_call_stops(self, tmp_path: Path) -> None:
        """A lane is free 5 s after a cancel at the latest, and the tool still works."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                with within(5, "a cancelled call stops", CALL), trio.CancelScope() as scope:
                    scope.cancel()
                    await tool.call(ToolCall(new_id(), spec.name, await self.example(spec)), await self.context(spec))
                if spec.effect != "once":
                    await self.succeed(tool, spec)


def _hostile(schema: Mapping[str, Any], example: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The example with one argument replaced, for each argument and each hostile value."""
    for name in schema.get("properties", {}):
        for value in (*HOSTILE_TEXTS, *HOSTILE_VALUES):
            yield {**copy.deepcopy(dict(example)), name: value}
