"""A trial: a plugin is started in a process, says what it is, and is ended. Nothing of it is opened."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import trio

from fairlead import Secret
from fairlead.config import Config, PluginConfig
from fairlead.errors import FairleadError, PluginLoadError
from fairlead_sandbox.boundary import Peer
from fairlead_sandbox.environments import Environment, PluginAsks, asks_in
from fairlead_sandbox.guest import guest_command
from fairlead_sandbox.process import ProcessSpec, launch
from fairlead_sandbox.remote import RemotePlugin, options_for_guest

__all__ = ["describe"]

_SECONDS = 30.0


async def describe(table: PluginConfig, environment: Environment, config: Config) -> None:
    """Start the table's plugin from an environment, in a process without a network, and let it describe its workers.

    It gets the table's options, with handles that lead nowhere for its secrets. `PluginLoadError`: it does not load, or
    does not answer in 30 s; `SandboxLost` and the like: it ended.
    """
    asks = asks_in(environment)
    point = next((each for each in asks.plugins if (each.kind, each.name) == (table.kind, table.entry_point)), None)
    subject = f"{table.kind}/{table.name}"
    if point is None:
        problem = f"{asks.distribution} {asks.version} has no {table.kind}/{table.entry_point} any more"
        raise PluginLoadError(problem, next_step=f"remove [{table.kind}.{table.name}] first", plugin=subject)
    with tempfile.TemporaryDirectory(prefix="fairlead-trial-") as work:
        hello = {
            "kind": table.kind,
            "name": table.name,
            "entry_point": point.value,
            "runtime": point.runtime,
            "settings": {
                "name": table.name,
                "options": _options(table, point),
                "data_dir": work,
                "profile": config.profile,
            },
            "egress": None,
        }
        with trio.move_on_after(_SECONDS):
            await _describe(hello, environment, Path(work))
            return
    raise PluginLoadError(f"{subject} did not describe itself in {_SECONDS:g} s", next_step="try again", plugin=subject)


def _options(table: PluginConfig, point: PluginAsks) -> Any:
    """The options without the value of any secret, also where one stands in plain text."""
    hidden = {key: Secret("", "a trial") for key in point.secrets if key in table.options}
    return options_for_guest({**table.options, **hidden}, lambda _: "a-handle-of-a-trial")


async def _describe(hello: dict[str, Any], environment: Environment, work: Path) -> None:
    command = guest_command(sys.executable, [str(path) for path in environment.paths])
    fault: Exception | None = None
    async with trio.open_nursery() as nursery:
        running = await launch(ProcessSpec(command=command, environment=environment, work_dir=work), nursery)
        try:
            peer = Peer(running.stream, last_words=running.wait)

            async def link() -> Peer:
                return peer

            nursery.start_soon(peer.run)
            await RemotePlugin(hello, link, level="process").prepare(peer)
        except Exception as error:  # noqa: BLE001  # raised again below, where the nursery does not wrap it
            fault = error
        finally:
            with trio.CancelScope(shield=True):
                await running.kill()
            nursery.cancel_scope.cancel()
    if isinstance(fault, FairleadError):
        fault.next_step = ""  # it is for who runs the plugin; here the version before stays in use
    if fault is not None:
        raise fault
