"""A plugin's own conformance class, with workers that run where the isolator puts them.

The class of `plugins/NAME/tests/test_conformance.py` stays as it is, with its far side and its examples; only
`make_worker` gives another worker. It must have a method `settings(tmp_path)`, which says what the worker is made of.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import trio

from fairlead._config import Kind
from fairlead._isolation import Isolator, find_isolator
from fairlead._loading import load
from fairlead.config import Config, PluginConfig
from fairlead.types import Isolation

from ..workspace import ROOT

__all__ = ["ALL", "Isolated", "home", "isolated", "module_of"]

ALL = os.environ.get("FAIRLEAD_CONFORMANCE") == "all"
"""Every check; without it a sample, a few of each class."""
_numbers = itertools.count(1)
_homes: list[tempfile.TemporaryDirectory[str]] = []


def home() -> Path:
    """Where the apps of this run keep what they have, so that each plugin is copied once."""
    if not _homes:
        _homes.append(tempfile.TemporaryDirectory(prefix="conformance-"))
    return Path(_homes[0].name)


def module_of(plugin: str) -> Any:
    """A plugin's own tests of conformance."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    return importlib.import_module(f"plugins.{plugin}.tests.test_conformance")


class Isolated:
    """Mixed in before a conformance class."""

    kind: ClassVar[Kind]
    plugin: ClassVar[str]
    place: ClassVar[Isolation]
    """The level."""
    hosts: tuple[str, ...] = ()
    """What the plugin may reach beside the ``base_url`` of its settings."""
    sequences = 3
    """Of the models of a memory: a process for each."""
    model_seconds = 8.0
    shared = False
    """A table is placed once, and its directory belongs to one process."""
    entry_point = ""
    """The kit would start a process of the host's, which has another directory."""
    stop_seconds = 5.0
    """A process that does not stop by itself is ended by force."""

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """The plugin's own far side, and an isolator."""
        self.table = f"{self.plugin}-{next(_numbers)}"
        async with super().far_side(tmp_path), trio.open_nursery() as nursery:  # type: ignore[misc]  # of the class that this is mixed into
            self.told: list[str] = []
            self.isolator: Isolator = find_isolator(Config(data_dir=home()), nursery, self._tell)
            await self.isolator.open()
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    await self.isolator.close()
            nursery.cancel_scope.cancel()

    def _tell(self, subject: str, detail: str, **more: Any) -> None:
        self.told.append(f"{subject}: {detail}")

    async def make_worker(self, tmp_path: Path) -> Any:
        """The first worker of the plugin, where it belongs."""
        options = dict(self.settings(tmp_path).options)  # type: ignore[attr-defined]  # of the class that this is mixed into
        hosts = self.hosts + ((urlsplit(options["base_url"]).netloc,) if "base_url" in options else ())
        table = PluginConfig(
            self.kind,
            self.table,
            plugin=self.plugin,
            isolation=self.place,
            options=options,
            hosts=hosts,
        )
        loaded = load(Config(data_dir=home(), plugins=(table,)))
        assert [] == [report.error for report in loaded.reports if report.error is not None]
        ((_, assignment),) = loaded.workers[self.kind]
        placed = await self.isolator.place(assignment)  # type: ignore[arg-type]  # it is isolated
        worker = placed[self.kind][0]
        assert worker.level == self.place, self.told
        return worker

    async def files(self, tmp_path: Path) -> Iterable[Path]:
        """Of a memory: all that its process may write."""
        return sorted((home() / "work").rglob("*"))


def isolated(
    kit: type[Any],
    kind: str,
    plugin: str,
    place: str,
    more: type[Any] = object,
    *,
    left_out: Iterable[str] = (),
    sample: int = 14,
) -> type[Any]:
    """The class for one plugin at one level; without `ALL` with one of `sample` of its checks.

    `left_out`: checks that cannot be made there.
    """
    name = f"Test{plugin.capitalize()}In{place.capitalize()}"
    bases = tuple(base for base in (more, Isolated, kit) if base is not object)
    made = type(name, bases, {"kind": kind, "plugin": plugin, "place": place, "__module__": __name__, "__doc__": place})
    checks = sorted(check for check in dir(kit) if check.startswith("test_"))
    for number, check in enumerate(checks):
        if check in left_out or (not ALL and (number + len(plugin)) % sample):
            setattr(made, check, None)  # not collected: a part of the whole, and no test that was skipped
    return made
