"""Frames: strict at both ends, and bounded before anything is read."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_sandbox.inside import FrameError, FrameReader, encode


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_frame_is_length_and_compact_json() -> None:
    """4 bytes, big-endian; UTF-8 as it is."""
    assert b'\x00\x00\x00\x0e{"a":[1,"\xc3\xa4"]}' == encode({"a": [1, "ä"]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5), st.integers(1, 50))
def test_what_was_sent_arrives_in_any_pieces(values: list[dict[str, Any]], size: int) -> None:
    """Cut anywhere, whole and in order."""
    data = b"".join(encode(value) for value in values)
    reader = FrameReader(1 << 20)
    found = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert values == found
    assert reader.empty


BAD = {
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "number out of range": b'{"a":1e999}',
    "key twice": b'{"a":1,"a":2}',
    "key twice, written differently": b'{"a":1,"\\u0061":2}',
    "key twice inside": b'{"a":[{"b":1,"b":1}]}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate as a key": b'{"\\udfff":1}',
    "surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "no UTF-8": b'{"a":"\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
    "array": b"[1]",
    "text": b'"a"',
    "null": b"null",
    "empty": b"",
    "two values": b'{"a":1}{"b":2}',
    "comma at the end": b'{"a":1,}',
    "control character": b'{"a":"\n"}',
    "65 levels": json.dumps(nested(65)).encode(),
    "65 levels of arrays": b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    "100,000 levels": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "long integer": b'{"a":' + b"1" * 401 + b"}",
    "long negative integer": b'{"a":-' + b"1" * 401 + b"}",
    "very long integer": b'{"a":' + b"1" * 1_000_000 + b"}",
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_reader_refuses_what_python_would_take(body: bytes) -> None:
    """And nothing after it is read any more."""
    reader = FrameReader(1 << 22)
    with pytest.raises(FrameError) as first:
        reader.feed(framed(body))
    with pytest.raises(FrameError) as second:
        reader.feed(encode({"a": 1}))
    assert first.value.problem == second.value.problem


def test_long_frame_is_refused_at_its_length() -> None:
    """Before a byte of its body has come."""
    reader = FrameReader(1000)
    with pytest.raises(FrameError, match="frame of 1001 bytes, at most 1000"):
        reader.feed((1001).to_bytes(4, "big"))


def test_limits_themselves_are_allowed() -> None:
    """64 levels, 400 digits, the whole size."""
    value = {"deep": nested(63), "long": 10**399, "negative": -(10**399), "😀": "\U0001f600\u2028"}
    data = encode(value)
    assert [value] == FrameReader(len(data) - 4).feed(data)


CANNOT: dict[str, Any] = {
    "NaN": {"a": math.nan},
    "infinity": {"a": math.inf},
    "surrogate": {"a": "\ud800"},
    "65 levels": nested(65),
    "circle": None,
    "long integer": {"a": 10**400},
    "very long integer": {"a": 10**5000},
    "set": {"a": {1}},
    "bytes": {"a": b""},
    "array": [1],
    "subclass that lies": type("D", (dict,), {"items": lambda self: [("a", math.nan)]})(),
}
circle: dict[str, Any] = {}
circle["a"] = circle
CANNOT["circle"] = circle


@pytest.mark.parametrize("value", CANNOT.values(), ids=CANNOT.keys())
def test_writer_refuses_what_the_reader_would(value: Any) -> None:
    """A fault is found where it was made."""
    with pytest.raises(FrameError):
        encode(value)


def test_digits_in_a_text_are_no_integer() -> None:
    """The quick look at the bytes is followed by a true one."""
    value = {"a": "1" * 5000}
    assert [value] == FrameReader(10_000).feed(encode(value))
