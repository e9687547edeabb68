"""From a source to a directory that holds a plugin with all that it needs; nobody uses it yet."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import attrs
import trio

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments import _tree as tree
from fairlead_sandbox.environments._asks import Asks, asks_of
from fairlead_sandbox.environments._bundle import host_distribution
from fairlead_sandbox.environments._closure import closure, finder, requirements, runtime_needs
from fairlead_sandbox.environments._files import label_of, normal
from fairlead_sandbox.environments._installers import Installer, Pin, Sources, render_pins
from fairlead_sandbox.environments._repack import repack
from fairlead_sandbox.environments._stored import FILE, Source, StoredPlugin, name_of, stored_text
from fairlead_sandbox.environments._wheel import Wheel, examine_wheel

__all__ = ["Preparation", "current_needs", "unmet_needs"]

_HOST = ("fairlead-core", "fairlead-sandbox")
_OF_THE_INSTALL = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json")
Judge = Callable[[Asks], None]
"""Raises where a plugin must not be taken."""


class Preparation:
    """One plugin on its way into the store; all of it happens below *work*."""

    def __init__(
        self,
        source: Source,
        sources: Sources,
        work: Path,
        installer: Installer,
        watch: Callable[[str], object],
        *,
        allow_build: bool,
    ) -> None:
        self._source = source
        self._sources = attrs.evolve(sources, find_links=tuple(map(_absolute, sources.find_links)))
        self._work = work
        self._installer = installer
        self._watch = watch
        self._allow_build = allow_build
        self._wheel: Wheel | None = None

    async def find_out(self, judge: Judge) -> None:
        """Look at the plugin's own wheel, where it does not come from an index: before anything is fetched."""
        path = Path(self._source.given)
        if self._source.kind == "project":
            path = await self._build(path)
        if self._source.kind != "index":
            self._wheel = wheel = await trio.to_thread.run_sync(self._take, path)
            _refuse_places(wheel)
            judge(asks_of(wheel.distribution, wheel.root))

    async def make(self, judge: Judge) -> StoredPlugin:
        """Resolve, install, look again, seal. The result's directory is not where it will be."""
        self._watch("resolving")
        pins = await self._resolve()
        lock = _lock_text(self._name, pins)
        self._watch("installing")
        made = self._work / "made"
        local = [pin for pin in pins if pin.url]
        wanted = [attrs.evolve(pin, url="") for pin in pins if not pin.url] + local
        await self._installer.install(render_pins(wanted), made / "site", self._work, self._sources)
        (made / "lock.txt").write_text(lock, "utf-8")
        return await trio.to_thread.run_sync(self._finish, made, lock, judge)

    @property
    def _name(self) -> str:
        return self._wheel.name if self._wheel is not None else name_of(self._source)

    async def _build(self, project: Path) -> Path:
        if not self._allow_build:
            raise PluginLoadError(
                f"to build {project} runs the project's own code on this machine, as you",
                next_step=f"build it where it may run, and add the wheel: uv build --wheel {project}",
            )
        self._watch("building")
        return await self._installer.build(project, self._work, self._sources)

    def _take(self, path: Path) -> Wheel:
        """A copy of the wheel, so that what was looked at is what is installed."""
        examined = self._work / "wheel" / path.name
        examined.parent.mkdir()
        if path.is_file():
            shutil.copyfile(path, examined)
        return examine_wheel(examined)

    async def _resolve(self) -> tuple[Pin, ...]:
        core, extra = await trio.to_thread.run_sync(self._of_the_host)
        own = f"{self._wheel.name} @ {self._wheel.path.as_uri()}" if self._wheel is not None else self._source.given
        needs = [own, f"fairlead-core @ {core.as_uri()}", *current_needs("fairlead-sandbox")]
        sources = attrs.evolve(self._sources, find_links=(*self._sources.find_links, *extra))
        self._sources = sources
        pins = await self._installer.resolve(needs, self._work, sources)
        places = {core.as_uri(), *([self._wheel.path.as_uri()] if self._wheel is not None else [])}
        for pin in pins:
            self._refuse(pin, places)
        own_version = self._wheel.version if self._wheel is not None else ""  # uv gives none where it gives a place
        return tuple(
            attrs.evolve(pin, version=pin.version or own_version) for pin in pins if pin.name != "fairlead-core"
        )

    def _of_the_host(self) -> tuple[Path, Sequence[str]]:
        """The wheel of the host's core; where no index is asked, a directory of wheels of what it needs as well."""
        house = self._work / "host"
        core = repack(host_distribution("fairlead-core"), house / "core")
        if not self._sources.no_index:
            return core, ()
        runtime = closure([host_distribution(name) for name in _HOST], finder())
        for name, distribution in runtime.items():
            if name not in _HOST:
                repack(distribution, house / "needs")
        return core, (str(house / "needs"),)

    def _refuse(self, pin: Pin, places: set[str]) -> None:
        """Nothing comes from a place that nobody asked for, and what is the host's own from nowhere else."""
        if pin.url and pin.url not in places:
            raise PluginLoadError(
                f"{self._name} wants {pin.name} from {pin.url}, and not from an index",
                next_step="tell its authors, or add a wheel of it that has no such requirement",
            )
        ours = pin.name == "fairlead" or pin.name.startswith("fairlead-")
        if ours and not pin.url and pin.name != self._name and finder()(pin.name) is not None:
            raise PluginLoadError(
                f"{self._name} needs {pin.name}, which the host has and which must not come from an index:"
                " somebody else may own its name there",
                next_step=f"install {self._name} into the host's environment",
            )
        if not pin.hashes:
            raise PluginLoadError(f"no hash of {pin.name} is known", next_step="use another index")

    def _finish(self, made: Path, lock: str, judge: Judge) -> StoredPlugin:
        site = made / "site"
        _tidy(site)
        distribution = next(iter(distributions(name=self._name, path=[str(site)])), None)
        if distribution is None:
            raise PluginLoadError(f"{self._name} was not installed, though it was said so", next_step="try again")
        version = _safe_version(distribution)
        others = {label_of(each) for each in distributions(path=[str(site)])} - {label_of(distribution)}
        asks = attrs.evolve(asks_of(distribution, site), needs=tuple(sorted(others, key=str.lower)))
        judge(asks)
        tree.compile_tree(site)
        plugin = StoredPlugin(
            name=asks.distribution,
            version=version,
            source=self._source,
            asks=asks,
            installer=self._installer.name,
            tag=tree.TAG,
            runtime_needs=current_needs(),
            added=time.time(),
            digest=tree.digest_of(lock, tree.TAG),
            whole=tree.digest_of(tree.hash_tree(site, compiled=True)),
            directory=made,
        )
        tree.write_json(made / FILE, stored_text(plugin))
        tree.seal(made)
        os.sync()  # thousands of small files; a loss of power must not leave a version that is only half there
        return plugin


