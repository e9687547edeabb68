"""The pages of `docs/reference/`, made from the code: what it says of itself is said once."""

from __future__ import annotations

import inspect
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import click

import fairlead
import fairlead_cli.command
from fairlead import config, errors, events, hookspecs, memory, plugins, testing, wire
from fairlead_cli.command import cli

from ..house.checkout import PLUGINS
from .api_pages import tiers_page, versions_page
from .source_texts import class_entry, definition, fields_entry, methods_entry, prose
from .used_hooks import implementers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["render_pages"]

HEAD = "<!-- Made from the code by `uv run python -m tests.docs.generate --write`; not edited by hand. -->"
WIDTH = 100
"""Columns of the help of commands."""


def render_pages() -> dict[str, str]:
    """The name of each page in `docs/reference/`, and its text."""
    made = {
        "app.md": app_page(),
        "command-line.md": command_page(),
        "configuration.md": configuration_page(),
        "contracts.md": contracts_page(),
        "errors.md": errors_page(),
        "events.md": events_page(),
        "hooks.md": hooks_page(),
        "plugin-api.md": versions_page(),
        "quality-tiers.md": tiers_page(),
        "schemas.md": schemas_page(),
        "testing.md": testing_page(),
    }
    return {name: tidied([HEAD, "", *lines]) for name, lines in made.items()}


