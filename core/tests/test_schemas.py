"""The published schemas are the truth of the boundaries: classes, encoding and schemas say the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fairlead
from fairlead import _message, _work, events, wire
from fairlead._schemas import fault
from fairlead.errors import SchemaError

from .strategies import DATA, EVENTS

BASE = "https://fairlead.dev/schemas/"
PARTS = {"Text", "Image", "Audio", "File", "Data"}
FILES = {
    "Inbound": "inbound",
    "Outbound": "outbound",
    "Verdict": "verdict",
    "ToolSpec": "tool-spec",
    "ModelRequest": "model-request",
    "ModelAnswer": "model-answer",
}
"""The classes with a file of their own; the other data stand in message, the events in event."""
OURS = (
    "event",
    "inbound",
    "message",
    "model-answer",
    "model-request",
    "outbound",
    "session-export",
    "tool-spec",
    "verdict",
)
EVENT_CLASSES = {cls.__name__: cls for cls in events.Event.__subclasses__()}
NAMED_DATA = {name: getattr(fairlead, name) for name in DATA}
EVERY: dict[str, type] = {**NAMED_DATA, **EVENT_CLASSES, "Draft": fairlead.Draft, "Progress": _work.Progress}

few_examples = settings(
    max_examples=25,
    deadline=None,  # the first example builds the validators
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow,),  # the machine may be busy
)
every_class = pytest.mark.parametrize("name", sorted(EVERY))


def schema_of(name: str) -> dict[str, Any]:
    """The part of the published schemas that describes a class."""
    if name in FILES:
        return dict(wire.load_schema(FILES[name]))
    home = "event" if name in EVENT_CLASSES or name in {"Draft", "Progress"} else "message"
    found: dict[str, Any] = wire.load_schema(home)["$defs"][name]
    return found


def validator_of(name: str) -> Any:
    if name in FILES:
        return wire.build_validator({"$ref": f"{BASE}{FILES[name]}.schema.json"})
    home = "event" if name in EVENT_CLASSES else "message"
    return wire.build_validator({"$ref": f"{BASE}{home}.schema.json#/$defs/{name}"})


# -- the quick way


SIMPLE = st.sampled_from(["string", "integer", "number", "boolean", "object", "null"])
NAMES = st.sampled_from(["a", "b"])
RULES = st.one_of(
    st.booleans(),
    st.fixed_dictionaries(
        {"type": st.one_of(SIMPLE, st.lists(SIMPLE, min_size=1, unique=True))},
        optional={"title": st.just("One"), "minimum": st.just(1), "enum": st.just(["x", 1])},
    ),
)
OBJECTS = st.fixed_dictionaries(
    {"properties": st.dictionaries(NAMES, RULES)},
    optional={
        "type": SIMPLE,
        "required": st.lists(NAMES, unique=True),
        "additionalProperties": st.booleans(),
        "maxProperties": st.just(1),
    },
)
VALUES: st.SearchStrategy[Any] = st.one_of(st.sampled_from(["x", "", 0, 1, 1.0, True, None]), st.just({}))


@settings(max_examples=400, deadline=None)
@given(schema=OBJECTS, value=st.one_of(st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES), VALUES))
def test_what_is_seen_to_fit_at_a_glance_fits(schema: dict[str, Any], value: Any) -> None:
    """A call's arguments are looked at before the validator is asked: the answer is the same."""
    validator = wire.build_validator(schema)
    assert (fault(validator, value) is None) == validator.is_valid(value)


# -- there and back


@pytest.mark.parametrize("name", sorted(DATA))
@few_examples
@given(data=st.data())
def test_data_go_there_and_back(name: str, data: st.DataObject) -> None:
    """Unstructured, valid by the schema, JSON text, read strictly, structured: equal."""
    value = data.draw(DATA[name])
    raw = wire.unstructure(Holder(parts=(value,)))["parts"][0] if name in PARTS else wire.unstructure(value)
    assert fault(validator_of(name), raw) is None
    read = wire.loads(json.dumps(raw, ensure_ascii=False))
    if name in PARTS:
        assert value == wire.structure({"parts": [read]}, Holder).parts[0]
    else:
        assert value == wire.structure(read, NAMED_DATA[name])


