"""`fairlead plugins add` and its neighbours: plugins with environments of their own, and the end of a quarantine."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from fairlead_cli._failures import Refused
from fairlead_cli._operations import operations
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._text import escape, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    F = Callable[..., Any]

__all__ = ["add", "api_words", "remove", "revive", "upgrade"]

_STEPS = {
    "waiting": "Another process changes something; waiting",
    "building": "Building the project, with its own code",
    "resolving": "Choosing versions",
    "installing": "Making the environment, which nothing uses yet",
    "checking": "Trying the new version in a process of its own",
}


def _source_options(function: F) -> F:
    """``--find-links``, ``--no-index`` and ``--yes``."""
    function = click.option("--yes", is_flag=True, help="Ask nothing; also run a project's own build code.")(function)
    function = click.option("--no-index", is_flag=True, help="Fetch nothing: use --find-links and what is here.")(
        function
    )
    return click.option(
        "--find-links", metavar="DIR", multiple=True, help="A directory of wheels; may be given again."
    )(function)


@click.command(
    "add",
    short_help="Put a plugin into an environment of its own.",
    epilog=example(
        "fairlead plugins add acme-dice\n"
        "fairlead plugins add ./acme_dice-1.0-py3-none-any.whl --no-index --find-links wheels\n"
        "fairlead plugins add ./acme-dice"
    ),
)
@click.argument("source", metavar="NAME|WHEEL|PATH")
@_source_options
@config_options
@json_option
def add(
    source: str,
    find_links: tuple[str, ...],
    config_file: str | None,
    profile: str | None,
    *,
    no_index: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put a plugin with all that it needs into an environment of its own, pinned with hashes.

    NAME is on an index, WHEEL a file, PATH a project's directory with a '/' in it. It is not enabled by that, and
    nothing of it is run, unless a project has to be built.
    """
    config, screen = load(config_file, profile), Screen()
    made = _run(
        operations().add_plugin,
        config,
        source,
        find_links=find_links,
        no_index=no_index,
        allow_build=_allow_build(source, screen, yes=yes),
        confirm=None if yes else partial(_confirm, screen, f"fairlead plugins add {source} --yes"),
        watch=partial(_watch, screen),
    )
    if as_json:
        screen.json({**made, "tables": [_table(point) for point in made["asks"]["plugins"]]})
        return
    if yes:
        _show(screen, made["asks"], None)
    screen.line(f"{escape(made['name'])} {escape(made['version'])} has an environment of its own.", "green")
    screen.line("It is not enabled. To enable it, write into fairlead.toml what you grant of this:")
    for point in made["asks"]["plugins"]:
        screen.line()
        screen.line(escape(_table(point)))


