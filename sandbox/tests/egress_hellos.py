"""ClientHellos that no honest client sends."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Sequence

__all__ = ["client_hello", "extension", "real_hello", "records", "server_name"]


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(*names: str, kind: int = 0) -> bytes:
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name.encode("latin-1")) for name in names)))


def client_hello(*extensions: bytes, bare: bool = False) -> bytes:
    """The message of a handshake; `bare` leaves out the list of extensions."""
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    if not bare:
        body += vector(2, b"".join(extensions))
    return b"\x01" + vector(3, body)


def records(message: bytes, sizes: Sequence[int] = ()) -> bytes:
    """The message in records of these sizes, and what is left in a last one."""
    found, at = b"", 0
    for size in (*sizes, len(message)):
        piece = message[at : at + size]
        at += size
        if piece:
            found += b"\x16\x03\x01" + vector(2, piece)
    return found


def real_hello(name: str) -> bytes:
    """What OpenSSL sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