def _refuse_places(wheel: Wheel) -> None:
    """Before anything is fetched from there."""
    for need in requirements(wheel.distribution):
        if need.url is not None:
            raise PluginLoadError(
                f"{wheel.name} {wheel.version} wants {need.name} from {need.url}, and not from an index",
                next_step="tell its authors, or add a wheel of it that has no such requirement",
                distribution=f"{wheel.name} {wheel.version}",
            )


def current_needs(*names: str) -> tuple[str, ...]:
    """What the host's core and the code for guests need from others, as requirements; of these two or of one."""
    found: set[str] = set()
    for name in names or _HOST:
        found |= {str(each) for each in runtime_needs(host_distribution(name)) if normal(each.name) not in _HOST}
    return tuple(sorted(found))


def unmet_needs(site: Path) -> list[str]:
    """Which of these a directory of packages does not have."""
    there = {normal(each.metadata["Name"]): each.version for each in distributions(path=[str(site)])}
    return [
        str(need)
        for name in _HOST
        for need in runtime_needs(host_distribution(name))
        if normal(need.name) not in _HOST
        and not ((version := there.get(normal(need.name))) and need.specifier.contains(version, prereleases=True))
    ]


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())


def _lock_text(name: str, pins: Sequence[Pin]) -> str:
    """The lock: also what came from a file is known by its hash, wherever the file lay."""
    core, sandbox = (host_distribution(each) for each in _HOST)
    head = (
        f"# All that {name} needs, with hashes; to install it again: --no-deps --require-hashes\n"
        f"# Not here: {label_of(core)} and {label_of(sandbox)}. They are the host's own and come from no index.\n"
    )
    return head + render_pins([attrs.evolve(pin, url="") for pin in pins])


def _safe_version(distribution: Distribution) -> str:
    """It becomes a part of a path."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415  # see `requirements`

    try:
        return str(Version(distribution.version))
    except InvalidVersion as error:
        problem = f"{distribution.metadata['Name']} has the version {distribution.version!r}, which is none"
        raise PluginLoadError(problem, next_step="tell its authors") from error


def _tidy(site: Path) -> None:
    """Leave packages and metadata only: no programs, no start-up files, nothing that tells of this installation."""
    for each in sorted(site.iterdir()):
        if each.name in ("bin", "include", "share", "etc", "__pycache__") and not (each / "__init__.py").exists():
            tree.remove_tree(each)
        elif each.is_file() and (each.suffix == ".pth" or each.name.startswith(".")):
            each.unlink()
        elif each.name.endswith(".dist-info"):
            for name in _OF_THE_INSTALL:
                (each / name).unlink(missing_ok=True)
    for root, folders, names in os.walk(site):
        for name in (*folders, *names):
            if Path(root, name).is_symlink():
                raise PluginLoadError(f"a wheel has made the link {Path(root, name)}", next_step="do not install it")
