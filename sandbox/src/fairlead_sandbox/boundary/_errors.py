"""Errors across the boundary: class, words and fields as JSON. Nothing is pickled; what is not known stays words."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

import attrs

from fairlead import errors as core_errors
from fairlead.errors import FairleadError
from fairlead_sandbox import errors as sandbox_errors
from fairlead_sandbox.errors import SandboxError

__all__ = ["CANCELLED", "CLAIMABLE", "EVERY", "decode_error", "encode_error", "said"]

CANCELLED = "Cancelled"
"""The class of the answer to a call that was cancelled; no error of ours has that name."""

_CORE: dict[str, type[FairleadError]] = {name: getattr(core_errors, name) for name in core_errors.__all__}
_OURS: dict[str, type[FairleadError]] = {name: getattr(sandbox_errors, name) for name in sandbox_errors.__all__}

EVERY: Mapping[str, type[FairleadError]] = {**_CORE, **_OURS}
"""What the host may say to a plugin."""
CLAIMABLE: Mapping[str, type[FairleadError]] = {
    **{name: cls for name, cls in _CORE.items() if name not in ("IsolationUnavailable", "PluginConflict")},
    "SandboxError": SandboxError,
}
"""What a plugin may claim. How a sandbox ended, and what the machine lacks, only the host can know."""

_MAX_CHARS = 20_000
"""Of the words of an error: they are shown to people and to models."""
_SHOWN = 500
"""Characters of the text of an error that is not ours."""
_SCALARS = (str, int, float, bool, NoneType)


def encode_error(error: BaseException, *, candid: bool = True) -> dict[str, Any]:
    """An error as JSON. `candid`: tell the text of one that is not of the tree; the host does not tell a plugin."""
    if not isinstance(error, FairleadError):
        text = said(error) if candid else "an internal error; the host's log has it"
        return {"class": type(error).__name__[:100], "problem": text}
    name = next((cls.__name__ for cls in type(error).__mro__ if cls.__name__ in EVERY), "FairleadError")
    made: dict[str, Any] = {"class": name, "problem": _words(error.problem)}
    if error.next_step:
        made["next_step"] = _words(error.next_step)
    known = _fields(name)
    fields = {key: getattr(error, key, None) for key in known}
    kept = {key: _plain(value) for key, value in fields.items() if _fits(value, known[key])}
    if kept:
        made["fields"] = kept
    return made


def decode_error(raw: Any, believes: Mapping[str, type[FairleadError]]) -> FairleadError:
    """The error of a frame. What is unknown, or may not be claimed, becomes a `SandboxError` that says it."""
    raw = raw if isinstance(raw, dict) else {}
    name, problem = str(raw.get("class", ""))[:100], str(raw.get("problem", ""))[:_MAX_CHARS]
    cls = believes.get(name)
    if name == CANCELLED:
        return SandboxError(problem or "the other side gave the call up")
    if cls is None:
        return SandboxError(f"it raised {name or 'an error without a name'}: {problem}"[:_MAX_CHARS])
    known, given = _fields(name), raw.get("fields")
    given = given if isinstance(given, dict) else {}
    fields = {key: given[key] for key in known if key in given and _fits(given[key], known[key])}
    next_step = raw.get("next_step", "")
    return cls(problem, next_step=next_step[:_MAX_CHARS] if isinstance(next_step, str) else "", **fields)


@functools.cache
def _fields(name: str) -> dict[str, tuple[type, ...]]:
    """The fields of an error beside its words, and the plain types that each takes."""
    cls = EVERY[name]
    hints = get_type_hints(cls)
    made = {}
    for field in attrs.fields(cls):
        if field.name not in ("problem", "next_step"):
            made[field.name] = get_args(hints[field.name]) or (hints[field.name],)
    return made


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    if type(value) not in _SCALARS or (isinstance(value, float) and value - value != 0):  # NaN and infinity
        return False
    if type(value) is str and len(value) > _MAX_CHARS:
        return False
    return type(value) in types or (type(value) is int and float in types)


def _plain(value: Any) -> Any:
    return _words(value) if isinstance(value, str) else value


def _words(text: Any) -> str:
    return str(text)[:_MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def said(error: BaseException) -> str:
    """The text of an error, in one line. To make the text is foreign code too."""
    try:
        text = " ".join(str(error)[:_SHOWN].split())
    except Exception:  # noqa: BLE001  # a class may raise anything there
        text = "(it has no text)"
    return text.encode("utf-8", "replace").decode("utf-8")
