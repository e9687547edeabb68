"""Where the code of a plugin lies."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

__all__ = ["Environment"]


@frozen
class Environment:
    """Directories of packages that nobody changes: whoever runs the plugin puts them on the path, in this order."""

    paths: tuple[Path, ...]
    digest: str
    """Of everything in them; the key of whatever is kept about the plugin."""
    distribution: str = ""
    version: str = ""
