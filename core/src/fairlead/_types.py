"""Python types as JSON Schema, and a function as a tool's spec: from its signature and its docstring."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import re
import types
import typing
from typing import TYPE_CHECKING, Any, Literal

import attrs

from fairlead._contracts import ToolContext
from fairlead._work import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["context_parameter", "schema_of", "spec_of"]

_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
    inspect.Parameter.empty: {},
}
_LISTS = (list, tuple, set, frozenset, collections.abc.Sequence)
_MAPS = (dict, collections.abc.Mapping)


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON Schema of a type: scalars, lists, maps, unions, literals, enums and classes, nested as you like.

    A class is one of attrs, or a dataclass.
    `TypeError`: no JSON value stands for the type.
    """
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:  # before the look-up: what it is annotated with need not have a hash
        described = [extra for extra in args[1:] if isinstance(extra, str)]
        return schema_of(args[0]) | ({"description": described[0]} if described else {})
    if annotation in _SCALARS:
        return dict(_SCALARS[annotation])
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [schema_of(arg) for arg in args]}
    container = origin or annotation
    if container in _LISTS:
        return _list_schema(container, args)
    if container in _MAPS:
        return {"type": "object"} | ({"additionalProperties": schema_of(args[1])} if args else {})
    if attrs.has(annotation) or _is_dataclass(annotation):
        try:
            return _class_schema(annotation)
        except RecursionError:
            raise TypeError(f"{annotation!r} leads into a class that contains itself: it has no JSON Schema") from None
    return _enum_schema(annotation)


def _enum_schema(annotation: Any) -> dict[str, Any]:
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        values = [member.value for member in annotation]
        if all(type(value) in _SCALARS for value in values):
            return {"enum": values}
    raise TypeError(
        f"{annotation!r} has no JSON Schema; use str, int, float, bool, list, dict, Literal, an Enum, a dataclass "
        "or an attrs class"
    )


def _list_schema(container: Any, args: tuple[Any, ...]) -> dict[str, Any]:
    if container is tuple and args and args[-1] is not Ellipsis:
        return {"type": "array", "prefixItems": [schema_of(arg) for arg in args], "minItems": len(args), "items": False}
    return {"type": "array"} | ({"items": schema_of(args[0])} if args else {})


def _is_dataclass(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__")


def _fields(cls: type[Any]) -> Iterator[tuple[str, bool]]:
    """The names of what the class is made with, and whether each is required."""
    if attrs.has(cls):
        yield from ((field.name, field.default is attrs.NOTHING) for field in attrs.fields(cls) if field.init)
        return
    from dataclasses import MISSING, fields  # noqa: PLC0415  # whoever hands one in has imported it already

    for field in fields(cls):
        if field.init:
            yield field.name, field.default is MISSING and field.default_factory is MISSING


def _class_schema(cls: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    doc = cls.__doc__ or ""
    if doc.startswith(f"{cls.__name__}("):  # what `dataclass` itself writes where there is none
        doc = ""
    told = _params_of(doc)
    properties, required = {}, []
    for name, needed in _fields(cls):
        properties[name] = _described(hints[name], told.get(name, ""))
        if needed:
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    summary = _summary(doc)
    return schema | ({"description": summary} if summary else {})


def spec_of(function: Callable[..., Any]) -> ToolSpec:
    """A spec from a function. A parameter that is annotated with `fairlead.ToolContext` is not shown to the model.

    `TypeError`: a parameter has no JSON Schema, or is ``*args`` or ``**kwargs``.
    """
    doc = inspect.getdoc(function) or ""
    told = _params_of(doc)
    hints = typing.get_type_hints(function, include_extras=True)
    context = context_parameter(function)
    properties, required = {}, []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == context:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"tool {function.__name__!r}: parameter {parameter} has no name that a model can use")
        annotation = hints.get(parameter.name, parameter.annotation)
        try:
            properties[parameter.name] = _described(annotation, told.get(parameter.name, ""))
        except TypeError as error:
            raise TypeError(f"tool {function.__name__!r}, parameter {parameter.name!r}: {error}") from None
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return ToolSpec(function.__name__, _summary(doc), schema, isolation="host")


def context_parameter(function: Callable[..., Any]) -> str:
    """The name of the parameter that takes the `ToolContext`, or nothing."""
    for name, hint in typing.get_type_hints(function).items():
        if name != "return" and ToolContext in (hint, *typing.get_args(hint)):
            return name
    return ""


def _described(annotation: Any, text: str) -> dict[str, Any]:
    schema = schema_of(annotation)
    return {**schema, "description": text} if text and "description" not in schema else schema


def _summary(doc: str) -> str:
    """Everything before the first section about parameters, returns or errors."""
    return _SECTION.split(inspect.cleandoc(doc), maxsplit=1)[0].strip()


_SECTION = re.compile(
    r"^(?:(?:Args|Arguments|Parameters|Returns|Return|Raises|Yields|Examples?|Attributes)\s*:?\s*$|:(?:param|return|raise))",
    re.MULTILINE,
)
_SPHINX = re.compile(r"^:param\s+(?:[^:\n]*\s)?(\w+)\s*:\s*(.+(?:\n\s+\S.*)*)", re.MULTILINE)
_GOOGLE = re.compile(r"^\s*\**(\w+)\**\s*(?:\([^)\n]*\))?\s*:\s*(\S.*)$")
_NUMPY = re.compile(r"^(\w+)(?:\s*:.*)?$")


def _params_of(doc: str) -> Mapping[str, str]:
    """Descriptions of parameters from a docstring of Sphinx, Google or NumPy form."""
    doc = inspect.cleandoc(doc)
    found = {name: " ".join(text.split()) for name, text in _SPHINX.findall(doc)}
    section = re.search(r"^(Args|Arguments|Parameters|Attributes)\s*:?\s*\n(-{3,}\n)?", doc, re.MULTILINE)
    if section is None:
        return found
    body = doc[section.end() :].split("\n")
    found.update(_numpy_params(body) if section.group(2) else _google_params(body))
    return found


def _google_params(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    indent, name = None, ""
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            break
        indent = depth if indent is None else indent
        match = _GOOGLE.match(line) if depth <= indent else None
        if match:
            name = match.group(1)
            found[name] = match.group(2).strip()
        elif name:
            found[name] += " " + line.strip()
    return found


def _numpy_params(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if following.startswith("---"):
            break  # the heading of the next section
        if line[:1].strip():
            match = _NUMPY.match(line)
            name = match.group(1) if match else ""
        elif line.strip() and name:
            found[name] = (found.get(name, "") + " " + line.strip()).strip()
    return found
