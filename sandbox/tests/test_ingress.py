"""The way in: clients of the host's addresses reach a listener in an isolated process, and what each may hold up."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from fairlead.errors import ConfigError
from fairlead_sandbox.ingress import Ingress, as_reached, parse_entrance
from fairlead_sandbox.inside import _admit
from fairlead_sandbox.process import Machine, look_at_machine

from .ingress_world import ECHO, LIMITS, Door, connect, door, free_port, visited
from .process_guests import require

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def machine() -> Machine:
    return require(trio.run(look_at_machine), bubblewrap=True)


async def exchange(opened: Door, data: bytes) -> bytes:
    """What comes back to a client that says something and closes its side."""
    async with await connect(opened) as client, trio.open_nursery() as nursery:

        async def say() -> None:
            await client.send_all(data)
            await client.send_eof()

        nursery.start_soon(say)
        return await rest(client)


async def rest(client: trio.SocketStream) -> bytes:
    """All that comes until the end, or until it breaks."""
    heard = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await client.receive_some():
            heard += data
    return bytes(heard)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("localhost:8080", "127.0.0.1:8080"),
        ("[::1]:80", "[::1]:80"),
        ("[0:0::1]:65535", "[::1]:65535"),
        ("0.0.0.0:0", "0.0.0.0:0"),
    ],
)
def test_address_has_one_spelling(text: str, expected: str) -> None:
    """An address of IPv4, of IPv6 in brackets, or localhost."""
    assert expected == str(parse_entrance(text))


@pytest.mark.parametrize(
    "text",
    [
        *("", ":80", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:+1", "127.0.0.1:080"),
        *("127.0.0.1:8080 ", "127.0.0.1:٣", "example.org:80", "LOCALHOST:80", "127.1:80", "0177.0.0.1:80", "*:80"),
        *("::1:80", "[::1]", "[::1", "[::1%lo]:80", "[::ffff:127.0.0.1]:80", "[127.0.0.1]:80", "tcp://127.0.0.1:80"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigError) as raised:
        parse_entrance(text)
    assert repr(text) in raised.value.problem
    assert "127.0.0.1:8080" in raised.value.next_step


def test_address_is_granted_once(tmp_path: Path) -> None:
    """However it is spelled. Free ports differ each time."""
    with pytest.raises(ConfigError, match="twice"):
        Ingress(tmp_path / "in.sock", ["127.0.0.1:80", "localhost:80"])
    Ingress(tmp_path / "in.sock", ["127.0.0.1:0", "127.0.0.1:0"])


def test_path_must_fit_into_a_socket(tmp_path: Path) -> None:
    """Said at once, not when the first guest comes."""
    with pytest.raises(ValueError, match="107 bytes"):
        Ingress(tmp_path / ("x" * 120), ["127.0.0.1:0"])


async def test_address_in_use_is_named(tmp_path: Path) -> None:
    """With the command that shows who has it, and nothing stays open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.RaisesGroup(ConfigError, flatten_subgroups=True) as raised:
            async with door(tmp_path / "way", where):
                pass
        (error,) = raised.value.exceptions
    assert isinstance(error, ConfigError)
    assert f"cannot listen at {where}: another program listens there" == error.problem
    assert "ss -ltnp" in error.next_step
    assert not (tmp_path / "way" / "in.sock").exists()


async def test_address_of_another_machine_is_named(tmp_path: Path) -> None:
    """A documentation address is nobody's."""
    with pytest.RaisesGroup(ConfigError, flatten_subgroups=True) as raised:
        async with door(tmp_path / "way", "192.0.2.1:0"):
            pass
    assert "this machine does not have that address" in str(raised.value.exceptions[0])


def test_guest_needs_the_standard_library_only() -> None:
    """It runs with -I -S from its directory alone, in a container where nothing of ours is installed."""
    place = Path(_admit.__file__).parent.parent
    code = f"import sys; sys.path[:] = [*sys.path, {str(place)!r}]; from inside import _admit; print(_admit.SPARE)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert "4" == done.stdout.strip()


async def test_bytes_pass_both_ways_and_so_do_ends(machine: Machine, tmp_path: Path) -> None:
    """A client that has closed its side still hears the answer; nothing is left of the connection."""
    data = os.urandom(3 * MEGABYTE)
    async with door(tmp_path / "way") as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(ECHO, port=opened.port)
        assert data + b"END" == await exchange(opened, data)
        assert b"END" == await exchange(opened, b"")
        await trio.testing.wait_all_tasks_blocked()
        assert 0 == opened.ingress.connections
    assert [] == opened.told


@pytest.mark.parametrize(("host", "family"), [("0.0.0.0", 2), ("::1", 10), ("::", 10)])  # noqa: S104  # inside, where nobody else is
async def test_listener_inside_may_have_any_loopback(machine: Machine, tmp_path: Path, host: str, family: int) -> None:
    """Of IPv4, of IPv6, or all of them."""
    async with door(tmp_path / "way") as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(ECHO, port=opened.port, host=host, family=family)
        assert b"helloEND" == await exchange(opened, b"hello")


