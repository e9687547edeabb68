"""Length-prefixed strict JSON: 4 bytes of length, big-endian, then one JSON object in UTF-8 (RFC 8259).

Python's own reader takes NaN, a key twice and lone surrogates; what comes from untrusted code must not. The same rules
as `fairlead.wire.loads`, written again because this package has only the standard library.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from math import isinf
from typing import Any, NoReturn

__all__ = ["HEAD_BYTES", "MAX_DEPTH", "MAX_INT_DIGITS", "FrameError", "FrameReader", "decode", "encode"]

HEAD_BYTES = 4
MAX_DEPTH = 64
"""Levels of nesting; deeper values exhaust the stack of whoever walks over them."""
MAX_INT_DIGITS = 400
"""Longer integers cost quadratic time to read."""


class FrameError(Exception):
    """What came, or should be sent, is no frame. After it the stream cannot be trusted any more."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        """What was found and what was expected."""


_write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_LARGEST = 0xFFFFFFFF
_LONG_INT = re.compile(rb"\d{401}")


def encode(value: dict[str, Any]) -> bytes:
    """A whole frame. `FrameError`: the value is no object, or the other end would refuse it."""
    if type(value) is not dict:
        raise FrameError(f"expected an object, found {type(value).__name__}")
    try:
        body = _write(value).encode("utf-8")
    except RecursionError:
        raise FrameError(f"found more than {MAX_DEPTH} levels of nesting") from None
    except UnicodeError:
        raise FrameError("found text that is not valid Unicode") from None
    except (TypeError, ValueError) as error:
        raise FrameError(f"found what is not JSON: {error}") from None
    if len(body) > _LARGEST:
        raise FrameError(f"found {len(body)} bytes, a frame has at most {_LARGEST}")
    _check_depth(value, body)
    if _LONG_INT.search(body):  # perhaps only digits in a text: the reader knows the difference
        decode(body)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes`: of one frame's body. A longer one is refused as soon as its length is there."""
        self.max_bytes = max_bytes
        self._buffer = bytearray()
        self._broken: FrameError | None = None

    @property
    def empty(self) -> bool:
        """Whether the stream may end here: nothing of another frame has come yet."""
        return not self._buffer

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The frames that are complete with `data`, in order.

        `FrameError`: what came breaks the rules; frames that came whole before it in the same `data` are dropped, and
        every later call raises the same.
        """
        if self._broken is not None:
            raise self._broken
        self._buffer += data
        try:
            return list(self._cut())
        except FrameError as error:
            self._broken = error
            self._buffer.clear()
            raise

    def _cut(self) -> Iterable[dict[str, Any]]:
        start, buffer = 0, self._buffer
        while len(buffer) - start >= HEAD_BYTES:
            size = int.from_bytes(buffer[start : start + HEAD_BYTES], "big")
            if size > self.max_bytes:
                raise FrameError(f"found a frame of {size} bytes, at most {self.max_bytes} are allowed")
            if len(buffer) - start - HEAD_BYTES < size:
                break
            start += HEAD_BYTES
            yield decode(bytes(buffer[start : start + size]))
            start += size
        del buffer[:start]


def decode(body: bytes) -> dict[str, Any]:
    """The object of one frame's body. `FrameError`: what was found."""
    try:
        text = body.decode("utf-8")
        value = _read(text)
        if "\\u" in text:  # the only way by which a lone surrogate could have come in
            _write(value).encode("utf-8")
    except RecursionError:
        raise FrameError(f"found more than {MAX_DEPTH} levels of nesting") from None
    except UnicodeError:
        raise FrameError("found text that is not valid Unicode") from None
    except ValueError as error:
        raise FrameError(f"expected JSON: {error}") from None
    if type(value) is not dict:
        raise FrameError(f"expected an object, found {type(value).__name__}")
    _check_depth(value, body)
    return value


def _check_depth(value: dict[str, Any], body: bytes) -> None:
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, dict | list | tuple)]
        if not level:
            return
    raise FrameError(f"found more than {MAX_DEPTH} levels of nesting")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _bounded_int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INT_DIGITS:
        raise ValueError(f"found an integer of {len(digits)} digits, at most {MAX_INT_DIGITS} are allowed")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise ValueError(f"the number {digits[:40]} is out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"key {twice[:80]!r} stands twice in one object")
    return made


_read = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_int=_bounded_int, parse_float=_finite, object_pairs_hook=_unique
).decode
