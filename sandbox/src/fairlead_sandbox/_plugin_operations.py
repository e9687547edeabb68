"""`fairlead plugins add` and its neighbours: the store of an app, asked in words and answered in JSON."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from fairlead.config import Config, PluginConfig
from fairlead.errors import PluginConflict, PluginNotFound
from fairlead_sandbox._places import Places
from fairlead_sandbox.environments import Asks, Environment, PluginAsks, PluginStore, Sources, StoredPlugin

__all__ = ["add_plugin", "list_plugins", "open_store", "remove_plugin", "revive_plugin", "upgrade_plugin"]

Confirm = Callable[[Mapping[str, Any], Mapping[str, Any] | None], Awaitable[bool]]
"""Is told what a plugin asks for, and what the version in use asks for; says whether to go on."""
Watch = Callable[[str], object]
"""Is told each step, in one word (`PluginStore`)."""


def _silent(_step: str) -> None:
    """Nobody watches."""


def open_store(config: Config, watch: Watch = _silent) -> PluginStore:
    """The store of an app: where its isolator looks too."""
    places = Places.of(config)
    return PluginStore(places.plugins, places.cache, watch=watch)


async def add_plugin(
    config: Config,
    source: str,
    *,
    find_links: Sequence[str] = (),
    no_index: bool = False,
    allow_build: bool = False,
    confirm: Confirm | None = None,
    watch: Watch = _silent,
) -> Mapping[str, Any]:
    """Put a plugin into an environment of its own; what it is. Raises what `PluginStore.add` raises."""
    store, sources = open_store(config, watch), Sources(tuple(find_links), no_index)
    made = await store.add(source, sources, confirm=_asked(confirm), allow_build=allow_build)
    return _plain(made)


async def upgrade_plugin(
    config: Config,
    name: str,
    source: str | None = None,
    *,
    find_links: Sequence[str] = (),
    no_index: bool = False,
    allow_build: bool = False,
    confirm: Confirm | None = None,
    watch: Watch = _silent,
) -> Mapping[str, Any]:
    """Take a newer version into use, where it works: ``before``, ``after``, ``changed`` and ``tried``.

    It is tried in a process of its own, once for each table of the configuration that enables it, and without options
    where none does and it needs none; ``tried`` has the names. Raises what `PluginStore.upgrade` raises.
    """
    store, sources = open_store(config, watch), Sources(tuple(find_links), no_index)
    tables = [table for point in store.find(name).asks.plugins for table in _tables(config, point)]

    async def check(environment: Environment) -> None:
        await _try_tables(config, tables, environment)

    done = await store.upgrade(name, source, sources, check=check, confirm=_asked(confirm), allow_build=allow_build)
    tried = [f"{table.kind}/{table.name}" for table in tables] if done.changed else []
    return {"before": _plain(done.before), "after": _plain(done.after), "changed": done.changed, "tried": tried}


async def remove_plugin(config: Config, name: str, *, watch: Watch = _silent) -> Mapping[str, Any]:
    """Remove a plugin with its environment. Raises what `PluginStore.remove` raises."""
    return {"name": await open_store(config, watch).remove(name)}


async def list_plugins(config: Config) -> Sequence[Mapping[str, Any]]:
    """The plugins that have environments of their own."""
    return [_plain(each) for each in await trio.to_thread.run_sync(open_store(config).list)]


async def revive_plugin(config: Config, name: str) -> Mapping[str, Any]:
    """End the quarantine of a plugin: of the table ``kind/name``, or ``name`` where that is clear.

    Gives its full name, and ``revived``: False where it was in none. `PluginNotFound`: no plugin of that name ever ran
    outside of the host. `PluginConflict`: two did.
    """
    from fairlead_sandbox.process import read_record, revive  # noqa: PLC0415  # only where processes are the matter

    records = {file: read_record(file) for file in sorted(Places.of(config).states.glob("*.json"))}
    found = {
        record.name: file
        for file, record in records.items()
        if record is not None and name in (record.name, record.name.partition("/")[2])
    }
    if not found:
        known = ", ".join(record.name for record in records.values() if record is not None) or "none"
        raise PluginNotFound(
            f"no plugin {name!r} ever ran outside of the host here; there are: {known}",
            next_step="fairlead plugins list",
        )
    if len(found) > 1:
        first = min(found)
        raise PluginConflict(f"{name!r} is {' and '.join(found)}", next_step=f"fairlead plugins revive {first}")
    ((subject, file),) = found.items()
    return {"name": subject, "revived": await trio.to_thread.run_sync(revive, file, time.time())}


def _tables(config: Config, point: PluginAsks) -> Sequence[PluginConfig]:
    """The tables that enable it, or one that could."""
    found = [table for table in config.plugins if (table.kind, table.entry_point) == (point.kind, point.name)]
    if not found and not point.settings.get("required"):
        kind: Any = point.kind  # one of the five, for it was the name of a group
        return [PluginConfig(kind, point.name)]
    return found


async def _try_tables(config: Config, tables: Sequence[PluginConfig], environment: Environment) -> None:
    """Let each table describe its workers from there. Where there is none, it is enough that it was installed."""
    from fairlead_sandbox._trial import describe  # noqa: PLC0415  # only where something is tried

    for table in tables:
        await describe(table, environment, config)


def _asked(confirm: Confirm | None) -> Callable[[Asks, Asks | None], Awaitable[bool]] | None:
    if confirm is None:
        return None

    async def ask(asks: Asks, before: Asks | None) -> bool:
        return await confirm(_json(asks), _json(before) if before is not None else None)

    return ask


def _plain(plugin: StoredPlugin) -> Mapping[str, Any]:
    return {
        **{name: getattr(plugin, name) for name in ("name", "version", "installer", "added", "digest")},
        "source": plugin.source.given,
        "lock": str(plugin.lock),
        "asks": _json(plugin.asks),
    }


def _json(asks: Asks) -> Mapping[str, Any]:
    return attrs.asdict(asks, value_serializer=lambda _, __, value: list(value) if isinstance(value, tuple) else value)
