"""Which plugins are installed, from metadata alone: nothing of theirs is imported or run.

The manifest is found through the import system's own search for the top-level package, which works for wheels and for
editable installs and does not import that package; the folders below it are only looked at.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from attrs import evolve, field, frozen

from fairlead import hookspecs
from fairlead._codec import loads, structure
from fairlead._config import Kind
from fairlead._plugins import InstalledPlugin, Manifest
from fairlead._schemas import check
from fairlead.errors import PluginConflict, PluginError, PluginLoadError, PluginVersionError, SchemaError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

__all__ = ["Candidate", "Entries", "entries", "examine", "installed", "normal", "serves"]

MANIFEST = "fairlead-plugin.json"
OWN, SITE = "plugins/*/current/plugin.json", "site"
"""In the data directory: a plugin's environment of its own, what is known of it, and its packages beside that."""
Entries = Mapping[tuple[Kind, str], tuple["EntryPoint", ...]]
"""By kind and name; more than one where distributions clash."""
_KINDS: Mapping[str, Kind] = {hookspecs.GROUPS[kind]: kind for kind in get_args(Kind)}


@frozen
class Candidate:
    """An entry point with all that can be known before it is imported."""

    plugin: InstalledPlugin
    entry_point: EntryPoint = field(repr=False)
    error: PluginError | None = None
    """Why it must not be imported."""

    @property
    def label(self) -> str:
        return f"{self.plugin.distribution} {self.plugin.version}".strip()


def installed(data_dir: Path | None = None) -> tuple[InstalledPlugin, ...]:
    """Every entry point of the five groups, sorted by kind and name. Nothing is imported; no plugin makes it fail.

    `data_dir`: the app's, for the plugins that have an environment of their own there.
    """
    found = entries(data_dir)
    return tuple(
        candidate.plugin for kind, name in sorted(found) for candidate in examine(kind, name, found[kind, name])
    )


def entries(data_dir: Path | None = None) -> Entries:
    """The entry points of the five groups by kind and name, of the host's environment and of the plugins' own ones.

    A distribution that is on the path twice (a checkout and its editable install) counts once: its first place wins,
    as it does for an import.
    """
    found: dict[tuple[Kind, str], dict[str, EntryPoint]] = {}
    for distribution in _distributions(data_dir):
        with contextlib.suppress(Exception):  # one damaged distribution must not hide all others
            for each in distribution.entry_points:
                if (kind := _KINDS.get(each.group)) is not None:
                    owner = normal(_distribution(each)[0])
                    found.setdefault((kind, each.name), {}).setdefault(owner, each)
    return {key: tuple(claims.values()) for key, claims in found.items()}


def _distributions(data_dir: Path | None) -> Iterator[Distribution]:
    from importlib.metadata import distributions  # noqa: PLC0415  # 20 ms that an app without plugins need not pay

    yield from distributions()
    for about in sorted(data_dir.glob(OWN)) if data_dir is not None else ():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            name = normal(json.loads(about.read_text("utf-8"))["distribution"])
            # What it depends on lies beside it, and enables nothing.
            yield from (each for each in distributions(path=[str(about.parent / SITE)]) if normal(each.name) == name)


