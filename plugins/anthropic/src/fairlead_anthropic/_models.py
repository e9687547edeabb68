"""What is known of models: windows and prices. The configuration can add to it and overrule it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen

from fairlead import ModelInfo, Usage
from fairlead_anthropic._encoded import count

__all__ = ["KNOWN", "Model", "Models"]

CACHE_WRITE = 1.25
"""What input that is written to the cache for five minutes costs, as a factor."""


@frozen
class Model:
    """A model and the price of what the provider had cached, in US dollars for a million tokens."""

    info: ModelInfo
    cached_price: float | None = None


def _known(name: str, window: int, max_output: int, *prices: float) -> Model:
    fresh, cached, output = prices
    return Model(ModelInfo(name, window, max_output, fresh, output, images=True), cached)


# List prices of https://platform.claude.com/docs/en/about-claude/pricing, read in November 2026: input, cache read,
# output. Those of Haiku 5.5 hold for prompts of up to 100,000 tokens; longer ones cost five times as much.
KNOWN = (
    _known("claude-opus-5-5", 1_000_000, 128_000, 4.00, 0.20, 20.00),
    _known("claude-sonnet-5-5", 1_000_000, 128_000, 2.00, 0.10, 10.00),
    _known("claude-haiku-5-5", 1_000_000, 128_000, 0.10, 0.01, 0.50),
    _known("claude-opus-5", 1_000_000, 128_000, 5.00, 0.50, 25.00),
    _known("claude-sonnet-5", 1_000_000, 128_000, 2.00, 0.20, 10.00),
    _known("claude-sonnet-4-5", 200_000, 64_000, 3.00, 0.30, 15.00),
    _known("claude-haiku-4-5", 200_000, 64_000, 1.00, 0.10, 5.00),
)


@frozen
class Tokens:
    """Tokens as this API counts them: three kinds of input beside each other."""

    fresh: int = 0
    read: int = 0
    """From the cache."""
    written: int = 0
    """To the cache."""
    output: int = 0


class Models:
    """The models of one provider, by name."""

    def __init__(self, known: Iterable[Model], configured: Iterable[Mapping[str, Any]]) -> None:
        self._configured = {item["name"]: _configured(item) for item in configured}
        self._models = {**self._configured, **{m.info.name: m for m in known if m.info.name not in self._configured}}

    @property
    def infos(self) -> tuple[ModelInfo, ...]:
        """The configured ones first: the first model of the first provider is the default."""
        return tuple(model.info for model in self._models.values())

    def learn(self, listed: Iterable[Model]) -> None:
        """Add what a server lists; what the configuration says stays."""
        for model in listed:
            self._models.setdefault(model.info.name, model)

    def find(self, name: str) -> Model | None:
        """The model of that name; ``claude-haiku-4-5-20251001`` is a dated ``claude-haiku-4-5``."""
        return self._models.get(name) or self._models.get(re.sub(r"-\d{8}$", "", name))

    def usage(self, tokens: Tokens, name: str) -> Usage:
        """Usage with its cost, where prices are known; cached tokens of unknown price cost the full one."""
        model = self.find(name)
        cost = None
        if model is not None and model.info.input_price is not None and model.info.output_price is not None:
            cached_price = model.info.input_price if model.cached_price is None else model.cached_price
            fresh = tokens.fresh + tokens.written * CACHE_WRITE
            cost = fresh * model.info.input_price + tokens.read * cached_price + tokens.output * model.info.output_price
            cost /= 1_000_000
        return Usage(tokens.fresh + tokens.read + tokens.written, tokens.output, tokens.read, cost)


def _configured(item: Mapping[str, Any]) -> Model:
    """One entry of the option `models`."""
    fields = {key: value for key, value in item.items() if key != "cached_price"}
    return Model(ModelInfo(**fields), item.get("cached_price"))


def listed(entry: Mapping[str, Any]) -> Model:
    """A model as a server lists it."""
    return Model(
        ModelInfo(
            str(entry.get("id", "")),
            window=count(entry.get("max_input_tokens")) or None,
            max_output=count(entry.get("max_tokens")) or None,
        )
    )
