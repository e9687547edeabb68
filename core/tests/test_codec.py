"""JSON from outside is read strictly; what does not fit a class is refused with its path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import Image, Message, Text, ToolCall, ToolResult, ToolSpec, Usage, events, wire
from fairlead._codec import MAX_DEPTH, MAX_INT_DIGITS
from fairlead.errors import SchemaError

from .strategies import values

# -- the strict reader


@given(values)
def test_every_json_value_is_read_as_it_was_written(value: Any) -> None:
    """Strict does not mean less: all of JSON is read, as text and as bytes, escaped and not."""
    for escaped in (True, False):
        text = json.dumps(value, ensure_ascii=escaped)
        assert value == wire.loads(text)
        assert value == wire.loads(text.encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NaN", "NaN"),
        ("[Infinity]", "Infinity"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('[{"b": {"c": 1, "\\u0063": 1}}]', "'c' stands twice"),
        ('"\\ud83d"', "Unicode"),
        ('{"\\udc00": 1}', "Unicode"),
        ('["\\ude00\\ud83d"]', "Unicode"),
        ("1" * (MAX_INT_DIGITS + 1), "digits"),
        ("[-" + "1" * 10_000 + "]", "digits"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "levels"),
        ("[" * 100_000, "levels"),
        ("[1e999]", "number"),
        ("-1e999", "number"),
        ("", "JSON"),
        ("{", "JSON"),
        ("[1,]", "JSON"),
        ("{'a': 1}", "JSON"),
        ("1 2", "JSON"),
        ("\ufeff1", "JSON"),
        ('"\x00"', "JSON"),
    ],
    ids=range(22),
)
def test_what_is_no_strict_json_is_refused(text: str, found: str) -> None:
    """Python's own reader takes most of these, and others read them in another way: that difference is an attack."""
    with pytest.raises(SchemaError, match=found):
        wire.loads(text)
    with pytest.raises(SchemaError):
        wire.loads(text.encode("utf-8"))


@pytest.mark.parametrize("line", [b'"\xff"', b'"\xed\xa0\x80"', "1".encode("utf-16"), b"\x80"])
def test_bytes_that_are_no_utf_8_are_refused(line: bytes) -> None:
    """JSON between programs is UTF-8 (RFC 8259, section 8.1), also where Python would guess another encoding."""
    with pytest.raises(SchemaError):
        wire.loads(line)


def test_lone_surrogate_in_the_text_itself_is_refused() -> None:
    """It could not be written again."""
    with pytest.raises(SchemaError, match="Unicode"):
        wire.loads('["\ud83d"]')


def test_limits_are_inclusive() -> None:
    """What is just allowed is read."""
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert deep == json.dumps(wire.loads(deep))
    assert 10 ** (MAX_INT_DIGITS - 1) == wire.loads("1" + "0" * (MAX_INT_DIGITS - 1))


def test_wide_values_are_read() -> None:
    """The limit is on depth, not on size."""
    wide = [[number] for number in range(10_000)]
    assert wide == wire.loads(json.dumps(wide))


# -- frozen data


def test_defaults_are_left_out() -> None:
    """The wire form is short; bytes are base64, parts carry their type."""
    message = Message("user", (Text("hi"), Image("image/png", b"\x00\xff")), id="m")
    parts = [{"type": "text", "text": "hi"}, {"type": "image", "media_type": "image/png", "data": "AP8="}]
    assert {"role": "user", "parts": parts, "id": "m"} == wire.unstructure(message)
    assert {} == wire.unstructure(Usage())


@pytest.mark.parametrize(
    ("raw", "cls", "place"),
    [
        ({"role": "robot", "parts": []}, Message, "Message.role"),
        ({"role": "user"}, Message, "parts"),
        ({"role": "user", "parts": [{"type": "smell"}]}, Message, r"parts\[0\]"),
        ({"role": "user", "parts": [{"text": "hi"}]}, Message, r"parts\[0\]"),
        (
            {"role": "user", "parts": [{"type": "image", "media_type": "a/b", "data": "%%"}]},
            Message,
            r"parts\[0\].data",
        ),
        ({"role": "user", "parts": 5}, Message, "parts"),
        ({"id": "c", "tool": "t"}, ToolCall, "arguments"),
        ({"name": "n", "description": "d", "effect": "magic"}, ToolSpec, "effect"),
        ([], Message, "Message"),
        (None, Message, "Message"),
        ("text", Message, "Message"),
    ],
    ids=range(11),
)
def test_what_does_not_fit_a_class_is_refused(raw: Any, cls: type, place: str) -> None:
    """With the path; the schema, which is checked first at a boundary, says more."""
    with pytest.raises(SchemaError, match=place) as caught:
        wire.structure(raw, cls)
    assert cls.__name__ == caught.value.schema


# -- events as lines


def test_unknown_kind_becomes_a_bare_event() -> None:
    """A journal that a later version wrote can be read."""
    assert events.Event(at=1.5) == wire.decode_event(b'{"kind":"moon_rose","at":1.5,"phase":"full"}')


def test_unknown_field_is_ignored() -> None:
    """The same for a known kind."""
    assert events.RolledBack(to_version=3) == wire.decode_event(b'{"kind":"rolled_back","to_version":3,"because":"x"}')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"5",
        b"[]",
        b"null",
        b'"kind"',
        b"{}",
        b'{"kind":["x"]}',
        b'{"kind":5}',
        b'{"kind":"rolled_back"}',
        b'{"kind":"rolled_back","to_version":"three"}',
        b'{"kind":"moon_rose","at":"now"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=range(14),
)
def test_damaged_line_is_a_schema_error(line: bytes) -> None:
    """Whatever is on the disk, reading it raises this and nothing else."""
    with pytest.raises(SchemaError):
        wire.decode_event(line)


@given(st.binary(max_size=50))
def test_random_bytes_are_a_schema_error(line: bytes) -> None:
    """The same for noise."""
    with pytest.raises(SchemaError):
        wire.decode_event(line)


@pytest.mark.parametrize("text", ["\ud83d", "a\udc00b"])
def test_lone_surrogate_is_not_written(text: str) -> None:
    """It is no Unicode text, and a strict reader would refuse the journal."""
    with pytest.raises(ValueError, match="surrogates"):
        wire.encode_event(events.NoticeRaised(subject="s", detail=text))


def test_not_a_number_is_not_written() -> None:
    """NaN is no JSON."""
    with pytest.raises(ValueError, match="JSON compliant"):
        wire.encode_event(events.ToolReturned(turn="t", result=ToolResult("c", "t"), seconds=float("nan")))
