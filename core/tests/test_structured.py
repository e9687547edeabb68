"""Answers as typed values: ``ask(..., returns=City)``."""

from __future__ import annotations

import enum
import json
from typing import Any, Literal

import pytest
from attrs import evolve, field, frozen

import fairlead
from fairlead import Message, Text, Verdict, errors, events
from fairlead._structured import Wanted
from fairlead.config import Config, Limits
from fairlead.testing import FakePolicy, ScriptedProvider, calls


class Climate(enum.Enum):
    DRY = "dry"
    WET = "wet"


@frozen
class River:
    name: str
    long: float = 0.0


@frozen
class City:
    """A city."""

    name: str
    people: int
    climate: Climate = Climate.DRY
    rivers: list[River] = field(factory=list)


ROME = '{"name": "Rome", "people": 2800000}'


async def asked(*script: Any, returns: Any = City, **options: Any) -> tuple[Any, ScriptedProvider]:
    provider = ScriptedProvider(script)
    async with fairlead.open(providers=[provider], **options) as app:
        return await app.ask("Which city?", session="s", returns=returns), provider


async def test_answer_is_a_value_and_the_model_has_the_schema() -> None:
    """The schema of the type goes with the request; the JSON comes back as the type."""
    city, provider = await asked(ROME)
    assert City("Rome", 2800000) == city
    assert provider.requests[0].output_schema == Wanted(City).schema
    assert ["name", "people"] == (Wanted(City).schema or {})["required"]


async def test_nested_values() -> None:
    """Classes, lists and enums inside."""
    city, _ = await asked(
        '{"name": "Ulm", "people": 1, "climate": "wet", "rivers": [{"name": "Danube", "long": 2850}]}'
    )
    assert City("Ulm", 1, Climate.WET, [River("Danube", 2850.0)]) == city


@pytest.mark.parametrize(
    "text", [f"```json\n{ROME}\n```", f"```\n{ROME}\n```", f"  ```json \n\n{ROME}\n\n``` \n", f"\n{ROME}\n"]
)
async def test_fence_around_the_json_is_taken_off(text: str) -> None:
    """Models like to wrap."""
    city, provider = await asked(text)
    assert City("Rome", 2800000) == city
    assert 1 == len(provider.requests)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("Rome, of course.", "Answer with one JSON value and nothing else: expected JSON"),
        (f"Here you are: {ROME}", "Answer with one JSON value and nothing else"),
        (f"{ROME}{ROME}", "Answer with one JSON value and nothing else"),
        ('{"name": "Rome", "people": NaN}', "NaN is not JSON"),
        ('{"name": "Rome", "people": 1e999}', "out of range"),
        ('{"name": "Rome", "name": "Ulm", "people": 1}', "key 'name' stands twice"),
        ("[" * 100 + "]" * 100, "more than 64 levels"),
        ('{"name": "Rome"}', "'people' is a required property"),
        ('{"name": "Rome", "people": "many"}', "does not match at /people: 'many' is not of type 'integer'"),
        ('{"name": "Rome", "people": true}', "does not match at /people"),
        ('{"name": "Rome", "people": 1, "climate": "hot"}', "does not match at /climate"),
        ('{"name": "Rome", "people": 1, "mayor": "x"}', "does not match at /"),
        ('{"name": "Rome", "people": 1, "rivers": [{"long": 1}]}', "does not match at /rivers/0"),
        ("null", "does not match at /"),
    ],
)
async def test_wrong_answer_is_shown_back_and_asked_again(wrong: str, told: str) -> None:
    """With the place, what was expected, and the schema as JSON."""
    city, provider = await asked(wrong, ROME)
    assert City("Rome", 2800000) == city
    *_, answer, correction = provider.requests[1].history
    assert wrong == answer.text
    assert told in correction.text
    assert json.loads(correction.text.partition("The schema is: ")[2]) == Wanted(City).schema
    assert isinstance(correction, Message)
    assert ("user", "host") == (correction.role, correction.parts[0].origin.kind)