async def test_free_port_leads_to_the_only_listener(machine: Machine, tmp_path: Path) -> None:
    """The host tells which one it took; the guest finds the plugin's by itself, and guesses nothing."""
    limits = attrs.evolve(LIMITS, reach_seconds=1.0)
    async with (
        door(tmp_path / "way", "127.0.0.1:0", limits=limits) as opened,
        visited(opened, tmp_path / "work", machine) as guest,
    ):
        first = await guest.do(ECHO, port=0)
        assert 0 != opened.port != first
        assert b"helloEND" == await exchange(opened, b"hello")
        await guest.do(ECHO, port=0)
        assert b"" == await exchange(opened, b"hello")
    assert "exactly one port" in opened.told[0]


async def test_addresses_lead_to_their_own_ports(machine: Machine, tmp_path: Path) -> None:
    """Two listeners of one plugin, and an address that nobody listens behind."""
    one, other = free_port(), free_port()
    async with (
        door(tmp_path / "way", f"127.0.0.1:{one}", f"[::1]:{other}") as opened,
        visited(opened, tmp_path / "work", machine) as guest,
    ):
        await guest.do(ECHO.replace("END", "ONE"), port=one)
        await guest.do(ECHO.replace("END", "OTHER"), port=other)
        async with await trio.open_tcp_stream("::1", other) as client:
            await client.send_eof()
            assert b"OTHER" == await rest(client)
        assert b"ONE" == await exchange(opened, b"")


async def test_many_clients_at_once(machine: Machine, tmp_path: Path) -> None:
    """As many as there are places, each with its own bytes."""
    async with door(tmp_path / "way") as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(ECHO, port=opened.port)
        found: dict[int, bytes] = {}

        async def one(number: int) -> None:
            found[number] = await exchange(opened, b"%d" % number * 10_000)

        async with trio.open_nursery() as nursery:
            for number in range(LIMITS.connections):
                nursery.start_soon(one, number)
        assert {number: b"%d" % number * 10_000 + b"END" for number in range(LIMITS.connections)} == found


async def test_client_waits_for_a_guest_that_starts(machine: Machine, tmp_path: Path) -> None:
    """It connects before there is a guest, and before the guest listens; nothing of what it says is lost."""
    async with door(tmp_path / "way") as opened, await connect(opened) as client:
        await client.send_all(b"early")
        await client.send_eof()
        async with visited(opened, tmp_path / "work", machine) as guest:
            await guest.do(ECHO, port=opened.port)
            assert b"earlyEND" == await rest(client)


async def test_guest_that_does_not_come_ends_the_wait(tmp_path: Path) -> None:
    """The client is closed, and whoever reads the notices learns why, once."""
    limits = attrs.evolve(LIMITS, reach_seconds=0.2)
    async with door(tmp_path / "way", limits=limits) as opened:
        assert b"" == await exchange(opened, b"hello")
        assert b"" == await exchange(opened, b"hello")
    (told,) = opened.told
    assert f"within 0.2 s nothing listened at port {opened.port} of the plugin's own loopback" in told


async def test_next_guest_serves_after_one_was_killed(machine: Machine, tmp_path: Path) -> None:
    """Who was in conversation is cut off, at once; who comes meanwhile waits for the next one."""
    async with door(tmp_path / "way") as opened:
        async with visited(opened, tmp_path / "work", machine) as guest:
            await guest.do(ECHO, port=opened.port)
            talking = await connect(opened)
            await talking.send_all(b"hello")
            assert b"hello" == await talking.receive_some()
        async with talking, await connect(opened) as waiting:
            assert b"" == await rest(talking)
            await waiting.send_eof()
            async with visited(opened, tmp_path / "work", machine) as following:
                assert 1 == opened.ingress.connections
                await following.do(ECHO, port=opened.port)
                assert b"END" == await rest(waiting)


@pytest.mark.parametrize(
    ("where", "listen", "hosts", "warns"),
    [
        ("http://127.0.0.1:8080/", [], [], True),
        ("http://127.0.0.1:8080/", ["0.0.0.0:8080"], [], False),
        ("http://127.0.0.1:8080/", ["0.0.0.0:8081"], [], True),
        ("http://localhost:8080/", ["127.0.0.1:0"], [], False),
        ("http://127.0.0.1:8008", [], ["127.0.0.1:8008"], False),
        ("https://[::1]/messages", [], [], True),
        ("https://api.example.org/bot", [], [], False),
        ("irc.example.org:6697", [], [], False),
        ("the terminal", [], [], False),
        ("http://127.0.0.1:99999/", [], [], False),
        ("http://[/", [], [], False),
    ],
)
def test_place_that_nobody_reaches_is_told_as_such(
    where: str, listen: list[str], hosts: list[str], *, warns: bool
) -> None:
    """A plugin that listens inside knows nothing of the walls around it."""
    told = as_reached(where, listen, hosts)
    assert warns == ("nobody reaches it" in told)
    assert told.startswith(where)
