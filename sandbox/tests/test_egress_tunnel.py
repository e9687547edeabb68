"""Tunnels: a real proxy on a real socket, TLS end to end, and everything that a hostile guest may try instead."""

from __future__ import annotations

import contextlib
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from attrs import evolve

from fairlead_sandbox.egress import Egress
from fairlead_sandbox.egress._dialer import connect_to, system_resolver

from .egress_hellos import client_hello, extension, real_hello, records, server_name
from .egress_world import (
    API,
    LIMITS,
    OTHER,
    PUBLIC,
    WILD,
    Certificate,
    World,
    make_certificate,
    opened_world,
    read_all,
    read_head,
    secret,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


async def refusal_of(world: World, authority: str) -> str:
    """What the proxy says to CONNECT."""
    stream, head = await world.open_tunnel(authority)
    async with stream:
        return head.decode().partition("\r\n")[0]


async def first_bytes(world: World, data: bytes, authority: str = f"{API}:443") -> bytes:
    """What comes back over a tunnel whose first bytes are these."""
    stream, head = await world.open_tunnel(authority)
    assert head.startswith(b"HTTP/1.1 200 ")
    async with stream:
        await stream.send_all(data)
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_eof()
        with trio.fail_after(5):
            return await read_all(stream)


async def test_granted_host_is_reached_with_tls_end_to_end(certificate: Certificate, tmp_path: Path) -> None:
    """The certificate is checked inside; the proxy tells of the beginning and of the end, with the bytes."""
    async with opened_world(tmp_path, certificate) as world:
        async with await world.tls(f"{API}:443", API) as stream:
            await stream.send_all(b"GET /x HTTP/1.1\r\nHost: api.example.org\r\nConnection: close\r\n\r\n")
            assert b'"path": "/x"' in await read_all(stream)
        await trio.testing.wait_all_tasks_blocked(0.01)
        opened, closed = world.decisions
        assert (True, API, 443, "granted", "tunnel", PUBLIC, False) == (
            opened.allowed, opened.host, opened.port, opened.reason, opened.way, opened.address, opened.closed,
        )  # fmt: skip
        assert closed == evolve(opened, closed=True, bytes_up=closed.bytes_up, bytes_down=closed.bytes_down)
        assert closed.bytes_up > 200
        assert closed.bytes_down > 500
        assert [(PUBLIC, 443)] == world.dialed


async def test_wildcard_covers_one_label(certificate: Certificate, tmp_path: Path) -> None:
    """One, not none and not two."""
    async with opened_world(tmp_path, certificate) as world:
        await trio.aclose_forcefully(await world.tls(f"{WILD}:443", WILD))
        assert "403" in await refusal_of(world, "wild.example.org:443")
        assert "403" in await refusal_of(world, "a.b.wild.example.org:443")


@pytest.mark.parametrize(
    "authority",
    ["evil.org:443", f"{API}:8443", f"{API}:22", "example.org:443", f"{API}.evil.org:443", "127.0.0.1:443", "[::1]:443",
     "169.254.169.254:80", "93.184.216.34:443", "[::ffff:93.184.216.34]:443", "localhost:443"],
)  # fmt: skip
async def test_host_that_is_not_granted_is_refused(certificate: Certificate, tmp_path: Path, authority: str) -> None:
    """Before it is resolved, with what to write into the configuration; also the address of a granted name."""
    async with opened_world(tmp_path, certificate) as world:
        assert "HTTP/1.1 403" in await refusal_of(world, authority)
        assert ["not-granted"] == world.refused
        assert 'hosts = ["' in world.decisions[0].detail
        assert ([], []) == (world.asked, world.dialed)


@pytest.mark.parametrize(
    "authority",
    ["api.example.org", "api.example.org:", "api.example.org:0", "api.example.org.:443", "user@api.example.org:443",
     "api.example.org%00:443", "api.example.org\0:443", "api.example.org:443:443", "api.example.org :443", "*:443",
     "http://api.example.org:443", "/api.example.org:443", "api.example.org:443/", "api。example.org:443",
     "[::1%lo]:443",
     "2130706433:443", "0x7f.1:443", "0177.0.0.1:443", "127.1:443"],
    ids=ascii,
)  # fmt: skip
async def test_malformed_target_is_refused(certificate: Certificate, tmp_path: Path, authority: str) -> None:
    """No second spelling of a host gets anywhere."""
    async with opened_world(tmp_path, certificate) as world:
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n"
        assert b"HTTP/1.1 400 " == (await world.send(request.encode()))[:13]
        assert ["malformed"] == world.refused
        assert ([], []) == (world.asked, world.dialed)


async def test_nothing_granted_nothing_reached(certificate: Certificate, tmp_path: Path) -> None:
    """An empty list is closed."""
    async with opened_world(tmp_path, certificate, grants=()) as world:
        assert "403" in await refusal_of(world, f"{API}:443")


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["169.254.169.254"], ["10.1.2.3"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["0.0.0.0"],  # noqa: S104  # what a resolver may answer
     ["fe80::1%eth0"], [PUBLIC, "127.0.0.1"], ["192.168.0.1", PUBLIC], ["2002:7f00:1::1"], ["100.100.100.200"]],
)  # fmt: skip
async def test_name_of_an_address_that_is_not_public_is_refused(
    certificate: Certificate, tmp_path: Path, addresses: Sequence[str]
) -> None:
    """Nothing is connected to, also not to the public one among them."""
    async with opened_world(tmp_path, certificate) as world:
        world.names[API] = addresses
        assert "403" in await refusal_of(world, f"{API}:443")
        assert ["not-public"] == world.refused
        assert [] == world.dialed


