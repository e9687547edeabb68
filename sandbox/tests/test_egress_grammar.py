"""Grants, hosts and addresses: what has two spellings is refused, and a name's address is always public."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import ConfigError
from fairlead_sandbox.egress import parse_grant
from fairlead_sandbox.egress._addresses import is_public
from fairlead_sandbox.egress._grants import Grants, parse_authority

TWISTED_HOSTS = [
    "",
    ".",
    "example.org.",
    ".example.org",
    "example..org",
    "-example.org",
    "example-.org",
    "exa_mple.org",
    "user@example.org",
    "user:pass@example.org",
    "example.org%2eevil.org",
    "example%2Eorg",
    "example.org\0.evil.org",
    "example.org\t",
    " example.org",
    "example.org/",
    "example.org\\evil.org",
    "example.org#",
    "ex\u0430mple.org",
    "example。org",
    "ⓔxample.org",
    "example.or\u212a",
    "bücher.example",
    "*.example.org",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.256",
    "1.2.3",
    "1.2.3.4.5",
    "127.0.0.0x1",
    "example.123",
    "::1",
    "[::1",
    "::1]",
    "[::1%25eth0]",
    "[fe80::1%eth0]",
    "[::ffff:127.0.0.1",
    "[127.0.0.1]",
    "[::g]",
    "[]",
    "[::1]evil.org",
    "a" * 64 + ".org",
    ".".join(["a" * 60] * 5),
]


@pytest.mark.parametrize("host", TWISTED_HOSTS, ids=ascii)
def test_host_with_a_second_spelling_is_none(host: str) -> None:
    """Neither as a target nor as a grant."""
    with pytest.raises(ValueError, match=r"host|port|address"):
        parse_authority(f"{host}:443")
    if not host.startswith("*"):
        with pytest.raises(ConfigError):
            parse_grant(f"{host}:443")


@pytest.mark.parametrize(
    "port", ["", "0", "-1", "+443", "0443", "65536", "443 ", "4 43", "٤٤٣", "1e3", "443/", "443:443"]
)
def test_port_has_one_spelling(port: str) -> None:
    """Decimal digits without a leading zero, from 1 to 65535."""
    with pytest.raises(ValueError, match=r"port|host"):
        parse_authority(f"example.org:{port}")


@pytest.mark.parametrize(
    ("text", "host", "literal"),
    [
        ("EXAMPLE.Org:443", "example.org", False),
        ("xn--bcher-kva.example:443", "xn--bcher-kva.example", False),
        ("localhost:443", "localhost", False),
        ("3com.com:443", "3com.com", False),
        ("127.0.0.1:443", "127.0.0.1", True),
        ("[::1]:443", "::1", True),
        ("[0:0:0:0:0:0:0:1]:443", "::1", True),
        ("[::FFFF:127.0.0.1]:443", "::ffff:7f00:1", True),
    ],
)
def test_host_is_known_by_one_spelling(text: str, host: str, literal: bool) -> None:  # noqa: FBT001  # a column
    """Small letters, addresses in their shortest form."""
    found = parse_authority(text)
    assert (host, 443, literal) == (found.host, found.port, found.literal)
    assert found == parse_authority(str(found))


@pytest.mark.parametrize(
    ("grant", "target", "through"),
    [
        ("example.org:443", "example.org:443", True),
        ("example.org:443", "EXAMPLE.ORG:443", True),
        ("example.org:443", "example.org:80", False),
        ("example.org:443", "www.example.org:443", False),
        ("example.org:443", "example.org.evil.net:443", False),
        ("*.example.org:443", "www.example.org:443", True),
        ("*.example.org:443", "example.org:443", False),
        ("*.example.org:443", "a.b.example.org:443", False),
        ("*.example.org:443", "evilexample.org:443", False),
        ("*.example.org:443", "www.example.org:8443", False),
        ("127.0.0.1:11434", "127.0.0.1:11434", True),
        ("127.0.0.1:11434", "127.0.0.1:11435", False),
        ("127.0.0.1:11434", "127.0.0.2:11434", False),
        ("127.0.0.1:11434", "localhost:11434", False),
        ("127.0.0.1:11434", "[::ffff:127.0.0.1]:11434", False),
        ("[::1]:80", "[0::1]:80", True),
    ],
)
def test_grant_covers(grant: str, target: str, through: bool) -> None:  # noqa: FBT001  # a column of the table
    """Exactly what it says, or exactly one label more."""
    assert through is Grants([grant]).covers(parse_authority(target))
    assert not Grants([]).covers(parse_authority(target))


@pytest.mark.parametrize(
    "text",
    ["example.org", "*", "*:443", "*.org:443", "*.*.example.org:443", "www.*.org:443", "w*.example.org:443",
     "*.127.0.0.1:443", "https://example.org:443", "example.org:*", "example.org:https", "", "*.example.org"],
)  # fmt: skip
def test_grant_that_would_be_too_wide_or_unclear_is_an_error(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigError) as caught:
        parse_grant(text)
    assert 'hosts = ["example.org:443"]' in caught.value.next_step
    assert repr(text) in caught.value.problem


CLOSED = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1 239.1.2.3
240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808
64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1::1 2001:2::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1
fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 2606:4700::1%eth0 fec0::1 ff02::1 localhost 127.1 0x7f.1
""".split()  # noqa: SIM905  # a list of sixty strings would take sixty lines


@pytest.mark.parametrize("address", CLOSED)
def test_address_is_not_public(address: str) -> None:
    """Also not where an IPv4 address hides in an IPv6 one."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::8a"])
def test_address_is_public(address: str) -> None:
    """Given out to somebody."""
    assert is_public(address)


@given(st.ip_addresses().map(str))
def test_public_is_never_more_than_python_says(address: str) -> None:
    """Our tables close at least what the standard library of this Python closes."""
    found = ip_address(address)
    if is_public(address):
        assert found.is_global
        assert not found.is_multicast


@given(st.text(max_size=40))
def test_any_text_is_a_target_of_one_spelling_or_an_error(text: str) -> None:
    """Whatever a guest sends."""
    try:
        found = parse_authority(text)
    except ValueError:
        return
    assert found == parse_authority(str(found))
    assert str(found).isascii()