@click.command(
    "upgrade",
    short_help="Take a newer version of a plugin into use.",
    epilog=example("fairlead plugins upgrade acme-dice\nfairlead plugins upgrade acme-dice --from 'acme-dice<2'"),
)
@click.argument("name")
@click.option("--from", "source", metavar="NAME|WHEEL|PATH", help="From here; by default from where it came.")
@_source_options
@config_options
@json_option
def upgrade(
    name: str,
    source: str | None,
    find_links: tuple[str, ...],
    config_file: str | None,
    profile: str | None,
    *,
    no_index: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Put a newer version of the plugin NAME beside the one in use, try it, and take it into use where it works.

    It is tried in a process of its own, with the options of each table that enables it. You are asked where it wants
    more than before.
    """
    config, screen, offered = load(config_file, profile), Screen(), operations()
    if source is None:
        source = _project(trio.run(offered.list_plugins, config), name)
    done = _run(
        offered.upgrade_plugin,
        config,
        name,
        source,
        find_links=find_links,
        no_index=no_index,
        allow_build=source is not None and _allow_build(source, screen, yes=yes),
        confirm=None if yes else partial(_confirm_more, screen, f"fairlead plugins upgrade {name} --yes"),
        watch=partial(_watch, screen),
    )
    if as_json:
        screen.json(done)
        return
    before, after = done["before"], done["after"]
    label = f"{escape(after['name'])} {escape(after['version'])}"
    if not done["changed"]:
        screen.line(f"{label} is the newest, and stays in use.")
        return
    tried = (
        f"it works as {escape(', '.join(done['tried']))}"
        if done["tried"]
        else "it was not tried, for no table enables it"
    )
    screen.line(f"{label} is in use instead of {escape(before['version'])}: {tried}.", "green")
    screen.line("  what runs now goes on with the version it began with; next: restart fairlead run")


@click.command(
    "remove",
    short_help="Remove a plugin with its environment.",
    epilog=example("fairlead plugins remove acme-dice"),
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@config_options
@json_option
def remove(name: str, config_file: str | None, profile: str | None, *, yes: bool, as_json: bool) -> None:
    """Remove the plugin NAME, which `fairlead plugins add` has put here, with its environment."""
    config, screen, offered = load(config_file, profile), Screen(), operations()
    found = [each for each in trio.run(offered.list_plugins, config) if _is_named(each, name)]
    if not yes and not _ask(
        screen, f"Remove {escape(name)} with its environment?", f"fairlead plugins remove {name} --yes"
    ):
        raise Refused("nothing was removed", next_step=f"fairlead plugins remove {name} --yes")
    done = _run(offered.remove_plugin, config, name, watch=partial(_watch, screen))
    points = {(point["kind"], point["name"]) for each in found for point in each["asks"]["plugins"]}
    left = [f"{table.kind}.{table.name}" for table in config.plugins if (table.kind, table.entry_point) in points]
    if as_json:
        screen.json({**done, "tables": left})
        return
    screen.line(f"{escape(done['name'])} is removed.", "green")
    for table in left:
        screen.line(f"  next: remove [{escape(table)}] from {escape(config.file or 'fairlead.toml')}")


@click.command(
    "revive",
    short_help="End the quarantine of a plugin.",
    epilog=example("fairlead plugins revive channels/pager"),
)
@click.argument("name")
@config_options
@json_option
def revive(name: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """End the quarantine of the plugin NAME, or KIND/NAME, which crashed too often: it may be started again."""
    config, screen = load(config_file, profile), Screen()
    done = trio.run(operations().revive_plugin, config, name)
    if as_json:
        screen.json(done)
    elif done["revived"]:
        screen.line(f"{escape(done['name'])} may be started again.", "green")
    else:
        screen.line(f"{escape(done['name'])} is in no quarantine.")


# -- asking


def _run(operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return trio.run(partial(operation, *arguments, **options))


def _watch(screen: Screen, step: str) -> None:
    if step in _STEPS:
        screen.note(f"{_STEPS[step]}...")


def _ask(screen: Screen, question: str, instead: str) -> bool:
    """Ask a person; `Refused` where nobody sits there."""
    if not sys.stdin.isatty():
        raise Refused(f"nobody is here to answer: {question}", next_step=instead)
    screen.end_answer()
    return click.confirm(question, err=True)


def _is_path(source: str) -> bool:
    return os.sep in source or source.startswith((".", "~"))


def _allow_build(source: str, screen: Screen, *, yes: bool) -> bool:
    """Whether a project may be built: by its own code, which nothing holds back."""
    if not _is_path(source) or not Path(source).expanduser().is_dir():
        return False
    screen.note(f"To build {escape(source)} runs its own code on this machine, as you, with your files.", "yellow")
    if yes or _ask(screen, "Build it?", f"fairlead plugins add {source} --yes"):
        return True
    raise Refused("nothing was built", next_step=f"uv build --wheel {source}, where it may run; then add the wheel")


def _project(there: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """The directory of a plugin that was built from one: building it again has to be allowed again."""
    given = next((str(each["source"]) for each in there if _is_named(each, name)), "")
    return given if _is_path(given) else None


def _is_named(plugin: Mapping[str, Any], name: str) -> bool:
    points = plugin["asks"]["plugins"]
    distribution = re.sub(r"[-_.]+", "-", name).lower()  # as distributions are compared (PEP 503)
    return plugin["name"] == distribution or any(
        name in (point["name"], f"{point['kind']}/{point['name']}") for point in points
    )


async def _confirm(screen: Screen, instead: str, asks: Mapping[str, Any], before: Mapping[str, Any] | None) -> bool:
    _show(screen, asks, before)
    return _ask(screen, "Keep it in an environment of its own? It is not enabled by that.", instead)


async def _confirm_more(
    screen: Screen, instead: str, asks: Mapping[str, Any], before: Mapping[str, Any] | None
) -> bool:
    """Ask only where it wants more than the version in use."""
    if before is None or not list(_more(asks, before)):
        return True
    _show(screen, asks, before)
    return _ask(screen, "It asks for more than before. Take it?", instead)


# -- showing


def _more(asks: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[str]:
    """What a version asks for that the one before did not."""
    levels = ("host", "process", "container", "kernel")
    known = {(point["kind"], point["name"]): point for point in before["plugins"]}
    for point in asks["plugins"]:
        label = f"{point['kind']}/{point['name']}"
        old = known.get((point["kind"], point["name"]))
        if old is None:
            yield f"{label} is new"
            continue
        for key in ("hosts", "secrets", "mounts"):
            if more := [each for each in point[key] if each not in old[key]]:
                yield f"{label}: {key} {', '.join(more)}"
        if levels.index(point["isolation"]) < levels.index(old["isolation"]):
            yield f"{label}: isolation {point['isolation']} instead of {old['isolation']}"


def _show(screen: Screen, asks: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """What it asks for, on standard error: it is about the answer, and not the answer."""
    screen.note(f"{escape(asks['distribution'])} {escape(asks['version'])} asks for:", "bold")
    for point in asks["plugins"]:
        words = {
            "isolation": f"{point['isolation']} or stronger",
            "runtime": point["runtime"],
            "plugin API": api_words(point["api"]) if point["api"] else "not said",
            "stage": point["stage"],
            **{key: ", ".join(point[key]) or "none" for key in ("hosts", "secrets", "mounts")},
        }
        screen.note(f"  {escape(point['kind'])}/{escape(point['name'])}", "")
        for key, value in words.items():
            screen.note(f"    {key}: {escape(value)}", "")
    needs = asks["needs"]
    screen.note(f"  {len(needs)} packages beside it: {escape(', '.join(needs)) or 'none'}", "")
    for line in _more(asks, before) if before is not None else ():
        screen.note(f"  more than before: {escape(line)}", "yellow")


def api_words(api: str) -> str:
    """The range of versions, as people say it: ``1.0 or a later 1.x``."""
    least = api.removeprefix(">=")
    return f"{least} or a later {least.partition('.')[0]}.x" if "<" not in api else api


def _table(point: Mapping[str, Any]) -> str:
    """The table that enables it, with all that it asks for, and what it must be told."""
    lines = [f"[{point['kind']}.{_key(point['name'])}]"]
    if point["hosts"]:
        lines.append(f"hosts = [{', '.join(map(_quoted, point['hosts']))}]")
    for key in point["secrets"]:
        variable = re.sub(r"\W", "_", f"{point['name']}_{key}", flags=re.ASCII).upper()
        lines.append(f"{_key(key)} = {{ env = {_quoted(variable)} }}")
    schema = point["settings"]
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in point["secrets"]:
            known = properties.get(key, {})
            kind = known.get("type", "value") if isinstance(known, dict) else "value"
            lines.append(f"# {_key(key)} = ...  ({one_line(str(kind))}; it must have one)")
    return "\n".join(lines)


def _key(text: str) -> str:
    """A key of TOML; whoever copies a table from here gets no other table with it."""
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    """A TOML string: JSON's is one, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
