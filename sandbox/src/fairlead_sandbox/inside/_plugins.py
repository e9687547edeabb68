"""The plugins of a sandbox: imported through their entry points, opened once, described.

The first module here that imports `fairlead`, from the plugins' own directories: the supervisor never does.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._arguments import prepare

__all__ = ["PluginFailed", "Plugins"]

SHOWN = 2_000
"""Characters of what an exception says."""


class PluginFailed(Exception):
    """A plugin could not be loaded."""

    def __init__(self, table: str, cause: BaseException) -> None:
        super().__init__(table)
        self.table = table
        self.cause = cause

    def words(self) -> dict[str, str]:
        try:
            text = str(self.cause)[:SHOWN].encode("utf-8", "replace").decode("utf-8")
        except Exception:  # noqa: BLE001  # a class may raise anything while its text is made
            text = "(it has no text)"
        return {"table": self.table, "class": type(self.cause).__name__, "problem": text}


class Plugins:
    """The tool workers by table, in the order in which their hooks gave them."""

    def __init__(self) -> None:
        self.workers: dict[str, list[Any]] = {}
        self.unchecked: dict[tuple[int, str], Any] = {}
        """The schemas of arguments that the host has checked in part only; by the worker's `id` and the tool."""
        self.run: Callable[..., tuple[Any, int]]
        """How a tool is run: on trio, or without an event loop where none of them ever awaits."""

    def load(self, tables: Sequence[Mapping[str, Any]]) -> None:
        """Import, make and open what the tables name. `PluginFailed`: with the first one that fails."""
        for table in tables:
            try:
                self.workers[table["name"]] = _load(table)
            except BaseException as error:
                raise PluginFailed(table["name"], error) from error
        self.run = _way(immediate=all(worker.immediate for workers in self.workers.values() for worker in workers))

    def describe(self) -> list[dict[str, Any]]:
        """Every worker with the specs of its tools. `PluginFailed`: they cannot be had."""
        found = []
        for table, workers in self.workers.items():
            try:
                for index, worker in enumerate(workers):
                    tools = worker.specs()
                    self.unchecked |= {(id(worker), s.name): s.parameters for s in tools if prepare(s.parameters)}
                    specs = [_plain(spec) for spec in tools]
                    found.append({"table": table, "worker": index, "name": worker.name, "specs": specs})
            except BaseException as error:
                raise PluginFailed(table, error) from error
        return found


def _plain(spec: Any) -> dict[str, Any]:
    """As JSON. Every field of it is a plain value already, but that one of them may be a read-only view."""
    said = {field.name: getattr(spec, field.name) for field in type(spec).__attrs_attrs__}
    said = {name: value for name, value in said.items() if value is not None}
    return said | {"parameters": json.loads(json.dumps(said["parameters"], default=dict))}


def _way(*, immediate: bool) -> Callable[..., tuple[Any, int]]:
    """Tried here, so that each call finds made what is made at first use."""
    if not immediate:
        import trio  # noqa: PLC0415  # lies in the plugins' directories, and takes 7 MB

        from ._tool import run_tool, warm_up  # noqa: PLC0415  # the same

        trio.run(warm_up)
        return run_tool
    from ._immediate import run_immediately  # noqa: PLC0415  # lies in the plugins' directories
    from ._outcome import rehearse  # noqa: PLC0415  # the same

    rehearse()
    return run_immediately


def _load(table: Mapping[str, Any]) -> list[Any]:
    import pluggy  # noqa: PLC0415  # lies in the plugins' directories

    from fairlead import Settings, Tool, hookspecs  # noqa: PLC0415  # the same

    module, _, path = table["entry_point"].partition(":")
    plugin: Any = importlib.import_module(module)
    for name in path.split(".") if path else ():
        plugin = getattr(plugin, name)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, table["name"])
    options = {key: _option(value) for key, value in table.get("options", {}).items()}
    settings = Settings(table["name"], options, Path(table.get("data_dir", "/tmp")), table.get("profile", "production"))  # noqa: S108  # the sandbox's own
    workers = [worker for made in manager.hook.fairlead_tools(settings=settings) for worker in made]
    for position, worker in enumerate(workers, 1):
        if not isinstance(worker, Tool):
            raise TypeError(
                f"fairlead_tools() gave an object of type {type(worker).__qualname__}, expected Tool objects"
            )
        worker.name = table["name"] if position == 1 else f"{table['name']}-{position}"

    for worker in workers:
        if type(worker).open is not Tool.open:
            import trio  # noqa: PLC0415  # as above

            trio.run(worker.open)
    return workers


def _option(value: Any) -> Any:
    """A secret comes as a handle: the host puts the value in its place where it leaves the sandbox."""
    from fairlead import Secret  # noqa: PLC0415  # lies in the plugins' directories

    if isinstance(value, dict):
        if set(value) <= {"$secret", "source"} and "$secret" in value:
            return Secret(value["$secret"], value.get("source", ""))
        return {key: _option(each) for key, each in value.items()}
    return [_option(each) for each in value] if isinstance(value, list) else value