@attrs.frozen
class Holder:
    """A part is written with its type where it is one of several kinds of part."""

    parts: tuple[_message.Part, ...]


@pytest.mark.parametrize("name", sorted(EVENTS))
@few_examples
@given(data=st.data())
def test_events_go_there_and_back(name: str, data: st.DataObject) -> None:
    """Encoded as a line, valid by the schema of all events, decoded: equal."""
    event = data.draw(EVENTS[name])
    line = wire.encode_event(event)
    assert b"\n" not in line
    raw = wire.loads(line)
    wire.check("event", raw)
    assert event.kind == raw["kind"]
    assert event == wire.decode_event(line)


def test_every_event_has_a_strategy() -> None:
    """A new event is tested from its first day."""
    assert set(EVENT_CLASSES) == set(EVENTS)


@few_examples
@given(st.lists(st.one_of(*EVENTS.values()), max_size=3))
def test_export_is_valid_by_its_schema(happened: list[events.Event]) -> None:
    """A session's export is its events, each with its version."""
    lines = [{"version": place, **wire.loads(wire.encode_event(event))} for place, event in enumerate(happened, 1)]
    wire.check("session-export", {"format": "fairlead-session/1", "session": "s", "events": lines})


# -- no drift


@every_class
def test_properties_are_the_fields(name: str) -> None:
    """Every property is a field and every field a property; parts have their type beside, events their kind."""
    beside = {"type"} if name in PARTS else {"kind"} if name in EVENT_CLASSES else set()
    assert {field.name for field in attrs.fields(EVERY[name])} | beside == set(schema_of(name)["properties"])


@every_class
def test_required_is_what_is_always_written(name: str) -> None:
    """Fields without a default, and fresh ids."""
    beside = {"type"} if name in PARTS else {"kind"} if name in EVENT_CLASSES else set()
    fields = attrs.fields(EVERY[name])
    always = {field.name for field in fields if field.default is attrs.NOTHING or made_fresh(field)}
    assert always | beside == set(schema_of(name)["required"])


def made_fresh(field: attrs.Attribute[Any]) -> bool:
    return getattr(field.default, "factory", None) is _message.new_id


@every_class
def test_defaults_are_those_of_the_class(name: str) -> None:
    """What is left out means the same to whoever reads only the schema. None is an absent property."""
    for field in attrs.fields(EVERY[name]):
        if field.default is attrs.NOTHING or made_fresh(field):
            continue
        default = field.default.factory() if hasattr(field.default, "factory") else field.default
        if attrs.has(type(default)) or default is None:
            assert "default" not in schema_of(name)["properties"][field.name]
        else:
            written = wire.unstructure(default)
            wanted = list(written) if isinstance(written, tuple) else written
            assert wanted == schema_of(name)["properties"][field.name]["default"], field.name


@every_class
def test_choices_are_those_of_the_class(name: str) -> None:
    """A Literal of the class is the enumeration of the schema."""
    hints = get_type_hints(EVERY[name])
    for field, given_as in hints.items():
        if get_origin(given_as) is Literal:
            assert set(get_args(given_as)) == set(schema_of(name)["properties"][field]["enum"]), field


@every_class
def test_nothing_else_is_taken(name: str) -> None:
    """Only events take properties that are not listed: an older reader meets events of a later version."""
    assert (name in EVENT_CLASSES) is schema_of(name)["additionalProperties"]


@pytest.mark.parametrize("name", OURS)
def test_every_property_is_described(name: str) -> None:
    """The schemas are what authors in other languages read."""
    schema = wire.load_schema(name)
    assert schema["title"]
    assert schema["description"]
    assert [] == [place for place, found in properties(schema, "") if not isinstance(found.get("description"), str)]


