"""`fairlead approvals`: what waits for a person's decision, and the decision of the operator."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import attrs
import click

from fairlead.errors import ApprovalRefused
from fairlead.wire import unstructure
from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._tables import moment, table
from fairlead_cli._terminal import system_user
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fairlead import App
    from fairlead.events import Record

__all__ = ["command"]


@click.group("approvals", epilog=example("fairlead approvals list"), no_args_is_help=True)
def command() -> None:
    """Calls that wait for a person's approval: list, show, allow and deny them."""


def _with_journal(config_file: str | None, profile: str | None, action: Callable[[App], Awaitable[Any]]) -> Any:
    """Do something with the journal; nothing but the memory is opened for it."""
    return with_app(attrs.evolve(keep(load(config_file, profile), "memories"), models={}), action)


def _plain(record: Record) -> dict[str, Any]:
    return {"session": record.session, **unstructure(record.event)}


@command.command("list", epilog=example("fairlead approvals list --json"))
@config_options
@json_option
def list_(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """What waits for a decision now, oldest first."""
    found: Sequence[Record] = _with_journal(config_file, profile, lambda app: app.approvals())
    screen = Screen()
    if as_json:
        screen.json([_plain(record) for record in found])
    elif not found:
        screen.note("Nothing waits for an approval.")
    else:
        rows = []
        for record in found:
            event: Any = record.event
            who = " or ".join(event.approvers) or event.principal or "the operator"
            rows.append((event.id, event.tool, event.principal, who, moment(event.expires)))
        table(screen, ("APPROVAL", "TOOL", "FOR", "WHO MAY", "EXPIRES (UTC)"), rows)


@command.command("show", epilog=example("fairlead approvals show abcdefghijkmnp"))
@click.argument("approval")
@config_options
@json_option
def show(approval: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """APPROVAL with all that will run: the arguments as JSON, with nothing left out."""
    found: Sequence[Record] = _with_journal(config_file, profile, lambda app: app.approvals())
    record = next((each for each in found if getattr(each.event, "id", "") == approval.lower()), None)
    if record is None:
        problem = f"no approval {approval!r} waits for a decision"
        raise ApprovalRefused(problem, approval=approval, next_step="fairlead approvals list")
    screen = Screen()
    if as_json:
        screen.json(_plain(record))
        return
    event: Any = record.event
    screen.line(f"{event.id}: {event.tool}", "bold")
    left = max(0, event.expires - time.time())
    for name, value in (
        ("for", event.principal or "nobody who is known"),
        ("session", record.session),
        ("who may", " or ".join(event.approvers) or event.principal or "the operator"),
        ("expires", f"{moment(event.expires)} UTC, in {left:.0f} s"),
        ("digest", event.digest),
    ):
        screen.line(f"  {name}: {escape(value)}")
    screen.line(json.dumps(event.arguments, indent=2))  # in ASCII: what would hide something is spelled out
    screen.note(f"  next: fairlead approvals allow {event.id}, or: fairlead approvals deny {event.id} --reason WHY")


def _decide(approval: str, config_file: str | None, profile: str | None, reason: str, *, allow: bool) -> Any:
    me = system_user()
    by = attrs.evolve(me, id=f"cli:{me.name}")
    return _with_journal(
        config_file, profile, lambda app: app.decide(approval, allow=allow, by=by, reason=reason, where="cli")
    )


def _say(event: Any, *, allow: bool, as_json: bool) -> None:
    screen = Screen()
    if as_json:
        screen.json({"approval": event.id, "tool": event.tool, "granted": allow})
    else:
        screen.line(f"{escape(event.tool)} is {'approved' if allow else 'denied'} ({event.id}).")


@command.command("allow", epilog=example("fairlead approvals allow abcdefghijkmnp"))
@click.argument("approval")
@click.option("--reason", default="", help="Why; it is kept with the decision.")
@config_options
@json_option
def allow(approval: str, reason: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Let the call of APPROVAL run, once, exactly as it is shown."""
    _say(_decide(approval, config_file, profile, reason, allow=True), allow=True, as_json=as_json)


@command.command("deny", epilog=example('fairlead approvals deny abcdefghijkmnp --reason "not today"'))
@click.argument("approval")
@click.option("--reason", default="", help="Why; the model is told.")
@config_options
@json_option
def deny(approval: str, reason: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Deny the call of APPROVAL."""
    _say(_decide(approval, config_file, profile, reason, allow=False), allow=False, as_json=as_json)
