"""Reading the server name from the first bytes of a TLS connection (RFC 8446, sections 4.1.2 and 5.1; RFC 6066, 3)."""

from __future__ import annotations

__all__ = ["ClientHello"]

HANDSHAKE = 22
CLIENT_HELLO = 1
MAX_RECORD = 16_384
RECORD_HEAD = 5
MESSAGE_HEAD = 4
SERVER_NAME = 0
HOST_NAME = 0
HIDDEN = {0xFFCE: "ESNI", 0xFE0D: "ECH"}
"""What hides the true name. Refused also where the outer name is right: what cannot be read cannot be checked."""


class ClientHello:
    """Takes bytes as they come, in records and pieces of any size, until the message is whole."""

    def __init__(self) -> None:
        self._records = bytearray()
        self._message = bytearray()

    def feed(self, data: bytes) -> str | None:
        """The server name in small letters once it is known; None while more is needed.

        `ValueError`: it is no ClientHello, has not exactly one name, or hides it.
        """
        self._records += data
        while (record := self._next_record()) is not None:
            self._message += record
            if self._message[0] != CLIENT_HELLO:
                raise ValueError("the first message of TLS is no ClientHello")
        if len(self._message) < MESSAGE_HEAD:
            return None
        end = MESSAGE_HEAD + int.from_bytes(self._message[1:4], "big")
        if len(self._message) < end:
            return None
        if len(self._message) > end:
            raise ValueError("something follows the ClientHello in its record")
        try:
            return _server_name(bytes(self._message[MESSAGE_HEAD:]))
        except IndexError:
            raise ValueError("the ClientHello is malformed") from None

    def _next_record(self) -> bytes | None:
        """The content of the next whole record, taken away."""
        records = self._records
        if records and records[0] != HANDSHAKE:
            raise ValueError("what was sent is not TLS")
        if len(records) < RECORD_HEAD:
            return None
        size = int.from_bytes(records[3:5], "big")
        if records[1] != 3 or not 0 < size <= MAX_RECORD:  # noqa: PLR2004  # every TLS since 1.0 says 3 here
            raise ValueError("what was sent is not TLS")
        if len(records) < RECORD_HEAD + size:
            return None
        record = bytes(records[RECORD_HEAD : RECORD_HEAD + size])
        del records[: RECORD_HEAD + size]
        return record


class _Bytes:
    """Takes fields from the front. `IndexError`: fewer bytes are left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise IndexError
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> _Bytes:
        return _Bytes(self.take(self.number(size)))

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def _server_name(body: bytes) -> str:
    hello = _Bytes(body)
    hello.take(2 + 32)  # version, random
    for size in (1, 2, 1):  # session, ciphers, compressions
        hello.vector(size)
    if not hello:
        raise ValueError("the ClientHello has no server name")
    extensions = hello.vector(2)
    found: dict[int, _Bytes] = {}
    while extensions:
        kind, value = extensions.number(2), extensions.vector(2)
        if kind in found:
            raise ValueError("the ClientHello has an extension twice")
        found[kind] = value
    hidden = [word for kind, word in HIDDEN.items() if kind in found]
    if hidden:
        raise ValueError(f"the ClientHello hides its server name ({hidden[0]})")
    if hello or SERVER_NAME not in found:
        raise ValueError("the ClientHello has no server name")
    return _only_name(found[SERVER_NAME])


def _only_name(extension: _Bytes) -> str:
    names = extension.vector(2)
    if names.number(1) != HOST_NAME:
        raise ValueError("the ClientHello has no server name")
    name = names.vector(2).rest()
    if names or extension:
        raise ValueError("the ClientHello has more than one server name")
    if not name.isascii():
        raise ValueError("the server name is not ASCII")
    return name.decode("ascii").lower()
