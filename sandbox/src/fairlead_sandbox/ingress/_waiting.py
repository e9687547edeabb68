"""The guest's end, as the host sees it: connections that it made beforehand, each of which takes one client."""

from __future__ import annotations

import os
import socket
import struct

import trio

__all__ = ["BACKLOG", "Waiting"]

BACKLOG = 16
"""A guest keeps four waiting; the kernel holds no more than these, and the host none at all."""
TAKEN = b"\1"
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.25
"""Seconds before the next try, doubled each time: no guest, starting or playing, makes the host busy."""
CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid (unix(7), SO_PEERCRED)."""


class Waiting:
    """Hands clients over, one connection each, to a guest of one user."""

    def __init__(self, listening: socket.socket) -> None:
        self._plain = listening
        self._listening = trio.socket.from_stdlib_socket(listening)
        self._turn = trio.Lock()
        self._user: int | None = None

    def expect(self, user: int) -> None:
        """A new guest begins, as this user: what waits is of the last one, and closed."""
        self._user = user
        for _ in range(2 * BACKLOG):
            try:
                stale, _ = self._plain.accept()
            except OSError:  # nobody waits; or no descriptor is left, and then they are found dead later
                return
            stale.close()

    async def take(self, port: int) -> trio.SocketStream:
        """A connection to the guest's own `port`, as soon as it takes one. Waits for that without end."""
        pause = FIRST_PAUSE
        while True:
            if (taken := await self._try(port)) is not None:
                return trio.SocketStream(taken)
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, port: int) -> trio.socket.SocketType | None:
        """One connection, asked once."""
        try:
            async with self._turn:  # one task at a time may wait for a socket; first come, first served
                guest, _ = await self._listening.accept()
        except OSError:  # no descriptor is left; one may be later
            return None
        given = False
        try:
            if self._may(guest):
                await guest.send(port.to_bytes(2, "big"))
                given = await guest.recv(1) == TAKEN
        except OSError:
            pass  # it is dead
        finally:
            if not given:
                guest.close()
        return guest if given else None

    def _may(self, guest: trio.socket.SocketType) -> bool:
        """Whether it is who was expected. Others of this machine could find the socket: /proc/net/unix names it.

        We ourselves and root may, too: gVisor connects for what runs in it, and they could read all memory here anyway.
        """
        told = guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        return CREDENTIALS.unpack(told)[1] in (self._user, os.geteuid(), 0)