def normal(distribution: str) -> str:
    """The name of a distribution as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def examine(kind: Kind, name: str, claims: Iterable[EntryPoint]) -> tuple[Candidate, ...]:
    """The entry points that claim one name, each with its manifest or with what is wrong."""
    found = [_candidate(kind, name, each) for each in claims]
    if len(found) == 1:
        return tuple(found)
    labels = " and ".join(sorted(f"{each.label} ({each.plugin.value})" for each in found))
    problem = f"{len(found)} plugins claim the name {name!r} in {kind}, so none is used: {labels}"
    told = {"plugin": f"{kind}/{name}", "distribution": " and ".join(sorted(each.label for each in found))}
    removals = (f"pip uninstall {each.plugin.distribution}" for each in found)
    errors = (PluginConflict(problem, next_step=removal, **told) for removal in removals)
    return tuple(map(_refused, found, errors))


def _refused(candidate: Candidate, error: PluginError) -> Candidate:
    return evolve(candidate, plugin=evolve(candidate.plugin, problem=error.problem), error=error)


def _candidate(kind: Kind, name: str, entry_point: EntryPoint) -> Candidate:
    distribution, version = _distribution(entry_point)
    site = _site(entry_point)
    own = str(site) if site is not None and (site.parent / "plugin.json").is_file() else ""
    bare = Candidate(InstalledPlugin(kind, name, distribution, version, entry_point.value, site=own), entry_point)
    try:
        file = _manifest_file(entry_point)
        if file is None:
            return bare
        manifest = _manifest(file, bare)
    except PluginError as error:
        return _refused(bare, error)
    return evolve(bare, plugin=evolve(bare.plugin, manifest=manifest))


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    """Name and version. Metadata may be damaged; what is missing is then empty or has a mark."""
    metadata = entry_point.dist.metadata if entry_point.dist is not None else None
    if metadata is None or "Name" not in metadata:
        return "unknown", ""
    return metadata["Name"], metadata["Version"] if "Version" in metadata else ""  # noqa: SIM401  # has no typed get()


def _site(entry_point: EntryPoint) -> Path | None:
    """The directory where its metadata lies."""
    return Path(str(entry_point.dist.locate_file(""))) if entry_point.dist is not None else None


def _manifest_file(entry_point: EntryPoint) -> Path | None:
    """The manifest nearest to the module: in its package, or in one above. A module without a package has none."""
    top, *below = entry_point.value.partition(":")[0].strip().split(".")
    if not all(name.isidentifier() for name in (top, *below)):
        return None  # a name with a slash would lead out of the package
    try:
        site = _site(entry_point)  # the package lies there too, unless its install is editable
        spec = (site and PathFinder.find_spec(top, [str(site)])) or importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001  # a finder of an editable install is foreign code and may raise anything
        return None
    for location in spec.submodule_search_locations or () if spec is not None else ():
        for depth in range(len(below), -1, -1):
            file = Path(location, *below[:depth], MANIFEST)
            if file.is_file():
                return file
    return None


def _manifest(file: Path, candidate: Candidate) -> Manifest:
    label, plugin, upgrade = candidate.label, candidate.plugin, f"--upgrade {candidate.plugin.distribution}"
    told = {"plugin": f"{plugin.kind}/{plugin.name}", "distribution": label}
    try:
        raw = loads(file.read_bytes())
        wanted = raw.get("api") if isinstance(raw, dict) else None
        # Before all else: a later version of the manifest may have keys that this one does not know.
        if isinstance(wanted, str) and not serves(wanted):
            problem = f"{label} needs version {wanted} of the plugin API; this core offers {hookspecs.API_VERSION}"
            raise PluginVersionError(problem, next_step=f"pip install {upgrade} fairlead-core", **told)
        check("plugin-manifest", raw)
        return structure(raw, Manifest)
    except (OSError, SchemaError) as error:
        problem = error.problem if isinstance(error, SchemaError) else str(error)
        problem = f"{MANIFEST} of {label} is not a manifest: {problem}"
        raise PluginLoadError(problem, next_step=f"pip install {upgrade}", **told) from error


_RANGE = re.compile(r"(?:>=)?([0-9]{1,4})\.([0-9]{1,4})(?:, ?<([0-9]{1,4})(?:\.([0-9]{1,4}))?)?")


def serves(api: str) -> bool:
    """Whether this core serves a plugin with that ``api`` in its manifest: ``1.0`` is ``>=1.0,<2``.

    A text of no such form passes: the manifest's schema has the better words for it.
    """
    if (found := _RANGE.fullmatch(api)) is None:
        return True
    major, minor, below_major, below_minor = (int(number or 0) for number in found.groups())
    below = (below_major, below_minor) if found[3] else (major + 1, 0)
    return (major, minor) <= tuple(map(int, hookspecs.API_VERSION.split("."))) < below
