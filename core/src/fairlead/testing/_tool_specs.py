"""The promises of a tool's specs: what the model and the core are told."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, get_args

from fairlead._codec import unstructure
from fairlead._message import is_json
from fairlead._schemas import build_validator, check, fault
from fairlead._work import Effect, Isolation
from fairlead.errors import SchemaError, ToolError
from fairlead.testing._applies import applies
from fairlead.testing._tool_base import SPEC, SPECS, ToolKit
from fairlead.testing._worker_kit import promise, same

__all__ = ["ToolSpecs"]

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
NO_OBJECTS: tuple[Any, ...] = (None, True, 0, 1.5, "", "{}", [], [{}])
KINDS: tuple[Any, ...] = (None, True, -7, 1.5, "text", [], ["a", 1], {}, {"odd": [1]})
"""A value of each kind; an argument that takes all of them says nothing to a model."""


class ToolSpecs(ToolKit):
    """Names, words, schemas."""

    async def test_specs_have_names_of_their_own(self, tmp_path: Path) -> None:
        """There is one at least."""
        async with self.opened(tmp_path) as tool:
            names = [spec.name for spec in tool.specs()]
        promise(len(set(names)) == len(names) > 0, "each tool has a name of its own", SPECS, names)

    async def test_names_are_such_as_every_provider_accepts(self, tmp_path: Path) -> None:
        """Letters, digits, ``_`` and ``-``, at most 64."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                promise(NAME.fullmatch(spec.name), "a name has letters, digits, _ and -, at most 64", SPEC, spec)

    async def test_descriptions_say_something(self, tmp_path: Path) -> None:
        """The model chooses by them."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                promise(spec.description.strip(), "a description tells the model what it does", SPEC, spec)

    async def test_effects_are_declared(self, tmp_path: Path) -> None:
        """One of the three; after a crash the core decides by it."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                promise(spec.effect in get_args(Effect), "the effect is declared", SPEC, spec)

    async def test_floors_are_declared(self, tmp_path: Path) -> None:
        """One of the four places."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                promise(spec.isolation in get_args(Isolation), "the floor is declared", SPEC, spec)

    async def test_timeouts_are_positive(self, tmp_path: Path) -> None:
        """Seconds, or None for the limit of the configuration."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                good = spec.timeout is None or 0 < spec.timeout < float("inf")
                promise(good, "a timeout is positive and ends", SPEC, spec)

    async def test_specs_are_fixed(self, tmp_path: Path) -> None:
        """From open() on, also after calls."""
        async with self.opened(tmp_path) as tool:
            before = copy.deepcopy(tuple(tool.specs()))
            for spec in before:
                await self.succeed(tool, spec)
            same(before, tuple(tool.specs()), "specs are fixed from open() on", SPECS)

    async def test_specs_can_be_published(self, tmp_path: Path) -> None:
        """As JSON, by the schema ``tool-spec``: manifests, providers and boundaries carry them."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                found: str = ""
                try:
                    plain = unstructure(spec)
                    found = "" if is_json(plain) else "it is no JSON"
                    check("tool-spec", plain)
                except (SchemaError, TypeError, ValueError) as error:
                    found = str(error)
                promise(not found, "a spec is JSON of the schema tool-spec", SPEC, (spec, found))

    async def test_schemas_are_valid(self, tmp_path: Path) -> None:
        """JSON Schema 2020-12 that refers to nothing outside."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                try:
                    build_validator(spec.parameters)
                except SchemaError as error:
                    promise(False, "the schema is valid", SPEC, (spec.name, error))

    async def test_arguments_are_objects(self, tmp_path: Path) -> None:
        """Nothing else is let through."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                same("object", spec.parameters.get("type"), "arguments are an object", SPEC)
                taken = [value for value in NO_OBJECTS if build_validator(spec.parameters).is_valid(value)]
                same([], taken, "the schema refuses what is no object", SPEC)

    async def test_examples_match_their_schemas(self, tmp_path: Path) -> None:
        """The test's own, and all of the schema's ``examples``."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                for arguments in await self.examples(spec):
                    wrong = fault(build_validator(spec.parameters), arguments)
                    promise(wrong is None, "the schema takes the example", SPEC, (spec.name, wrong))

    async def test_what_is_required_is_described(self, tmp_path: Path) -> None:
        """Each required argument is among the properties."""
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                known = set(spec.parameters.get("properties", {}))
                unknown = set(spec.parameters.get("required", ())) - known
                promise(not unknown, "what is required is described", SPEC, (spec.name, unknown))

    async def test_each_argument_says_what_it_takes(self, tmp_path: Path) -> None:
        """A schema that takes every kind of value leaves the model and the core without a word."""
        described = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                validator, example = build_validator(spec.parameters), dict(await self.example(spec))
                for name in spec.parameters.get("properties", {}):
                    described = True
                    refused = [value for value in KINDS if not validator.is_valid({**example, name: value})]
                    promise(refused, "each argument says what it takes", SPEC, (spec.name, name))
        applies(described, "no tool takes an argument")

    async def test_failing_example_is_one_of_the_schema(self, tmp_path: Path) -> None:
        """It fails by the tool's own words, with the schema's consent."""
        found = False
        async with self.opened(tmp_path) as tool:
            for spec in tool.specs():
                arguments = await self.failing_example(spec)
                if arguments is None:
                    continue
                found = True
                wrong = fault(build_validator(spec.parameters), arguments)
                promise(wrong is None, "the schema takes the failing example", SPEC, (spec.name, wrong))
                failed = False
                try:
                    failed = bool(getattr(await self.call(tool, spec, arguments), "error", ""))
                except ToolError:
                    failed = True
                promise(failed, "a call that fails says so", "fairlead.errors.ToolError", (spec.name, arguments))
        applies(found, "no tool is known to fail: override failing_example()")
