"""`fairlead run`: the gateway. It serves the configured channels until it is told to stop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click
import trio

import fairlead
from fairlead import Observer
from fairlead import events as ev
from fairlead_cli._archive import prune_daily
from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, load
from fairlead_cli._screen import Screen
from fairlead_cli._text import one_line, with_subject

if TYPE_CHECKING:
    from fairlead import App
    from fairlead.config import Config
    from fairlead.events import Record

__all__ = ["command"]

_STYLES = {"info": "dim", "warning": "yellow", "error": "red"}


@click.command("run", epilog=example("fairlead run --config fairlead.toml --profile production"))
@config_options
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Serve the configured channels until SIGTERM or Ctrl-C.

    The first signal lets running turns come to their end (limits.grace_seconds), the second one cuts them off; what is
    left then, the next start finishes. A plugin that fails is reported, and the rest serves.
    """
    config = load(config_file, profile)
    if not any(plugin.kind == "channels" for plugin in config.plugins):
        where = config.file or "a fairlead.toml (fairlead init writes one)"
        raise Refused(
            "no channel is configured, so there is nothing to serve",
            next_step=f'write into {where}: [channels.webhook] with secret = {{ env = "FAIRLEAD_WEBHOOK_SECRET" }}',
        )
    ctx.exit(trio.run(_serve, config, Screen(), as_json))


class Announcer(Observer):
    """Prints what the operator must know, as it comes."""

    def __init__(self, screen: Screen, *, as_json: bool) -> None:
        self.name = "announcer"
        self._screen = screen
        self._as_json = as_json

    async def observe(self, record: Record) -> None:
        event = record.event
        if isinstance(event, ev.NoticeRaised):
            self.say(event.subject, event.detail, event.level)
        await trio.lowlevel.checkpoint()

    def say(self, subject: str, detail: str, level: str = "info") -> None:
        """One line, or one JSON object on a line."""
        if self._as_json:
            self._screen.json({"type": "notice", "level": level, "subject": subject, "text": detail})
        else:
            self._screen.note(one_line(with_subject(subject, detail), 600), _STYLES[level])


async def _serve(config: Config, screen: Screen, as_json: bool) -> int:  # noqa: FBT001  # `trio.run` passes positions only
    announcer = Announcer(screen, as_json=as_json)
    forced: list[int] = []
    async with fairlead.open(config, observers=[announcer]) as app, trio.open_nursery() as nursery:
        _require_channel(app)
        nursery.start_soon(prune_daily, app, announcer.say)
        await nursery.start(_obey_signals, app, announcer, nursery.cancel_scope, forced)
        await app.serve()
        announcer.say("fairlead", "stopped")
        nursery.cancel_scope.cancel()
    return 1 if forced else 0


def _require_channel(app: App) -> None:
    """At least one channel can serve. The notices of those that cannot are printed already, or are on their way."""
    states = [report for report in app.reports if report.plugin.startswith("channels/")]
    if states and all(report.status == "failed" for report in states):
        errors = [report.error for report in states if report.error]
        problems = "; ".join(with_subject(report.plugin, report.error.problem) for report in states if report.error)
        mend = errors[0].next_step if len(errors) == 1 else ""
        raise Refused(f"no channel can serve: {problems}", next_step=mend or "fairlead doctor")


async def _obey_signals(
    app: App,
    announcer: Announcer,
    scope: trio.CancelScope,
    forced: list[int],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        stopping = False
        async for number in signals:
            if stopping:
                forced.append(number)
                scope.cancel()
            else:
                stopping = True
                grace = app.config.limits.grace_seconds
                announcer.say("fairlead", f"stopping; turns may go on for {grace:g} s, a second signal cuts them off")
                app.stop()