def tidied(lines: list[str]) -> str:
    """One page; never two empty lines in a row."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n") + "\n"


def functions(module: Any, *names: str) -> Iterator[str]:
    for name in names:
        function = getattr(module, name)
        yield from (f"### {name}", "", *definition(name, function), prose(function.__doc__), "")


# -- hooks, contracts, the app


def hooks_page() -> Iterator[str]:
    yield from ("# Hooks", "", prose(hookspecs.__doc__), "")
    yield f"This is version {hookspecs.API_VERSION} of the plugin API; its versions have [a page](plugin-api.md)."
    yield "A hook takes its arguments by their names."
    yield from ("", "| kind | entry-point group | hook |", "| --- | --- | --- |")
    yield from (f"| {kind} | `{group}` | `fairlead_{kind}` |" for kind, group in hookspecs.GROUPS.items())
    used = implementers()
    for name in (name for name in hookspecs.__all__ if name.startswith("fairlead_")):
        hook = getattr(hookspecs, name)
        first, _, parts = prose(hook.__doc__).partition("\n\n")
        yield from ("", f"## {name}", "", *definition(name, hook), first, "")
        yield from (
            "- " + re.sub(r"^([A-Z][a-z ]+):", r"**\1**:", part) for part in re.split(r"\n(?=[A-Z][a-z ]+: )", parts)
        )
        if used.get(name):
            yield f"- **Examples**: {', '.join(f'`{where}`' for where in used[name])}"
        yield ""


CONTRACTS = ("Channel", "Inbox", "Provider", "Tool", "ToolContext", "Memory", "Policy", "Observer")
DATA = {
    "What is said": ("Message", "Text", "Image", "Audio", "File", "Data", "ToolCall", "ToolResult", "Usage"),
    "Who and where": ("Principal", "Address", "Origin"),
    "Channels": ("Capabilities", "Inbound", "Receipt", "Outbound", "Delivery", "Draft"),
    "Providers and tools": ("ModelInfo", "ModelRequest", "Delta", "ModelAnswer", "ToolSpec"),
    "Policies": ("Review", "Verdict"),
    "Plugins": ("Settings", "Secret", "Finding"),
}


def contracts_page() -> Iterator[str]:
    worker = fairlead.Channel.__bases__[0]
    yield from ("# Contracts", "", prose(sys.modules[worker.__module__].__doc__), "")
    yield from ("Everything here is imported from `fairlead`, the facets of a memory from `fairlead.memory`.", "")
    yield from (*class_entry(worker, "Every worker"), *methods_entry(worker))
    for cls in (*(getattr(fairlead, name) for name in CONTRACTS), memory.Journal, memory.Recall):
        yield from (*class_entry(cls, cls.__name__), *methods_entry(cls))
    yield from ("## Data", "", "All of it is frozen.", "")
    for title, names in DATA.items():
        yield from (f"### {title}", "")
        for name in names:
            cls = getattr(fairlead, name)
            yield from (*class_entry(cls, name, level=4), *methods_entry(cls, level=5))
    yield from ("### Memories", "")
    for cls in (memory.Note, memory.SessionInfo):
        yield from class_entry(cls, cls.__name__, level=4)


def app_page() -> Iterator[str]:
    yield from ("# The app", "", "What a host application imports.", "", "## fairlead", "")
    yield from functions(fairlead, "open")
    for cls in (fairlead.App, fairlead.Reply):
        yield from (*class_entry(cls, cls.__name__, level=3), *methods_entry(cls, level=4))
    store = vars(sys.modules[fairlead.App.__module__])["SessionStore"]
    yield from ("### App.sessions", "", prose(store.__doc__), "", *methods_entry(store, level=4))
    for module in (config, plugins, wire):
        yield from (f"## {module.__name__}", "", prose(module.__doc__), "")
        yield from functions(module, *(name for name in module.__all__ if inspect.isroutine(getattr(module, name))))
        for name in (name for name in module.__all__ if inspect.isclass(getattr(module, name))):
            yield from class_entry(getattr(module, name), name, level=3)


def testing_page() -> Iterator[str]:
    yield from ("# fairlead.testing", "", prose(testing.__doc__), "")
    for name in testing.__all__:
        value = getattr(testing, name)
        if inspect.isclass(value):
            kit = name.endswith("Conformance")
            yield from (*class_entry(value, name), *([] if kit else methods_entry(value)))
        else:
            yield from functions(testing, name)


# -- errors and events


def errors_page() -> Iterator[str]:
    title, tree, *_ = prose(errors.__doc__).split("\n\n")
    yield from ("# Errors", "", title, "", tree, "", "They are imported from `fairlead.errors`.", "")
    for name, cls in vars(errors).items():
        if inspect.isclass(cls) and name in errors.__all__:
            base = cls.__bases__[0].__name__
            yield from (f"## {name}", "", *([f"A [{base}](#{base.lower()})."] if base in errors.__all__ else []), "")
            yield from (prose(cls.__doc__), "", *fields_entry(cls), "")


def events_page() -> Iterator[str]:
    about = sys.modules[events.Event.__module__]
    yield from ("# Events", "", prose(about.__doc__), "")
    yield from ("They are imported from `fairlead.events`; their JSON is the [schema `event`](schemas.md).", "")
    yield from (*class_entry(events.Record, "Record"), *class_entry(events.Event, "Event"))
    for name, cls in vars(about).items():
        if inspect.isclass(cls) and issubclass(cls, events.Event) and cls is not events.Event:
            yield from (f"## {name}", "", f"`{cls.kind}`. {prose(cls.__doc__)}", "", *fields_entry(cls), "")


# -- configuration and schemas


def configuration_page() -> Iterator[str]:
    schema = wire.load_schema("config")
    yield from ("# Configuration", "", f"`fairlead.toml`. {schema['description']}", "")
    tables = []
    for name, raw in schema["properties"].items():
        table = resolved(raw, schema)
        if table.get("type") in ("object", "array"):
            tables.append((name, table))
        else:
            yield key_line(name, table)
    for name, table in tables:
        yield from ("", f"## {name}", "", table["description"], "")
        inner = resolved(table.get("items") or table.get("additionalProperties") or table, schema)
        keys = inner.get("properties", {}) if name != "profiles" else {}
        if keys and inner is not schema["$defs"]["plugin"]:
            yield from key_lines({key: resolved(value, schema) for key, value in keys.items()})
    yield from ("", "## Every table of a plugin", "", schema["$defs"]["plugin"]["description"], "")
    yield from key_lines(schema["$defs"]["plugin"]["properties"])
    link = schema["$defs"]["link"]["anyOf"][1]
    yield from ("", "## A model as a table", "", "Where `provider/model` does not say all:", "")
    yield from key_lines(link["properties"])
    yield from options_of_plugins()


def options_of_plugins() -> Iterator[str]:
    yield from (
        "",
        "## Options of our plugins",
        "",
        "From their manifests; `fairlead plugins show NAME` has those of any.",
    )
    for room in PLUGINS:
        path = room.source / "fairlead-plugin.json"
        if not path.is_file():
            continue
        manifest = json.loads(path.read_text("utf-8"))
        keys = manifest.get("settings", {}).get("properties", {})
        for group, points in room.project["project"]["entry-points"].items():
            yield from ("", f"### {group.removeprefix('fairlead.')}.{next(iter(points))}", "")
            yield from key_lines(keys, manifest.get("secrets", ()))
            yield from () if keys else ("No options.",)


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = root["$defs"][name] if name else schema
    return found


def key_lines(keys: Mapping[str, Any], secrets: Sequence[str] = (), indent: str = "") -> Iterator[str]:
    """A line for each key, those of inner objects below it."""
    for name, schema in keys.items():
        yield indent + key_line(name, schema, secret=name in secrets)
        inner = schema.get("items", schema)
        yield from key_lines(inner.get("properties", {}) if isinstance(inner, dict) else {}, (), indent + "  ")


def key_line(name: str, schema: Mapping[str, Any], *, secret: bool = False) -> str:
    """One key: its type, default and limits, and what it means."""
    kind = schema.get("type") or " or ".join(json.dumps(word) for word in schema.get("enum", ())) or "any value"
    kind = " or ".join(kind) if isinstance(kind, list) else kind
    limits = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most"}
    facts = [kind, *(f"{words} {schema[limit]}" for limit, words in limits.items() if limit in schema)]
    facts += [f"default `{json.dumps(schema['default'])}`"] if "default" in schema else []
    facts += ["secret"] if secret else []
    return f"- `{name}` ({', '.join(facts)}): {schema.get('description', '')}".rstrip(": ")


def schemas_page() -> Iterator[str]:
    yield from (
        "# Schemas",
        "",
        "JSON Schemas of draft 2020-12, one for each boundary. `fairlead schema NAME` prints one;",
    )
    yield from (
        "`fairlead.wire.load_schema(NAME)` gives it. What does not match is refused with the path of the",
        "fault.",
    )
    for name in wire.schema_names():
        schema = wire.load_schema(name)
        yield from ("", f"## {name}", "", str(schema.get("description", schema.get("title", ""))), "")
        required = schema.get("required", ())
        for key, raw in schema.get("properties", {}).items():
            value = (
                raw if "description" in raw else {**resolved(raw, schema), **raw} if "#" in raw.get("$ref", "") else raw
            )
            needed = "" if key not in required else " (required)"
            yield f"- `{key}`{needed}: {value.get('description', '')}".rstrip(": ")


# -- the command line


def command_page() -> Iterator[str]:
    yield from ("# Command line", "", prose(fairlead_cli.__doc__).partition("\n")[0], "")
    yield from help_of(cli, None, "fairlead", 2)


def help_of(command: click.Command, parent: click.Context | None, name: str, level: int) -> Iterator[str]:
    settings = {**command.context_settings, "terminal_width": WIDTH}
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent, **settings)
    yield from (f"{'#' * level} {name}", "", "```text", command.get_help(context), "```", "")
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from help_of(found, context, f"{name} {inner}", min(level + 1, 4))
