"""What a plugin asks for, from metadata and its manifest. Nothing of it is run."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any

from attrs import field, frozen

from fairlead.errors import PluginLoadError, PluginVersionError, SchemaError
from fairlead.hookspecs import API_VERSION, GROUPS
from fairlead.plugins import Manifest, serves
from fairlead.wire import check, loads, structure
from fairlead_sandbox.environments._environment import Environment
from fairlead_sandbox.environments._files import label_of, normal

__all__ = ["Asks", "PluginAsks", "asks_in", "asks_of"]

_MANIFEST = "fairlead-plugin.json"
_FLOORS = {"tools": "container"}
"""Where a kind runs that its manifest says nothing of; all others in a process of their own."""


@frozen
class PluginAsks:
    """One entry point: what it is, and what it wants."""

    kind: str
    """``channels``, ``tools``, ``providers``, ``memories`` or ``policies``."""
    name: str
    value: str
    """``package.module`` or ``package.module:object``."""
    api: str = ""
    """The least version of the plugin API that it needs; a later minor version will do. Empty without a manifest."""
    runtime: str = "trio"
    isolation: str = "process"
    """The weakest level that it agrees to run at."""
    stage: str = "experimental"
    hosts: tuple[str, ...] = ()
    """``host:port``."""
    secrets: tuple[str, ...] = ()
    """The keys of its table that hold secrets."""
    settings: Mapping[str, Any] = field(factory=dict)
    """JSON Schema of its table."""
    mounts: tuple[str, ...] = ()
    """``workspace``: the files of the session; ``data``: a directory of its own that stays."""

    @property
    def label(self) -> str:
        """``kind/name``."""
        return f"{self.kind}/{self.name}"


@frozen
class Asks:
    """What a distribution brings, and what that asks for."""

    distribution: str
    version: str
    plugins: tuple[PluginAsks, ...]
    needs: tuple[str, ...] = ()
    """The distributions that were installed for it, with versions."""


def asks_of(distribution: Distribution, root: Path | zipfile.Path) -> Asks:
    """What the distribution asks for; *root* is the directory of packages, or the wheel, that it lies in.

    `PluginLoadError`: it brings no plugin, or its manifest cannot be read. `PluginVersionError`: it is written for
    another version of the plugin API.
    """
    points = sorted(_points(distribution), key=lambda point: (point.group, point.name))
    if not points:
        raise PluginLoadError(
            f"{label_of(distribution)} brings no plugin: it has no entry point in {', '.join(GROUPS.values())}",
            next_step=f"pip install {distribution.metadata['Name']} (if you want it as a library)",
            distribution=label_of(distribution),
        )
    plugins = tuple(_one(distribution, point, root) for point in points)
    return Asks(normal(distribution.metadata["Name"]), distribution.version, plugins)


def asks_in(environment: Environment) -> Asks:
    """What the plugin asks for that an environment is made for. Raises what `asks_of` raises."""
    site = environment.paths[-1]
    found = next(iter(distributions(name=environment.distribution, path=[str(site)])), None)
    if found is None:
        raise PluginLoadError(f"{environment.distribution} is not in {site}", next_step="fairlead plugins list")
    return asks_of(found, site)


def _points(distribution: Distribution) -> Iterator[EntryPoint]:
    try:
        yield from (point for point in distribution.entry_points if point.group in GROUPS.values())
    except Exception as error:  # a damaged file of entry points raises what its parser raises
        raise _fault(distribution, f"has entry points that cannot be read: {error}") from error


def _fault(distribution: Distribution, problem: str) -> PluginLoadError:
    label = label_of(distribution)
    return PluginLoadError(f"{label} {problem}", next_step="tell its authors", distribution=label)


def _one(distribution: Distribution, point: EntryPoint, root: Path | zipfile.Path) -> PluginAsks:
    kind = next(kind for kind, group in GROUPS.items() if group == point.group)
    module = point.value.partition(":")[0].strip().split(".")
    if not all(part.isidentifier() for part in module):
        raise _fault(distribution, f"has the entry point {point.value!r}, which is no name of a module")
    manifest = _manifest(distribution, module, root)
    floor = _FLOORS.get(kind, "process")
    if manifest is None:
        return PluginAsks(kind, point.name, point.value, isolation=floor)
    return PluginAsks(
        kind,
        point.name,
        point.value,
        api=manifest.api,
        runtime=manifest.runtime,
        isolation=manifest.isolation or floor,
        stage=manifest.stage,
        hosts=tuple(manifest.hosts),
        secrets=tuple(manifest.secrets),
        settings=manifest.settings,
        mounts=tuple(manifest.mounts),
    )


def _manifest(distribution: Distribution, module: list[str], root: Path | zipfile.Path) -> Manifest | None:
    """The manifest nearest to the module: in its package, or in one above; where the core looks for it too."""
    for depth in range(len(module), 0, -1):
        file = root.joinpath(*module[:depth], _MANIFEST)
        if file.is_file():
            return _read(distribution, file.read_bytes())
    return None


def _read(distribution: Distribution, content: bytes) -> Manifest:
    label = label_of(distribution)
    try:
        raw = loads(content)
        wanted = raw.get("api") if isinstance(raw, dict) else None
        # Before all else: a later version of the manifest may have keys that this one does not know.
        if isinstance(wanted, str) and not serves(wanted):
            raise PluginVersionError(
                f"{label} needs version {wanted} of the plugin API; this core offers {API_VERSION}",
                next_step=f"pip install --upgrade fairlead-core, or choose another version of {label.split()[0]}",
                distribution=label,
            )
        check("plugin-manifest", raw)
        return structure(raw, Manifest)
    except SchemaError as error:
        raise _fault(distribution, f"has a {_MANIFEST} that is no manifest: {error.problem}") from error
