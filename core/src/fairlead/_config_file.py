"""`fairlead.toml`, read into `Config`: which file, which profile, which references, and what is wrong in it.

The shape is `schemas/config.schema.json`. What a file does not say comes from `_defaults`: a kind of plugin for which
it enables no table gets the default's plugins of that kind, without those that it switches off by name.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from math import isnan
from pathlib import Path
from typing import Any, get_args

from attrs import evolve

from fairlead._config import (
    Agent,
    Binding,
    Compaction,
    Config,
    Kind,
    LaneLimits,
    Limits,
    ModelRef,
    PluginConfig,
    SessionLimits,
)
from fairlead._config_faults import Fault, Source, nearest, schema_faults
from fairlead._defaults import (
    APART,
    CONTACTS,
    REHEARSAL,
    TRUSTED,
    at_home,
    data_dir,
    default,
    default_chain,
    default_plugins,
    parse_model,
)
from fairlead._schemas import build_validator, load_schema
from fairlead._work import Secret
from fairlead.errors import ConfigError

__all__ = ["find", "load"]

_KINDS: tuple[Kind, ...] = get_args(Kind)
_PROFILES = ("development", "production")


def find(*, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file that `load` reads without being told: ``$FAIRLEAD_CONFIG``, else ``./fairlead.toml``, else None."""
    if named := environ.get("FAIRLEAD_CONFIG"):
        return at_home(named)
    here = Path("fairlead.toml")
    return here if here.is_file() else None


