"""The promises of a tool."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import trio

from fairlead._contracts import Tool
from fairlead._message import Principal, ToolCall, ToolResult, new_id
from fairlead._schemas import build_validator, fault
from fairlead._work import Effect, Isolation, ToolSpec
from fairlead.errors import SchemaError, ToolError
from fairlead.testing._fakes import FakeToolContext
from fairlead.testing._worker_kit import HOSTILE_TEXTS, WorkerConformance, promise, within

__all__ = ["ToolConformance"]

CALL, SPEC = "fairlead.Tool.call", "fairlead.ToolSpec"
HOSTILE_NUMBERS = (0, -1, 2**63, -(2**63), 10**300, 1e308, -1e-308)
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ToolConformance(WorkerConformance[Tool]):
    """Subclass it and override `make_worker`; `example` where a schema has no ``examples``."""

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        """Override where needed: arguments with which that tool succeeds.

        As it is: the schema's first ``examples``, or nothing where it requires nothing.
        """
        examples = spec.parameters.get("examples") or ([] if spec.parameters.get("required") else [{}])
        promise(examples, f"the schema of {spec.name!r} has examples, or the test overrides example()", source=SPEC)
        found: Mapping[str, Any] = examples[0]
        return found

    async def context(self, spec: ToolSpec) -> FakeToolContext:
        """Override where the tool needs more: a recall, another clock."""
        return FakeToolContext(principal=Principal("kit:alice", "Alice"))

    async def call(self, tool: Tool, spec: ToolSpec, arguments: Mapping[str, Any]) -> ToolResult | str:
        limit = spec.timeout or 60.0
        with within(limit, f"{spec.name} ends in {limit} s", source=CALL):
            return await tool.call(ToolCall(new_id(), spec.name, arguments), await self.context(spec))
        raise AssertionError("unreachable: within() has failed the check")

    async def test_specs_are_complete(self, tmp_path: Path) -> None:
        """Names that every provider accepts, words for the model, effect and floor of the list, a positive timeout."""
        async with self.opened(tmp_path) as tool:
            specs = tool.specs()
        names = [spec.name for spec in specs]
        promise(names, "a worker offers a tool", source="fairlead.Tool.specs", seen=specs)
        promise(len(set(names)) == len(names), "each has a name of its own", source="fairlead.Tool.specs", seen=names)
        for spec in specs:
            promise(
                NAME.fullmatch(spec.name), "a name has letters, digits, _ and -, at most 64", source=SPEC, seen=spec
            )
            promise(spec.description.strip(), "a description tells the model what it does", source=SPEC, seen=spec)
            promise(spec.effect in get_args(Effect), "the effect is declared", source=SPEC, seen=spec.effect)
            promise(spec.isolation in get_args(Isolation), "the floor is declared", source=SPEC, seen=spec.isolation)
            promise(spec.timeout is None or spec.timeout > 0, "a timeout is positive", source=SPEC, seen=spec.timeout)

    async def test_specs_are_fixed(self, tmp_path: Path) -> None:
        """The model is shown them once a request; asking twice gives the same."""
        async with self.opened(tmp_path) as tool:
            first, second = tuple(tool.specs()), tuple(tool.specs())
        promise(first == second, "specs are fixed from open() on", source="fairlead.Tool.specs", seen=(first, second))

    async def test_schemas_are_valid(self, tmp_path: Path) -> None:
        """JSON Schema 2020-12 of an object that refers to nothing outside; the example matches it."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                promise(spec.parameters.get("type") == "object", "arguments are an object", source=SPEC, seen=spec)
                try:
                    wrong = fault(build_validator(spec.parameters), await self.example(spec))
                except SchemaError as error:
                    wrong = ("", str(error))
                promise(
                    wrong is None, "the schema is valid and takes the example", source=SPEC, seen=(spec.name, wrong)
                )

    async def test_example_succeeds(self, tmp_path: Path) -> None:
        """It gives text or a result of this very call, and leaves the arguments alone."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.example(spec)
                given = copy.deepcopy(arguments)
                call = ToolCall(new_id(), spec.name, arguments)
                result = await tool.call(call, await self.context(spec))
                self.is_result(call, result)
                promise(given == arguments, "a tool leaves its arguments alone", source=CALL, seen=arguments)

    def is_result(self, call: ToolCall, result: ToolResult | str) -> None:
        promise(isinstance(result, ToolResult | str), "a call gives a ToolResult or text", source=CALL, seen=result)
        if isinstance(result, ToolResult):
            same = (call.id, call.tool) == (result.call, result.tool)
            promise(same, "a result names its call", source="fairlead.ToolResult", seen=result)
            promise(not result.error, "the example succeeds", source=CALL, seen=result)

    async def test_hostile_arguments_raise_nothing_but_tool_errors(self, tmp_path: Path) -> None:
        """Whatever the schema lets through has a result or a `ToolError`, whose words are for the model."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                validator = build_validator(spec.parameters)
                for arguments in _hostile(spec.parameters, await self.example(spec)):
                    if not validator.is_valid(arguments):
                        continue
                    try:
                        await self.call(tool, spec, arguments)
                    except ToolError as error:
                        promise(error.problem.strip(), "a ToolError has words", source="fairlead.errors", seen=error)
                    except Exception as error:
                        seen = (spec.name, arguments, error)
                        promise(isinstance(error, AssertionError), "it raises ToolError alone", source=CALL, seen=seen)
                        raise

    async def test_calls_at_once_do_not_mix(self, tmp_path: Path) -> None:
        """A worker is called from several tasks at a time, where the spec says ``parallel``."""
        async with self.opened(tmp_path) as tool:

            async def one(spec: ToolSpec) -> None:
                call = ToolCall(new_id(), spec.name, await self.example(spec))
                self.is_result(call, await tool.call(call, await self.context(spec)))

            async with trio.open_nursery() as nursery:
                for spec in tool.specs():
                    for _ in range(5 if spec.parallel else 1):
                        nursery.start_soon(one, spec)

    async def test_cancelled_call_stops(self, tmp_path: Path) -> None:
        """A lane is free 5 s after a cancel at the latest, and the tool still works."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.example(spec)
                with within(5, "a cancelled call stops in 5 s", source=CALL), trio.CancelScope() as scope:
                    scope.cancel()
                    await tool.call(ToolCall(new_id(), spec.name, arguments), await self.context(spec))
                if spec.effect != "once":
                    call = ToolCall(new_id(), spec.name, arguments)
                    self.is_result(call, await tool.call(call, await self.context(spec)))


def _hostile(schema: Mapping[str, Any], example: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The example with one argument replaced, for each argument and each hostile value."""
    values: list[Any] = [*HOSTILE_TEXTS, *HOSTILE_NUMBERS, "", [], {}, True, None, ["x"] * 1000]
    for name in schema.get("properties", {}):
        for value in values:
            yield {**copy.deepcopy(dict(example)), name: value}
