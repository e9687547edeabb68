"""The store of plugins that have environments of their own.

    DIRECTORY/NAME/VERSION-HASH/site         its packages, read-only
    DIRECTORY/NAME/VERSION-HASH/lock.txt     what was installed, with hashes
    DIRECTORY/NAME/VERSION-HASH/plugin.json  what it is and what it asks for
    DIRECTORY/NAME/current                   a link to the version in use: a plugin is there when this link is
    DIRECTORY/NAME/previous                  a link to the one before, from which a turn may still run
    DIRECTORY/.lock                          held by whoever changes something

Every change is made beside what is there and becomes true by one rename. A process that is killed leaves the state
before or the state after, and rubbish which the next one removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import TypeVar

import attrs
import trio
from attrs import frozen

from fairlead.errors import PluginConflict, PluginError, PluginLoadError, PluginNotFound
from fairlead.hookspecs import GROUPS
from fairlead_sandbox.environments import _tree as tree
from fairlead_sandbox.environments._asks import Asks
from fairlead_sandbox.environments._bundle import MADE, guest_runtime
from fairlead_sandbox.environments._environment import Environment
from fairlead_sandbox.environments._files import normal
from fairlead_sandbox.environments._installers import Installer, Sources, find_installer
from fairlead_sandbox.environments._preparing import Preparation, current_needs, unmet_needs
from fairlead_sandbox.environments._stored import FILE, Source, StoredPlugin, parse_source, read_stored

__all__ = ["PluginStore", "Upgrade", "hold"]

T = TypeVar("T")
_CURRENT, _PREVIOUS = "current", "previous"
_POLL = 0.05
"""Seconds between two looks at a lock that somebody else holds."""

Confirm = Callable[[Asks, Asks | None], Awaitable[bool]]
"""Is told what a plugin asks for, and what the version asks for that it replaces; says whether to go on."""
Check = Callable[[Environment], Awaitable[object]]
"""Runs a version of a plugin in a process of its own; raises where it does not work."""


@frozen
class Upgrade:
    """What became of an upgrade."""

    before: StoredPlugin
    after: StoredPlugin

    @property
    def changed(self) -> bool:
        """Whether another version is in use now."""
        return self.before.digest != self.after.digest


class PluginStore:
    """Plugins with environments of their own, in a directory. Several processes may use one.

    *cache* is the cache of `bundle`. *watch* is told each step in a word: ``building``, ``resolving``, ``installing``,
    ``asking``, ``placing``, ``checking``, ``swapping``, ``removing``, and ``waiting`` while another process changes
    something. *installer* is uv or pip by default, whichever is there.

    Nothing of a plugin is imported or run by this process. Nothing is enabled: that is the configuration's to say.
    """

    def __init__(
        self,
        directory: Path,
        cache: Path,
        *,
        watch: Callable[[str], object] = lambda _: None,
        installer: Installer | None = None,
    ) -> None:
        self._directory = directory.absolute()
        self._cache = cache.absolute()
        self._watch = watch
        self._installer = installer

    # -- what is there; these block for some milliseconds

    def list(self) -> tuple[StoredPlugin, ...]:
        """The plugins in use, by name. Those whose files are damaged are left out; `environment` says why."""
        found = []
        for name in self._names():
            with contextlib.suppress(PluginLoadError):
                found.append(self._current(name))
        return tuple(found)

    def sites(self) -> tuple[Path, ...]:
        """The directories of packages of the plugins in use: where the core finds metadata and manifests."""
        return tuple(directory / "site" for directory in map(self._version, self._names()))

    def find(self, name: str) -> StoredPlugin:
        """The plugin of a name: its distribution's, or ``kind/name`` or ``name`` of one of its entry points.

        `PluginNotFound`: there is none. `PluginConflict`: there are several. `PluginLoadError`: its files are damaged.
        """
        if normal(name) in self._names():
            return self._current(normal(name))
        owners = [each for each in self.list() if any(name in (point.name, point.label) for point in each.asks.plugins)]
        if len(owners) == 1:
            return owners[0]
        if owners:
            names = " and ".join(each.name for each in owners)
            raise PluginConflict(f"{name!r} is in {names}", next_step=f"fairlead plugins remove {owners[0].name}")
        known = ", ".join(self._names()) or "none"
        raise PluginNotFound(
            f"no plugin {name!r} has an environment of its own; there are: {known}", next_step="fairlead plugins list"
        )

    def environment(self, name: str) -> Environment:
        """Where the code of a plugin lies: the host's core and code for guests first, then its own packages.

        `PluginNotFound`, `PluginConflict`: see `find`. `PluginLoadError`: it is damaged, was installed for another
        Python, or has not what this version of the core needs; to upgrade it mends that.
        """
        return self._environment(self.find(name))

    def is_whole(self, name: str) -> bool:
        """Whether every file of the plugin's packages is as it was installed. Reads all of them."""
        plugin = self.find(name)
        return plugin.whole == tree.digest_of(tree.hash_tree(plugin.site, compiled=True))

    # -- changes

    async def add(
        self,
        source: str,
        sources: Sources | None = None,
        *,
        confirm: Confirm | None = None,
        allow_build: bool = False,
    ) -> StoredPlugin:
        """Put a plugin, with all that it needs, into an environment of its own. It is not enabled by that.

        *source*: a name on an index (with or without versions), a wheel, or a project's directory. A project is built
        by its own code, which runs as the user who calls this: only where *allow_build* says so. *confirm* is asked
        when all is known and nothing is changed yet.

        `PluginConflict`: it is there already, or one of its names is taken. `PluginVersionError`: it is written for
        another plugin API. `PluginLoadError`: it brings no plugin, the wheel is not in order, what it needs cannot be
        found, or *confirm* said no. After any error, and after cancellation, everything is as it was.
        """
        given = parse_source(source)
        async with self._changing(), self._preparation(given, sources, allow_build=allow_build) as preparation:
            await preparation.find_out(lambda asks: self._refuse_taken(asks, None))
            made = await preparation.make(lambda asks: self._refuse_taken(asks, None))
            await self._ask(confirm, made.asks, None)
            async with self._placed(made) as placed:
                return placed

    async def upgrade(
        self,
        name: str,
        source: str | None = None,
        sources: Sources | None = None,
        *,
        check: Check | None = None,
        confirm: Confirm | None = None,
        allow_build: bool = False,
    ) -> Upgrade:
        """Put the newest version, or the one from *source*, beside the one in use; take it into use where it works.

        *check* runs it in a process of its own. Where that raises, the new version is removed and the old one never
        stopped being in use. The old one is kept until the next upgrade, and while somebody holds it (`hold`): for
        turns that began with it.

        Errors as in `add`, and what *check* raised as the cause of a `PluginLoadError`. Everything is then as it was.
        """
        async with self._changing():
            before = self.find(name)
            given = parse_source(source) if source is not None else before.source
            async with self._preparation(given, sources, allow_build=allow_build) as preparation:
                await preparation.find_out(lambda asks: self._refuse_taken(asks, before))
                made = await preparation.make(lambda asks: self._refuse_taken(asks, before))
                if made.digest == before.digest and made.tag == before.tag:
                    return Upgrade(before, before)
                await self._ask(confirm, made.asks, before.asks)
                async with self._placed(made) as placed:
                    await self._check(check, placed, before)
                    return Upgrade(before, placed)

    async def remove(self, name: str) -> str:
        """Remove a plugin with its environment; give the name of its distribution. A damaged one too.

        `PluginNotFound`, `PluginConflict`: see `find`. Files that somebody holds (`hold`) go with a later change.
        """
        async with self._changing():
            key = normal(name) if normal(name) in self._names() else self.find(name).name
            self._watch("removing")
            await self._in_thread(self._remove, key)
            return key

    # -- steps

    @contextlib.asynccontextmanager
    async def _preparation(
        self, source: Source, sources: Sources | None, *, allow_build: bool
    ) -> AsyncIterator[Preparation]:
        installer = self._installer or await find_installer(self._cache)
        with tree.temporary(self._directory) as work:
            yield Preparation(source, sources or Sources(), work, installer, self._watch, allow_build=allow_build)

    async def _ask(self, confirm: Confirm | None, asks: Asks, before: Asks | None) -> None:
        if confirm is not None:
            self._watch("asking")
            if not await confirm(asks, before):
                raise PluginError(
                    f"{asks.distribution} {asks.version} was not taken; nothing was changed",
                    next_step="fairlead plugins list",
                )

    @contextlib.asynccontextmanager
    async def _placed(self, made: StoredPlugin) -> AsyncIterator[StoredPlugin]:
        """Put a version beside what is there; take it into use at the end, or remove it after an error."""
        self._watch("placing")
        placed = await self._in_thread(self._place, made)
        try:
            yield placed
            self._watch("swapping")
            await self._in_thread(self._swap, placed)
        finally:
            if self._version(placed.name) != placed.directory:
                tree.remove_tree(placed.directory)
                self._sweep(placed.name)

    async def _check(self, check: Check | None, placed: StoredPlugin, before: StoredPlugin) -> None:
        if check is None:
            return
        self._watch("checking")
        try:
            await check(await self._in_thread(self._environment, placed))
        except Exception as error:  # a plugin that does not work raises anything
            raise PluginLoadError(
                f"{placed.name} {placed.version} does not work, so {before.version} stays in use: {error}",
                next_step=getattr(error, "next_step", "") or f"tell its authors, and stay with {before.version}",
                distribution=f"{placed.name} {placed.version}",
            ) from error

    def _place(self, made: StoredPlugin) -> StoredPlugin:
        """Give the new version its name, beside what is there."""
        home = self._directory / made.name
        home.mkdir(exist_ok=True)
        final = home / f"{made.version}-{made.digest[:12]}"
        if final.exists() and not _is_held(final):
            tree.remove_tree(final)  # not in use: somebody was killed here, or it is the previous one, come back
        tree.place(made.directory, final)
        return attrs.evolve(made, directory=final)

    def _swap(self, placed: StoredPlugin) -> None:
        """Take a version into use; everything but it and the one before it goes."""
        home = placed.directory.parent
        before = self._version(placed.name) if self._is_there(home) else None
        if before is not None:
            _link(home / _PREVIOUS, before.name)
        _link(home / _CURRENT, placed.directory.name)
        _persist(home)
        self._sweep(placed.name)

    def _remove(self, name: str) -> None:
        (self._directory / name / _CURRENT).unlink(missing_ok=True)  # from here on it is gone
        _persist(self._directory / name)
        self._sweep(name)

    def _sweep(self, *names: str) -> None:
        """Remove what killed processes have left: all, or only of these plugins."""
        for home in [self._directory / name for name in names] or list(self._directory.iterdir()):
            if home.name.startswith(".tmp-"):
                tree.remove_tree(home)
            elif home.is_dir() and not self._is_there(home):
                if not any(_is_held(each) for each in home.iterdir()):
                    tree.remove_tree(home)
            elif home.is_dir():
                links = {os.readlink(home / link) for link in (_CURRENT, _PREVIOUS) if (home / link).is_symlink()}  # noqa: PTH115  # the text
                for each in home.iterdir():
                    if each.is_dir() and not each.is_symlink() and each.name not in links and not _is_held(each):
                        tree.remove_tree(each)
                    elif each.name.startswith(".tmp-"):
                        each.unlink(missing_ok=True)

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[None]:
        """Be the only one that changes something; first remove what killed ones have left."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not _try_lock(descriptor):
                self._watch("waiting")
                await trio.sleep(_POLL)
            await self._in_thread(self._sweep)
            yield
        finally:
            os.close(descriptor)

    async def _in_thread(self, act: Callable[..., T], *arguments: object) -> T:
        return await trio.to_thread.run_sync(partial(act, *arguments))

    # -- what is known

    def _names(self) -> tuple[str, ...]:
        try:
            return tuple(sorted(home.name for home in self._directory.iterdir() if self._is_there(home)))
        except FileNotFoundError:
            return ()

    def _is_there(self, home: Path) -> bool:
        return not home.name.startswith(".") and (home / _CURRENT).is_dir()

    def _version(self, name: str) -> Path:
        return (self._directory / name / _CURRENT).resolve()

    def _current(self, name: str) -> StoredPlugin:
        return read_stored(self._version(name))

    def _environment(self, plugin: StoredPlugin) -> Environment:
        label = f"{plugin.name} {plugin.version}"
        mend = f"fairlead plugins upgrade {plugin.name}"
        if plugin.tag != tree.TAG:
            problem = f"{label} was installed for {plugin.tag}, and this is {tree.TAG}"
            raise PluginLoadError(problem, next_step=mend, distribution=label)
        if plugin.runtime_needs != current_needs() and (unmet := unmet_needs(plugin.site)):
            problem = f"{label} was installed for another version of the core; this one needs {', '.join(unmet)}"
            raise PluginLoadError(problem, next_step=mend, distribution=label)
        runtime = guest_runtime(self._cache)
        digest = tree.digest_of(runtime.digest, plugin.digest, plugin.tag)
        return Environment((*runtime.paths, plugin.site), digest, plugin.name, plugin.version)

    def _refuse_taken(self, asks: Asks, before: StoredPlugin | None) -> None:
        """Each name has one owner: here, and in the host's environment."""
        name = asks.distribution
        if before is not None and name != before.name:
            raise PluginConflict(
                f"{name} is another plugin than {before.name}", next_step=f"fairlead plugins add {name}"
            )
        if before is None and name in self._names():
            version = self._current(name).version
            raise PluginConflict(
                f"{name} {version} has an environment already", next_step=f"fairlead plugins upgrade {name}"
            )
        taken = {point.label: f"{each.name} {each.version}" for each in self.list() for point in each.asks.plugins}
        ours = {} if before is None else {point.label for point in before.asks.plugins}
        taken = {label: owner for label, owner in taken.items() if label not in ours} | dict(_host_names())
        for wanted in (name, *(point.label for point in asks.plugins)):
            if wanted in taken:
                label, owner = f"{name} {asks.version}", taken[wanted]
                raise PluginConflict(
                    f"{wanted} of {label} is taken by {owner}",
                    next_step=f"pip uninstall {owner.split()[0]}, or fairlead plugins remove {owner.split()[0]}",
                    plugin=wanted,
                    distribution=f"{label} and {owner}",
                )


