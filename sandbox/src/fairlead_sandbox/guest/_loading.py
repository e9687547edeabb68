"""The plugin of this process: imported through its entry point, registered with pluggy, and asked for its workers.

What the core does for a plugin in the host, done here for one; whatever the plugin raises is a `PluginLoadError`.
"""

from __future__ import annotations

import gc
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeVar

import pluggy

from fairlead import Channel, Memory, Observer, Policy, Provider, Secret, Settings, Tool, hookspecs
from fairlead.errors import FairleadError, PluginError, PluginLoadError
from fairlead_sandbox.boundary._errors import said

__all__ = ["KINDS", "load_workers", "settings_of"]

T = TypeVar("T")

KINDS: Mapping[str, type[Any]] = {
    "channels": Channel,
    "tools": Tool,
    "providers": Provider,
    "memories": Memory,
    "policies": Policy,
    "observers": Observer,
}


def settings_of(raw: Mapping[str, Any]) -> Settings:
    """The plugin's settings. A secret is a handle here: its value is placed by the host, on the way out."""
    return Settings(
        raw["name"], _revived(raw.get("options", {})), Path(raw.get("data_dir", ".")), raw.get("profile", "development")
    )


def _revived(value: Any) -> Any:
    if isinstance(value, list):
        return [_revived(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$secret" in value and value.keys() <= {"$secret", "source"}:
        return Secret(value["$secret"], value.get("source", ""))
    return {key: _revived(each) for key, each in value.items()}


def load_workers(hello: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The workers that the plugin makes for its table, and its observers, each with its kind; named, not opened.

    `PluginLoadError`: importing it, its hooks or what they gave is at fault.
    """
    kind, settings = hello["kind"], settings_of(hello["settings"])
    plugin = _guarded(hello, "importing it", lambda: _import(hello))
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    _guarded(hello, "reading its hooks", lambda: _register(hello, plugin, manager))
    made = _made(hello, kind, manager, settings)
    watching = _made(hello, "observers", manager, settings)
    if made is None and watching is None:
        hook = f"fairlead_{kind}"
        found = f"its function {hook} has no @hookimpl" if hasattr(plugin, hook) else "found none"
        raise _broken(hello, f"expected the hook {hook}; {found}")
    gc.collect()
    gc.freeze()  # what was imported stays for the life of the process, and need not be looked at again
    return [(kind, worker) for worker in made or ()] + [("observers", worker) for worker in watching or ()]


def _broken(hello: Mapping[str, Any], problem: str) -> PluginLoadError:
    subject = f"{hello['kind']}/{hello['name']}"
    off = f"tell its authors, and until then write enabled = false in [{hello['kind']}.{hello['name']}]"
    return PluginLoadError(f"{subject}: {problem}", plugin=subject, next_step=off)


def _guarded(hello: Mapping[str, Any], doing: str, act: Callable[[], T]) -> T:
    try:
        return act()
    except PluginError:
        raise
    except BaseException as error:
        text = error.problem if isinstance(error, FairleadError) else said(error)
        raise _broken(hello, f"{doing} raised {type(error).__name__}: {text}") from error


def _import(hello: Mapping[str, Any]) -> Any:
    """What the entry point names; `importlib.metadata` would do the same, and is not needed for anything else here."""
    module, _, attributes = hello["entry_point"].partition(":")
    return reduce(getattr, filter(None, attributes.split(".")), importlib.import_module(module))


def _register(hello: Mapping[str, Any], plugin: Any, manager: pluggy.PluginManager) -> None:
    if inspect.isclass(plugin):
        raise _broken(hello, f"found the class {plugin.__name__}, expected a module or an object with hooks")
    manager.register(plugin, hello["name"])
    for caller in manager.get_hookcallers(plugin) or ():
        mine = next((each for each in caller.get_hookimpls() if not each.optionalhook), None)
        if mine is not None and not caller.has_spec():
            function = mine.function.__name__
            raise _broken(hello, f"its function {function} implements the hook {caller.name!r}, which does not exist")


def _made(hello: Mapping[str, Any], kind: str, manager: pluggy.PluginManager, settings: Settings) -> list[Any] | None:
    """The workers that the hook of that kind gives, named; None where the plugin does not have it."""
    hook, contract = f"fairlead_{kind}", KINDS[kind]
    caller = getattr(manager.hook, hook)
    if not caller.get_hookimpls():
        return None
    made: list[Any] = []
    for result in _guarded(hello, f"{hook}()", lambda: caller(settings=settings)) or [None]:
        if inspect.iscoroutine(result):
            result.close()
        listed = result if isinstance(result, list | tuple) else [result]
        stranger = next((type(each) for each in listed if not isinstance(each, contract)), None)
        if stranger is not None or listed is not result:
            found = (stranger or type(result)).__qualname__
            problem = f"{hook}() gave an object of type {found}, expected a list of {contract.__name__} objects"
            raise _broken(hello, problem)
        made += result
    for position, worker in enumerate(made, 1):
        name = settings.name if position == 1 else f"{settings.name}-{position}"
        _guarded(hello, "setting the name of a worker", partial(setattr, worker, "name", name))
    return made
