"""`fairlead contacts`: who may talk to the agents. The plugin `contacts` keeps them; this is how a person decides."""

from __future__ import annotations

import importlib
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import attrs
import click

from fairlead.errors import FairleadError
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._tables import moment, table
from fairlead_cli._text import escape, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["command"]

PACKAGE = "fairlead-contacts"


@click.group(
    "contacts", epilog=example("fairlead contacts pending\nfairlead contacts approve ABCD-EFGH"), no_args_is_help=True
)
def command() -> None:
    """Who may talk to the agents: codes and people.

    A stranger who writes to a channel is given a code, and reaches nobody until you approve it.
    """


@command.command("pending", epilog=example("fairlead contacts pending --json"))
@config_options
@json_option
def pending(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The codes that wait for you, oldest first. A code proves that whoever shows it to you is who wrote."""
    screen, now = Screen(), time.time()
    found = _operations().pending(load(config_file, profile).data_dir)
    if as_json:
        screen.json(_plain(found))
        return
    rows = [
        (each.code, each.channel, each.principal, each.name, f"{max(0, (each.expires - now) / 60):.0f} min")
        for each in found
    ]
    table(screen, ("CODE", "CHANNEL", "PERSON", "CALLS HIMSELF", "VALID FOR"), rows)
    if not found:
        screen.note("No code waits.")


@command.command("list", epilog=example("fairlead contacts list --json"))
@config_options
@json_option
def list_(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Everybody whom you have approved, oldest first. Lists in the configuration are not among them."""
    screen = Screen()
    found = _operations().known(load(config_file, profile).data_dir)
    if as_json:
        screen.json(_plain(found))
        return
    rows = [(each.principal, each.channel, each.account, each.name, moment(each.since)) for each in found]
    table(screen, ("PERSON", "CHANNEL", "ACCOUNT", "CALLS HIMSELF", "SINCE"), rows)
    if not found:
        screen.note("Nobody was approved.")


@command.command("approve", epilog=example("fairlead contacts approve ABCD-EFGH"))
@click.argument("code")
@config_options
@json_option
def approve(code: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Let the person in who was given CODE. A gateway that runs takes it at once."""
    _settled("approve", code, "may talk now", config_file, profile, as_json=as_json)


@command.command("decline", epilog=example("fairlead contacts decline ABCD-EFGH"))
@click.argument("code")
@config_options
@json_option
def decline(code: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Make CODE void. Its person gets no other one within the hour."""
    _settled("decline", code, "stays out", config_file, profile, as_json=as_json)


@command.command("remove", epilog=example("fairlead contacts remove telegram:12345"))
@click.argument("person")
@config_options
@json_option
def remove(person: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Take PERSON, an id such as telegram:12345, out of the contacts of all channels."""
    screen = Screen()
    gone = _call("remove", load(config_file, profile).data_dir, person)
    if as_json:
        screen.json(_plain(gone))
        return
    for each in gone:
        screen.line(f"{one_line(each.principal)} may no longer talk through {one_line(each.channel)}.", "green")


def _settled(act: str, code: str, words: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    screen = Screen()
    found = _call(act, load(config_file, profile).data_dir, code)
    if as_json:
        screen.json(attrs.asdict(found, filter=_shown))
        return
    calls = f" ({escape(one_line(found.name))})" if found.name else ""
    screen.line(f"{one_line(found.principal)}{calls} {words}, through {one_line(found.channel)}.", "green")


def _call(act: str, *arguments: Any) -> Any:
    """One of the operations; what it refuses is a fault of who typed."""
    try:
        return getattr(_operations(), act)(*arguments)
    except FairleadError as error:
        raise Refused(error.problem, next_step=error.next_step) from error


def _plain(found: Iterable[Any]) -> list[dict[str, Any]]:
    return [attrs.asdict(each, filter=_shown) for each in found]


def _shown(attribute: attrs.Attribute[Any], _: object) -> bool:
    return attribute.init


def _operations() -> Any:
    """What `fairlead-contacts` offers to be typed. `Refused` where it is not installed.

    No other distribution is asked: to be installed must not be enough to run in this process.
    """
    for entry_point in entry_points(group="fairlead.policies", name="contacts"):
        if entry_point.dist is not None and entry_point.dist.name == PACKAGE:
            return importlib.import_module(f"{entry_point.value.partition('.')[0]}.operations")
    raise Refused(f"this needs the package {PACKAGE}, which is not installed", next_step=f"pip install {PACKAGE}")
