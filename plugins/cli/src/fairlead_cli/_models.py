"""`fairlead models`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from fairlead_cli._options import config_options, example, json_option, keep, load, with_app
from fairlead_cli._screen import Screen
from fairlead_cli._tables import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairlead import ModelInfo
    from fairlead.config import ModelRef

__all__ = ["command"]


@click.command("models", epilog=example("fairlead models --json"))
@config_options
@json_option
def command(config_file: str | None, profile: str | None, *, as_json: bool) -> None:
    """The models that the configured providers offer. Prices are US dollars for a million tokens."""
    config = load(config_file, profile)
    found = with_app(keep(config, "providers"), lambda app: app.models())
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


def _full_name(ref: ModelRef, found: Mapping[str, Sequence[ModelInfo]]) -> str:
    """``provider/model``; a link without a model means the first one that its provider lists."""
    listed = found.get(ref.provider, ())
    return f"{ref.provider}/{ref.model or (listed[0].name if listed else '')}"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _price(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
