"""`fairlead chat`: a conversation at the terminal, over the same path as every other channel."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import unquote

import attrs
import click
import trio
from attrs import frozen

import fairlead
from fairlead.plugins import installed
from fairlead_cli._failures import INTERRUPTED, Refused
from fairlead_cli._lines import open_lines
from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._terminal import TerminalChannel, system_user
from fairlead_cli._view import JsonView, TextView
from fairlead_cli._watcher import ChatWatcher

if TYPE_CHECKING:
    from fairlead import App
    from fairlead.config import Config
    from fairlead_cli._view import View

__all__ = ["command"]

EXAMPLE = """\
fairlead chat "What is 17 * 23?"
fairlead chat < question.txt
fairlead chat --session notes --model openai/gpt-6.1-sol
fairlead chat --continue"""


@frozen
class Place:
    """Which conversation is meant: the parts of a session's name that a terminal can choose."""

    conversation: str
    agent: str = ""
    """Empty for the one that the configuration gives it."""


@click.command("chat", epilog=example(EXAMPLE))
@click.argument("text", nargs=-1)
@click.option("--session", metavar="NAME", help="Go on with the conversation of this name, or begin it.")
@click.option("--continue", "go_on", is_flag=True, help="Go on with your last conversation.")
@click.option("--model", metavar="MODEL", help="An alias of the configuration, or provider/model.")
@click.option("--agent", metavar="NAME", help="Who shall answer; by default as the configuration says.")
@config_options
@click.option("-q", "--quiet", is_flag=True, help="Only the answer, no tools and notices.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    text: tuple[str, ...],
    session: str | None,
    model: str | None,
    agent: str | None,
    config_file: str | None,
    profile: str | None,
    *,
    go_on: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Talk to an agent.

    With TEXT, or with a message on standard input, it answers once and exits: 0 with an answer, 1 where it failed or
    was refused. Else it asks for one message after the other: Ctrl-C cancels an answer, Ctrl-D leaves. The answer goes
    to standard output, everything about it to standard error.
    """
    if session is not None and go_on:
        raise click.UsageError("--session and --continue exclude each other", ctx)
    message = " ".join(text) if text else _piped()
    config = load(config_file, profile)
    place = _place(config, session, go_on=go_on)
    config = _chosen(config, model, agent or place.agent)
    screen = Screen()
    view: View = JsonView(screen) if as_json else TextView(screen, quiet=quiet, spaced=message is None)
    # A line editor writes to standard output, where JSON must stand alone; and it cannot be told to stop reading, which
    # an approval that is decided elsewhere asks for.
    answers = message is None or (bool(text) and sys.stdin is not None and sys.stdin.isatty())
    lines = (lambda: open_lines(screen.prompt, edited=message is None and not as_json)) if answers else None
    terminal = TerminalChannel(lines, view, message=message, conversation=place.conversation)
    if message is None and not quiet:
        view.note(f"Conversation {place.conversation}. Ctrl-C cancels an answer, Ctrl-D leaves.")
    ctx.exit(trio.run(_converse, config, terminal, view))


def _piped() -> str | None:
    """The message on standard input, where that is no terminal."""
    if sys.stdin is not None and sys.stdin.isatty():
        return None
    message = sys.stdin.buffer.read().decode("utf-8-sig", "replace").strip() if sys.stdin is not None else ""
    if not message:
        raise Refused("there is no message: standard input is empty", next_step='fairlead chat "Hello"')
    return message


# -- which conversation, and with whom


def _place(config: Config, session: str | None, *, go_on: bool) -> Place:
    if go_on:
        return with_app(attrs.evolve(keep(config, "memories"), models={}), _last_place)
    if session is None:
        return Place(f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
    return _place_of(session)


async def _last_place(app: App) -> Place:
    for info in await app.sessions.list(system_user().id):
        if "/terminal//" in info.id:
            return _place_of(info.id)
    raise Refused("you have no conversation to go on with", next_step="fairlead chat")


def _place_of(session: str) -> Place:
    """What the name of a conversation, or a session's full name, says. `Refused`: it is held elsewhere."""
    parts = [unquote(part) for part in session.split("/")]
    match parts:
        case [agent, "terminal", "", conversation]:
            return Place(conversation, agent)
        case [conversation]:
            return Place(conversation)
        case _:
            raise Refused(
                f"session {session!r} is not held at a terminal: expected a name, or AGENT/terminal//NAME",
                next_step="fairlead sessions list",
            )


def _chosen(config: Config, model: str | None, agent: str) -> Config:
    """The configuration without channels, and with the model and the agent that were asked for."""
    config = attrs.evolve(config, plugins=tuple(one for one in config.plugins if one.kind != "channels"))
    if model is not None:
        _check_model(config, model)
        config = attrs.evolve(config, agents=tuple(attrs.evolve(one, model=model) for one in config.agents))
    if not agent:
        return config
    wanted = [one for one in config.agents if one.name == agent]
    if not wanted:
        known = ", ".join(one.name for one in config.agents)
        raise Refused(f"no agent is named {agent!r}; there are: {known}", next_step="fairlead chat --help")
    others = [one for one in config.agents if one.name != agent]
    return attrs.evolve(config, agents=(*wanted, *others), bindings=())


def _check_model(config: Config, model: str) -> None:
    providers = [plugin.name for plugin in config.plugins if plugin.kind == "providers"]
    provider, slash, name = model.partition("/")
    if model not in config.models and not (slash and name and provider in providers):
        known = ", ".join([*config.models, *(f"{provider}/..." for provider in providers)])
        mend = "fairlead models"
        if provider in {plugin.name for plugin in installed() if plugin.kind == "providers"} - set(providers):
            enable = f"write [providers.{provider}] into {config.file}"
            mend = enable if config.file else f"fairlead init --provider {provider} --model {name or 'NAME'}"
        raise Refused(f"no model is named {model!r}; expected one of: {known}", next_step=mend)


# -- the conversation


async def _converse(config: Config, terminal: TerminalChannel, view: View) -> int:
    """Serve the terminal until its input ends; the exit code."""
    watcher = ChatWatcher(view, terminal)
    codes: list[int] = []
    async with fairlead.open(config, channels=[terminal], observers=[watcher]) as app, trio.open_nursery() as nursery:
        await nursery.start(_obey_signals, terminal, nursery, codes)
        await app.serve(resume=False)
        nursery.cancel_scope.cancel()
    if codes:
        return codes[0]
    if terminal.once and terminal.failed is not None:
        raise terminal.failed
    if not terminal.once or terminal.outcome == "answer":
        return 0
    return INTERRUPTED if watcher.outcome == "cancelled" else 1


async def _obey_signals(
    terminal: TerminalChannel,
    nursery: trio.Nursery,
    codes: list[int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Ctrl-C cancels the turn; again, where that does not help, or SIGTERM: leave with a code."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGINT and not terminal.interrupted:
                nursery.start_soon(terminal.interrupt)
            else:
                codes.append(128 + number)
                nursery.cancel_scope.cancel()