async def test_corrections_are_bounded() -> None:
    """Then the error has the last answer; the journal has the turn as failed."""
    provider = ScriptedProvider(["no 1", "no 2", "no 3", "never asked for"])
    async with fairlead.open(Config(limits=Limits(corrections=2)), providers=[provider]) as app:
        with pytest.raises(errors.InvalidResult, match="corrected 3 times without success") as caught:
            await app.ask("?", session="s", returns=City)
        assert ("no 3", "s") == (caught.value.text, caught.value.session)
        ended = (await app.sessions.records("s"))[-1].event
    assert isinstance(ended, events.TurnEnded)
    assert ("failed", "arguments", caught.value.turn) == (ended.outcome, ended.reason, ended.turn)
    assert 3 == len(provider.requests)


async def test_tools_may_run_before_the_value() -> None:
    """The answer with calls is no answer yet."""

    def look_up(name: str) -> int:
        return len(name)

    city, provider = await asked(calls(("look_up", {"name": "Rome"}), text="One moment."), ROME, tools=[look_up])
    assert "Rome" == city.name
    assert all(request.output_schema is not None for request in provider.requests)


@pytest.mark.parametrize(
    ("returns", "text", "value"),
    [
        (list[River], '[{"name": "Po"}]', [River("Po")]),
        (list[str], '["a", "b"]', ["a", "b"]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int, "3", 3),
        (int, "3.0", 3),
        (float, "3", 3.0),
        (bool, "true", True),
        (Climate, '"wet"', Climate.WET),
        (Literal["yes", "no"], '"no"', "no"),
        (River | None, "null", None),
        (River | None, '{"name": "Po"}', River("Po")),
        (River | str, '"unknown"', "unknown"),
        (City | River, '{"name": "Po", "people": 2}', City("Po", 2)),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (Any, '{"a": [1, null]}', {"a": [1, None]}),
    ],
)
async def test_any_type_with_a_schema(returns: Any, text: str, value: Any) -> None:
    """Not only classes."""
    found, provider = await asked(text, returns=returns)
    assert (value, type(value)) == (found, type(found))
    assert 1 == len(provider.requests)


@pytest.mark.parametrize("returns", [object, bytes, list[complex], list[River] | River])
async def test_type_that_json_cannot_say_is_refused_before_the_turn(returns: Any) -> None:
    """A mistake of the caller: nothing was asked and nothing journalled."""
    provider = ScriptedProvider([])
    async with fairlead.open(providers=[provider]) as app:
        with pytest.raises(TypeError):
            await app.ask("?", session="s", returns=returns)
        assert [] == list(await app.sessions.list())
    assert [] == list(provider.requests)


@frozen
class Share:
    percent: int = field()

    @percent.validator
    def _check(self, _: object, value: int) -> None:
        if not 0 <= value <= 100:
            raise ValueError(f"expected 0 to 100, found {value}")


@pytest.mark.parametrize("returns", [Share, Share | None])
async def test_value_that_the_class_refuses_is_asked_for_again(returns: Any) -> None:
    """What only a validator knows is told too, also inside a union."""
    share, provider = await asked('{"percent": 120}', '{"percent": 20}', returns=returns)
    assert Share(20) == share
    assert "expected 0 to 100, found 120" in provider.requests[1].history[-1].text


def revising(text: str) -> FakePolicy:
    def revise(review: fairlead.Review) -> Verdict:
        assert isinstance(review.subject, Message)
        origin = review.subject.parts[0].origin
        return Verdict("revise", "redact", revised=evolve(review.subject, parts=(Text(text, origin),)))

    return FakePolicy(revise, boundaries=["message_out"])


async def test_value_is_made_of_what_policies_let_out() -> None:
    """A policy that takes something out of the answer takes it out of the value."""
    city, _ = await asked(ROME, policies=[revising('{"name": "[hidden]", "people": 0}')])
    assert City("[hidden]", 0) == city


async def test_revision_that_is_no_value_is_an_invalid_result() -> None:
    """What the policies left does not fit: the caller learns what they left, not what the model said."""
    with pytest.raises(errors.InvalidResult) as caught:
        await asked(ROME, policies=[revising("[hidden]")])
    assert "[hidden]" == caught.value.text


async def test_text_is_given_as_it_is() -> None:
    """`returns=str` asks for no JSON: nobody wants quotation marks."""
    provider = ScriptedProvider(["hello"])
    async with fairlead.open(providers=[provider]) as app:
        assert "hello" == await app.ask("hi", returns=str)
    assert provider.requests[0].output_schema is None
