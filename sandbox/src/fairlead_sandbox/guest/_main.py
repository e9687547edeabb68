"""The process of a plugin: it waits for the host's hello, starts the event loop that it names, and serves.

It ends when the host does: at once where the plugin lets it, after a second in any case.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
from attrs import define, field

from fairlead.errors import PluginLoadError
from fairlead.wire import unstructure
from fairlead_sandbox.boundary import GUEST, Call, Peer
from fairlead_sandbox.guest._fds import FdStream
from fairlead_sandbox.guest._loading import load_workers
from fairlead_sandbox.guest._operations import facts_of, operation_of
from fairlead_sandbox.inside import _admit, _forward
from fairlead_sandbox.inside._frames import HEAD_BYTES, decode

__all__ = ["main"]

PROTOCOL = 1
"""Counts changes of the protocol that an older side could not follow."""
_END_SECONDS = 1.0
"""For a plugin to let go when the host is gone."""
_CLOSE_SECONDS = 0.5
"""For the workers that the host left open."""


@define
class Hosted:
    """A worker of this process."""

    kind: str
    worker: Any
    is_open: bool = False


@define
class Guest:
    """What the host asks of this process, and who answers it."""

    hosted: list[Hosted] = field(factory=list)
    greeted: bool = False

    async def serve(self, op: str, args: dict[str, Any], call: Call) -> Any:
        """Answer one call of the host."""
        if op == "hello":
            return self._greet(args)
        if op == "ping":
            return None  # that it comes back says that the event loop is not blocked
        if op == "describe":
            return {"workers": [self._told(place) for place in range(len(self.hosted))]}
        hosted = self.hosted[args["worker"]]
        if op == "open":
            hosted.worker.name = args["name"]
            await hosted.worker.open()
            hosted.is_open = True
            return facts_of(hosted.kind, hosted.worker)
        if op == "close":
            hosted.is_open = False
            await hosted.worker.close()
            return None
        if op == "check":
            return [unstructure(finding) for finding in await hosted.worker.check()]
        return await operation_of(hosted.kind, hosted.worker, op)(args, call)

    def _greet(self, hello: Mapping[str, Any]) -> dict[str, Any]:
        if self.greeted:
            raise PluginLoadError("the plugin is loaded already")
        self.greeted = True
        _open_ways(hello.get("egress"), hello.get("ingress"))
        self.hosted = [Hosted(kind, worker) for kind, worker in load_workers(hello)]
        return {"protocol": PROTOCOL, "pid": os.getpid(), "python": sys.version.split()[0]}

    def _told(self, place: int) -> dict[str, Any]:
        hosted = self.hosted[place]
        try:
            facts = facts_of(hosted.kind, hosted.worker)
        except Exception:  # noqa: BLE001  # what it cannot say before it is opened, it says then
            facts = {}
        return {"worker": place, "kind": hosted.kind, "name": hosted.worker.name, "facts": facts}

    async def close(self) -> None:
        """Close what the host left open: it is gone."""
        for hosted in reversed(self.hosted):
            if hosted.is_open:
                try:
                    await hosted.worker.close()
                except Exception:  # noqa: BLE001  # the words are for whoever reads the end of standard error
                    traceback.print_exc()


def _open_ways(egress: Mapping[str, Any] | None, ingress: Mapping[str, Any] | None) -> None:
    """Lead the libraries of the plugin, which know only of proxies on a port, to the host's socket; and its clients in.

    Nobody but the host's clients is led to the plugin: the forwarder's port is none of its own.
    """
    ports = []
    os.environ.pop("FAIRLEAD_EGRESS", None)
    if egress:
        ports.append(_forward.start(egress["socket"], port=0))
        os.environ |= _forward.variables(*ports)
    if ingress:
        _admit.start(ingress["socket"], ports)


def main(read_fd: int, write_fd: int) -> None:
    """Serve one plugin on two file descriptors. Does not return."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's: it ends its plugins itself
    status = 1
    try:
        first = _read_frame(read_fd)
        if first is not None:
            threading.Thread(target=_watch, args=(read_fd,), daemon=True, name="host").start()
            runtime = first["args"].get("runtime", "trio")
            anyio.run(_serve, FdStream(read_fd, write_fd), first, runtime, backend=runtime)
        status = 0
    except BaseException:  # noqa: BLE001  # these are its last words
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # threads of the plugin may be left, and nobody waits for them


async def _serve(stream: FdStream, first: dict[str, Any], runtime: str) -> None:
    guest = Guest()
    serve = guest.serve if runtime == "trio" else partial(_serve_once_cancelled, guest)
    await Peer(stream, serve=serve, side=GUEST, first=[first]).run()
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await guest.close()


async def _serve_once_cancelled(guest: Guest, op: str, args: dict[str, Any], call: Call) -> Any:
    from fairlead_sandbox.guest._edge import run_once_cancelled  # noqa: PLC0415  # a trio plugin needs no asyncio

    return await run_once_cancelled(guest.serve(op, args, call))


def _read_frame(fd: int) -> dict[str, Any] | None:
    """The first frame, read before there is an event loop: it says which one. None: the host has gone."""
    os.set_blocking(fd, True)
    head = _read_exactly(fd, HEAD_BYTES)
    body = _read_exactly(fd, int.from_bytes(head, "big")) if head else b""
    return decode(body) if body else None


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            return b""
        data += more
    return data


def _watch(fd: int) -> None:
    """End the process when the host is gone, however busy the plugin keeps the event loop."""
    poll = select.poll()
    poll.register(fd, 0)  # the hang-up alone, which comes without being asked for
    poll.poll()
    time.sleep(_END_SECONDS)
    os._exit(1)
