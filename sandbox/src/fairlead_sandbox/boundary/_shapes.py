"""The shape of each frame, checked by hand: it is on the path of every call, and JSON Schema costs ten times more."""

from __future__ import annotations

from typing import Any

from fairlead_sandbox.inside._frames import FrameError

__all__ = ["check_shape"]

_LARGEST = 2**53
"""Integers that every JSON reader keeps exactly."""
_MAX_OP = 64
"""Characters of an operation's name."""

_ID = {"type", "id"}
# Kind: the keys that it must have, and those that it may have.
_SHAPES: dict[str, tuple[set[str], set[str]]] = {
    "call": (_ID | {"op", "args"}, {"within"}),
    "stream": (_ID | {"op", "args", "credit", "window"}, {"within"}),
    "item": (_ID | {"value"}, set()),
    "credit": (_ID | {"credit", "window"}, set()),
    "result": (_ID | {"value"}, set()),
    "error": (_ID | {"error"}, set()),
    "cancel": (_ID, set()),
}


def check_shape(frame: dict[str, Any]) -> str:
    """The kind of a frame that has the form of its kind. `FrameError`: what was found."""
    kind = frame.get("type")
    shape = _SHAPES.get(kind) if type(kind) is str else None
    if shape is None or type(kind) is not str:
        raise FrameError(f"found a frame of type {kind!r:.80}, expected one of {', '.join(_SHAPES)}")
    needed, allowed = shape
    keys = frame.keys()
    if not needed <= keys or not keys <= needed | allowed:
        found = ", ".join(sorted(map(repr, keys)))[:200]
        raise FrameError(f"found a {kind!r} with the keys {found}, expected {', '.join(sorted(needed))}")
    for key in ("id", "within", "credit", "window"):
        if key in frame and not _is_count(frame[key]):
            raise FrameError(f"found {frame[key]!r:.80} as {key!r} of a {kind!r}, expected a whole number")
    if "op" in frame:
        op = frame["op"]
        if type(op) is not str or not 0 < len(op) <= _MAX_OP or type(frame["args"]) is not dict:
            raise FrameError(f"found the operation {op!r:.80}, expected a name and an object of arguments")
    elif kind == "error" and type(frame["error"]) is not dict:
        raise FrameError("found an 'error' without an object")
    return kind


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST
