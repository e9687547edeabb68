"""`fairlead schema`."""

from __future__ import annotations

import json

import click

from fairlead import wire
from fairlead_cli._options import example, json_option
from fairlead_cli._screen import Screen

__all__ = ["command"]


@click.command("schema", epilog=example("fairlead schema\nfairlead schema config > config.schema.json"))
@click.argument("name", required=False)
@json_option
def command(name: str | None, *, as_json: bool) -> None:
    """The published JSON Schemas: their names, or the one called NAME."""
    screen = Screen()
    if name is None and as_json:
        screen.json(list(wire.schema_names()))
    elif name is None:
        for known in wire.schema_names():
            screen.line(known)
    elif as_json:
        screen.json(wire.load_schema(name))
    else:
        screen.line(json.dumps(wire.load_schema(name), indent=2))
