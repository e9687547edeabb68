"""JSON bytes of things that never change, made once: a long session is not encoded again at each turn.

`fairlead_openai` and `fairlead_anthropic` hold the same copy of this file, since no plugin imports another one;
`tests/providers/test_copies.py` keeps the two alike.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from fairlead import Audio, Data, File, Image, Message, Text, ToolResult

T = TypeVar("T")
Buffer = bytes | bytearray

MAX_ITEM_BYTES = 8 * 2**20
MAX_PREFIX_BYTES = 32 * 2**20
ENTRY_OVERHEAD = 200
"""What an entry costs beside its bytes; about what `sys.getsizeof` gives for its tuple, key and slot."""

_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def dumps(value: Any) -> bytes:
    """Compact JSON; a lone surrogate, which no UTF-8 can hold, becomes a question mark."""
    return _dumps(value).encode("utf-8", "replace")


class Encoded(Generic[T]):
    """The encoded form of objects that are frozen, by identity; the oldest are dropped above a number of bytes.

    An entry holds its object, so that no other object can get the same id while the entry lives.
    """

    def __init__(self, encode: Callable[[T], bytes], max_bytes: int = MAX_ITEM_BYTES) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[int, tuple[T, bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __call__(self, item: T) -> bytes:
        entry = self._entries.get(id(item))
        if entry is not None:
            return entry[1]
        data = self._encode(item)
        size = len(data) + ENTRY_OVERHEAD
        # One huge picture must not drive out everything else.
        if size <= self._max_bytes // 4:
            self._entries[id(item)] = (item, data)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.pop(next(iter(self._entries)))
                self._bytes -= len(dropped) + ENTRY_OVERHEAD
        return data


Item = Message | ToolResult


class Prefixes:
    """The encoded beginning of each session's history: a turn costs what it adds, however long the session is.

    An entry is right as long as its items are the first ones of the history; comparing 3,000 objects that are the same
    takes 15 us. A history that was changed is encoded anew. Sessions not used for longest are dropped.
    """

    def __init__(self, encode: Callable[[list[Item], bool], bytes], max_bytes: int = MAX_PREFIX_BYTES) -> None:
        """`encode` takes items, and whether nothing stands before them."""
        self._encode = encode
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[str, tuple[list[Item], bytearray]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __call__(self, session: str, items: list[Item]) -> Buffer:
        """What it gives is good until the next call: it grows in place, as copying it would cost more each turn."""
        known, data = self._entries.pop(session, ([], bytearray()))
        self._bytes -= _weight(known, data)
        if items[: len(known)] != known:
            known, data = [], bytearray()
        if more := self._encode(items[len(known) :], not data):
            if data:
                data += b","
            data += more
        if session:
            self._entries[session] = (items, data)
            self._bytes += _weight(items, data)
            while self._bytes > self._max_bytes:
                self._bytes -= _weight(*self._entries.pop(next(iter(self._entries))))
        return data


def with_commas(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """The pieces with commas between them, for one join at the end: a long history is copied once."""
    for place, piece in enumerate(pieces):
        if place:
            yield b","
        yield piece


def _weight(items: list[Item], data: bytearray) -> int:
    return len(data) + 8 * len(items)


# -- parts and ids, as both protocols need them


def data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def words_of(part: Text | Image | Audio | File | Data) -> str:
    """A part as words, for a place that takes words only; what cannot be shown is named, so that the model knows."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Data):
        return _dumps(part.value)
    if isinstance(part, Audio) and part.transcript:
        return part.transcript
    if isinstance(part, File) and part.data is not None and is_text(part.media_type):
        return f"File {part.name!r}:\n{part.data.decode('utf-8', 'replace')}"
    name = part.name if isinstance(part, File) else part.alt if isinstance(part, Image) else ""
    where = part.url or f"{len(part.data or b'')} bytes"
    return f"[{type(part).__name__.lower()} {name!r}, {part.media_type}, {where}; its content is not shown]"


def is_text(media_type: str) -> bool:
    return media_type.startswith("text/") or media_type in {"application/json", "application/xml", "application/yaml"}


def arguments_of(arguments: Any) -> dict[str, Any]:
    """The arguments of a call as the object that every server accepts; the raw text of a bad call is kept in one."""
    return arguments if isinstance(arguments, dict) else {"invalid_arguments": arguments}


def call_id(call: str) -> str:
    """An id that both protocols take: history may hold calls that another provider has named."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,40}", call):
        return call
    return "call_" + hashlib.sha256(call.encode("utf-8", "replace")).hexdigest()[:24]


def clean(text: Any) -> str:
    """Text from a server: nothing where it is no text, and without lone surrogates, which no journal can hold."""
    if not isinstance(text, str):
        return ""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def count(value: Any) -> int:
    """A number of tokens from a server; 0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