def _host_names() -> Iterator[tuple[str, str]]:
    """Names of distributions and plugins in the host's environment, and who has them."""
    kinds = {group: kind for kind, group in GROUPS.items()}
    for each in distributions():
        with contextlib.suppress(Exception):  # one damaged distribution must not hide all others
            name = each.metadata["Name"]
            points = [point for point in each.entry_points if point.group in kinds]
            if points:
                owner = f"{name} {each.version} (in the host's environment)"
                yield normal(name), owner
                yield from ((f"{kinds[point.group]}/{point.name}", owner) for point in points)


@contextlib.contextmanager
def hold(environment: Environment) -> Iterator[None]:
    """Keep the directories of an environment while something runs from them, whatever is removed or upgraded meanwhile.

    In every process; it ends with the process that holds. `FileNotFoundError`: it is gone already.
    """
    records = [path.parent / name for path in environment.paths for name in (FILE, MADE)]
    with tree.held(*(record for record in records if record.exists())):
        for path in environment.paths:
            path.stat()
        yield


def _is_held(version: Path) -> bool:
    return tree.is_held(version / FILE)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _link(link: Path, target: str) -> None:
    """Let a link lead elsewhere, at once."""
    draft = link.with_name(f".tmp-{link.name}")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)


def _persist(directory: Path) -> None:
    """The names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
