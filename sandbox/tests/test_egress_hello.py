"""The server name in the first bytes of TLS, read from whole, cut, odd and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_sandbox.egress._client_hello import ClientHello

from .egress_hellos import client_hello, extension, real_hello, records, server_name

NAME = "api.example.org"
GOOD = client_hello(server_name(NAME))


def test_name_is_read_from_what_openssl_sends() -> None:
    """With all its other extensions."""
    assert ClientHello().feed(real_hello(NAME)) == NAME


def test_name_is_read_from_any_pieces() -> None:
    """One byte at a time, over records of a few bytes each."""
    data = records(GOOD, [1, 2, 3, 40, 1])
    hello = ClientHello()
    found = [hello.feed(data[i : i + 1]) for i in range(len(data))]
    assert [None] * (len(data) - 1) + [NAME] == found


def test_name_is_read_without_regard_to_capitals() -> None:
    """Names of hosts have none."""
    assert NAME == ClientHello().feed(records(client_hello(server_name(NAME.upper()))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1\r\n", "not TLS"),
        (b"SSH-2.0-x", "not TLS"),
        (b"\x80\x2e\x01\x03\x01", "not TLS"),
        (b"\x15\x03\x01\x00\x02\x02\x00", "not TLS"),
        (b"\x16\x02\x00\x00\x01\x01", "not TLS"),
        (b"\x16\x03\x01\x00\x00", "not TLS"),
        (b"\x16\x03\x01\xff\xff", "not TLS"),
        (records(b"\x02" + GOOD[1:]), "no ClientHello"),
        (records(client_hello(bare=True)), "no server name"),
        (records(client_hello()), "no server name"),
        (records(client_hello(server_name())), "malformed"),
        (records(client_hello(server_name(NAME, "evil.org"))), "more than one"),
        (records(client_hello(server_name(NAME), server_name("evil.org"))), "twice"),
        (records(client_hello(server_name(NAME, kind=1))), "no server name"),
        (records(client_hello(server_name("\xe9vil.org"))), "not ASCII"),
        (records(client_hello(server_name(NAME), extension(0xFE0D, b"x"))), "ECH"),
        (records(client_hello(server_name(NAME), extension(0xFFCE, b"x"))), "ESNI"),
        (records(GOOD + b"more"), "follows"),
        (records(client_hello(server_name(NAME)[:-1])), "malformed"),
        (records(b"\x01\0\0\x03abc"), "malformed"),
        (records(GOOD, [10]) [:15] + b"\x17\x03\x03\x00\x01x", "not TLS"),
    ],
)  # fmt: skip
def test_hello_is_refused(data: bytes, words: str) -> None:
    """What is not TLS, has not exactly one readable name, or hides it."""
    with pytest.raises(ValueError, match=words):
        ClientHello().feed(data)


def test_empty_record_between_is_refused() -> None:
    """RFC 8446, 5.1: handshake records are never empty; endless ones would keep a connection busy."""
    with pytest.raises(ValueError, match="not TLS"):
        ClientHello().feed(records(GOOD, [5])[:10] + b"\x16\x03\x01\x00\x00" + records(GOOD[5:]))


@given(st.binary(max_size=200), st.integers(0, len(records(GOOD))))
def test_any_bytes_give_the_name_more_or_an_error(noise: bytes, at: int) -> None:
    """Nothing else is ever raised, and no other name comes of it."""
    data = bytearray(records(GOOD))
    data[at : at + len(noise)] = noise
    try:
        found = ClientHello().feed(bytes(data))
    except ValueError:
        return
    assert found is None or found.isascii()
