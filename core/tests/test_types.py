"""Types as JSON Schema, and functions as specs."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal, Optional

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import ToolContext
from fairlead._codec import structure, unstructure
from fairlead._schemas import build_validator, fault
from fairlead._types import context_parameter, schema_of, spec_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@frozen
class City:
    """A place where people live.

    Attributes:
        name: As its people call it.
        people: How many live there,
            at the last count.

    """

    name: str
    people: int = 0
    colour: Colour | None = None
    _secret: str = field(default="", init=False)


@frozen
class Country:
    cities: tuple[City, ...]
    twin: Country | None = None


@frozen
class Region:
    capital: City
    others: list[City] = field(factory=list)
    notes: dict[str, Level] = field(factory=dict)


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "text": (str, {"type": "string"}),
    "integer": (int, {"type": "integer"}),
    "number": (float, {"type": "number"}),
    "truth": (bool, {"type": "boolean"}),
    "nothing": (type(None), {"type": "null"}),
    "anything": (Any, {}),
    "bare list": (list, {"type": "array"}),
    "list": (list[int], {"type": "array", "items": {"type": "integer"}}),
    "sequence": (Sequence[str], {"type": "array", "items": {"type": "string"}}),
    "set": (frozenset[bool], {"type": "array", "items": {"type": "boolean"}}),
    "tuple of any length": (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    "tuple": (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "items": False},
    ),
    "bare map": (dict, {"type": "object"}),
    "map": (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    "choice": (Literal["a", 1, "b"], {"enum": ["a", 1, "b"]}),
    "enum": (Colour, {"enum": ["red", "blue"]}),
    "enum of numbers": (Level, {"enum": [1, 2]}),
    "union": (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
    "optional": (Optional[int], {"anyOf": [{"type": "integer"}, {"type": "null"}]}),  # noqa: UP045  # the old spelling is still written
    "described": (Annotated[int, "How many."], {"type": "integer", "description": "How many."}),
    "described by something else": (Annotated[int, {"ge": 1}], {"type": "integer"}),
    "described inside": (
        list[Annotated[int, "One."]],
        {"type": "array", "items": {"type": "integer", "description": "One."}},
    ),
    "class": (
        City,
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "As its people call it."},
                "people": {"type": "integer", "description": "How many live there, at the last count."},
                "colour": {"anyOf": [{"enum": ["red", "blue"]}, {"type": "null"}]},
            },
            "required": ["name"],
            "additionalProperties": False,
            "description": "A place where people live.",
        },
    ),
}


@dataclasses.dataclass
class Town:
    """A town.

    Attributes:
        name: As it is spelled.

    """

    name: str
    people: int = 0
    tags: list[str] = dataclasses.field(default_factory=list)
    secret: str = dataclasses.field(default="", init=False)


@dataclasses.dataclass
class Plain:
    town: Town


def test_dataclass_is_as_good_as_an_attrs_class() -> None:
    """Its docstring describes it; the one that Python writes where there is none does not."""
    tags = {"type": "array", "items": {"type": "string"}}
    properties = {
        "name": {"type": "string", "description": "As it is spelled."},
        "people": {"type": "integer"},
        "tags": tags,
    }
    town = {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}
    town["description"] = "A town."
    assert town == schema_of(Town)
    assert {"type": "object", "properties": {"town": town}, "required": ["town"], "additionalProperties": False} == (
        schema_of(Plain)
    )
    assert Plain(Town("Ulm", 1)) == structure({"town": {"name": "Ulm", "people": 1}}, Plain)


@pytest.mark.parametrize("name", CASES)
def test_schema_of_an_annotation(name: str) -> None:
    """Every kind of annotation that a function may have."""
    annotation, schema = CASES[name]
    assert schema == schema_of(annotation)
    build_validator(schema)


def test_nested_classes_have_their_schemas_inside() -> None:
    """A class of classes is one schema without references."""
    schema = schema_of(Region)
    assert schema_of(City) == schema["properties"]["capital"] == schema["properties"]["others"]["items"]
    assert {"enum": [1, 2]} == schema["properties"]["notes"]["additionalProperties"]
    assert ["capital"] == schema["required"]


class Opaque(enum.Enum):
    THING = object()


@pytest.mark.parametrize("annotation", [object, bytes, complex, Callable[[], int], Iterable[str], City | bytes, Opaque])
def test_type_without_a_json_value_is_refused(annotation: Any) -> None:
    """It is named, and so are those that would do."""
    with pytest.raises(TypeError, match="has no JSON Schema; use str, int"):
        schema_of(annotation)


def test_class_that_contains_itself_is_refused() -> None:
    """A schema without references cannot say it."""
    with pytest.raises(TypeError, match="leads into a class that contains itself"):
        schema_of(Country)


texts = st.text(max_size=5)
VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, texts),
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (City, st.builds(City, texts, st.integers(), st.none() | st.sampled_from(Colour))),
]
annotated = st.recursive(
    st.sampled_from(VALUES),
    lambda inner: st.one_of(
        inner.map(lambda pair: (GenericAlias(list, (pair[0],)), st.lists(pair[1], max_size=3))),
        inner.map(lambda pair: (GenericAlias(dict, (str, pair[0])), st.dictionaries(texts, pair[1], max_size=3))),
        inner.map(lambda pair: (GenericAlias(tuple, (pair[0], ...)), st.lists(pair[1], max_size=3).map(tuple))),
        inner.map(lambda pair: (pair[0] | None, st.none() | pair[1])),
        st.tuples(inner, inner).map(
            lambda pairs: (
                GenericAlias(tuple, (pairs[0][0], pairs[1][0])),
                st.tuples(pairs[0][1], pairs[1][1]),
            )
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_values_of_an_annotation_fit_its_schema_and_come_back(data: st.DataObject) -> None:
    """What a type can hold validates as JSON, and the JSON becomes the same value again."""
    annotation, values = data.draw(annotated)
    value = data.draw(values)
    raw = unstructure(value)
    assert fault(build_validator(schema_of(annotation)), raw) is None
    assert value == structure(raw, annotation)


# -- functions


def google(city: str, days: int = 1, *, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather.

    It asks nobody.

    Args:
        city: Where. Say the country too:
            there are many Springfields.
        days (int): How far ahead.
        unit: The scale

    Returns:
        Words: about the sky.

    """
    return f"{city}{days}{unit}"


