"""The guest's end of its way in: fetches clients from the host's Unix socket, and connects them to its own listener.

Some connections to the host wait at all times. The host answers one of them with a port, in two bytes, when a client is
there; one byte back says that the listener has it, and from then on bytes pass both ways. Closed instead: not now.

Standard library only, one thread for all connections.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol, Self

from ._forward import _Link

__all__ = ["Admitter", "start"]

SPARE = 4
"""Connections that wait for clients."""
MAX_CONNECTIONS = 64
PAUSE_SECONDS = 0.25
TAKEN = b"\1"
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
Addresses = Sequence[tuple[socket.AddressFamily, str]]
LISTENING = "0A"
"""In /proc/net/tcp (proc(5)), where the second field is address:port, in hexadecimal, and the fourth the state."""


def start(socket_path: str, others: Collection[int] = ()) -> None:
    """Admit clients in a daemon thread, until the process ends. `others`: ports here that are not the plugin's."""
    admitter = Admitter(socket_path, others)
    threading.Thread(target=admitter.run, name="ingress", daemon=True).start()


def listening_port(others: Collection[int]) -> int | None:
    """The only port at which anything listens here, `others` aside; None where there is none, or more than one."""
    found = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/net", name).read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING:
                    found.add(int(fields[1].rpartition(":")[2], 16))
    mine = found.difference(others)
    return mine.pop() if len(mine) == 1 else None


class _Part(Protocol):
    """A connection, at some stage of its life."""

    lasting: bool
    """The next step is most often of this same stage."""

    @property
    def ends(self) -> tuple[socket.socket, ...]: ...

    def interest(self, end: socket.socket) -> int:
        """What to wait for at one end."""

    def move(self, end: socket.socket, events: int) -> _Part | None:
        """Go on without waiting, now that `end` is ready; gives itself, the next stage, or None once it is over."""

    def close(self) -> None: ...


class _Spare:
    """A connection to the host that waits for a client."""

    lasting = False

    def __init__(self, far: socket.socket, others: Collection[int]) -> None:
        self.ends = (far,)
        self._others = others

    def interest(self, _end: socket.socket) -> int:
        return selectors.EVENT_READ

    def move(self, end: socket.socket, _events: int) -> _Part | None:
        told = b""
        with contextlib.suppress(OSError):
            told = end.recv(2)
        if len(told) != 2:  # noqa: PLR2004  # bytes of a port
            return None
        port = int.from_bytes(told, "big") or listening_port(self._others)
        return _knock(end, port, LOOPBACKS) if port else None

    def close(self) -> None:
        self.ends[0].close()


class _Knock:
    """A client that the plugin's listener is asked to take."""

    lasting = False

    def __init__(self, far: socket.socket, near: socket.socket, port: int, rest: Addresses) -> None:
        self.ends = (far, near)
        self._port = port
        self._rest = rest

    def interest(self, end: socket.socket) -> int:
        # The host says nothing meanwhile, but goes when its client has waited for too long.
        return selectors.EVENT_READ if end is self.ends[0] else selectors.EVENT_WRITE

    def move(self, end: socket.socket, _events: int) -> _Part | None:
        far, near = self.ends
        if end is far:
            return None
        if near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            near.close()
            return _knock(far, self._port, self._rest)
        with contextlib.suppress(OSError):
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.send(TAKEN)
            return _Served(near, far)
        return None

    def close(self) -> None:
        for end in self.ends:
            end.close()


def _knock(far: socket.socket, port: int, addresses: Addresses) -> _Knock | None:
    """At the first address that does not refuse at once; None where all do."""
    for place, (family, host) in enumerate(addresses):
        near: socket.socket | None = None
        with contextlib.suppress(OSError):
            near = socket.socket(family, socket.SOCK_STREAM)
            near.setblocking(False)
            if near.connect_ex((host, port)) in (0, errno.EINPROGRESS):
                return _Knock(far, near, port, addresses[place + 1 :])
        if near is not None:
            near.close()
    return None


class _Served(_Link):
    """A client at the plugin's listener."""

    lasting = True

    def move(self, end: socket.socket, events: int) -> Self | None:  # type: ignore[override]  # a stage, not a truth
        return self if super().move(end, events) else None


class Admitter:
    """Connects clients of the host to what listens here. `run` it in a thread, or in a process of its own."""

    def __init__(self, socket_path: str, others: Collection[int] = ()) -> None:
        self._path = socket_path
        self._others = frozenset(others)
        self._selector = selectors.DefaultSelector()
        self._parts: dict[socket.socket, _Part] = {}
        self._open = 0
        self._spare = 0
        self._dial_at = 0.0

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            self._dial()
            lacking = self._spare < SPARE and self._open < MAX_CONNECTIONS
            for key, events in self._selector.select(PAUSE_SECONDS if lacking else None):
                end = key.fileobj
                assert isinstance(end, socket.socket)
                part = self._parts.get(end)
                if part is not None:
                    self._serve(part, end, events)

    def _dial(self) -> None:
        """Have some connections wait. A host that is not there, or wants none, is asked again a little later."""
        while self._spare < SPARE and self._open < MAX_CONNECTIONS and time.monotonic() >= self._dial_at:
            try:
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            except OSError:
                self._dial_at = time.monotonic() + PAUSE_SECONDS
                return
            try:
                far.setblocking(False)
                far.connect(self._path)
            except OSError:
                far.close()
                self._dial_at = time.monotonic() + PAUSE_SECONDS
                return
            self._open += 1
            self._enter(_Spare(far, self._others))

    def _serve(self, part: _Part, end: socket.socket, events: int) -> None:
        if not part.lasting:
            self._leave(part)
        following = part.move(end, events)
        if following is part:
            self._watch(part)
            return
        if part.lasting:
            self._leave(part)
        if following is not None:
            self._enter(following)
            return
        part.close()
        self._open -= 1
        if isinstance(part, _Spare):
            self._dial_at = time.monotonic() + PAUSE_SECONDS

    def _enter(self, part: _Part) -> None:
        self._spare += isinstance(part, _Spare)
        for end in part.ends:
            self._parts[end] = part
        self._watch(part)

    def _leave(self, part: _Part) -> None:
        self._spare -= isinstance(part, _Spare)
        for end in part.ends:
            del self._parts[end]
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)

    def _watch(self, part: _Part) -> None:
        for end in part.ends:
            events = part.interest(end)
            key = self._selector.get_map().get(end)
            if key is None:
                if events:
                    self._selector.register(end, events)
            elif not events:
                self._selector.unregister(end)
            elif events != key.events:
                self._selector.modify(end, events)
