"""Answers as typed values: the schema that the model is given, and the check of what it says."""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar

from fairlead import _schemas
from fairlead._codec import check_structure, loads, structure
from fairlead._types import schema_of
from fairlead.errors import SchemaError

__all__ = ["Wanted"]

T = TypeVar("T")

_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*\Z", re.DOTALL)


class Wanted(Generic[T]):
    """A type that an answer shall have."""

    def __init__(self, cls: type[T]) -> None:
        """`TypeError`: the type has no JSON Schema. ``str`` is the answer as it is: nobody wants quotation marks."""
        self._cls, self._plain = cls, cls is str
        self.schema: dict[str, Any] | None = None if self._plain else schema_of(cls)
        check_structure(cls)
        self._validator = _schemas.build_validator(self.schema or {})
        self.value: T | None = None

    def fault(self, text: str) -> str:
        """What is wrong with an answer, in words for the model; where nothing is, `value` holds it."""
        if self._plain:
            self.value = text  # type: ignore[assignment]  # the type is str
            return ""
        fenced = _FENCE.match(text)
        try:
            raw = loads(fenced.group(1) if fenced else text)
        except SchemaError as error:
            return f"Answer with one JSON value and nothing else: {error.problem}. {self._reminder()}"
        found = _schemas.fault(self._validator, raw)
        if found is not None:
            return f"Your JSON does not match at {found[0] or '/'}: {found[1]}. {self._reminder()}"
        try:
            self.value = structure(raw, self._cls)
        except SchemaError as error:
            return f"Your JSON was refused: {error.problem}. {self._reminder()}"
        return ""

    def _reminder(self) -> str:
        return f"The schema is: {json.dumps(self.schema, ensure_ascii=False)}"
