"""`fairlead sessions`: what people do with the sessions of the journal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from fairlead.errors import SessionNotFound
from fairlead.wire import unstructure
from fairlead_cli._audit import ENDS, Account, audit
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._sessions_context import compact, text, undo
from fairlead_cli._sessions_keeping import archive, prune, restore
from fairlead_cli._sessions_opened import erase_session, with_journal
from fairlead_cli._tables import moment, table
from fairlead_cli._text import escape
from fairlead_cli._transcript import print_transcript

if TYPE_CHECKING:
    from fairlead import App

__all__ = ["command"]

_ALL = 10**9


@click.group("sessions", epilog=example("fairlead sessions list"), no_args_is_help=True)
def command() -> None:
    """List, show, compact, fork, roll back, export, archive and erase sessions."""


for _each in (compact, undo, text, archive, restore, prune):
    command.add_command(_each)


@command.command("list", epilog=example("fairlead sessions list --limit 10"))
@click.option("--owner", help="Only the sessions that this principal began: terminal:anna.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most so many.")
@config_options
@json_option
def list_(owner: str | None, limit: int, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The sessions, last used first."""
    found = with_journal(config_file, profile, lambda app: app.sessions.list(owner, limit))
    screen = Screen()
    if as_json:
        screen.json([attrs.asdict(info) for info in found])
    elif not found and owner is not None:
        screen.note(
            f"{escape(owner)} began no session. An owner is CHANNEL:ID, as in the list of all: fairlead sessions list"
        )
    elif not found:
        screen.note("There is no session yet. Begin one: fairlead chat")
    else:
        columns = ("SESSION", "VERSION", "STATE", "OWNER", "LAST USED (UTC)")
        rows = ((i.id, str(i.version), "pending" if i.pending else "idle", i.owner, moment(i.updated)) for i in found)
        table(screen, columns, rows)


@command.command("audit", epilog=example("fairlead sessions audit --json"))
@config_options
@json_option
@click.pass_context
def audit_(ctx: click.Context, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Count over the whole journal: what was accepted has one end, and what was sent was sent once.

    Exits with 1 where something broke that law. Messages that wait break nothing: fairlead run finishes them.
    """

    async def count(app: App) -> Account:
        total = Account()
        for info in await app.sessions.list(limit=_ALL):
            total += audit(info.id, await app.sessions.records(info.id))
        return total

    found = with_journal(config_file, profile, count)
    screen = Screen()
    if as_json:
        screen.json({"ok": not found.faults, **attrs.asdict(found)})
    else:
        _print_account(screen, found)
    ctx.exit(1 if found.faults else 0)


def _print_account(screen: Screen, found: Account) -> None:
    ends = " + ".join(f"{getattr(found, end)} {end}" for end in (*ENDS, "waiting"))
    screen.line(f"{found.sessions} sessions: {found.accepted} messages accepted = {ends}", "bold")
    screen.line(f"  answers: {found.sent} sent, {found.unknown} unknown, {found.undelivered} not delivered")
    screen.line(f"  calls of tools with an unknown outcome: {found.unknown_calls}")
    for fault in found.faults:
        screen.line(f"  broken: {escape(fault)}", "red")
    if found.waiting:
        screen.note("  next: fairlead run, which finishes what waits")


@command.command("show", epilog=example("fairlead sessions show main/terminal//notes"))
@click.argument("session")
@click.option("--events", is_flag=True, help="The raw events, one JSON object a line.")
@config_options
@json_option
def show(session: str, config_file: str | None, profile: str | None, *, events: bool, as_json: bool) -> None:
    """The conversation of SESSION with its versions."""
    records = with_journal(config_file, profile, lambda app: app.sessions.records(session))
    screen = Screen()
    if events or as_json:
        raw = [{"version": r.version, "kind": r.event.kind, **unstructure(r.event)} for r in records]
        if as_json and not events:
            screen.json({"session": session, "events": raw})
            return
        for one in raw:
            screen.json(one)
        return
    print_transcript(screen, records)


@command.command("fork", epilog=example("fairlead sessions fork main/terminal//notes --at 12"))
@click.argument("session")
@click.option("--at", type=click.IntRange(min=1), help="The last version that the copy has; by default all.")
@config_options
@json_option
def fork(session: str, at: int | None, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Begin a new session as a copy of SESSION; prints its name."""
    made = with_journal(config_file, profile, lambda app: app.sessions.fork(session, at))
    screen = Screen()
    if as_json:
        screen.json({"session": made, "parent": session, "at": at})
    else:
        screen.line(made)


@command.command("rollback", epilog=example("fairlead sessions rollback main/terminal//notes --to 7"))
@click.argument("session")
@click.option("--to", "to_version", type=click.IntRange(min=1), required=True, help="The version to go on from.")
@config_options
@json_option
def rollback(session: str, to_version: int, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Go on with SESSION from an earlier version.

    What lies between stays in the journal, and is shown with a ``~``.
    """
    version = with_journal(config_file, profile, lambda app: app.sessions.rollback(session, to_version))
    screen = Screen()
    if as_json:
        screen.json({"session": session, "version": version, "to": to_version})
    else:
        screen.line(f"{session} goes on from version {to_version}; this is version {version}.")


@command.command("export", epilog=example("fairlead sessions export main/terminal//notes -o notes.json"))
@click.argument("session")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of the output.")
@config_options
@json_option
def export(session: str, output: Path | None, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """SESSION with all its events as one JSON document."""
    document = with_journal(config_file, profile, lambda app: app.sessions.export(session))
    screen = Screen()
    if output is not None:
        output.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
        count = len(document["events"])
        if as_json:
            screen.json({"session": session, "file": str(output), "events": count})
        else:
            screen.note(f"{count} events written to {output}")
    elif as_json or not screen.terminal:
        screen.json(document)
    else:
        screen.line(json.dumps(document, indent=2))


@command.command("erase", epilog=example("fairlead sessions erase main/terminal//notes --yes"))
@click.argument("session")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_options
@json_option
def erase(session: str, config_file: str | None, profile: str | None, *, yes: bool, as_json: bool) -> None:
    """Remove SESSION for good, with the files that tools have made in it.

    Its words are then in no file of the journal any more.
    """
    screen = Screen()
    if not yes:
        with_journal(config_file, profile, lambda app: app.sessions.records(session))
        try:
            sure = click.confirm(f"Erase {session} for good?", err=True)
        except click.Abort:
            raise Refused("nobody said yes", next_step=f"fairlead sessions erase {session} --yes") from None
        if not sure:
            screen.note("Nothing was erased.")
            return

    async def action(app: App) -> None:
        if not await erase_session(app, load(config_file, profile), session):
            problem = f"there is no session {session!r}"
            raise SessionNotFound(problem, session=session, next_step="fairlead sessions list")

    with_journal(config_file, profile, action)
    if as_json:
        screen.json({"session": session, "erased": True})
    else:
        screen.line(f"{session} is erased.")
