"""Which files an installed distribution consists of. Nothing of it is imported: an import could run anything.

A wheel left a record. An editable install left the place of its sources: lines of a ``.pth`` file, or the table of
setuptools' finder, which is read as text. What has neither is looked for under the names in ``top_level.txt``.
"""

from __future__ import annotations

import ast
import csv
import json
import os
import re
from collections.abc import Iterator
from importlib.machinery import PathFinder, all_suffixes
from importlib.metadata import Distribution
from pathlib import Path, PurePosixPath

from attrs import field, frozen

from fairlead.errors import PluginLoadError

__all__ = ["Files", "files_of", "label_of", "location_of", "metadata_of", "normal"]

_OF_THE_INSTALL = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
"""Files of the metadata that tell of this installation, and not of the distribution."""
_NO_PACKAGES = {"setup.py", "conftest.py", "noxfile.py", "tests", "test", "docs", "examples", "build", "dist"}
"""What lies beside packages in a project's directory and is none."""
_MOST_FILES = 200_000
_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


@frozen
class Files:
    """The files of one distribution."""

    found: dict[str, Path] = field(factory=dict)
    """Where a file belongs below a directory of packages (``acme/data/x.json``), and where it lies now."""
    directories: set[Path] = field(factory=set)
    """Directories that were searched: a file that appears in one of them is a new file of the distribution."""

    def add(self, target: str, path: Path) -> None:
        """Add a regular file, unless another one has its place."""
        if "__pycache__" not in PurePosixPath(target).parts and path.is_file():
            self.found.setdefault(target, path)
        if len(self.found) > _MOST_FILES:
            raise PluginLoadError(f"more than {_MOST_FILES} files belong to {target}", next_step="build a wheel of it")

    def add_tree(self, target: str, directory: Path) -> None:
        """Add all that lies below; a link to a directory is followed, but never in a circle.

        Left out is what has a name with a dot in front: in a checkout, keys and settings of whoever works there.
        """
        seen: set[str] = set()
        for root, folders, names in os.walk(directory, followlinks=True):
            real = os.path.realpath(root)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
            self.directories.add(Path(root))
            base = PurePosixPath(target, *Path(root).relative_to(directory).parts)
            for name in names:
                if not name.startswith("."):
                    self.add(str(base / name), Path(root, name))


def normal(name: str) -> str:
    """The name of a distribution as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def label_of(distribution: Distribution) -> str:
    """Name and version, for people."""
    return f"{distribution.metadata['Name']} {distribution.version}"


def location_of(distribution: Distribution) -> Path:
    """The directory of packages in which it is installed."""
    return metadata_of(distribution).parent


def metadata_of(distribution: Distribution) -> Path:
    """Its ``.dist-info`` or ``.egg-info``. `PluginLoadError`: it lies in an archive."""
    path = getattr(distribution, "_path", None)  # the public interface gives the metadata's contents and not its place
    if not isinstance(path, Path) or not path.exists():
        raise PluginLoadError(
            f"{label_of(distribution)} is not installed as files of a directory",
            next_step=f"pip install --force-reinstall {distribution.metadata['Name']}",
            distribution=label_of(distribution),
        )
    return path


def files_of(distribution: Distribution) -> Files:
    """All files that belong below a directory of packages, without compiled ones, and with the metadata.

    Left out: what lies elsewhere (scripts, manuals), ``.pth`` files, and the metadata of this installation.
    `PluginLoadError`: it cannot be told which files are its own.
    """
    metadata, location, files = metadata_of(distribution), location_of(distribution), Files()
    recorded = _recorded(distribution)
    if _is_editable(distribution, recorded):
        _add_editable(distribution, location, recorded, files)
    elif recorded:
        for name in recorded:
            files.add(name, location / name)
    else:
        _add_named([location], _top_names(distribution), files)
    if not files.found:
        raise _unknown(distribution, "has no record of its files, and none is found under its names")
    _add_metadata(metadata, files)
    if normal(distribution.metadata["Name"]) == "fairlead-core":
        _add_schemas(files)
    return files


def _add_metadata(metadata: Path, files: Files) -> None:
    if metadata.is_file():
        files.add(metadata.name, metadata)
        return
    files.add_tree(metadata.name, metadata)
    for name in [name for name in files.found if _is_of_the_install(name, metadata.name)]:
        del files.found[name]


def _is_of_the_install(name: str, metadata: str) -> bool:
    folder, _, file = name.partition("/")
    return (folder == metadata and file in _OF_THE_INSTALL) or ("/" not in name and name.endswith(".pth"))


def _add_schemas(files: Files) -> None:
    """In a checkout the core's schemas lie beside it, where the core itself looks for them; a wheel has them inside."""
    init = files.found.get("fairlead/__init__.py")
    if init is not None and not any(name.startswith("fairlead/schemas/") for name in files.found):
        files.add_tree("fairlead/schemas", init.resolve().parents[3] / "schemas")


