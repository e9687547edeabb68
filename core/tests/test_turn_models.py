"""Which model answers: chains, fallback, streams that break, prices."""

from __future__ import annotations

import pytest

import fairlead
from fairlead import errors, events
from fairlead.config import Config, ModelRef
from fairlead.testing import Interrupted, ScriptedProvider, calls


def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def chain(*names: str) -> Config:
    return Config(models={"default": tuple(ModelRef(name, "script") for name in names)})


async def test_fallback_goes_on_to_the_next_model_and_is_journalled() -> None:
    """An error before the first token hands the question to the next link."""
    first = ScriptedProvider([errors.Overloaded("busy", provider="a")], name="a")
    second = ScriptedProvider(["from b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        assert "from b" == (await app.ask("hi", session="s")).text
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert [("a", "Overloaded", "busy")] == [(event.provider, event.error, event.detail) for event in failures]


@pytest.mark.parametrize("error", [RuntimeError("bug"), ExceptionGroup("g", [errors.RateLimited("slow")])])
async def test_provider_with_a_bug_fails_only_its_link(error: Exception) -> None:
    """Whatever a provider raises, the next one is asked."""
    first = ScriptedProvider([error], name="a")
    async with fairlead.open(chain("a", "b"), providers=[first, ScriptedProvider(["from b"], name="b")]) as app:
        assert "from b" == (await app.ask("hi", session="s")).text
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert [{"RuntimeError": "RuntimeError"}.get(type(error).__name__, "RateLimited")] == [e.error for e in failures]


async def test_explicit_model_has_no_fallback() -> None:
    """``provider/model`` means that model and no other."""
    first = ScriptedProvider([errors.BadRequest("busy")], name="a")
    second = ScriptedProvider(["from b"], name="b")
    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        with pytest.raises(errors.TurnFailed, match="busy"):
            await app.ask("hi", model="a/script")
    assert 0 == second.answered


async def test_broken_stream_is_asked_again_without_showing_it_twice() -> None:
    """After the first token no other model is asked; the part is journalled and shown once."""
    first = ScriptedProvider([Interrupted("The answer ", errors.BrokenStream("cut")), "The answer is 4."], name="a")
    second = ScriptedProvider(["from b"], name="b")
    shown: list[str] = []

    async def emit(delta: fairlead.Delta) -> None:
        shown.append(delta.text)

    async with fairlead.open(chain("a", "b"), providers=[first, second]) as app:
        reply = await app.ask("2 + 2?", session="s", emit=emit)
        failures = [r.event for r in await app.sessions.records("s") if isinstance(r.event, events.ModelFailed)]
    assert ("The answer is 4.", "The answer is 4.") == (reply.text, "".join(shown))
    assert ["The answer "] == [event.partial for event in failures]
    assert 0 == second.answered


async def test_no_model_is_a_clear_failure() -> None:
    """An app without providers opens; a question says what is missing."""
    async with fairlead.open() as app:
        with pytest.raises(errors.TurnFailed, match="no provider is available"):
            await app.ask("hi")


async def test_unknown_model_names_the_known_ones() -> None:
    """The message says what could have been typed."""
    async with fairlead.open(providers=[ScriptedProvider(["x"])]) as app:
        with pytest.raises(
            errors.TurnFailed, match=r"no model is named 'gpt'; expected one of default, scripted/\.\.\."
        ):
            await app.ask("hi", model="gpt")


async def test_cost_is_reckoned_from_the_list_of_prices() -> None:
    """Tokens times price, summed over the calls of a turn."""
    priced = fairlead.ModelInfo("script", input_price=2.0, output_price=10.0)
    provider = ScriptedProvider([calls(("add", {"a": 1, "b": 2})), "3"], models=[priced])
    async with fairlead.open(providers=[provider], tools=[add]) as app:
        reply = await app.ask("hi")
    assert (20, 10) == (reply.usage.input_tokens, reply.usage.output_tokens)
    assert reply.usage.cost == pytest.approx(2 * (10 * 2.0 + 5 * 10.0) / 1e6)