def load(
    path: str | Path | None = None, *, profile: str | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """Read a configuration: `path`, else what `find` finds, else `default`.

    The profile is `profile`, else ``$FAIRLEAD_PROFILE``, else what the file says, else ``development``. References
    ``{ env = "NAME" }`` and ``{ file = "path" }`` in the options of plugins become `Secret`; the loader of plugins
    reveals those that the manifest does not call secret. `ConfigError`: all that is wrong in the file, with lines; a
    missing file, variable or reference. Nothing is imported or written, and no message holds a secret.
    """
    chosen = at_home(path) if path is not None else find(environ=environ)
    if chosen is None:
        if _profile(profile, environ, {}) == "production":
            raise ConfigError(
                "profile production needs a fairlead.toml that names models.default and a memory; found no file",
                path="profile",
                next_step="fairlead init",
            )
        return default(environ=environ)
    text, document = _read(chosen)
    source = Source(str(chosen), text)
    if faults := schema_faults(build_validator(load_schema("config")), document):
        raise source.error(faults, "fairlead schema config")
    name = _profile(profile, environ, document)
    return _Reading(evolve(source, profile=name), document, environ).config()


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
        return text, tomllib.loads(text, parse_float=_number)
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=str(path), next_step="fairlead init") from None
    except RecursionError:
        raise ConfigError(
            "its values are nested too deeply", file=str(path), next_step="fairlead schema config"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        next_step = "make it a readable text file in UTF-8"
        raise ConfigError(f"cannot be read: {error}", file=str(path), next_step=next_step) from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = int(place[1]) if place else len(text.rstrip().splitlines())
        next_step = "mend the line, then type: fairlead doctor"
        raise ConfigError(f"not TOML: {error}", file=str(path), line=line, next_step=next_step) from None
    except ValueError as error:  # a NUL in the path, an integer of thousands of digits, no number
        next_step = "mend the file, then type: fairlead doctor"
        raise ConfigError(f"cannot be used: {error}", file=str(path), next_step=next_step) from None


def _number(text: str) -> float:
    number = float(text)
    if isnan(number):
        raise ValueError("found nan, expected a number")
    return number


def _profile(argument: str | None, environ: Mapping[str, str], document: Mapping[str, Any]) -> str:
    variable = environ.get("FAIRLEAD_PROFILE")
    name = argument or variable or document.get("profile") or _PROFILES[0]
    if name not in _PROFILES:
        raise ConfigError(
            f"found profile {name!r}, expected one of {', '.join(_PROFILES)}",
            path="profile" if argument else "FAIRLEAD_PROFILE",
            next_step="fairlead doctor",
        )
    return str(name)


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and len(value) == 1 and set(value) <= {"env", "file"}


def _merged(base: Any, over: Any) -> Any:
    """Tables are merged key by key; a reference is a value, not a table."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)) or _is_reference(base) or _is_reference(over):
        return over
    return {**base, **{key: _merged(base[key], value) if key in base else value for key, value in over.items()}}


class _Reading:
    """One pass over a document that matches the schema; it collects the faults that the schema cannot see."""

    def __init__(self, source: Source, document: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._source = source
        self._directory = Path(source.file).absolute().parent
        self._environ = environ
        over = document.get("profiles", {}).get(source.profile, {})
        self._document: dict[str, Any] = _merged(document, over)
        self._faults: list[Fault] = []
        self._unset: list[str] = []
        """Environment variables that the document names and nobody has set."""

    def config(self) -> Config:
        document = self._document
        config = Config(
            profile="production" if self._source.profile == "production" else "development",
            data_dir=data_dir(self._environ, self._directory, document.get("data_dir", "")),
            plugins=tuple(plugin for kind in _KINDS for plugin in self._plugins(kind)),
            models={alias: _chain(value) for alias, value in document.get("models", {}).items()},
            agents=tuple(Agent(name, **table) for name, table in document.get("agents", {}).items()) or (Agent(),),
            bindings=tuple(Binding(**table) for table in document.get("bindings", ())),
            limits=Limits(**document.get("limits", {})),
            lanes=LaneLimits(**document.get("lanes", {})),
            compaction=Compaction(**document.get("compaction", {})),
            sessions=SessionLimits(**document.get("sessions", {})),
            isolation=document.get("isolation", {}),
            file=self._source.file,
        )
        providers = {plugin.name: plugin for plugin in config.plugins if plugin.kind == "providers"}
        if "default" not in config.models and all(plugin.optional for plugin in providers.values()):
            chain = default_chain(self._environ, list(providers))
            config = evolve(config, models={**config.models, "default": chain} if chain else config.models)
        self._faults += [*self._names(config), *self._production(config)]
        if self._faults:
            only = len(self._faults) == 1 and self._unset
            raise self._source.error(self._faults, f"export {self._unset[0]}=..." if only else "fairlead doctor")
        return config

    # -- plugins

    def _plugins(self, kind: Kind) -> list[PluginConfig]:
        tables: dict[str, dict[str, Any]] = self._document.get(kind, {})
        enabled = [self._plugin(kind, name, table) for name, table in tables.items() if table.get("enabled", True)]
        spare = [plugin for plugin in default_plugins(kind, self._environ) if plugin.name not in tables]
        # Who may talk is one question, what it costs another, what may be done a third: each table leaves the others.
        named = any(plugin.name not in APART for plugin in enabled)
        return [*enabled, *(plugin for plugin in spare if not named or plugin.name == CONTACTS)]

    def _plugin(self, kind: Kind, name: str, table: Mapping[str, Any]) -> PluginConfig:
        options = {
            key: self._resolved(value, (kind, name, key))
            for key, value in table.items()
            if key not in {"plugin", "isolation", "enabled", "hosts", "listen"}
        }
        hosts, listen = (tuple(table.get(key, ())) for key in ("hosts", "listen"))
        return PluginConfig(kind, name, table.get("plugin", ""), table.get("isolation"), options, hosts, listen)

    def _resolved(self, value: Any, path: tuple[str | int, ...]) -> Any:
        if _is_reference(value):
            ((way, name),) = value.items()
            return self._reference(way, name, path)
        if isinstance(value, Mapping):
            return {key: self._resolved(each, (*path, key)) for key, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(each, (*path, position)) for position, each in enumerate(value)]
        return value

    def _reference(self, way: str, name: Any, path: tuple[str | int, ...]) -> Secret | None:
        source = f"{way} {name}"
        problem = ""
        found: str | None = None
        if not isinstance(name, str):
            problem = f'expected {way} = "..." with a text in quotes'
        elif way == "env":
            found = self._environ.get(name)
            problem = f"the environment variable {name} is {'empty' if found == '' else 'not set'}"
        else:
            try:
                found = (self._directory / at_home(name)).read_text("utf-8").rstrip("\r\n")
                problem = f"the file {name!r} is empty"
            except (OSError, ValueError, ConfigError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
                why = "there is no such file" if isinstance(error, ConfigError) or "\0" in name else why
                problem = f"the file {name!r} cannot be read: {why}"
        if found:
            return Secret(found, source)
        if way == "env" and isinstance(name, str):
            self._unset.append(name)
        self._faults.append(Fault(path, problem))
        return None

    # -- what the schema cannot see

    def _names(self, config: Config) -> Iterator[Fault]:
        agents = [agent.name for agent in config.agents]
        for position, binding in enumerate(config.bindings):
            if binding.agent not in agents:
                known = nearest(binding.agent, agents)
                yield Fault(("bindings", position, "agent"), f"no agent is named {binding.agent!r}{known}")
        providers = [plugin.name for plugin in config.plugins if plugin.kind == "providers"]
        for alias, ref in ((alias, ref) for alias, chain in config.models.items() for ref in chain):
            if ref.provider not in providers:
                yield Fault(("models", alias), _unknown_provider(ref, providers))
        aliases = list(dict.fromkeys(["default", *config.models]))
        for agent in config.agents:
            link, path = parse_model(agent.model), ("agents", agent.name, "model")
            if link is None and agent.model not in aliases:
                yield Fault(path, f"no model has the alias {agent.model!r}{nearest(agent.model, aliases)}")
            elif link is not None and link.provider not in providers:
                yield Fault(path, _unknown_provider(link, providers))

    def _production(self, config: Config) -> Iterator[Fault]:
        if config.profile != "production":
            return
        rehearsing = {plugin.name for plugin in config.plugins if plugin.entry_point == REHEARSAL}
        if "default" not in self._document.get("models", {}):
            yield Fault(("models", "default"), "profile production needs a model that is named; found none")
        elif any(ref.provider in rehearsing for ref in config.models.get("default", ())):
            problem = "profile production needs a model that answers; found the rehearsal, which only pretends"
            yield Fault(("models", "default"), problem)
        if all(plugin.optional for plugin in config.plugins if plugin.kind == "memories"):
            problem = "profile production needs a memory that is named, such as [memories.sqlite]; found none"
            yield Fault(("memories",), problem)


def _unknown_provider(ref: ModelRef, providers: list[str]) -> str:
    problem = f"no provider is named {ref.provider!r}{nearest(ref.provider, providers)}"
    return f"{problem}; add a table [providers.{ref.provider}]" if ref.provider in TRUSTED else problem


def _chain(value: Any) -> tuple[ModelRef, ...]:
    links = value if isinstance(value, list) else [value]
    refs = [parse_model(link) if isinstance(link, str) else ModelRef(**link) for link in links]
    return tuple(ref for ref in refs if ref is not None)
