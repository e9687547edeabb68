"""For tests of plugins: a worker that runs in a process of its own, as it will for whoever installs it.

The conformance kits run on trio. A plugin that is written for asyncio is held against the kit of its kind from there::

    class TestShout(InProcess, ToolConformance):
        kind, plugin = "tools", "shout"

The plugin must be installed, ``pip install -e .`` will do.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import trio

from fairlead import Settings
from fairlead.config import Config, PluginConfig
from fairlead.isolation import Assignment
from fairlead.plugins import InstalledPlugin, installed
from fairlead_sandbox.isolator import SandboxIsolator, make

__all__ = ["InProcess"]

_numbers = itertools.count(1)
_homes: list[tempfile.TemporaryDirectory[str]] = []


def _home() -> Path:
    """Where all of a run keep what they have, so that each plugin is copied once."""
    if not _homes:
        _homes.append(tempfile.TemporaryDirectory(prefix="fairlead-"))
        Path(_homes[0].name).chmod(0o711)
    return Path(_homes[0].name)


class InProcess:
    """Mixed in before a conformance class: its `make_worker` places the plugin in a process of its own."""

    kind: ClassVar[Literal["channels", "tools", "providers", "memories", "policies"]]
    plugin: ClassVar[str]
    """Its name in the configuration, which is that of the entry point."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Plain values, as in its table."""
    hosts: ClassVar[tuple[str, ...]] = ()
    """``host:port`` that the table grants."""
    stop_seconds = 5.0
    """A process that does not stop by itself is ended by force."""
    entry_point = ""
    """The kit would start a process of its own, on trio."""

    @property
    def data_dir(self) -> Path:
        """The process's own directory, as `Settings.data_dir` names it there; each test has another one."""
        return _home() / "work" / f"{self.kind}-{self._table}"

    @asynccontextmanager
    async def far_side(self, tmp_path: Path) -> AsyncIterator[None]:
        """What isolates, around the far side of the tests."""
        self._table: str = f"{self.plugin}-{next(_numbers)}"
        async with trio.open_nursery() as nursery:
            self._isolator: SandboxIsolator = make(Config(data_dir=_home()), nursery, lambda *_, **__: None)
            await self._isolator.open()
            try:
                async with super().far_side(tmp_path):  # type: ignore[misc]  # of the class that this is mixed into
                    yield
            finally:
                with trio.CancelScope(shield=True):
                    await self._isolator.close()
            nursery.cancel_scope.cancel()

    async def make_worker(self, tmp_path: Path) -> Any:
        """The first worker of the plugin, made there and not yet opened."""
        options = dict(self.options)
        table = PluginConfig(
            self.kind, self._table, plugin=self.plugin, isolation="process", options=options, hosts=self.hosts
        )
        settings = Settings(self._table, options, _home())
        placed = await self._isolator.place(Assignment(table, self._installed(), settings, "process"))
        return placed[self.kind][0]

    def _installed(self) -> InstalledPlugin:
        found = [each for each in installed() if (each.kind, each.name) == (self.kind, self.plugin)]
        assert found, f"no plugin {self.plugin!r} among the {self.kind} is installed: pip install -e ."
        assert not found[0].problem, found[0].problem
        return found[0]
