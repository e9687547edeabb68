"""A plugin in the store, as data and as the file beside it; and what somebody may give as a plugin's source."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import attrs
from attrs import field, frozen

from fairlead.errors import FairleadError, PluginLoadError
from fairlead.wire import structure
from fairlead_sandbox.environments._asks import Asks
from fairlead_sandbox.environments._files import normal

__all__ = ["FILE", "Source", "StoredPlugin", "parse_source", "read_stored", "stored_text"]

FILE = "plugin.json"
"""Beside its packages; the core looks for it too."""


@frozen
class Source:
    """Where a plugin comes from."""

    kind: Literal["index", "wheel", "project"]
    given: str
    """A requirement (``acme-dice>=1``), or an absolute path."""


@frozen
class StoredPlugin:
    """A plugin that has an environment of its own."""

    name: str
    """The normal name of its distribution; the store's key."""
    version: str
    source: Source
    asks: Asks
    installer: str
    """``uv`` or ``pip``."""
    tag: str
    """The Python and the kind of machine that it was installed for."""
    runtime_needs: tuple[str, ...]
    """What the core and the code for guests needed when it was installed."""
    added: float
    """Unix seconds."""
    digest: str
    """Of its lock and of the wheel that is not from an index: of all that it was installed from."""
    whole: str = ""
    """Of every file in its directory of packages."""
    directory: Path = field(default=Path(), metadata={"kept": False})
    """Where it lies: ``site/``, ``lock.txt`` and ``plugin.json``."""

    @property
    def site(self) -> Path:
        """Its directory of packages."""
        return self.directory / "site"

    @property
    def lock(self) -> Path:
        """What it was installed from: a requirements file with hashes."""
        return self.directory / "lock.txt"


def stored_text(plugin: StoredPlugin) -> dict[str, Any]:
    """As JSON. The core reads ``distribution`` of it, to list the plugin without this package."""
    kept = attrs.asdict(plugin, filter=lambda each, _: each.metadata.get("kept", True))
    return {"format": 1, "distribution": plugin.name, **kept}


def read_stored(directory: Path) -> StoredPlugin:
    """Of a directory. `PluginLoadError`: it is not there, or is damaged."""
    try:
        raw = json.loads((directory / FILE).read_text("utf-8"))
        if raw.pop("format") != 1:
            raise ValueError("it was written by a later version of fairlead-sandbox")  # noqa: TRY301  # one sentence for all
        if raw.pop("distribution") != raw["name"]:
            raise ValueError("it has two names")  # noqa: TRY301  # the same
        return attrs.evolve(structure(raw, StoredPlugin), directory=directory)
    except (OSError, ValueError, KeyError, AttributeError, FairleadError) as error:
        name = directory.parent.name
        raise PluginLoadError(
            f"the environment of {name} is damaged: {getattr(error, 'problem', error)}",
            next_step=f"fairlead plugins remove {name}, and add it again",
            distribution=name,
        ) from error


def parse_source(given: str) -> Source:
    """A name on an index, with or without versions; a wheel; or the directory of a project (with a ``/`` in it).

    `PluginLoadError`: it is none of them.
    """
    path = Path(given).expanduser()
    if given.endswith(".whl"):
        return Source("wheel", str(path.absolute()))
    if os.sep in given or given in (".", "..") or given.startswith("~"):
        if not path.is_dir():
            raise PluginLoadError(f"{given} is no directory and no wheel", next_step=f"ls -d {given}")
        if not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise PluginLoadError(f"{given} holds no project: no pyproject.toml", next_step=f"ls {given}")
        return Source("project", str(path.absolute()))
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # 30 ms; only to install

    try:
        need = Requirement(given)
    except InvalidRequirement as error:
        problem = " ".join(str(error).split("\n")[0].split())
        hint = "write a name, a path with a '/' in it, or a file that ends in .whl"
        raise PluginLoadError(f"{given!r} is no name of a package: {problem}", next_step=hint) from None
    if need.url is not None or need.marker is not None:
        raise PluginLoadError(f"{given!r} names a place or a condition", next_step=f"fairlead plugins add {need.name}")
    return Source("index", re.sub(r"\s+", "", given))


def name_of(source: Source) -> str:
    """The normal name of what comes from an index."""
    return normal(re.split(r"[^\w.-]", source.given)[0])