def properties(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each property of a schema and of its definitions; conditions (`if`, `then`) repeat them."""
    for key, value in schema.get("properties", {}).items():
        yield f"{place}/{key}", value
    for key, value in schema.get("$defs", {}).items():
        yield from properties(value, f"{place}/$defs/{key}")


@pytest.mark.parametrize("name", OURS)
def test_schema_is_valid_and_knows_its_name(name: str) -> None:
    """Draft 2020-12, found under its `$id`, and every reference in it leads somewhere."""
    schema = wire.load_schema(name)
    assert f"{BASE}{name}.schema.json" == schema["$id"]
    assert "https://json-schema.org/draft/2020-12/schema" == schema["$schema"]
    wire.build_validator(schema)
    for reference in references(schema):
        wire.build_validator({"$ref": reference if reference.startswith("https") else schema["$id"] + reference})
        target, _, pointer = reference.partition("#")
        found: Any = wire.load_schema(target.removeprefix(BASE).removesuffix(".schema.json")) if target else schema
        for step in pointer.split("/")[1:]:
            found = found[step]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


# -- what is refused


TEXT = {"type": "text", "text": "hi"}
PERSON, ROOM = {"id": "kit:alice"}, {"channel": "kit"}
REFUSED = {
    "a part of an unknown type": (
        "message",
        {"role": "user", "id": "m", "parts": [{"type": "smell"}]},
        "/parts/0/type",
    ),
    "a part without a type": ("message", {"role": "user", "id": "m", "parts": [{"text": "hi"}]}, "/parts/0"),
    "text that is a number": ("message", {"role": "user", "id": "m", "parts": [{**TEXT, "text": 5}]}, "/parts/0/text"),
    "a field that nobody knows": (
        "message",
        {"role": "user", "id": "m", "parts": [{**TEXT, "bold": True}]},
        "/parts/0",
    ),
    "a role that nobody has": ("message", {"role": "system", "id": "m", "parts": []}, "/role"),
    "a message without an id": ("message", {"role": "user", "parts": []}, ""),
    "a person who calls tools": (
        "message",
        {"role": "user", "id": "m", "parts": [], "calls": [{"id": "c", "tool": "t", "arguments": {}}]},
        "/calls",
    ),
    "a picture without bytes": (
        "message",
        {"role": "user", "id": "m", "parts": [{"type": "image", "media_type": "image/png"}]},
        "/parts/0",
    ),
    "a picture by plain http": (
        "message",
        {"role": "user", "id": "m", "parts": [{"type": "image", "media_type": "image/png", "url": "http://a/b"}]},
        "/parts/0/url",
    ),
    "a tool's name with a blank": ("tool-spec", {"name": "my tool", "description": ""}, "/name"),
    "a tool's name with a newline": ("tool-spec", {"name": "tool\n", "description": ""}, "/name"),
    "a tool's name that is too long": ("tool-spec", {"name": "t" * 65, "description": ""}, "/name"),
    "a timeout of nothing": ("tool-spec", {"name": "t", "description": "", "timeout": 0}, "/timeout"),
    "an author who is nobody": ("inbound", {"address": ROOM, "author": {"id": ""}, "parts": []}, "/author/id"),
    "a revision of nothing": ("verdict", {"effect": "revise", "rule": "r"}, ""),
    "a denial with a revision": (
        "verdict",
        {"effect": "deny", "rule": "r", "revised": {"id": "c", "tool": "t", "arguments": {}}},
        "",
    ),
    "arguments that are a list": (
        "model-answer",
        {"calls": [{"id": "c", "tool": "t", "arguments": []}]},
        "/calls/0/arguments",
    ),
    "an event without a kind": ("event", {"at": 1}, ""),
    "an event without its turn": ("event", {"kind": "turn_started", "messages": []}, ""),
    "an event whose time is text": ("event", {"kind": "turn_started", "turn": "t", "messages": [], "at": "now"}, "/at"),
    "an export without versions": (
        "session-export",
        {"format": "fairlead-session/1", "session": "s", "events": [{"kind": "rolled_back", "to_version": 1}]},
        "/events/0",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_what_does_not_fit_is_refused_with_its_place(case: str) -> None:
    """The error has the JSON pointer, the schema's name and the next command."""
    name, value, place = REFUSED[case]
    with pytest.raises(SchemaError) as caught:
        wire.check(name, value)
    assert (name, place) == (caught.value.schema, caught.value.path)
    assert f"fairlead schema {name}" == caught.value.next_step


def test_events_of_a_later_version_are_taken() -> None:
    """A new kind, and a new field of a known kind."""
    wire.check("event", {"kind": "moon_rose", "at": 1.5, "phase": "full"})
    wire.check("event", {"kind": "rolled_back", "to_version": 3, "because": "undo"})


def test_published_names_are_listed_sorted() -> None:
    """`schema_names` has ours among them."""
    names = wire.schema_names()
    assert list(names) == sorted(names)
    assert set(OURS) <= set(names)


def test_unknown_schema_is_refused_with_the_known_ones() -> None:
    """The message lists what there is."""
    with pytest.raises(SchemaError, match="message"):
        wire.load_schema("massage")


@pytest.mark.parametrize("name", ["../core/pyproject", "/etc/passwd", "a/b", "", "."])
def test_schema_names_are_no_paths(name: str) -> None:
    """A name comes from a reference, which may come from a plugin."""
    with pytest.raises(SchemaError):
        wire.load_schema(name)


# -- nothing is fetched


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.org/schema.json",
        "file:///etc/hostname",
        "schema.json",
        f"{BASE}../../../../etc/hostname",
        f"{BASE}no-such-thing.schema.json",
        f"{BASE}message.schema.json#/$defs/nothing",
        "https://fairlead.dev.example.org/schemas/message.schema.json",
        "#/$defs/nothing",
    ],
)
def test_reference_that_leads_elsewhere_is_refused(reference: str) -> None:
    """It is the fault of the schema's author, so it is found when the schema is loaded, wherever it stands in it."""
    with pytest.raises(SchemaError, match="refers to"):
        wire.build_validator({"type": "object", "properties": {"a": {"items": {"$ref": reference}}}})