async def test_checked_address_is_the_one_that_is_connected_to(certificate: Certificate, tmp_path: Path) -> None:
    """A name whose answer changes is asked once for each connection: there is nothing to change it in between."""
    async with opened_world(tmp_path, certificate) as world:
        await trio.aclose_forcefully(await world.tls(f"{API}:443", API))
        world.names[API] = ["127.0.0.1"]
        assert "403" in await refusal_of(world, f"{API}:443")
        assert ([API, API], [(PUBLIC, 443)]) == (world.asked, world.dialed)


async def test_next_address_is_tried(certificate: Certificate, tmp_path: Path) -> None:
    """In the order of the resolver."""
    async with opened_world(tmp_path, certificate) as world:
        world.names[API] = ["2606:4700::1111", PUBLIC]
        world.dead.add("2606:4700::1111")
        await trio.aclose_forcefully(await world.tls(f"{API}:443", API))
        assert [("2606:4700::1111", 443), (PUBLIC, 443)] == world.dialed
        world.dead.add(PUBLIC)
        assert f"502 {API}:443 does not answer: Connection refused" in await refusal_of(world, f"{API}:443")


async def test_name_that_does_not_resolve_is_told(certificate: Certificate, tmp_path: Path) -> None:
    """With what the resolver said."""
    async with opened_world(tmp_path, certificate) as world:
        del world.names[API]
        assert "502" in await refusal_of(world, f"{API}:443")
        assert "Name or service not known" in world.decisions[0].detail


