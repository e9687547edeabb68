"""JSON and back: events, messages and all other frozen data, through one cattrs converter made at first use."""

from __future__ import annotations

import base64
import functools
import json
from collections import Counter
from math import isinf
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from fairlead import _events as events
from fairlead._message import Audio, Data, File, Image, Part, Text
from fairlead.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cattrs import Converter

__all__ = ["check_structure", "converter", "decode_event", "encode_event", "loads", "structure", "unstructure"]

T = TypeVar("T")

_PART_TAGS = {Text: "text", Image: "image", Audio: "audio", File: "file", Data: "data"}
EVENTS: dict[str, type[events.Event]] = {cls.kind: cls for cls in events.Event.__subclasses__()}
MAX_DEPTH = 64
"""Levels of nesting in JSON from outside; deeper values exhaust the stack of validators."""
MAX_INT_DIGITS = 400
"""Longer integers cost quadratic time to read."""


@functools.cache
def converter() -> Converter:
    """The one converter, made late: cattrs generates code for each class, which `--help` must not pay for."""
    from cattrs.preconf.json import make_converter  # noqa: PLC0415  # 40 ms that `--help` must not pay for
    from cattrs.strategies import configure_tagged_union  # noqa: PLC0415  # see above

    made = make_converter(omit_if_default=True)
    made.register_unstructure_hook(bytes, lambda data: base64.b64encode(data).decode("ascii"))
    made.register_structure_hook(bytes, lambda data, _: base64.b64decode(data, validate=True))
    configure_tagged_union(Part, made, tag_generator=_PART_TAGS.__getitem__, tag_name="type")
    return made


def unstructure(value: Any) -> Any:
    """An attrs object as plain JSON values; fields that have their default are left out."""
    return converter().unstructure(value)


def check_structure(cls: Any) -> None:
    """`TypeError`: a value of that type could not be told from plain JSON: two classes with the same fields, say."""
    from cattrs.errors import StructureHandlerNotFoundError  # noqa: PLC0415  # only on the way from JSON

    try:
        converter().get_structure_hook(cls)
    except (TypeError, StructureHandlerNotFoundError) as error:
        raise TypeError(f"JSON cannot become {cls!r}: {error}") from None


def structure(raw: Any, cls: type[T]) -> T:
    """Plain JSON values as an attrs object. `SchemaError`: they do not fit; the message has each path."""
    from cattrs import transform_error  # noqa: PLC0415  # only on the way from JSON

    try:
        return converter().structure(raw, cls)
    except Exception as error:
        name = getattr(cls, "__name__", str(cls))  # a union has none
        faults = transform_error(error, path=name, format_exception=_say)
        raise SchemaError("; ".join(faults[:5]), schema=name) from error


def _say(fault: BaseException, _cls: type | None) -> str:
    return f"missing or unknown: {fault}" if isinstance(fault, KeyError) else str(fault) or repr(fault)


@functools.cache
def _event_encoder(cls: Any) -> Any:
    return converter().get_unstructure_hook(cls)


def _compact_dumps() -> Callable[[Any], str]:
    """What `json.JSONEncoder.encode` does, which makes a new encoder for each value: half of the time of an event."""
    make = json.encoder.c_make_encoder  # type: ignore[attr-defined]  # typeshed does not know it
    if make is None:  # an interpreter without the extension
        return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

    def refuse(value: object) -> NoReturn:
        raise TypeError(f"{type(value).__name__} is not JSON")

    # It does not look for circles: what comes here was copied by cattrs or read from JSON, and has none.
    encode = make(None, refuse, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(encode(value, 0))


_dumps = _compact_dumps()


def encode_event(event: events.Event) -> bytes:
    """An event as one line of UTF-8 JSON, with its kind. `ValueError`: it holds NaN or a lone surrogate."""
    raw = _event_encoder(type(event))(event)  # type: ignore[arg-type]  # mypy takes a class's __hash__ for its instances'
    raw["kind"] = event.kind
    return _dumps(raw).encode("utf-8")


def decode_event(line: bytes | str) -> events.Event:
    """An event from `encode_event`. A kind that this version does not know becomes a bare `Event`.

    `SchemaError`: the line is damaged.
    """
    try:
        raw = json.loads(line)
        cls = EVENTS.get("" + raw.pop("kind"), events.Event)  # a TypeError where the kind is no text
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise SchemaError(f"an event is not a JSON object with a kind: {line[:80]!r}", schema="event") from error
    return structure(raw, cls)


def loads(text: str | bytes) -> Any:
    """Strict JSON from outside: no NaN, no infinity, no key twice, no lone surrogate, at most `MAX_DEPTH` levels.

    Bytes are UTF-8 without a byte order mark (RFC 8259, section 8.1). Python's own reader takes all of these.
    `SchemaError`: what was found.
    """
    try:
        if isinstance(text, str):
            text.encode("utf-8")
        else:
            text = text.decode("utf-8")
        value = _read_strictly(text)
        if len(text) > MAX_DEPTH and not _shallow(value):
            raise SchemaError(f"found more than {MAX_DEPTH} levels of nesting", schema="json")
        if "\\u" in text:
            _dumps(value).encode("utf-8")
    except RecursionError:
        raise SchemaError(f"found more than {MAX_DEPTH} levels of nesting", schema="json") from None
    except UnicodeError:
        raise SchemaError("found text that is not valid Unicode", schema="json") from None
    except ValueError as error:
        raise SchemaError(f"expected JSON: {error}", schema="json") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        raise ValueError(f"found an integer of {len(digits)} digits, at most {MAX_INT_DIGITS} are allowed")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice!r} stands twice in one object")
    return made


_read_strictly = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_bounded_int, parse_float=_finite, object_pairs_hook=_unique
).decode


def _shallow(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list)]
        if not level:
            return True
    return False


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