def _recorded(distribution: Distribution) -> list[str]:
    """The names in RECORD that stay below the directory of packages."""
    rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    names = [PurePosixPath(row[0]) for row in rows if row]
    return [str(name) for name in names if not name.is_absolute() and ".." not in name.parts]


def _unknown(distribution: Distribution, problem: str) -> PluginLoadError:
    name = distribution.metadata["Name"]
    return PluginLoadError(
        f"{label_of(distribution)} {problem}",
        next_step=f"pip install --force-reinstall {name} (not editable)",
        distribution=label_of(distribution),
    )


# -- editable installs


def _is_editable(distribution: Distribution, recorded: list[str]) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        origin = {}
    said = bool(isinstance(origin, dict) and isinstance(info := origin.get("dir_info"), dict) and info.get("editable"))
    return said and any(name.endswith(".pth") for name in recorded)


def _add_editable(distribution: Distribution, location: Path, recorded: list[str], files: Files) -> None:
    """Follow the ``.pth`` files; a module that one of them imports is read, never run."""
    for name in recorded:
        if "/" not in name and name.endswith(".pth"):
            for line in (location / name).read_text("utf-8").splitlines():
                if line.startswith(("import ", "import\t")):
                    _add_mapped(distribution, location, recorded, files)
                elif line.strip() and not line.startswith("#"):
                    _add_directory(distribution, location / line.strip(), files)
        elif not name.endswith(".py") or "editable" not in name:
            files.add(name, location / name)  # what the backend copied: compiled extensions


def _add_directory(distribution: Distribution, directory: Path, files: Files) -> None:
    """What can be imported from a directory on the path that is the distribution's own, or its whole project."""
    files.directories.add(directory)
    names = _top_names(distribution) if _is_project(directory) else set()
    if names and (distribution.read_text("top_level.txt") or "").strip():
        _add_named([directory], names, files)
        return
    for each in sorted(directory.iterdir()) if directory.is_dir() else ():
        if each.name not in _NO_PACKAGES and _is_importable(each, names if _is_project(directory) else None):
            if each.is_dir():
                files.add_tree(each.name, each)
            else:
                files.add(each.name, each)


def _is_project(directory: Path) -> bool:
    return any((directory / name).exists() for name in _PROJECT_FILES)


def _is_importable(path: Path, names: set[str] | None) -> bool:
    """A package or module. In a project's directory (*names*), a folder without ``__init__.py`` only if it is named."""
    if path.is_dir():
        return path.name.isidentifier() and (names is None or path.name in names or (path / "__init__.py").exists())
    return any(path.name.endswith(suffix) and path.name.removesuffix(suffix).isidentifier() for suffix in _suffixes())


def _suffixes() -> list[str]:
    return [suffix for suffix in all_suffixes() if suffix != ".pyc"]


def _add_mapped(distribution: Distribution, location: Path, recorded: list[str], files: Files) -> None:
    """The tables MAPPING and NAMESPACES of setuptools' finder: names of packages and modules, and their places."""
    tables: dict[str, list[str]] = {}
    for name in recorded:
        if name.startswith("__editable__") and name.endswith(".py"):
            for package, places in _tables((location / name).read_text("utf-8")):
                tables.setdefault(package, []).extend(places)
    if not tables:
        raise _unknown(distribution, "is installed editable, by an import hook that is not setuptools' own")
    for package, places in sorted(tables.items()):
        for place in places:
            _add_module(package.replace(".", "/"), Path(place), files)


def _tables(source: str) -> Iterator[tuple[str, list[str]]]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id in ("MAPPING", "NAMESPACES"):
                for name, places in ast.literal_eval(node.value).items():
                    yield str(name), [places] if isinstance(places, str) else [str(each) for each in places]


def _add_module(target: str, place: Path, files: Files) -> None:
    if place.is_dir():
        files.add_tree(target, place)
        return
    files.directories.add(place.parent)
    for suffix in _suffixes():
        files.add(target + suffix, place if place.suffix == suffix else Path(f"{place}{suffix}"))


# -- by name


def _top_names(distribution: Distribution) -> set[str]:
    """The names of top-level packages, as far as metadata tells them: listed, in entry points, or the project's own."""
    names = set((distribution.read_text("top_level.txt") or "").split())
    names |= {re.split("[.:]", point.value)[0].strip() for point in distribution.entry_points}
    return {name for name in names | {normal(distribution.metadata["Name"]).replace("-", "_")} if name.isidentifier()}


def _add_named(places: list[Path], names: set[str], files: Files) -> None:
    """The packages and modules of these names, found as an import would find them."""
    files.directories.update(places)
    for name in sorted(names):
        spec = PathFinder.find_spec(name, [str(place) for place in places])
        for found in (spec.submodule_search_locations or ()) if spec is not None else ():
            files.add_tree(name, Path(found))
        if spec is not None and spec.submodule_search_locations is None and spec.origin:
            files.add(Path(spec.origin).name, Path(spec.origin))
