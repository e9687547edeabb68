"""`fairlead sessions compact`, `undo` and `text`: what the model sees of a session, and what it does not."""

from __future__ import annotations

import click

from fairlead_cli._options import config_options, example, json_option
from fairlead_cli._screen import Screen
from fairlead_cli._sessions_opened import with_journal, with_models
from fairlead_cli._text import escape

__all__ = ["compact", "text", "undo"]


@click.command("compact", epilog=example("fairlead sessions compact main/terminal//notes"))
@click.argument("session")
@config_options
@json_option
def compact(session: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Let a summary stand for the older part of SESSION.

    Names, numbers, open questions and decisions stay word for word, and the newest messages whole. The journal keeps
    everything; fairlead sessions undo takes it back.
    """
    made = with_models(config_file, profile, lambda app: app.sessions.compact(session))
    screen = Screen()
    if as_json:
        figures = {"tokens_before": made.tokens_before, "tokens_after": made.tokens_after} if made else {}
        screen.json({"session": session, "compacted": made is not None, **figures})
    elif made is None:
        screen.note(f"{escape(session)} stays as it is: nothing of it would get shorter.")
    else:
        screen.line(f"{session}: about {made.tokens_before:,} tokens became {made.tokens_after:,}.")
        screen.note(f"  next: fairlead sessions show {escape(session)}, or fairlead sessions undo {escape(session)}")


@click.command("undo", epilog=example("fairlead sessions undo main/terminal//notes"))
@click.argument("session")
@config_options
@json_option
def undo(session: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Take back the newest compaction of SESSION: the model sees again what stood there.

    None follows by itself then, until one is asked for or a provider refuses a request as too large.
    """
    version = with_journal(config_file, profile, lambda app: app.sessions.undo(session))
    screen = Screen()
    if as_json:
        screen.json({"session": session, "version": version})
    else:
        screen.line(f"The newest compaction of {session} is undone; this is version {version}.")


@click.command("text", epilog=example("fairlead sessions text main/terminal//notes call_1"))
@click.argument("session")
@click.argument("call")
@config_options
@json_option
def text(session: str, call: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The whole text of the result of CALL in SESSION, also where the model was shown less."""
    found = with_journal(config_file, profile, lambda app: app.sessions.full_text(session, call))
    screen = Screen()
    if as_json:
        screen.json({"session": session, "call": call, "text": found})
    else:
        screen.line(found)
