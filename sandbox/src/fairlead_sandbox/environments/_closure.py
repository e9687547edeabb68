"""What a distribution needs beside itself, from metadata alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments._files import label_of, normal

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["closure", "finder", "requirements", "runtime_needs"]

_OF_GUESTS = frozenset({"anyio", "attrs", "fairlead-core", "trio"})
"""What `fairlead-sandbox` needs on a guest's side of the boundary; all else of it is for the host's."""
_FOR_DEVELOPERS = frozenset({"dev", "develop", "development", "doc", "docs", "lint", "test", "testing", "tests"})
"""Extras that nobody needs to run a plugin."""

Find = Callable[[str], Distribution | None]


def finder(*places: Path) -> Find:
    """Looks a distribution up by its normal name: first in these directories of packages, then on the host's path."""
    path = [*(str(place) for place in places), *sys.path]

    def find(name: str) -> Distribution | None:
        try:
            return next(iter(distributions(name=name, path=path)), None)
        except (PackageNotFoundError, OSError):
            return None

    return find


def requirements(distribution: Distribution, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """What it needs on this machine, with these extras. `PluginLoadError`: its metadata is damaged."""
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415  # 30 ms; not where a cache helps

    for text in distribution.requires or ():
        try:
            found = Requirement(text)
            wanted = found.marker is None or any(found.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        except (InvalidRequirement, ValueError, KeyError) as error:
            raise PluginLoadError(
                f"{label_of(distribution)} has a requirement that cannot be read: {text!r}",
                next_step=f"pip install --upgrade {distribution.metadata['Name']}",
                distribution=label_of(distribution),
            ) from error
        if wanted:
            yield found


def runtime_needs(distribution: Distribution, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """What it needs where a plugin runs: all `requirements`, but for what only the host's side of the boundary uses."""
    ours = normal(distribution.metadata["Name"]) == "fairlead-sandbox"
    for need in requirements(distribution, extras):
        if not ours or normal(need.name) in _OF_GUESTS:
            yield need


def closure(roots: Iterable[Distribution], find: Find) -> dict[str, Distribution]:
    """The roots and all that they need, by normal name. `PluginLoadError`: something is not installed.

    Metadata does not keep with which extras a distribution was installed: an extra counts where all that it needs is
    there, but for those of developers.
    """
    found: dict[str, Distribution] = {}
    waiting: list[tuple[Distribution, frozenset[str]]] = []
    for root in roots:
        found[normal(root.metadata["Name"])] = root
        waiting.append((root, _installed_extras(root, find)))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        owner, extras = waiting.pop()
        key = (normal(owner.metadata["Name"]), extras)
        if key in seen:
            continue
        seen.add(key)
        for need in runtime_needs(owner, extras):
            name = normal(need.name)
            distribution = found.get(name) or find(name)
            if distribution is None:
                raise _missing(owner, str(need))
            found[name] = distribution
            waiting.append((distribution, frozenset(need.extras)))
    return found


def _installed_extras(distribution: Distribution, find: Find) -> frozenset[str]:
    extras = {normal(extra) for extra in distribution.metadata.get_all("Provides-Extra") or ()} - _FOR_DEVELOPERS
    return frozenset(extra for extra in extras if _is_installed(distribution, [extra], find))


def _is_installed(distribution: Distribution, extras: Iterable[str], find: Find) -> bool:
    """Whether all is there that these extras need, and the extras of what they need."""
    for need in requirements(distribution, extras):
        found = find(normal(need.name))
        if found is None or (need.extras and not _is_installed(found, need.extras, find)):
            return False
    return True


def _missing(owner: Distribution, need: str) -> PluginLoadError:
    return PluginLoadError(
        f"{label_of(owner)} needs {need}, which is not installed",
        next_step=f"pip install '{need}'",
        distribution=label_of(owner),
    )
