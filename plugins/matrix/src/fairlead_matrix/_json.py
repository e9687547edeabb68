"""JSON of strangers, looked at without trust; and small JSON files that survive a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["listed", "load_file", "mapped", "parse", "save_file", "texted"]


def parse(data: bytes) -> Any:
    """The value, or None where it is no JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def mapped(value: Any, *keys: str) -> Mapping[str, Any]:
    """The object at the end of these keys; an empty one where there is something else."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def listed(value: Any, *keys: str) -> Sequence[Any]:
    """The list below the last key; an empty one where there is something else."""
    found = mapped(value, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []


def texted(value: Any, *keys: str) -> str:
    """The text below the last key, empty where there is something else; without what no journal can write."""
    found = mapped(value, *keys[:-1]).get(keys[-1])
    if not isinstance(found, str):
        return ""
    try:
        found.encode("utf-8")
    except UnicodeEncodeError:
        return found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return found


def load_file(path: Path) -> Mapping[str, Any]:
    """What `save_file` has kept; empty where there is nothing, or nothing sound."""
    try:
        return mapped(parse(path.read_bytes()))
    except OSError:
        return {}


def save_file(path: Path, value: Mapping[str, Any]) -> None:
    """Keep it: after a crash the file is the old or the new one, whole. Nobody but its owner may read it.

    `OSError`: the old one is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
