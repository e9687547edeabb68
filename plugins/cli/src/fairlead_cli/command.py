"""The command `fairlead`: its groups, and what becomes of errors.

This module imports click and nothing else, so that ``--help`` and ``--version`` are quick. A command's own module, and
with it the core, is imported when the command is called; plugins are imported when an app is opened.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cli", "main"]

COMMANDS = {
    "chat": ("_chat", "Talk to an agent."),
    "run": ("_run", "Serve the configured channels until SIGTERM or Ctrl-C."),
    "init": ("_init", "Write a fairlead.toml."),
    "doctor": ("_doctor", "Check the installation; say what mends each fault."),
    "contacts": ("_contacts", "Who may talk to the agents: codes and people."),
    "budgets": ("_budgets", "What was spent on models, and by whom."),
    "plugins": ("_plugins", "What is installed and enabled."),
    "new": ("_new", "Write a project for a plugin."),
    "check": ("_check", "Find the quality tier of a plugin."),
    "sandbox": ("_sandbox", "The sandboxes: their image, containers, and the proof."),
    "sessions": ("_sessions", "List, show, fork, roll back, export and erase sessions."),
    "approvals": ("_approvals", "Calls that wait for an approval: list, show, allow, deny."),
    "policy": ("_policy", "Why a tool call is allowed or denied."),
    "models": ("_models", "The models that the providers offer."),
    "schema": ("_schema", "The published JSON Schemas."),
}
"""Name to module and short help; the modules are not imported to show it."""

EPILOG = """\b
Examples:
  fairlead chat "What is 17 * 23?"
  echo "Summarise this" | fairlead chat
  fairlead doctor

\b
Exit codes:
  0    it worked
  1    the answer failed or was refused, or a check found a fault
  2    wrong usage or configuration
  130  stopped with Ctrl-C
"""

INTERRUPTED = 130
"""128 + SIGINT, as shells have it. (Also in `_failures`, which costs too much to import for ``--help``.)"""


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"fairlead_cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:  # click's signature
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            difflib = importlib.import_module("difflib")  # only where somebody mistyped
            if near := difflib.get_close_matches(args[0], COMMANDS, n=1):
                raise click.UsageError(f"{error.message.rstrip('.')}; did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="fairlead-cli", prog_name="fairlead", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the whole traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Fairlead: AI agents, led along one checked path."""
    ctx.meta["debug"] = debug


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command, by default with the program's own arguments, and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    meta: dict[str, Any] = {}
    try:
        code = _invoke(given, meta)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough. Without this, Python complains at exit that it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("\n")
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the last stop: every error becomes words and a code
        failures = importlib.import_module("fairlead_cli._failures")
        code = failures.report(error, given, debug=bool(meta.get("debug")), as_json=bool(meta.get("json")))
    except BaseExceptionGroup as group:  # nurseries wrap a Ctrl-C that comes while the app closes, too
        if group.split((KeyboardInterrupt, Exception))[1] is not None:
            raise
        sys.stderr.write("\n")
        code = INTERRUPTED
    sys.exit(code)


def _invoke(arguments: list[str], meta: dict[str, Any]) -> int:
    """Call the command; *meta* gets what its options say of errors."""
    try:
        with cli.make_context("fairlead", arguments) as ctx:
            try:
                cli.invoke(ctx)
            finally:
                meta.update(ctx.meta)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        where = getattr(error, "ctx", None)
        if not isinstance(error, click.exceptions.NoArgsIsHelpError):
            click.echo(f"  next: {where.command_path if where else 'fairlead'} --help", err=True)
        return 2
    return 0
