"""What comes out of a plugin's process, checked against the published schemas before it becomes data of ours."""

from __future__ import annotations

import functools
import json
from typing import Any, TypeVar

from fairlead import (
    Address,
    Capabilities,
    Delivery,
    Delta,
    Finding,
    Inbound,
    Message,
    ModelAnswer,
    ModelInfo,
    ModelRequest,
    ToolCall,
    ToolResult,
    ToolSpec,
    Verdict,
)
from fairlead.errors import SchemaError
from fairlead.events import Event, Record
from fairlead.memory import Note, SessionInfo
from fairlead.wire import build_validator, check, decode_event, load_schema, loads, structure

__all__ = ["parsed", "parsed_delta", "parsed_list", "parsed_record", "plain"]

T = TypeVar("T")

_SPECS_CHARS = 512 * 1024
"""Of JSON. Every model call carries it, and the host's time for checking it grows with it."""
_TYPES = 7
"""JSON has no more."""
_AUTHORS = "tell the plugin's authors"
_SHOWN = 300
"""Characters of a validator's message: it repeats the value, which may be large."""
_NAMES: dict[Any, str] = {
    cls: cls.__name__
    for cls in (
        Address,
        Capabilities,
        Delivery,
        Finding,
        Inbound,
        Message,
        ModelAnswer,
        ModelInfo,
        ModelRequest,
        Note,
        SessionInfo,
        ToolCall,
        ToolResult,
        ToolSpec,
        Verdict,
    )
}
"""The classes that a plugin gives, and where the schema of the boundary describes them."""


@functools.cache
def _validator(name: str) -> Any:
    return build_validator({"$ref": f"{load_schema('boundary')['$id']}#/$defs/{name}"})


def parsed(raw: Any, cls: type[T]) -> T:
    """A value as an object of that class. `SchemaError`: it is none."""
    name = _NAMES[cls]
    validator = _validator(name)
    if not validator.is_valid(raw):
        fault = next(validator.iter_errors(raw))
        path = "".join(f"/{step}" for step in fault.absolute_path)
        problem = f"the plugin gave no {name}: at {path or '/'}: {fault.message[:_SHOWN]}"
        raise SchemaError(problem, schema="boundary", path=path, next_step=_AUTHORS)
    return structure(raw, cls)


def parsed_list(raw: Any, cls: type[T], most: int) -> list[T]:
    """A list of at most `most` objects of that class. `SchemaError`: it is none."""
    if type(raw) is not list or len(raw) > most:
        raise _unexpected(raw, f"a list of at most {most} objects")
    if cls is ToolSpec and (problem := _expensive(raw)):
        raise SchemaError(f"the plugin's tools are refused: {problem}", schema="boundary", next_step=_AUTHORS)
    return [parsed(each, cls) for each in raw]


def _expensive(specs: list[Any]) -> str:
    """Why the host will not even check them: validators compare the names of types each with each."""
    if (size := len(json.dumps(specs))) > _SPECS_CHARS:
        return f"they have {size} characters of JSON, at most {_SPECS_CHARS} are taken"
    left = [*specs]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if isinstance(types := each.get("type"), list) and len(types) > _TYPES:
                return f"found a list of {len(types)} types"
            left += each.values()
        elif isinstance(each, list):
            left += each
    return ""


def parsed_delta(raw: Any) -> Delta:
    """A piece of an answer, checked by hand: there are hundreds of them in one. `SchemaError`: it is none."""
    if type(raw) is dict and raw.keys() <= {"text", "kind"}:
        text, kind = raw.get("text"), raw.get("kind", "text")
        if type(text) is str and kind in ("text", "reasoning"):
            return Delta(text, kind)
    raise _unexpected(raw, "a piece of an answer")


def parsed_record(raw: Any, session: str, version: int) -> Record:
    """A record with that version: a pair of version and event. `SchemaError`: it is none, or another one."""
    if type(raw) is not list or len(raw) != 2 or raw[0] != version or type(raw[1]) is not str:  # noqa: PLR2004  # a pair
        raise _unexpected(raw, f"the event with the version {version}")
    return Record(session, version, _event(raw[1]))


def _event(line: str) -> Event:
    check("event", loads(line))
    return decode_event(line)


def plain(raw: Any, kind: type[T], what: str) -> T:
    """A text, a number or a flag, as it is. `SchemaError`: it is none; a negative number is none either."""
    if type(raw) is not kind or (kind is int and raw < 0):  # type: ignore[operator]  # it is an int there
        raise _unexpected(raw, what)
    return raw


def _unexpected(raw: Any, what: str) -> SchemaError:
    problem = f"the plugin gave {str(raw)[:_SHOWN]!r}, expected {what}"
    return SchemaError(problem, schema="boundary", next_step=_AUTHORS)
