"""`fairlead sessions archive`, `restore` and `prune`: sessions that nobody needs every day."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairlead_cli._archive import archive as archived
from fairlead_cli._archive import days_of, expired, put_away
from fairlead_cli._archive import restore as restored
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._sessions_opened import erase_session, with_journal
from fairlead_cli._text import escape

if TYPE_CHECKING:
    from fairlead import App

__all__ = ["archive", "prune", "restore"]


@click.command(
    "archive",
    epilog=example("fairlead sessions archive main/terminal//notes\nfairlead sessions archive --older-than 90d"),
)
@click.argument("session", required=False)
@click.option("--older-than", metavar="TIME", help="All that nobody used for so long: 90d, 12w, 36h.")
@config_options
@json_option
def archive(
    session: str | None, older_than: str | None, config_file: str | None, profile: str | None, *, as_json: bool
) -> None:
    """Write SESSION to a file under archive/ in the data directory, and erase it from the journal.

    Files that isolated tools have made in it are erased too, and are not in the archive.
    """
    if (session is None) == (older_than is None):
        raise click.UsageError("name one session, or say --older-than 90d")
    config = load(config_file, profile)
    days = days_of(older_than) if older_than is not None else 0.0

    async def action(app: App) -> dict[str, str]:
        names = [session] if session is not None else await expired(app, days)
        erase = partial(erase_session, app, config)
        return {name: str(await archived(app, config.data_dir, name, erase)) for name in names}

    _tell(with_journal(config_file, profile, action), "archived to ", as_json=as_json)


@click.command("restore", epilog=example("fairlead sessions restore archive/notes.json.gz"))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@config_options
@json_option
def restore(file: Path, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Bring back a session from the FILE that archive or export has written.

    It has its old name. Nothing in it runs or is delivered again.
    """
    name = with_journal(config_file, profile, lambda app: restored(app, file))
    screen = Screen()
    if as_json:
        screen.json({"session": name, "file": str(file)})
    else:
        screen.line(f"{name} is back.")


@click.command("prune", epilog=example("fairlead sessions prune --dry-run"))
@click.option("--dry-run", is_flag=True, help="Only say which sessions would go.")
@config_options
@json_option
def prune(config_file: str | None, profile: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Archive or erase the sessions whose time is over, as [sessions] in the configuration says.

    A gateway (fairlead run) does it once a day.
    """
    config = load(config_file, profile)
    rules = config.sessions
    if rules.retention_days is None:
        where = config.file or "fairlead.toml"
        raise Refused("no session ever expires here", next_step=f"write into {where}: [sessions] retention_days = 90")
    days = rules.retention_days

    async def action(app: App) -> dict[str, str]:
        names = await expired(app, days)
        if dry_run:
            return dict.fromkeys(names, f"would be {rules.on_expiry}d")
        return {name: await put_away(app, config, name, partial(erase_session, app, config)) for name in names}

    _tell(with_journal(config_file, profile, action), "", as_json=as_json)


def _tell(done: dict[str, str], verb: str, *, as_json: bool) -> None:
    screen = Screen()
    if as_json:
        screen.json({"sessions": done})
    elif not done:
        screen.note("No session is that old.")
    for name, what in done.items() if not as_json else ():
        screen.line(f"{escape(name)}: {verb}{what}")
