"""The way out of one container or process: a socket of its own, which is its identity."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import trio

from fairlead_sandbox.egress._conversation import Conversation
from fairlead_sandbox.egress._decisions import Decision, Refusal
from fairlead_sandbox.egress._dialer import Connector, Dialer, Resolver, connect_to, system_resolver
from fairlead_sandbox.egress._grants import Grants
from fairlead_sandbox.egress._limits import EgressLimits
from fairlead_sandbox.egress._secrets import SecretGrant, Secrets
from fairlead_sandbox.egress._ways import Ways
from fairlead_sandbox.egress._wire import Gone, Wire

__all__ = ["Egress"]

MAX_PATH_BYTES = 107
"""Of the path of a Unix socket, on Linux."""
BACKLOG = 64
MAX_TURNED_AWAY = 16
"""At once are told that there is no place; more are closed without a word."""


class Egress:
    """A proxy on the host, over a Unix socket that one guest alone can reach.

    `grants`: ``host:port``, ``*.example.org:443`` for one label, or an address with its port; empty is closed.
    `secrets`: handle (`new_handle`) to value and hosts. `on_decision` is called for each refusal, and for the beginning
    and the end of each way that was open; it must return at once and raise nothing. `resolver` and `connector`: for
    tests; `tls`: the context with which the host itself connects, by default that of the machine. `mode`: of the
    socket, for a guest whose user id differs from the host's (its directory must then keep everybody else away).

    `ConfigError`: a grant or a secret is malformed. `ValueError`: the path is too long for a socket, or a handle is
    none.
    """

    def __init__(
        self,
        socket_path: Path | str,
        grants: Sequence[str],
        secrets: Mapping[str, SecretGrant] | None = None,
        on_decision: Callable[[Decision], None] = lambda _: None,
        *,
        resolver: Resolver | None = None,
        connector: Connector = connect_to,
        tls: ssl.SSLContext | None = None,
        limits: EgressLimits | None = None,
        mode: int = 0o600,
    ) -> None:
        self.socket_path = Path(socket_path)
        if len(os.fsencode(self.socket_path)) > MAX_PATH_BYTES:
            raise ValueError(f"a Unix socket's path has at most {MAX_PATH_BYTES} bytes: {os.fspath(socket_path)!r}")
        self._mode = mode
        self._tls = tls
        self._limits = limits or EgressLimits()
        self._open = 0
        self._turned_away = 0
        dialer = Dialer(resolver or system_resolver(), connector, self._limits)
        self._ways = Ways(Grants(grants), Secrets(secrets or {}), dialer, self._context, self._limits, on_decision)

    @property
    def connections(self) -> int:
        """How many the guest has open now."""
        return self._open

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `nursery.start` returns when the socket is there. The socket is removed at the end.

        `OSError`: the socket cannot be made. A dead socket of an earlier run is replaced; any other file is not.
        """
        with self._bound() as listening:
            listener = trio.SocketListener(listening)
            async with trio.open_nursery() as nursery:
                task_status.started()
                await trio.serve_listeners(self._serve_one, [listener], handler_nursery=nursery)

    @contextlib.contextmanager
    def _bound(self) -> Iterator[trio.socket.SocketType]:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(self.socket_path.lstat().st_mode):
                self.socket_path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as plain:
            plain.bind(os.fspath(self.socket_path))
            made = self.socket_path.lstat().st_ino
            try:
                self.socket_path.chmod(self._mode)
                plain.listen(BACKLOG)
                yield trio.socket.from_stdlib_socket(plain)
            finally:
                # A later proxy may have taken the place; its socket is not ours to remove.
                with contextlib.suppress(FileNotFoundError):
                    if self.socket_path.lstat().st_ino == made:
                        self.socket_path.unlink()

    def _context(self) -> ssl.SSLContext:
        """Made when it is needed first: reading the certificates of the machine takes milliseconds."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        wire = Wire(stream)
        if self._open >= self._limits.connections:
            await self._turn_away(wire)
            await trio.aclose_forcefully(stream)
            return
        self._open += 1
        try:
            await Conversation(self._ways, wire).run()
        finally:
            self._open -= 1
            await trio.aclose_forcefully(stream)

    async def _turn_away(self, wire: Wire) -> None:
        if self._turned_away >= MAX_TURNED_AWAY:
            return
        self._turned_away += 1
        refusal = Refusal(503, "too-many", f"{self._limits.connections} connections are open already")
        try:
            await trio.sleep(self._limits.refusal_seconds)
            self._ways.on_decision(Decision(False, "", 0, refusal.reason, detail=str(refusal)))
            with contextlib.suppress(Gone), trio.move_on_after(1):
                await wire.send(refusal.answer())
        finally:
            self._turned_away -= 1
