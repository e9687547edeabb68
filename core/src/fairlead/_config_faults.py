"""What is wrong in a configuration, in words, and on which line of its file."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from fairlead.errors import ConfigError

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

__all__ = ["Fault", "Source", "line_of", "nearest", "schema_faults"]

Path_ = tuple[str | int, ...]
"""Keys and indexes from the root of the document: ``("bindings", 0, "agent")``."""


@frozen
class Fault:
    """One thing that is wrong."""

    path: Path_
    problem: str
    """What was found and what was expected, without any secret."""


@frozen
class Source:
    """Where a configuration came from; empty for one that was built in code."""

    file: str = ""
    text: str = ""
    profile: str = ""
    """Whose tables were merged over the file: a key is looked for there as well."""

    @classmethod
    def reread(cls, file: str, profile: str) -> Source:
        """The source of a configuration that was read before, for the lines of its keys."""
        try:
            return cls(file, Path(file).read_text("utf-8-sig") if file else "", profile)
        except (OSError, ValueError):
            return cls(file, "", profile)

    def error(self, faults: Sequence[Fault], next_step: str) -> ConfigError:
        """All faults as one error: the first in its fields, the others as further lines of its text."""
        lines = [line_of(self.text, fault.path, self.profile) for fault in faults]
        first, *others = sorted(zip(lines, faults, strict=True), key=lambda pair: pair[0] or 0)
        problem = first[1].problem
        for line, fault in others:
            place = f"{self.file}:{line}: " if line else ""
            problem += f"\n  also {place}{_dotted(fault.path)}: {fault.problem}"
        return ConfigError(problem, file=self.file, line=first[0], path=_dotted(first[1].path), next_step=next_step)


def _dotted(path: Path_) -> str:
    return ".".join(map(str, path))


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that helps whoever mistyped: the nearest known word, or all where none is near."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(words)}" if words else ""


# -- faults against a schema


def schema_faults(validator: Validator, value: Any, prefix: Path_ = ()) -> list[Fault]:
    """Everything in which a value differs from its schema, shown by its ``repr``."""
    if validator.is_valid(value):
        return []
    from jsonschema.exceptions import best_match  # noqa: PLC0415  # only where something is wrong

    found = []
    for error in validator.iter_errors(value):
        deepest = best_match([error]) or error
        found += [Fault(prefix + path, problem) for path, problem in _say(deepest)]
    return found


def _say(error: ValidationError) -> Iterator[tuple[Path_, str]]:
    path = tuple(error.absolute_path)
    schema: Mapping[str, Any] = error.schema if isinstance(error.schema, Mapping) else {}
    wanted: Any = error.validator_value
    found: Any = error.instance
    meaning = f" ({schema['description']})" if "description" in schema else ""
    if error.validator == "additionalProperties" and wanted is False:
        known = schema.get("properties", {})
        for key in found:
            if key not in known and not any(re.search(each, key) for each in schema.get("patternProperties", {})):
                yield (*path, key), f"unknown key {key!r}{nearest(key, known)}"
    elif error.validator == "type":
        yield path, f"found {_clipped(repr(found))}, expected type {wanted}{meaning}"
    elif error.validator == "pattern" and meaning:
        yield path, f"found {_clipped(repr(found))}, expected {schema['description']}"
    elif error.validator == "enum":
        expected = ", ".join(map(repr, wanted))
        yield path, f"found {_clipped(repr(found))}, expected one of {expected}{meaning}"
    else:
        yield path, f"{_clipped(error.message)}{meaning}"


def _clipped(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


_SHOWN = 200
"""Characters of a found value, or of a message that repeats it."""


def line_of(text: str, path: Path_, profile: str = "") -> int | None:
    """The line, from 1, of a key of a TOML text; of its nearest parent where it stands inside a value.

    A key that the profile's tables have as well is looked for there first. None: no part of the path is in the text.
    tomllib tells no lines. But cut at the end of a statement the text is valid, and it has the key from one cut on.
    """
    document = _document(text) or {}
    over = ("profiles", profile, *path)
    path = over if _has(document, over) else path
    while path and not _has(document, path):
        path = path[:-1]
    if not path:
        return None
    lines = text.split("\n")
    without, having = 0, len(lines)
    while True:
        middle = (without + having) // 2
        between = [*range(middle, having), *range(middle - 1, without, -1)]
        cuts = ((cut, _document("\n".join(lines[:cut]))) for cut in between if cut > without)
        cut, document = next(((cut, found) for cut, found in cuts if found is not None), (0, {}))
        if not cut:
            break
        without, having = (without, cut) if _has(document, path) else (cut, having)
    return next(
        n for n in range(without + 1, having + 1) if not lines[n - 1].strip().startswith("#") and lines[n - 1].strip()
    )


def _document(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _has(value: Any, path: Path_) -> bool:
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return False
    return True
