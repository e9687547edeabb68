"""What is known of models: windows and prices. The configuration can add to it and overrule it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, frozen

from fairlead import ModelInfo, Usage

__all__ = ["KNOWN", "Model", "Models"]


@frozen
class Model:
    """A model and the price of what the provider had cached, in US dollars for a million tokens."""

    info: ModelInfo
    cached_price: float | None = None


def _known(name: str, window: int, max_output: int, *prices: float) -> Model:
    fresh, cached, output = prices
    return Model(ModelInfo(name, window, max_output, fresh, output, images=True), cached)


# List prices of https://developers.openai.com/api/docs/pricing for prompts of up to 272,000 tokens, read in November
# 2026: input, cached input, output. Longer prompts cost more; whoever sends them sets the prices in the configuration.
KNOWN = (
    _known("gpt-6.1-sol", 1_050_000, 128_000, 2.00, 0.10, 10.00),
    _known("gpt-6-sol", 1_050_000, 128_000, 2.00, 0.20, 10.00),
    _known("gpt-6-luna", 1_050_000, 128_000, 0.10, 0.01, 0.50),
    _known("gpt-5.6-luna", 1_050_000, 128_000, 0.20, 0.02, 1.20),
    _known("gpt-5", 400_000, 128_000, 1.25, 0.125, 10.00),
    _known("gpt-4.1", 1_047_576, 32_768, 2.00, 0.50, 8.00),
    _known("gpt-4.1-mini", 1_047_576, 32_768, 0.40, 0.10, 1.60),
)


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
        """The model of that name; ``gpt-4.1-2025-04-14`` is a dated ``gpt-4.1``."""
        return self._models.get(name) or self._models.get(re.sub(r"-\d{4}-?\d{2}-?\d{2}$", "", name))

    def priced(self, usage: Usage, name: str) -> Usage:
        """The same usage with its cost, where prices are known; cached tokens of unknown price cost the full one."""
        model = self.find(name)
        if model is None or model.info.input_price is None or model.info.output_price is None:
            return usage
        cached_price = model.info.input_price if model.cached_price is None else model.cached_price
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        cost = (
            fresh * model.info.input_price
            + usage.cached_tokens * cached_price
            + usage.output_tokens * model.info.output_price
        )
        return evolve(usage, cost=cost / 1_000_000)


def _configured(item: Mapping[str, Any]) -> Model:
    """One entry of the option `models`."""
    fields = {key: value for key, value in item.items() if key != "cached_price"}
    return Model(ModelInfo(**fields), item.get("cached_price"))


def listed(entry: Mapping[str, Any]) -> Model:
    """A model as a server lists it: vLLM says `max_model_len`, OpenRouter and LM Studio say `context_length`."""
    sizes = (entry.get("max_model_len"), entry.get("context_length"), entry.get("max_context_length"))
    window = next((size for size in sizes if isinstance(size, int) and size > 0), None)
    return Model(ModelInfo(str(entry.get("id", "")), window))
