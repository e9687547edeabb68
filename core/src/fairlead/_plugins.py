"""What is known of a plugin without and after importing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from fairlead._config import Kind
from fairlead._work import Isolation, ToolSpec
from fairlead.errors import FairleadError

__all__ = ["InstalledPlugin", "Manifest", "PluginReport"]


@frozen
class Manifest:
    """``fairlead-plugin.json`` beside a plugin's package: what can be known without running its code."""

    api: str
    """The versions of the plugin API it works with: ``1.0`` means 1.0 or a later 1.x; or ``>=1.0,<1.3``."""
    runtime: Literal["trio", "asyncio"] = "trio"
    isolation: Isolation | None = None
    """The weakest place it agrees to run in; None for the default of its kind."""
    settings: Mapping[str, Any] = field(factory=dict)
    """JSON Schema of the plugin's own keys in its table; empty: it takes none."""
    hosts: tuple[str, ...] = ()
    """``host:port`` that it wants to reach; ``*.example.org:443`` for one label."""
    secrets: tuple[str, ...] = ()
    """The keys of its settings that hold secrets."""
    mounts: tuple[Literal["workspace", "data"], ...] = ()
    """Directories that it wants: the session's ``workspace``; ``data`` of its own that stays."""
    tools: tuple[ToolSpec, ...] = ()
    """The specs of its tools, so that nothing needs to be started to know them. Empty: they are asked for."""
    stage: Literal["experimental", "stable", "deprecated"] = "experimental"
    tier: Literal["bronze", "silver", "gold", "platinum"] | None = None
    """The quality tier that its authors claim; ``fairlead check`` finds out."""


@frozen
class InstalledPlugin:
    """An entry point of one of the five groups, from metadata alone."""

    kind: Kind
    name: str
    distribution: str
    version: str
    value: str
    """``package.module`` or ``package.module:object``."""
    manifest: Manifest | None = None
    site: str = ""
    """The directory of its own environment, where ``fairlead plugins add`` made one; empty: the host's."""
    problem: str = ""
    """Why it could not be enabled, as far as metadata tells: a clash of names, a bad manifest, another API."""


@frozen
class PluginReport:
    """What became of one enabled plugin."""

    plugin: str
    """``kind/name`` as in the configuration."""
    status: Literal["ready", "failed", "skipped"]
    distribution: str = ""
    """Name and version."""
    workers: tuple[str, ...] = ()
    error: FairleadError | None = None
