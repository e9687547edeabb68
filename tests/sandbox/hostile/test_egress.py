"""Attacks on the network: a table that grants no host has no way out at all."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest
from attrs import frozen

from .conftest import Arena
from .probes import SAME, Probe, refused, table

pytestmark = pytest.mark.docker
CONNECT = "__import__('socket').create_connection(({host!r}, {port}), 2)"


def connects(name: str, host: str, port: int, *, kernel: str | None = None) -> Probe:
    return refused(name, CONNECT.format(host=host, port=port), kernel=kernel)


OUT = [
    connects("a host on the internet", "1.1.1.1", 443, kernel=SAME),
    connects("metadata of a cloud", "169.254.169.254", 80, kernel=SAME),
    connects("metadata of a cloud, version 6", "fd00:ec2::254", 80),
    connects("the engine's bridge", "172.17.0.1", 2375),
    connects("name that must be resolved", "example.org", 443),
    connects("name of the engine's host", "host.docker.internal", 80),
    connects("private network", "10.0.0.1", 22),
    connects("everywhere", "0.0.0.0", 22),  # noqa: S104  # an attack, and not where anything listens
    connects("a proxy that is not there", "127.0.0.1", 3128),
    refused("question to a name server", "__import__('socket').getaddrinfo('example.org', 443)"),
    refused(
        "datagram to a name server",
        "__import__('socket').socket(2, 2).sendto(b'x', ('8.8.8.8', 53))",
        kernel=SAME,
    ),
    refused(
        "datagram to the engine's name server",
        "__import__('socket').socket(2, 2).sendto(b'x', ('127.0.0.11', 53)) and open('/x')",
    ),
    refused("broadcast", "__import__('socket').socket(2, 2).sendto(b'x', ('255.255.255.255', 9))"),
    refused("multicast", "__import__('socket').socket(2, 2).sendto(b'x', ('224.0.0.1', 9))"),
    refused("version 6", "__import__('socket').socket(10, 2).sendto(b'x', ('2606:4700::1111', 53))"),
    refused("echo", "__import__('socket').socket(2, 2, 1).sendto(b'\\x08' + bytes(7), ('8.8.8.8', 0))"),
    refused("new address", "__import__('fcntl').ioctl(__import__('socket').socket(2, 2), 0x8916, b'lo' + bytes(38))"),
    Probe(
        "interfaces", "return str(sorted(l.split(':')[0].strip() for l in list(open('/proc/net/dev'))[2:]))", "['lo']"
    ),
    Probe("routes", "return str(list(open('/proc/net/route'))[1:])", "[]"),
    Probe("variables of a proxy", "return str([k for k in os.environ if 'proxy' in k.lower()])", "[]"),
    Probe("sockets of other plugins", "return str(os.path.exists('/egress'))", "False"),
]


@table(OUT)
def test_attack_on_the_network(arena: Arena, level: str, probe: Probe) -> None:
    """Nothing answers, at once."""
    arena.attack(probe)


@frozen
class Services:
    """What listens on the host."""

    port: int
    abstract: str


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """On loopback, on all addresses, and in the namespace of abstract sockets."""
    name = f"fairlead-{secrets.token_hex(4)}"
    with socket.create_server(("0.0.0.0", 0)) as tcp, socket.socket(socket.AF_UNIX) as abstract:  # noqa: S104  # for the attack to find
        abstract.bind(f"\0{name}")
        abstract.listen()
        yield Services(tcp.getsockname()[1], name)


@pytest.mark.parametrize("level", ["container", "kernel"])
def test_services_of_the_host_are_out_of_reach(arena: Arena, level: str, services: Services) -> None:
    """By its loopback, by its addresses, by its abstract sockets; nor can the host reach into the sandbox."""
    hosts = ["127.0.0.1", "::1", "172.17.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]]
    code = (
        "import socket\n"
        f"found = [tried(lambda: socket.create_connection((h, {services.port}), 2)) for h in {hosts!r}]\n"
        f"found.append(tried(lambda: socket.socket(1).connect('\\0{services.abstract}')))\n"
        "return ''.join(sorted(set(found)))"
    )
    assert "refused" == arena.probe("attacker", code)
