"""Bundles: a plugin of the host's environment with all that it needs, copied to where nobody changes it.

    CACHE/parts/DIGEST/site      one distribution each; its files are shared by all bundles that have it
    CACHE/bundles/DIGEST/site    one directory of packages; the time of made.json beside it is that of the last use
    CACHE/index/KEY.json         what a bundle was made from, as names, sizes and times: the quick way to find it again

Files are copied from the environment, never linked: whoever edits a source there must not change a bundle.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from attrs import frozen

from fairlead.errors import PluginLoadError
from fairlead_sandbox.environments import _tree as tree
from fairlead_sandbox.environments._closure import closure, finder
from fairlead_sandbox.environments._environment import Environment
from fairlead_sandbox.environments._files import Files, files_of, label_of, location_of, metadata_of, normal
from fairlead_sandbox.environments._repack import record_text

__all__ = ["MADE", "bundle", "collect_garbage", "guest_runtime", "host_distribution"]

_RUNTIME = ("fairlead-core", "fairlead-sandbox")
_FORMAT = 1
"""Of everything below the cache; a later version of this module looks for nothing that an earlier one has written."""
_SETTLED = 50_000_000
"""Nanoseconds after which a change of a file surely has another time than one before (file systems keep ticks)."""
_TRIES = 5
_WORKERS = 4
_MONTH = 30 * 86400.0
_SITE = "site"
MADE = "made.json"
"""Beside it: what a directory of the cache is made of; written before it has its name."""
_METADATA = (".dist-info", ".egg-info", ".egg-link")


def bundle(distribution: Distribution, cache: Path) -> Environment:
    """What a plugin of the host's environment needs to run elsewhere, as one read-only directory of packages.

    It holds the distribution with all that it requires, the core, anyio and this package's own code for guests, each
    with its metadata. Nothing of it is imported. The same files give the same digest; a source that changed gives
    another bundle, and the old one stays for whoever runs from it. Blocks (first 1 s, then some ms): call it in a
    thread. Several processes may make the same one.

    `PluginLoadError`: something that it requires is not installed, or its files cannot be told. `OSError`: the cache
    cannot be written; nothing but a temporary directory is left behind.
    """
    place = location_of(distribution)
    key = tree.digest_of(_FORMAT, tree.TAG, "bundle", str(metadata_of(distribution)), *map(str, sys.path))

    def collect() -> Collection[Distribution]:
        find = finder(place)
        runtime = [host_distribution(name, find) for name in (*_RUNTIME, "anyio")]
        return closure([distribution, *runtime], find).values()

    made = _Maker(cache).environment(key, [place], collect)
    return Environment((made.path,), made.digest, distribution.metadata["Name"], distribution.version)


def guest_runtime(cache: Path) -> Environment:
    """The host's core and this package's code for guests, without what they need: for environments that have that."""
    key = tree.digest_of(_FORMAT, tree.TAG, "runtime", *map(str, sys.path))
    made = _Maker(cache).environment(key, [], lambda: [host_distribution(name) for name in _RUNTIME])
    return Environment((made.path,), made.digest)


def host_distribution(name: str, find: Any = None) -> Distribution:
    """A distribution of the host's environment. `PluginLoadError`: it is not installed."""
    found: Distribution | None = (find or finder())(normal(name))
    if found is None:
        raise PluginLoadError(f"{name} is not installed in the host's environment", next_step=f"pip install {name}")
    return found


def collect_garbage(cache: Path, keep: Iterable[str] = (), unused: float = _MONTH) -> tuple[str, ...]:
    """Remove bundles that nobody asked for in *unused* seconds.

    Those whose digests are in *keep* stay, and those that somebody holds (`hold`).
    Waits until nobody makes a bundle. Gives the digests of what was removed. Parts that no bundle has, and what killed
    makers left, go too.
    """
    kept, removed, parts = set(keep), [], set()
    with tree.locked(cache / "lock", alone=True):
        for directory in sorted(cache.glob("bundles/*")):
            record = directory / MADE
            fresh = record.is_file() and (time.time() - record.stat().st_mtime < unused or tree.is_held(record))
            if directory.name in kept or (fresh and not directory.name.startswith(".tmp-")):
                parts |= set(json.loads(record.read_text("utf-8"))["parts"])
            else:
                tree.remove_tree(directory)
                removed.append(directory.name)
        for directory in cache.glob("parts/*"):
            if directory.name not in parts:
                tree.remove_tree(directory)
        for index in cache.glob("index/*"):
            if not index.name.endswith(".json") or not _is_known(cache, index):
                index.unlink()
    return tuple(name for name in removed if not name.startswith(".tmp-"))


def _is_known(cache: Path, index: Path) -> bool:
    digest: str = json.loads(index.read_text("utf-8"))["digest"]
    return (cache / "bundles" / digest).is_dir()


Collect = Callable[[], Collection[Distribution]]


@frozen
class _Made:
    path: Path
    digest: str


