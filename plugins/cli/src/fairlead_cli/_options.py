"""Options that several commands have, and the way from them to an app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click
import trio

import fairlead
from fairlead import config as configuration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fairlead import App
    from fairlead.config import Config

__all__ = ["config_options", "example", "json_option", "keep", "load", "with_app"]

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")


def example(commands: str) -> str:
    """What stands below every command's help: how it is typed, one example a line."""
    lines = "\n".join(f"  {line}" for line in commands.splitlines())
    return f"\b\nExample:\n{lines}"


def config_options(function: F) -> F:
    """``--config`` and ``--profile``."""
    path = click.Path(dir_okay=False)
    function = click.option(
        "--profile", type=click.Choice(["development", "production"]), help="Instead of the file's."
    )(function)
    return click.option(
        "--config", "config_file", type=path, help="By default $FAIRLEAD_CONFIG, else ./fairlead.toml."
    )(function)


def json_option(function: F) -> F:
    """``--json``: its value goes to the command, and to whoever prints errors."""

    def note(ctx: click.Context, _: click.Parameter, value: bool) -> bool:  # noqa: FBT001  # click's signature
        ctx.meta["json"] = value
        return value

    return click.option("--json", "as_json", is_flag=True, callback=note, help="For scripts: JSON instead of text.")(
        function
    )


def load(config_file: str | None, profile: str | None) -> Config:
    """The configuration that the options name. `ConfigError`."""
    return configuration.load(config_file, profile=profile)


def keep(config: Config, *kinds: str) -> Config:
    """The configuration with plugins of these kinds only: no command opens a door or a connection that it need not."""
    return attrs.evolve(config, plugins=tuple(plugin for plugin in config.plugins if plugin.kind in kinds))


def with_app(config: Config, action: Callable[[App], Awaitable[T]]) -> T:
    """Open an app, let *action* work with it, close it."""

    async def run() -> T:
        async with fairlead.open(config) as app:
            return await action(app)

    return trio.run(run)
