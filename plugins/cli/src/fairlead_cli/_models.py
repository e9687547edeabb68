"""`fairlead models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from fairlead_cli._failures import Refused
from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairlead import App, ModelInfo
    from fairlead.config import ModelRef

__all__ = ["command"]


@click.group("models", invoke_without_command=True, epilog=example("fairlead models --json"))
@config_options
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The models that the configured providers offer. Prices are US dollars for a million tokens."""
    if ctx.invoked_subcommand is not None:
        return
    config = load(config_file, profile)
    found, failed = with_app(keep(config, "providers", "memories"), _ask)
    screen = Screen()
    if as_json:
        screen.json({provider: [attrs.asdict(info) for info in infos] for provider, infos in found.items()})
        return
    chosen = {_full_name(ref, found): alias for alias, chain in config.models.items() for ref in chain}
    rows = [
        (
            f"{provider}/{info.name}",
            chosen.get(f"{provider}/{info.name}", ""),
            _number(info.window),
            _price(info.input_price),
            _price(info.output_price),
            "yes" if info.images else "no",
        )
        for provider, infos in found.items()
        for info in infos
    ]
    table(screen, ("MODEL", "ALIAS", "WINDOW", "INPUT $", "OUTPUT $", "IMAGES"), rows)
    for provider in (provider for provider, infos in found.items() if not infos):
        screen.note(f"{provider} lists no models; see: fairlead doctor", "yellow")
    for provider in failed:
        screen.note(f"{provider} has failed and may be resting; see: fairlead doctor", "yellow")


@command.command("reset", epilog=example("fairlead models reset openai"))
@click.argument("provider")
@config_options
@json_option
def reset(provider: str, config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """Ask PROVIDER again as if it had never failed. A gateway that runs hears of it within seconds."""
    config = load(config_file, profile)
    known = [table.name for table in config.plugins if table.kind == "providers"]
    if provider not in known:
        raise Refused(f"no provider is named {provider!r}; there are: {', '.join(known)}", next_step="fairlead doctor")
    over = with_app(keep(config, "providers", "memories"), lambda app: app.reset_health(provider))
    screen = Screen()
    if as_json:
        screen.json({"provider": provider, "reset": len(over)})
    else:
        screen.note(f"{provider} is asked again." if over else f"Nothing stood against {provider}.")


async def _ask(app: App) -> tuple[Mapping[str, Sequence[ModelInfo]], Sequence[str]]:
    return await app.models(), sorted({event.provider for event in app.health})


def _full_name(ref: ModelRef, found: Mapping[str, Sequence[ModelInfo]]) -> str:
    """``provider/model``; a link without a model means the first one that its provider lists."""
    listed = found.get(ref.provider, ())
    return f"{ref.provider}/{ref.model or (listed[0].name if listed else '')}"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _price(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
