"""The promises about hostile arguments: whatever the schema lets through has a result or words for the model."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fairlead._contracts import Tool
from fairlead._schemas import build_validator
from fairlead._work import ToolSpec
from fairlead.errors import ToolError
from fairlead.testing._applies import applies
from fairlead.testing._tool_base import ERROR, ToolKit, words_of
from fairlead.testing._worker_kit import HOSTILE_TEXTS, promise

__all__ = ["ToolHostility"]

NUMBERS: tuple[Any, ...] = (0, -1, 1, 2**31, 2**63, -(2**63), 10**300, 1e308, -1e-308, 0.1 + 0.2, -0.0)
ODD_TEXTS = ("", " ", "\x00", "\x1b[31mred", "a\r\nb", "\ufeffbom", "\ud7ff\ue000", "-" * 40, "--help", "~", "$HOME")
PATHS = ("/", "..", "../" * 20 + "etc/passwd", "/proc/self/environ", "C:\\Windows", "file:///etc/passwd", "a" * 3000)
SHAPES: tuple[Any, ...] = ([], {}, True, False, None, ["x"] * 1000, [[]], {"": ""}, {"a": {"b": [None]}})
HUGE = 1_000_000
DEEP = 200


def deep(kind: type, depth: int) -> Any:
    """Lists in lists, or objects in objects."""
    value: Any = kind()
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


class ToolHostility(ToolKit):
    """What a confused or a malicious model sends."""

    async def hostile(self, tool: Tool, spec: ToolSpec, values: Iterable[Any]) -> int:
        """The example with one argument replaced, for each argument and value that the schema takes; how many."""
        validator, count = build_validator(spec.parameters), 0
        for arguments in replaced(spec.parameters, await self.example(spec), values):
            if validator.is_valid(arguments):
                count += 1
                await self.attempt(tool, spec, arguments)
        return count

    async def survives(self, tmp_path: Path, values: Iterable[Any]) -> None:
        """All tools, all arguments; and the examples still succeed."""
        count = 0
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                count += await self.hostile(tool, spec, values)
                await self.succeed(tool, spec)
        applies(count, "no argument takes such a value")

    async def test_hostile_texts(self, tmp_path: Path) -> None:
        """All of Unicode, markup, quotes, queries."""
        await self.survives(tmp_path, HOSTILE_TEXTS)

    async def test_odd_texts(self, tmp_path: Path) -> None:
        """Emptiness, control characters, options of programs."""
        await self.survives(tmp_path, ODD_TEXTS)

    async def test_texts_that_are_paths(self, tmp_path: Path) -> None:
        """Out of the workspace, of the system, and too long."""
        await self.survives(tmp_path, PATHS)

    async def test_extreme_numbers(self, tmp_path: Path) -> None:
        """Zero, negative, larger than 64 bits, at the ends of a float."""
        await self.survives(tmp_path, NUMBERS)

    async def test_unexpected_shapes(self, tmp_path: Path) -> None:
        """Lists, objects, truth values and null, where the schema takes them."""
        await self.survives(tmp_path, SHAPES)

    async def test_huge_text_ends_in_time(self, tmp_path: Path) -> None:
        """A million characters, where the schema takes them."""
        await self.survives(tmp_path, ("x" * HUGE, "(" * HUGE, "\U0001f680" * (HUGE // 4)))

    async def test_deep_values_end_in_time(self, tmp_path: Path) -> None:
        """Two hundred levels, where the schema takes them; and text that nests as deep."""
        nested = ("(" * 5000 + "1" + ")" * 5000, "[" * 5000, "a" + "*(a" * 1000)
        await self.survives(tmp_path, (deep(list, DEEP), deep(dict, DEEP), *nested))

    async def test_unknown_argument_harms_nothing(self, tmp_path: Path) -> None:
        """Where the schema lets it through."""
        count = 0
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = {**await self.example(spec), "no_such_argument": {"__class__": "x"}}
                if build_validator(spec.parameters).is_valid(arguments):
                    count += 1
                    await self.attempt(tool, spec, arguments)
        applies(count, "no schema lets through an argument that it does not know")

    async def test_leaving_out_what_is_optional(self, tmp_path: Path) -> None:
        """Each argument by itself, and all of them."""
        count = 0
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                example = dict(await self.example(spec))
                needed = set(spec.parameters.get("required", ()))
                validator = build_validator(spec.parameters)
                optional = [name for name in example if name not in needed]
                leavings = [{key: value for key, value in example.items() if key != name} for name in optional]
                leavings.append({key: value for key, value in example.items() if key in needed})
                for arguments in filter(validator.is_valid, leavings):
                    count += 1
                    await self.attempt(tool, spec, arguments)
        applies(count, "no argument can be left out")

    async def test_secret_is_told_to_nobody(self, tmp_path: Path) -> None:
        """Neither in results, nor in errors with their causes, nor in what the worker says of itself."""
        applies(self.secret, "the worker has no secret: `secret` is empty")
        async with self.opened(tmp_path) as tool:
            shown = [f"{tool!r} {await tool.check()!r} {tuple(tool.specs())!r}"]
            for spec in tool.specs():
                for arguments in (await self.example(spec), await self.failing_example(spec)):
                    if arguments is None:
                        continue
                    try:
                        shown.append(repr(await self.call(tool, spec, arguments)))
                    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
                        shown.append("".join(traceback.format_exception(error)) + repr(vars(error)))
        told = [text[:300] for text in shown if self.secret in text]
        promise(not told, "a secret is told to nobody", "fairlead.types.Secret", told)

    async def test_failure_does_not_repeat_a_huge_argument(self, tmp_path: Path) -> None:
        """Its words are for the model, which has sent the argument and pays for each word."""
        failures: list[str] = []
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                validator = build_validator(spec.parameters)
                huge = replaced(spec.parameters, await self.example(spec), ("\u2603" * HUGE,))
                for arguments in filter(validator.is_valid, huge):
                    try:
                        result = await self.call(tool, spec, arguments)
                    except ToolError as error:
                        failures.append(error.problem)
                    else:
                        failures += [words_of(result)] if getattr(result, "error", "") else []
        applies(failures, "no tool fails at a million characters")
        sizes = [len(words) for words in failures]
        promise(max(sizes) < HUGE, "a failure does not repeat a huge argument", ERROR, sizes)


def replaced(schema: Mapping[str, Any], example: Mapping[str, Any], values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """The example with one argument replaced, for each argument and each value."""
    kept = tuple(values)
    for name in schema.get("properties", {}):
        for value in kept:
            yield {**copy.deepcopy(dict(example)), name: value}