def test_no_file_is_read_for_a_reference(tmp_path: Path) -> None:
    """Not even one that is a schema."""
    path = tmp_path / "good.schema.json"
    path.write_text('{"type": "string"}')
    with pytest.raises(SchemaError, match="refers to"):
        wire.build_validator({"$ref": path.as_uri()})


def test_no_server_is_asked_for_a_reference() -> None:
    """Nobody connects to the server that the reference names."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        with pytest.raises(SchemaError, match="refers to"):
            wire.build_validator({"$ref": f"http://127.0.0.1:{port}/schema.json"})
        with pytest.raises(BlockingIOError):
            server.accept()


def test_word_ref_in_a_value_is_no_reference() -> None:
    """A property may be named ``$ref``, and so may a key of a constant."""
    validator = wire.build_validator({"properties": {"$ref": {"const": {"$ref": "https://example.org"}}}})
    assert validator.is_valid({"$ref": {"$ref": "https://example.org"}})


def test_reference_to_a_published_schema_is_followed() -> None:
    """Plugins may build on ours."""
    validator = wire.build_validator({"$ref": f"{BASE}message.schema.json#/$defs/Address"})
    assert validator.is_valid({"channel": "kit"})
    assert not validator.is_valid({"chanel": "kit"})


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"properties": []}, {"pattern": "("}, {"$ref": 5}])
def test_malformed_schema_is_refused(schema: dict[str, Any]) -> None:
    """The schema of a plugin's tool is checked when it is loaded, not when it is first used."""
    with pytest.raises(SchemaError, match="2020-12"):
        wire.build_validator(schema)
