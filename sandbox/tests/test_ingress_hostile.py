"""Guests and clients that mean harm: neither holds up the host, nor takes what is another one's."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from pathlib import Path

import attrs
import pytest
import trio

from fairlead_sandbox.process import Machine, look_at_machine

from .ingress_world import ECHO, LIMITS, connect, door, visited
from .process_guests import require

MEGABYTE = 1 << 20
FLOOD = """
import contextlib, socket, threading
def flood():
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as made:
            made.connect(args["socket"])
threading.Thread(target=flood, daemon=True).start()
"""
SILENT = """
import socket, threading
held = []
def hold():
    while True:
        made = socket.socket(socket.AF_UNIX)
        made.connect(args["socket"])
        made.recv(2)
        held.append(made)
threading.Thread(target=hold, daemon=True).start()
"""
LIAR = SILENT.replace("held.append(made)", "made.send(b'no' * 1000); held.append(made)")
SPEAKER = """
import socket, threading
listener = socket.create_server(("127.0.0.1", args["port"]))
def speak():
    connection, _ = listener.accept()
    connection.settimeout(2)
    try:
        while True:
            state["said"] = state.get("said", 0) + connection.send(bytes(65536))
    except TimeoutError:
        state["full"].set()
state["full"] = threading.Event()
threading.Thread(target=speak, daemon=True).start()
"""


@pytest.fixture(scope="module")
def machine() -> Machine:
    return require(trio.run(look_at_machine), bubblewrap=True)


async def said(client: trio.SocketStream) -> bytes:
    """The next words; empty where it was closed or cut off."""
    with contextlib.suppress(trio.BrokenResourceError):
        return bytes(await client.receive_some())
    return b""


@pytest.mark.parametrize("code", [SILENT, LIAR])
async def test_guest_that_takes_a_client_and_does_not_say_so(machine: Machine, tmp_path: Path, code: str) -> None:
    """The client is closed in time; nothing of what it said went to such a guest."""
    limits = attrs.evolve(LIMITS, reach_seconds=0.5)
    async with (
        door(tmp_path / "way", limits=limits) as opened,
        visited(opened, tmp_path / "work", machine, admits=False) as guest,
    ):
        await guest.do(code, socket=str(opened.ingress.socket_path))
        async with await connect(opened) as client:
            await client.send_all(b"secret")
            assert b"" == await said(client)
    assert "nothing listened" in opened.told[0]


async def test_guest_that_floods_the_host_with_connections(machine: Machine, tmp_path: Path) -> None:
    """Its clients wait for nothing, and the host stays idle: it fetches connections only when a client is there."""
    limits = attrs.evolve(LIMITS, reach_seconds=1.0)
    async with (
        door(tmp_path / "way", limits=limits) as opened,
        visited(opened, tmp_path / "work", machine, admits=False) as guest,
    ):
        await guest.do(FLOOD, socket=str(opened.ingress.socket_path))
        before, cpu = trio.current_time(), time.process_time()
        async with await connect(opened) as client:
            assert b"" == await said(client)
        spent = (time.process_time() - cpu) / (trio.current_time() - before)
    assert spent < 0.2


async def test_client_that_does_not_read_stops_the_guest_only(machine: Machine, tmp_path: Path) -> None:
    """What the guest says waits in the kernel's buffers, not in the memory of the host."""
    async with door(tmp_path / "way") as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(SPEAKER, port=opened.port)
        async with await connect(opened):
            assert 0 < await guest.do("state['full'].wait(20); value = state['said']", op="thread") < 32 * MEGABYTE


async def test_silent_clients_give_way(machine: Machine, tmp_path: Path) -> None:
    """All places are taken by clients that connect and say nothing: who was silent for longest goes."""
    limits = attrs.evolve(LIMITS, connections=3, yield_seconds=0.2)
    async with door(tmp_path / "way", limits=limits) as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(ECHO, port=opened.port)
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(await connect(opened)) for _ in range(3)]
            for client in clients:
                await client.send_all(b"here")
                assert b"here" == await said(client)
            async with await connect(opened) as early:
                assert b"" == await said(early)
            assert ["a client was turned away: all 3 connections are in use"] == opened.told
            await trio.sleep(0.3)  # real time: they are silent
            await clients[0].send_all(b"still")
            assert b"still" == await said(clients[0])
            late = await stack.enter_async_context(await connect(opened))
            await late.send_all(b"late")
            assert b"late" == await said(late)
            assert b"" == await said(clients[1])
            await clients[0].send_all(b"again")
            assert b"again" == await said(clients[0])


async def test_silence_ends_at_last(machine: Machine, tmp_path: Path) -> None:
    """Also where nobody else wants the place."""
    limits = attrs.evolve(LIMITS, idle_seconds=0.5)
    async with door(tmp_path / "way", limits=limits) as opened, visited(opened, tmp_path / "work", machine) as guest:
        await guest.do(ECHO, port=opened.port)
        async with await connect(opened) as client:
            await client.send_all(b"here")
            assert b"here" == await said(client)
            assert b"" == await said(client)


async def test_another_user_of_the_machine_gets_no_clients(machine: Machine) -> None:
    """The socket's place can be read in /proc/net/unix; whoever connects to it is known by his user, and let go."""
    require(machine, root=True)
    limits = attrs.evolve(LIMITS, reach_seconds=0.5)
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as intruder:
        Path(name).chmod(0o711)  # unlike the directories of tests, it lets others pass
        async with door(Path(name, "way"), limits=limits) as opened:
            opened.ingress.expect(machine_user := 1_879_048_192)
            os.seteuid(machine_user + 1)
            try:
                intruder.connect(str(opened.ingress.socket_path))
            finally:
                os.seteuid(0)
            async with await connect(opened) as client:
                await client.send_all(b"secret")
                assert b"" == await said(client)
            assert b"" == intruder.recv(2)
