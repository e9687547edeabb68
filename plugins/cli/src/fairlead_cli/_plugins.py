"""`fairlead plugins`: what is installed, from metadata alone. Nothing of a plugin is imported."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import click

from fairlead.errors import FairleadError, PluginNotFound
from fairlead.plugins import installed
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._plugins_change import add, api_words, remove, revive, upgrade
from fairlead_cli._screen import Screen
from fairlead_cli._tables import table
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from fairlead.plugins import InstalledPlugin

__all__ = ["command"]


@click.group("plugins", epilog=example("fairlead plugins list"), no_args_is_help=True)
def command() -> None:
    """What is installed and enabled. Installing never enables; nothing is imported to show it."""


for _changing in (add, upgrade, remove, revive):
    command.add_command(_changing)


@command.command("list", epilog=example("fairlead plugins list --json"))
@config_options
@json_option
def list_(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """All installed plugins."""
    screen = Screen()
    every, enabled = _look(config_file, profile, screen)
    if as_json:
        screen.json([_plain(plugin, enabled) for plugin in every])
        return
    columns = ("KIND", "NAME", "DISTRIBUTION", "VERSION", "API", "FLOOR", "STAGE", "ENVIRONMENT", "ENABLED", "PROBLEM")
    table(screen, columns, [_row(plugin, enabled) for plugin in every])


@command.command(
    "show",
    short_help="What one plugin is and asks for, from its metadata.",
    epilog=example("fairlead plugins show openai"),
)
@click.argument("name")
@config_options
@json_option
def show(name: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """What the plugin NAME, KIND/NAME or DISTRIBUTION is and asks for. Nothing of it is run to know that.

    Versions of the plugin API, runtime, the weakest place that it agrees to run in, hosts, secrets, mounts, settings,
    tools, stage, and the quality tier that its authors claim.
    """
    screen = Screen()
    every, enabled = _look(config_file, profile, screen)
    found = [plugin for plugin in every if name in (plugin.name, f"{plugin.kind}/{plugin.name}", plugin.distribution)]
    if not found:
        raise _not_found(name, every)
    if as_json:
        screen.json([{**_plain(plugin, enabled), "settings": _settings(plugin)} for plugin in found])
        return
    for plugin in found:
        _print(screen, plugin, enabled)


Enabled = dict[tuple[str, str], list[str]]


def _look(
    config_file: str | None, profile: str | None, screen: Screen
) -> tuple[tuple[InstalledPlugin, ...], Enabled | None]:
    """What is installed, and kind and entry point to the tables that enable it.

    Where the configuration cannot be read there is a note, and None: nor is it known where plugins have environments of
    their own.
    """
    try:
        config = load(config_file, profile)
    except FairleadError as error:
        screen.note(f"What is enabled is not known: {escape(str(error))}", "yellow")
        return installed(), None
    found: Enabled = {}
    for plugin in config.plugins:
        found.setdefault((plugin.kind, plugin.entry_point), []).append(plugin.name)
    return installed(config.data_dir), found


def _plain(plugin: InstalledPlugin, enabled: Enabled | None) -> dict[str, Any]:
    manifest = plugin.manifest
    tables = None if enabled is None else enabled.get((plugin.kind, plugin.name), [])
    return {
        **{name: getattr(plugin, name) for name in ("kind", "name", "distribution", "version", "problem")},
        "entry_point": plugin.value,
        "site": plugin.site,
        **{key: getattr(manifest, key, None) for key in ("api", "runtime", "isolation", "stage", "tier")},
        **{key: list(getattr(manifest, key, ())) for key in ("secrets", "hosts", "mounts")},
        "tools": [spec.name for spec in manifest.tools] if manifest else [],
        "enabled": None if tables is None else bool(tables),
        "tables": tables or [],
    }


def _row(plugin: InstalledPlugin, enabled: Enabled | None) -> tuple[str, ...]:
    plain = _plain(plugin, enabled)
    shown = {None: "?", True: "yes", False: "no"}[plain["enabled"]]
    names = ("kind", "name", "distribution", "version", "api", "isolation", "stage")
    return (*(plain[name] or "-" for name in names), "own" if plugin.site else "shared", shown, plugin.problem)


def _settings(plugin: InstalledPlugin) -> dict[str, Any]:
    return dict(plugin.manifest.settings) if plugin.manifest else {}


def _not_found(name: str, every: tuple[InstalledPlugin, ...]) -> PluginNotFound:
    names = [f"{plugin.kind}/{plugin.name}" if "/" in name else plugin.name for plugin in every]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return PluginNotFound(f"no plugin is named {name!r}{hint}", plugin=name, next_step="fairlead plugins list")


def _print(screen: Screen, plugin: InstalledPlugin, enabled: Enabled | None) -> None:
    plain = _plain(plugin, enabled)
    screen.line(f"{plugin.kind}/{plugin.name}", "bold")
    if plugin.problem:
        screen.line(f"  problem: {escape(plugin.problem)}", "red")
    screen.line(f"  distribution: {escape(plugin.distribution)} {escape(plugin.version)} ({escape(plugin.value)})")
    screen.line(f"  environment: {f'its own, in {escape(plugin.site)}' if plugin.site else 'that of Fairlead'}")
    floor = f"{plain['isolation']} or stronger" if plain["isolation"] else "where its kind belongs"
    state = {None: "not known", True: f"yes, as {', '.join(plain['tables'])}", False: "no"}[plain["enabled"]]
    words = {
        "plugin API": api_words(plain["api"]) if plain["api"] else "not said",
        "runtime": plain["runtime"] or "-",
        "isolation": floor,
        "stage": plain["stage"] or "-",
        "quality tier": f"{plain['tier']}, as its authors say" if plain["tier"] else "none claimed",
        "enabled": state,
        **{key: ", ".join(plain[key]) or "none" for key in ("secrets", "hosts", "mounts")},
        "tools": ", ".join(plain["tools"]) or "not said" if plugin.kind == "tools" else "",
    }
    for key, value in words.items():
        if value:
            screen.line(f"  {key}: {escape(value)}")
    properties = _settings(plugin).get("properties", {})
    screen.line("  settings:" if properties else "  settings: none")
    for key, schema in properties.items():
        screen.line(f"    {escape(_setting(key, schema))}")
    if plain["enabled"] is False:
        screen.line(f"  to enable it, write into fairlead.toml: [{plugin.kind}.{plugin.name}]")


def _setting(key: str, schema: Any) -> str:
    """One key with its type, default and meaning."""
    if not isinstance(schema, dict):
        return key
    kind = schema.get("type") or ("one of " + ", ".join(map(str, schema["enum"])) if "enum" in schema else "any")
    kind = " or ".join(map(str, kind)) if isinstance(kind, list) else kind
    default = f", default {json.dumps(schema['default'])}" if "default" in schema else ""
    return f"{key} ({kind}{default}): {schema.get('description', '')}".rstrip(": ")