async def test_granted_address_is_taken_as_named_and_no_name_for_it(certificate: Certificate, tmp_path: Path) -> None:
    """A server of one's own is granted by its address; a name that stands for the address is not."""
    async with opened_world(tmp_path, certificate, grants=("127.0.0.1:PORT", "localhost:PORT")) as world:
        world.names["localhost"] = ["127.0.0.1"]
        assert b"\0pingEND" == await first_bytes(world, b"\0ping", f"127.0.0.1:{world.port}")
        assert "403" in await refusal_of(world, f"localhost:{world.port}")
        assert "403" in await refusal_of(world, f"127.0.0.2:{world.port}")
        assert [("127.0.0.1", world.port)] == world.dialed


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: api.example.org\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        b"\x16",
        real_hello(OTHER),
        real_hello("evil.org"),
        real_hello("api.example.org.evil.org"),
        real_hello(API)[:-1],
        records(client_hello()),
        records(client_hello(server_name(API, "evil.org"))),
        records(client_hello(server_name(f"{API}."))),
        records(client_hello(server_name(f"{API}\0.evil.org"))),
        records(client_hello(server_name(API), extension(0xFE0D, b"hidden"))),
        records(client_hello(server_name("evil.org")), [4, 1]),
        b"\x16\x03\x01\x40\x00" + bytes(100),
    ],
    ids=lambda data: ascii(data[:11]),  # what follows of a hello is random, and workers must find the same names
)
async def test_other_bytes_than_tls_for_the_host_are_refused(
    certificate: Certificate, tmp_path: Path, data: bytes
) -> None:
    """Nothing of them reaches the server; a client of TLS gets an alert, and nobody an answer of a server."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await first_bytes(world, data)
        assert answer in (b"", b"\x15\x03\x03\x00\x02\x02\x31")
        assert ["server-name"] == world.refused
        assert [] == [decision for decision in world.decisions if decision.allowed]
        assert [] == world.server.requests


async def test_hello_that_never_ends_is_let_go(certificate: Certificate, tmp_path: Path) -> None:
    """By its size, and by its time."""
    async with opened_world(tmp_path, certificate, limits=evolve(LIMITS, head_seconds=0.2)) as world:
        assert await first_bytes(world, b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(16379) + records(bytes(20_000)))
        stream, _ = await world.open_tunnel(f"{API}:443")
        async with stream:
            await stream.send_all(real_hello(API)[:50])
            with trio.fail_after(5):
                assert b"\x15" == (await read_all(stream))[:1]
        assert ["server-name", "server-name"] == world.refused


async def test_end_of_one_direction_is_passed_on(certificate: Certificate, tmp_path: Path) -> None:
    """The server hears the end, and what it says then still arrives."""
    async with opened_world(tmp_path, certificate, grants=("127.0.0.1:PORT",)) as world:
        assert b"\0helloEND" == await first_bytes(world, b"\0hello", f"127.0.0.1:{world.port}")


async def test_idle_tunnel_is_closed(certificate: Certificate, tmp_path: Path) -> None:
    """One that moves is not."""
    limits = evolve(LIMITS, idle_seconds=0.3)
    async with opened_world(tmp_path, certificate, grants=("127.0.0.1:PORT",), limits=limits) as world:
        stream, _ = await world.open_tunnel(f"127.0.0.1:{world.port}")
        async with stream:
            for _ in range(3):
                await stream.send_all(b"\0")
                await stream.receive_some()
            with trio.fail_after(5):
                assert b"" == await read_all(stream)
        assert world.decisions[-1].closed


async def test_bytes_that_came_with_connect_are_not_lost(certificate: Certificate, tmp_path: Path) -> None:
    """A client may send its ClientHello without waiting; it is checked all the same."""
    async with opened_world(tmp_path, certificate) as world:
        head = f"CONNECT {API}:443 HTTP/1.1\r\nHost: {API}\r\n\r\n".encode()
        found = await world.send(head + real_hello(API), eof=True)
        assert b"HTTP/1.1 200" == found[:12]
        assert b"\x16\x03\x03" in found
        found = await world.send(head + real_hello(OTHER), eof=True)
        assert found.endswith(b"\x15\x03\x03\x00\x02\x02\x31")


@pytest.mark.parametrize(
    "head",
    [
        "CONNECT api.example.org:443 HTTP/1.1\r\nHost: other.example.org:443\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:444\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/1.1\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\nHost: api.example.org\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\nContent-Length: 5\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT api.example.org:443 HTTP/2.0\r\nHost: api.example.org\r\n\r\n",
        "CONNECT  api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\n\r\n",
        "connect api.example.org:443 HTTP/1.1\r\nHost: api.example.org\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_connect_of_two_meanings_is_refused(certificate: Certificate, tmp_path: Path, head: str) -> None:
    """Nothing is connected to."""
    async with opened_world(tmp_path, certificate) as world:
        assert b"HTTP/1.1 400 " == (await world.send(head.encode()))[:13]
        assert [] == world.dialed


async def test_connect_of_http_1_0_needs_no_host(certificate: Certificate, tmp_path: Path) -> None:
    """Python's own http.client sends it so."""
    async with opened_world(tmp_path, certificate) as world:
        found = await world.send(f"CONNECT {API}:443 HTTP/1.0\r\n\r\n".encode() + real_hello(API), eof=True)
        assert b"HTTP/1.1 200" == found[:12]