class _Maker:
    """Makes bundles in one cache, and finds those that are there."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        for name in ("parts", "bundles", "index"):
            (cache / name).mkdir(parents=True, exist_ok=True)

    def environment(self, key: str, places: Sequence[Path], collect: Collect) -> _Made:
        """The bundle of what *collect* gives; it is not called where nothing changed since the last time."""
        index = self._cache / "index" / f"{key}.json"
        with tree.locked(self._cache / "lock", alone=False):
            digest = self._look_up(index, places) or self._make_patiently(index, places, collect)
            directory = self._cache / "bundles" / digest
            os.utime(directory / MADE)
            return _Made(directory / _SITE, digest)

    def _look_up(self, index: Path, places: Sequence[Path]) -> str | None:
        """The digest that the index has, where all that it was made from is as it was."""
        try:
            known = json.loads(index.read_text("utf-8"))
            fresh = known["boot"] == _boot() and known["installed"] == _installed(places)
            if fresh and all(_stamp(name) == stamp for name, stamp in known["stamps"].items()):
                digest = str(known["digest"])
                return digest if (self._cache / "bundles" / digest / MADE).is_file() else None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def _make_patiently(self, index: Path, places: Sequence[Path], collect: Collect) -> str:
        """Somebody may work on the sources: a file that goes while it is looked at is no fault of theirs."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(FileNotFoundError):
                return self._make(index, places, collect)
        return self._make(index, places, collect)

    def _make(self, index: Path, places: Sequence[Path], collect: Collect) -> str:
        installed, began = _installed(places), time.time_ns()
        distributions = sorted(collect(), key=lambda each: normal(each.metadata["Name"]))
        listed = [(each, files_of(each)) for each in distributions]
        stamps = _stamps(files for _, files in listed)
        with ThreadPoolExecutor(_WORKERS) as workers:  # most of it is reading, writing and waiting for compilers
            parts = list(workers.map(self._part, *zip(*listed, strict=True)))
        digest = tree.digest_of(_FORMAT, tree.TAG, parts)
        self._assemble(digest, parts)
        if max(max(stamp[:2]) for stamp in stamps.values()) < began - _SETTLED:  # else a change could look like none
            known = {"digest": digest, "boot": _boot(), "installed": installed, "stamps": stamps}
            tree.write_json(index, known)
        return digest

    def _part(self, distribution: Distribution, files: Files) -> str:
        """The digest of one distribution's part, which is there afterwards."""
        digest = _content({name: _marked(path) for name, path in files.found.items()})
        for _ in range(_TRIES):
            final = self._cache / "parts" / digest
            if _is_whole(final):
                return digest
            with tree.temporary(final.parent) as made:
                site = made / _SITE
                for name, path in files.found.items():
                    (site / name).parent.mkdir(parents=True, exist_ok=True)
                    tree.copy_file(path, site / name)
                hashes = tree.hash_tree(site)
                if (copied := _content(hashes)) != digest:  # a source changed meanwhile
                    digest = copied
                    continue
                _write_record(site, metadata_of(distribution).name, hashes)
                tree.compile_tree(site)
                _finish(made, final, {"distribution": label_of(distribution)})
                return digest
        raise PluginLoadError(
            f"the files of {label_of(distribution)} change all the time, so no copy of them is whole",
            next_step="wait until whatever writes there has ended, and try again",
            distribution=label_of(distribution),
        )

    def _assemble(self, digest: str, parts: Sequence[str]) -> None:
        final = self._cache / "bundles" / digest
        if not _is_whole(final):
            with tree.temporary(final.parent) as made:
                for part in parts:
                    tree.link_tree(self._cache / "parts" / part / _SITE, made / _SITE)
                _finish(made, final, {"parts": list(parts)})


def _finish(made: Path, final: Path, known: Mapping[str, Any]) -> None:
    whole = tree.digest_of(tree.hash_tree(made / _SITE, compiled=True))
    tree.write_json(made / MADE, {**known, "whole": whole})
    tree.seal(made)
    if final.is_dir() and not _is_whole(final):
        tree.remove_tree(final)
    tree.place(made, final)


def _is_whole(directory: Path) -> bool:
    """Whether it is there, with all that was put into it: files may be empty after a loss of power."""
    try:
        known = json.loads((directory / MADE).read_text("utf-8"))
        return bool(known["whole"] == tree.digest_of(tree.hash_tree(directory / _SITE, compiled=True)))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _content(hashes: Mapping[str, str]) -> str:
    return tree.digest_of(_FORMAT, tree.TAG, hashes)


def _marked(path: Path) -> str:
    return ("*" if path.stat().st_mode & 0o111 else "") + tree.hash_file(path)


def _write_record(site: Path, metadata: str, hashes: Mapping[str, str]) -> None:
    """RECORD, by which programs ask `importlib.metadata` for the files of a distribution."""
    if (site / metadata).is_dir():
        (site / metadata / "RECORD").write_text(record_text(hashes, metadata), "utf-8")


# -- what tells quickly that nothing changed

_Stamp = Sequence[int]


def _stamp(name: str) -> _Stamp:
    """Times, size and number of a file; only what a directory's names depend on, of a directory."""
    found = os.stat(name)  # noqa: PTH116  # hundreds of files in some milliseconds
    if stat.S_ISDIR(found.st_mode):
        return [found.st_mtime_ns, 0, 0, found.st_ino]
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def _stamps(listed: Iterable[Files]) -> dict[str, _Stamp]:
    names: set[str] = set()
    for files in listed:
        names.update(str(path) for path in files.found.values())
        names.update(str(path) for path in files.directories)
    return {name: _stamp(name) for name in names}


def _installed(places: Sequence[Path]) -> str:
    """The distributions that can be found, by their folders' names: a new one may be a nearer answer."""
    names = []
    for place in (*(str(place) for place in places), *map(str, sys.path)):
        with contextlib.suppress(OSError):
            names += [name for name in sorted(os.listdir(place or ".")) if name.endswith(_METADATA)]  # noqa: PTH208  # for its speed
    return tree.digest_of(names)


@functools.cache
def _boot() -> str:
    """Since when the machine runs: what was written before may be lost in part, and is read through again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""
