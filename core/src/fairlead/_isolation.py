"""Where code runs that the host must not run: the one extension point for isolation backends.

No sixth kind of plugin: an isolator answers no question of an agent. It gives the core workers of the five kinds that
pass everything on to a plugin which runs elsewhere. The core knows this contract; processes, containers and kernels
are the work of the package fairlead-sandbox, which is found by its entry point in the group `GROUP`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from attrs import frozen

from fairlead._config import Config, PluginConfig
from fairlead._contracts import Worker
from fairlead._plugins import InstalledPlugin
from fairlead._work import Isolation, Settings
from fairlead.errors import IsolationUnavailable

if TYPE_CHECKING:
    import trio

__all__ = ["Assignment", "Isolator", "find_isolator", "reaches"]

GROUP = "fairlead.isolators"
PACKAGE = "fairlead-sandbox"
"""The only distribution whose isolators count: it is as trusted as the core."""
_LEVELS: tuple[Isolation, ...] = get_args(Isolation)


@frozen
class Assignment:
    """A plugin that shall run outside the host."""

    table: PluginConfig
    plugin: InstalledPlugin
    settings: Settings
    """Checked against the manifest; secrets are `Secret` objects, which the plugin must not be given."""
    level: Isolation
    """The weakest place that will do."""


class Isolator(Worker):
    """Runs plugins outside the host. One per app, made when the first plugin needs it."""

    @abstractmethod
    async def place(self, assignment: Assignment) -> Mapping[str, Sequence[Worker]]:
        """The plugin's workers, by kind, ``observers`` among them: made, named, not yet opened.

        Each says in `Worker.level` where it runs; its results carry evidence of it. `IsolationUnavailable`: this
        machine cannot isolate so strongly; nothing was run. `PluginLoadError`: the plugin itself failed.
        """

    async def forget(self, session: str) -> None:
        """Remove for good what plugins have kept of a session: it was erased. Nothing there is fine too."""


def reaches(level: Isolation, floor: Isolation, fallback: Isolation | None = None) -> bool:
    """Whether a place is strong enough; the configuration's `fallback` will do instead of a container."""
    if fallback is not None and floor == "container":
        floor = fallback
    return _LEVELS.index(level) >= _LEVELS.index(floor)


def find_isolator(config: Config, nursery: trio.Nursery, notice: Callable[..., None]) -> Isolator:
    """The isolator of this installation, not yet opened. `IsolationUnavailable`: there is none.

    What it keeps running, it runs in `nursery`; it is closed before that is cancelled.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415  # 20 ms that an app without plugins need not pay

    for entry in entry_points(group=GROUP):
        if entry.dist is not None and entry.dist.metadata["Name"] == PACKAGE:
            make: Callable[[Config, Any, Callable[..., None]], Isolator] = entry.load()
            return make(config, nursery, notice)
    problem = f"nothing here can run code outside of this process: the package {PACKAGE} is not installed"
    raise IsolationUnavailable(problem, next_step=f"pip install {PACKAGE}")