def sphinx(city: str, days: int = 1, *, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather.

    It asks nobody.

    :param city: Where. Say the country too:
        there are many Springfields.
    :param int days: How far ahead.
    :param unit: The scale
    :returns: Words.
    """
    return f"{city}{days}{unit}"


def numpy(city: str, days: int = 1, *, unit: Literal["C", "F"] = "C") -> str:
    """Tell the weather.

    It asks nobody.

    Parameters
    ----------
    city : str
        Where. Say the country too:
        there are many Springfields.
    days : int, optional
        How far ahead.
    unit
        The scale

    Returns
    -------
    str
        Words.

    """
    return f"{city}{days}{unit}"


@pytest.mark.parametrize("function", [google, sphinx, numpy])
def test_docstring_describes_the_parameters(function: Callable[..., Any]) -> None:
    """Three forms of docstring, one spec."""
    spec = spec_of(function)
    properties = spec.parameters["properties"]
    assert (function.__name__, "Tell the weather.\n\nIt asks nobody.") == (spec.name, spec.description)
    assert "Where. Say the country too: there are many Springfields." == properties["city"]["description"]
    assert {"type": "integer", "description": "How far ahead."} == properties["days"]
    assert {"enum": ["C", "F"], "description": "The scale"} == properties["unit"]
    assert ["city"] == spec.parameters["required"]
    assert spec.parameters["additionalProperties"] is False


def test_annotation_beats_the_docstring() -> None:
    """The description that stands at the parameter itself counts."""

    def look(at: Annotated[str, "A path."]) -> None:
        """Look.

        Args:
            at: Something else.

        """

    assert {"type": "string", "description": "A path."} == spec_of(look).parameters["properties"]["at"]


def test_function_without_words_or_annotations() -> None:
    """Everything is allowed in, and nothing is said."""

    def bare(thing, other=1):  # type: ignore[no-untyped-def]  # as people write it  # noqa: ANN001, ANN202  # the same
        return thing, other

    spec = spec_of(bare)
    assert ("bare", "") == (spec.name, spec.description)
    assert {"thing": {}, "other": {}} == spec.parameters["properties"]
    assert ["thing"] == spec.parameters["required"]


def test_context_is_not_shown_to_the_model() -> None:
    """By its annotation, wherever it stands and whatever it is called; also where it may be missing."""

    def first(where: ToolContext, what: str) -> str:
        return what

    def optional(what: str, ctx: ToolContext | None = None) -> str:
        return what

    for function, name in ((first, "where"), (optional, "ctx")):
        assert name == context_parameter(function)
        assert ["what"] == list(spec_of(function).parameters["properties"])
    assert not context_parameter(google)


def test_function_is_taken_to_have_an_effect_and_runs_in_the_host() -> None:
    """What a signature does not say is assumed at its worst; but the code is the host's own."""
    spec = spec_of(google)
    assert ("once", "host", None) == (spec.effect, spec.isolation, spec.timeout)


def star(*args: int) -> None: ...
def stars(**kwargs: int) -> None: ...
def nameless(a: int, /) -> None: ...


@pytest.mark.parametrize("function", [star, stars, nameless])
def test_parameter_that_a_model_cannot_name_is_refused(function: Callable[..., Any]) -> None:
    """Star arguments and positional ones: the function and the parameter are named."""
    with pytest.raises(TypeError, match=f"tool {function.__name__!r}: parameter .* has no name that a model can use"):
        spec_of(function)


def test_parameter_without_a_schema_is_named() -> None:
    """The fault of one parameter says which and whose."""

    def write(data: bytes) -> None: ...

    with pytest.raises(TypeError, match=r"tool 'write', parameter 'data': .*bytes.* has no JSON Schema"):
        spec_of(write)
