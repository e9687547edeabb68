"""Both providers under the app: a tool goes round, a second model answers where the first cannot, results are typed."""

from __future__ import annotations

from typing import Any

import attrs

import fairlead
from fairlead import Delta
from fairlead.config import Config, ModelRef, PluginConfig

from .fake_servers import Answer, Calls, Fails, Says, calculate_then_say
from .vendors import ANTHROPIC, KEY, OPENAI, Vendor


def calculate(expression: str) -> str:
    """Calculate.

    Args:
        expression: two numbers with a * between them

    """
    left, right = expression.split("*")
    return str(int(left) * int(right))


def config(*chain: ModelRef, **urls: str) -> Config:
    """The app of these providers, and a chain of their models."""
    plugins = [
        PluginConfig("providers", name, options={"base_url": str(url), "api_key": fairlead.Secret(KEY, "a test")})
        for name, url in urls.items()
    ]
    return Config(plugins=tuple(plugins), models={"default": chain})


async def test_tool_goes_round_in_an_app(vendor: Vendor) -> None:
    """From the configuration to the answer: the call, its result, the text in pieces, the usage of both calls."""
    pieces = []

    async def emit(delta: Delta) -> None:
        pieces.append(delta.text)

    with vendor.serve(calculate_then_say) as url:
        made = config(ModelRef(vendor.name, "fake"), **{vendor.name: url})
        async with fairlead.open(made, tools=[calculate]) as app:
            reply = await app.ask("What is 17 * 23?", session="s", emit=emit)
    assert "The result is 391." == reply.text == "".join(pieces)
    assert 240 == reply.usage.input_tokens
    assert 2 == len(url.requests)


async def test_other_vendor_answers_where_the_first_is_overloaded() -> None:
    """Also in the middle of a turn: the history with its calls is told in the words of the other protocol."""

    def call_then_fail(body: dict[str, Any]) -> Answer:
        if len(body["messages"]) == 1:
            return Says("I calculate.", calls=[Calls("calculate", {"expression": "17 * 23"})], reasoning=["Hm."])
        return Fails(529, ANTHROPIC.error("overloaded_error", "Overloaded"))

    chain = (ModelRef("anthropic", "fake"), ModelRef("openai", "fake"))
    with ANTHROPIC.serve(call_then_fail) as first, OPENAI.serve(calculate_then_say) as second:
        async with fairlead.open(config(*chain, anthropic=first, openai=second), tools=[calculate]) as app:
            reply = await app.ask("What is 17 * 23?", session="s")
    assert "The result is 391." == reply.text
    assert 1 == len(second.requests)


@attrs.frozen
class City:
    name: str
    people: int


async def test_result_is_typed(vendor: Vendor) -> None:
    """A wrong answer is asked for again."""
    script = [Says('{"name": "Ulm"}'), Says('{"name": "Ulm", ', '"people": 126329}')]
    with vendor.serve(script) as url:
        async with fairlead.open(config(ModelRef(vendor.name, "fake"), **{vendor.name: url})) as app:
            city = await app.ask("Which city has the highest church?", session="s", returns=City)
    assert City("Ulm", 126_329) == city
