"""A guest without a network and its way in: a real isolated process, whose listeners a test makes with code."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import field, frozen

from fairlead_sandbox.ingress import Entrance, Ingress, IngressLimits
from fairlead_sandbox.process import Machine

from .process_guests import Guest, guest, guest_spec

__all__ = ["ECHO", "LIMITS", "Door", "connect", "door", "free_port", "visited"]

LIMITS = IngressLimits(reach_seconds=20.0)
"""Longer than a busy machine needs to start a guest."""
ADMIT = "from inside import _admit\n_admit.start(args['socket'])"
ECHO = """
import socket, threading
def echo(connection):
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.sendall(b"END")
        except OSError:
            pass
def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()
listener = socket.create_server((args.get("host", "127.0.0.1"), args["port"]), family=args.get("family", 2), backlog=64)
threading.Thread(target=serve, args=(listener,), daemon=True).start()
value = listener.getsockname()[1]
"""
"""Repeats, and says at the end that it has heard the end."""


def free_port() -> int:
    """Nobody's, a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
    return port


@frozen
class Door:
    """A way in that is served."""

    ingress: Ingress
    opened: tuple[Entrance, ...]
    told: list[str] = field(factory=list)

    @property
    def port(self) -> int:
        return self.opened[0].port


@asynccontextmanager
async def door(place: Path, *listen: str, limits: IngressLimits = LIMITS) -> AsyncIterator[Door]:
    """Open at these addresses, by default at a free one; a guest has yet to come."""
    told: list[str] = []
    place.mkdir(mode=0o711, exist_ok=True)
    ingress = Ingress(place / "in.sock", listen or [f"127.0.0.1:{free_port()}"], told.append, limits=limits, mode=0o666)
    async with trio.open_nursery() as nursery:
        yield Door(ingress, await nursery.start(ingress.serve), told)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def visited(opened: Door, work: Path, machine: Machine, *, admits: bool = True) -> AsyncIterator[Guest]:
    """A guest to whom the door leads."""
    async with guest(guest_spec(work, egress_socket=opened.ingress.socket_path), machine) as running:
        opened.ingress.expect(running.process.evidence["uid"])
        if admits:
            await running.do(ADMIT, socket=str(opened.ingress.socket_path))
        yield running


async def connect(opened: Door) -> trio.SocketStream:
    """A client."""
    return await trio.open_tcp_stream("127.0.0.1", opened.port)
