"""The default configuration: what works with no file at all, and what a file's unnamed kinds get.

A kind of plugin for which the file enables no table gets the plugins below, as far as they are installed. So a file
of one provider and one model has tools, a memory and a policy that allows exactly these tools.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairlead._config import Config, Kind, ModelRef, PluginConfig
from fairlead._work import Secret
from fairlead.errors import ConfigError

__all__ = [
    "APART",
    "CONTACTS",
    "REHEARSAL",
    "TRUSTED",
    "at_home",
    "data_dir",
    "default",
    "default_chain",
    "default_plugins",
    "parse_model",
]

_OURS = (
    "anthropic budgets calculator clock contacts email fetch irc logs matrix notes openai rehearsal rules sqlite "
    "telegram webhook workbench"
)
TRUSTED = {name: f"fairlead-{name}" for name in _OURS.split()} | {"terminal": "fairlead-cli"}
"""Entry point and distribution of our own plugins, which run where they say, also in the host: both must match."""
CONTACTS = "contacts"
"""The policy that lets nobody talk whom the operator does not know."""
APART = frozenset({CONTACTS, "budgets"})
"""Policies that answer questions of their own: a table for one of them leaves the default rules as they are."""
REHEARSAL = "rehearsal"
"""The provider that only rehearses; never in production."""
_RULES = {
    "name": "default-tools",
    "effect": "allow",
    "actions": ["tool_call"],
    "resources": [
        *("now", "weekday", "date_difference", "add_days", "calculate", "remember", "recall", "forget"),
        *("shell", "python", "read_file", "write_file", "edit_file", "list_files", "search_files", "send_file"),
    ],
    "layer": "app",
}


def default(*, environ: Mapping[str, str] = os.environ) -> Config:
    """The working configuration without a file.

    The vendors answer whose variables are set (``ANTHROPIC_API_KEY``, ``ANTHROPIC_BASE_URL``, ``OPENAI_API_KEY``,
    ``OPENAI_BASE_URL``), each with the first model that it lists; where none is set, the rehearsal: it never stands in
    for a vendor that fails.
    ``FAIRLEAD_MODEL=provider/model`` chooses one model, without fallback. `ConfigError`: it names another provider.
    Nothing is imported or written.
    """
    plugins = tuple(plugin for kind in _KINDS for plugin in default_plugins(kind, environ))
    providers = [plugin.name for plugin in plugins if plugin.kind == "providers"]
    return Config(data_dir=data_dir(environ), plugins=plugins, models={"default": default_chain(environ, providers)})


_KINDS: tuple[Kind, ...] = ("providers", "tools", "memories", "policies")


def default_plugins(kind: Kind, environ: Mapping[str, str]) -> list[PluginConfig]:
    """The plugins of one kind; none of them is a fault where it is not installed."""
    named: dict[Kind, dict[str, dict[str, Any]]] = {
        "channels": {},
        "providers": {**_vendors(environ), REHEARSAL: {}},
        "tools": {"clock": {}, "calculator": {}, "notes": {}, "workbench": {}},
        "memories": {"sqlite": {}},
        "policies": {"rules": {"rules": [_RULES]}, CONTACTS: {}},
    }
    return [PluginConfig(kind, name, options=options, optional=True) for name, options in named[kind].items()]


def _vendors(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Named as the vendors' own clients name them: a key must not go to another server than they would send it to."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("anthropic", "openai"):
        key, url = f"{name.upper()}_API_KEY", f"{name.upper()}_BASE_URL"
        options: dict[str, Any] = {"api_key": Secret(environ[key], f"env {key}")} if environ.get(key) else {}
        options |= {"base_url": environ[url]} if environ.get(url) else {}
        if options:
            found[name] = options
    return found


def default_chain(environ: Mapping[str, str], providers: Sequence[str]) -> tuple[ModelRef, ...]:
    """The models that answer where nobody chose one, for the plugins of `default_plugins` that are on."""
    chosen = environ.get("FAIRLEAD_MODEL", "")
    if not chosen:
        vendors = [name for name in providers if name != REHEARSAL]
        return tuple(ModelRef(name, "") for name in vendors or providers)
    ref = parse_model(chosen)
    if ref is None or ref.provider not in providers:
        known = ", ".join(f"{name}/..." for name in providers)
        raise ConfigError(
            f"found FAIRLEAD_MODEL={chosen!r}; expected provider/model with a provider that is ready here: {known}",
            path="FAIRLEAD_MODEL",
            next_step="set ANTHROPIC_API_KEY, OPENAI_API_KEY or OPENAI_BASE_URL, or type: fairlead init",
        )
    return (ref,)


def parse_model(text: str) -> ModelRef | None:
    """``provider/model`` as its two parts; the model may hold further slashes. None: it is no such text."""
    provider, slash, model = text.partition("/")
    return ModelRef(provider, model) if provider and slash and model else None


def data_dir(environ: Mapping[str, str], directory: Path = Path(), named: str = "") -> Path:
    """Where files are kept: the variable, what a file in that directory says, XDG (relative paths do not count)."""
    if chosen := environ.get("FAIRLEAD_DATA"):
        return at_home(chosen).absolute()
    if named:
        return directory / at_home(named)
    base = Path(environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else at_home("~/.local/share")) / "fairlead"


def at_home(path: str | Path) -> Path:
    """A path with ``~`` and ``~name`` replaced. `ConfigError`: nobody of that name has a home directory here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        problem = f"found {str(path)!r}, but there is no such home directory"
        raise ConfigError(problem, next_step="write the whole path, or set HOME or FAIRLEAD_DATA") from None
