"""The way in of one container or process: addresses of the host, and a socket on which the guest fetches who comes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import trio

from fairlead.errors import ConfigError
from fairlead_sandbox.ingress._entrances import Entrance, parse_entrances
from fairlead_sandbox.ingress._limits import IngressLimits
from fairlead_sandbox.ingress._seats import Seat, Seats
from fairlead_sandbox.ingress._splice import splice
from fairlead_sandbox.ingress._waiting import BACKLOG, Waiting

__all__ = ["Ingress"]

MAX_PATH_BYTES = 107
"""Of the path of a Unix socket, on Linux."""


class Ingress:
    """Leads the clients of some addresses of the host to one guest, which connects to a Unix socket of its own.

    `listen`: ``address:port``; the guest's own port is the same. With port 0 the host takes a free one, and the guest
    the only port at which its plugin listens. `tell` is called with what goes wrong, seldom, and must return at once.
    `mode`: of the socket; whoever connects must also be the user that `expect` named.

    `ConfigError`: an address is malformed. `ValueError`: the path is too long for a socket.
    """

    def __init__(
        self,
        socket_path: Path | str,
        listen: Sequence[str],
        tell: Callable[[str], None] = lambda _: None,
        *,
        limits: IngressLimits | None = None,
        mode: int = 0o600,
    ) -> None:
        self.socket_path = Path(socket_path)
        if len(os.fsencode(self.socket_path)) > MAX_PATH_BYTES:
            raise ValueError(f"a Unix socket's path has at most {MAX_PATH_BYTES} bytes: {os.fspath(socket_path)!r}")
        self._entrances = parse_entrances(listen)
        self._limits = limits or IngressLimits()
        self._mode = mode
        self._tell = tell
        self._told: dict[str, float] = {}
        self._seats = Seats(self._limits)
        self._waiting: Waiting | None = None

    @property
    def connections(self) -> int:
        """How many clients there are now, those who wait for the guest included."""
        return len(self._seats)

    def expect(self, user: int) -> None:
        """A guest has been started, as this user of the host: what its predecessor had is ended."""
        if self._waiting is not None:
            self._waiting.expect(user)
            self._seats.clear_reached()

    async def serve(self, task_status: trio.TaskStatus[tuple[Entrance, ...]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `nursery.start` gives the addresses, now with the ports that were free.

        `ConfigError`: an address cannot be listened at. `OSError`: the guest's socket cannot be made.
        """
        async with self._listening() as listeners:
            with self._bound() as listening:
                self._waiting = Waiting(listening)
                task_status.started(tuple(_told_address(listener) for listener in listeners))
                async with trio.open_nursery() as nursery:
                    for entrance, listener in zip(self._entrances, listeners, strict=True):
                        handler = partial(self._serve_one, self._waiting, entrance)
                        nursery.start_soon(partial(trio.serve_listeners, handler, [listener], handler_nursery=nursery))

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[list[trio.SocketListener]]:
        """One for each entrance, in order; closed at the end."""
        listeners: list[trio.SocketListener] = []
        try:
            for entrance in self._entrances:
                try:
                    listeners += await trio.open_tcp_listeners(entrance.port, host=entrance.host)
                except OSError as error:
                    raise _not_here(entrance, error) from error
            yield listeners
        finally:
            for listener in listeners:
                listener.socket.close()

    @contextlib.contextmanager
    def _bound(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
            plain.setblocking(False)
            plain.bind(os.fspath(self.socket_path))
            try:
                self.socket_path.chmod(self._mode)
                plain.listen(BACKLOG)
                yield plain
            finally:
                self.socket_path.unlink(missing_ok=True)

    async def _serve_one(self, waiting: Waiting, entrance: Entrance, client: trio.SocketStream) -> None:
        seat = self._seats.take()
        if seat is None:
            self._say(f"a client was turned away: all {self._limits.connections} connections are in use")
            await trio.aclose_forcefully(client)
            return
        try:
            with seat.scope:
                # Whoever vanished without a word is noticed, in hours, by the kernel.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                await self._lead(waiting, entrance, client, seat)
        except OSError:
            pass  # it has gone already
        finally:
            self._seats.leave(seat)
            await trio.aclose_forcefully(client)

    async def _lead(self, waiting: Waiting, entrance: Entrance, client: trio.SocketStream, seat: Seat) -> None:
        guest: trio.SocketStream | None = None
        with trio.move_on_after(self._limits.reach_seconds):
            guest = await waiting.take(entrance.port)
        if guest is None:
            at = f"port {entrance.port}" if entrance.port else "exactly one port"
            self._say(
                f"a client of {entrance} was closed: within {self._limits.reach_seconds:g} s nothing listened at"
                f" {at} of the plugin's own loopback; is that the port in its table?"
            )
            return
        seat.reached = True
        seat.touch()
        try:
            await splice(client, guest, seat.touch)
        finally:
            await trio.aclose_forcefully(guest)

    def _say(self, problem: str) -> None:
        """Not again and again: a client could make the host write without end."""
        now = trio.current_time()
        if now - self._told.get(problem, -self._limits.repeat_seconds) >= self._limits.repeat_seconds:
            self._told[problem] = now
            self._tell(problem)


def _told_address(listener: trio.SocketListener) -> Entrance:
    host, port = listener.socket.getsockname()[:2]
    return Entrance(host, port)


def _not_here(entrance: Entrance, error: OSError) -> ConfigError:
    problem, next_step = {
        errno.EADDRINUSE: (
            "another program listens there",
            f"ss -ltnp 'sport = :{entrance.port}'  (shows which one), or grant another port",
        ),
        errno.EACCES: (
            "only root may listen at ports below 1024",
            "grant a port from 1024 on, and lead the other one there with a reverse proxy",
        ),
        errno.EADDRNOTAVAIL: ("this machine does not have that address", "ip address  (shows those it has)"),
    }.get(error.errno or 0, (str(error), "grant another address"))
    return ConfigError(f"cannot listen at {entrance}: {problem}", path="listen", next_step=next_step)
