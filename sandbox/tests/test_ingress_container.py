"""The way in to a real container without a network: ordinary clients, and a listener that knows nothing of us."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from fairlead_sandbox.container import Container, ContainerSpec, Engine, inside_mount
from fairlead_sandbox.image import find_image

from .container_daemon import GVISOR, own_engine
from .container_engine import engine, has_image
from .ingress_world import ECHO, Door, connect, door

pytestmark = pytest.mark.docker
PROGRAM = f"""
import sys
sys.path.insert(0, "/fairlead")
from inside import _admit
_admit.start("/egress/in.sock")
args = {{"port": int(input())}}
{ECHO}
sys.stdin.read()
"""


@asynccontextmanager
async def listening(docker: Engine, opened: Door, runtime: str = "") -> AsyncIterator[Container]:
    """A container with the echo, of the kind that holds a whole plugin."""
    spec = ContainerSpec(
        (await find_image(docker)).id,
        ["python3", "-I", "-c", PROGRAM],
        mounts=[inside_mount()],
        egress_socket=opened.ingress.socket_path,
        supervised=False,
        runtime=runtime,
    )
    container = await docker.start_container(spec)
    try:
        opened.ingress.expect(container.uids.first)
        await container.stream.send(b"%d\n" % opened.port)
        yield container
    finally:
        await container.kill()


async def echoed(opened: Door, data: bytes) -> bytes:
    async with await connect(opened) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, data)
        heard = b""
        while len(heard) < len(data) and (more := await client.receive_some()):
            heard += more
        await client.send_eof()
        return heard + bytes(await client.receive_some())


async def test_listener_in_a_container_is_reached(tmp_path: Path) -> None:
    """Large data and many clients; the second container takes the place of the first."""
    data = secrets.token_bytes(1 << 20)
    async with engine(tmp_path) as docker, door(tmp_path / "way") as opened:
        await has_image(docker)
        async with listening(docker, opened):
            assert data + b"END" == await echoed(opened, data)
            cut = await connect(opened)
            await cut.send_all(b"hello")
            assert b"hello" == await cut.receive_some()
        async with cut:
            assert b"" == await cut.receive_some()
        async with listening(docker, opened), trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(echoed, opened, data[:100_000])
        assert [] == opened.told


async def test_listener_under_gvisor_is_reached(tmp_path: Path) -> None:
    """There it is another kernel that connects to the host's socket."""
    data = secrets.token_bytes(1 << 20)
    async with (
        own_engine(tmp_path.resolve(), GVISOR, "runsc") as docker,
        door(tmp_path / "way") as opened,
        listening(docker, opened, "runsc"),
    ):
        assert data + b"END" == await echoed(opened, data)