async def test_no_tunnel_leads_where_secrets_go(certificate: Certificate, tmp_path: Path) -> None:
    """What a server repeats would come back through it unread."""
    _, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        assert "403" in await refusal_of(world, f"{API}:443")
        assert ["secret-tunnel"] == world.refused
        assert f"$FAIRLEAD_EGRESS/https/{API}:443/" in world.decisions[0].detail
        await trio.aclose_forcefully(await world.tls(f"{OTHER}:443", OTHER))


async def test_connections_are_bounded(certificate: Certificate, tmp_path: Path) -> None:
    """One more is told so; when others end there is place again."""
    async with opened_world(tmp_path, certificate, limits=evolve(LIMITS, connections=4)) as world:
        held = [await world.connect() for _ in range(4)]
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert b"HTTP/1.1 503" == (await world.send(b""))[:12]
        assert ["too-many"] == world.refused
        for stream in held:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert 0 == world.egress.connections
        assert "200" in await refusal_of(world, f"{API}:443")


async def test_guest_that_is_only_refused_makes_few_events(certificate: Certificate, tmp_path: Path) -> None:
    """However fast it asks, and however many wait at the door."""
    limits = evolve(LIMITS, connections=2, refusal_seconds=0.1)
    async with opened_world(tmp_path, certificate, limits=limits) as world:
        begun = trio.current_time()

        async def ask() -> None:
            for _ in range(3):
                await world.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(ask)
        took = trio.current_time() - begun
        assert 0 < len(world.decisions) <= (2 + 16) * (took / 0.1 + 1)


async def test_everything_is_gone_after_a_flood(certificate: Certificate, tmp_path: Path) -> None:
    """A hundred connections that end in every way leave no connection and no descriptor."""
    async with opened_world(tmp_path, certificate, limits=evolve(LIMITS, head_seconds=0.3)) as world:
        before = len(list(Path("/proc/self/fd").iterdir()))

        async def one(number: int) -> None:
            stream, _ = await world.open_tunnel(f"{API}:443") if number % 2 else (await world.connect(), b"")
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all((b"", b"GET", real_hello(API), b"\0" * 40_000)[number % 4])
            if number % 3:
                await trio.aclose_forcefully(stream)
            else:
                await read_all(stream)
                await stream.aclose()

        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(one, number)
        with trio.fail_after(5):
            while world.egress.connections or world.server.closed < world.server.connections:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert before == len(list(Path("/proc/self/fd").iterdir()))


async def test_socket_is_the_identity_and_is_removed(certificate: Certificate, tmp_path: Path) -> None:
    """For its owner only; a dead one is replaced, another file is not."""
    async with opened_world(tmp_path, certificate) as world:
        path = world.egress.socket_path
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with opened_world(tmp_path, certificate) as world:
        assert "200" in await refusal_of(world, f"{API}:443")
    path.write_text("precious")
    with pytest.RaisesGroup(OSError, allow_unwrapped=True, flatten_subgroups=True):
        async with opened_world(tmp_path, certificate):
            pytest.fail("it took the place of a file")
    assert "precious" == path.read_text()
    with pytest.raises(ValueError, match="at most 107 bytes"):
        Egress(tmp_path / ("x" * 200), [])


async def test_system_resolver_gives_addresses_and_connects_to_them() -> None:
    """The machine's own, with a name that every machine has."""
    found = await system_resolver()("localhost", 80)
    assert set(found) <= {"127.0.0.1", "::1"}
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, await connect_to("127.0.0.1", listener.socket.getsockname()[1]) as stream:
        assert "127.0.0.1" == stream.socket.getpeername()[0]


async def test_resolver_that_hangs_is_given_up(certificate: Certificate, tmp_path: Path) -> None:
    """In its time, with a word."""

    async def hang(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()

    egress = Egress(tmp_path / "hang.sock", [f"{API}:443"], resolver=hang, limits=LIMITS)
    async with trio.open_nursery() as nursery:
        await nursery.start(egress.serve)
        stream = await trio.open_unix_socket(str(egress.socket_path))
        async with stream:
            await stream.send_all(f"CONNECT {API}:443 HTTP/1.1\r\nHost: {API}\r\n\r\n".encode())
            with trio.fail_after(5):
                assert b"no answer in 0.3 s" in await read_head(stream)
        nursery.cancel_scope.cancel()
