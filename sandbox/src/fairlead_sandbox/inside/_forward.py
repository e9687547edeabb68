"""The guest's end of its way out: a port on its own loopback, piped to the Unix socket of the proxy on the host.

Standard library only, one thread for all connections, nothing imported from elsewhere: it runs where nothing of
Fairlead's is installed.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time

__all__ = ["PORT", "Forwarder", "start", "variables"]

PORT = 3128
MAX_CONNECTIONS = 64
PAUSE_SECONDS = 0.02
CHUNK = 65_536
"""Also the most that waits for a reader who is slow, in each direction."""


def variables(port: int = PORT) -> dict[str, str]:
    """The environment of a guest with a forwarder at `port`: what libraries look for, and the base for the others.

    ``$FAIRLEAD_EGRESS/https/example.org/path``: the host makes the TLS connection, and places secrets.
    """
    base = f"http://127.0.0.1:{port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "FAIRLEAD_EGRESS")
    # A library that has the forwarder as its base must not look for it through the proxy.
    direct = dict.fromkeys(("NO_PROXY", "no_proxy"), f"127.0.0.1:{port}")
    return dict.fromkeys(names, base) | direct


def start(socket_path: str, port: int = PORT) -> int:
    """Listen on 127.0.0.1 in a daemon thread, until the process ends; gives the port. 0 takes a free one.

    `OSError`: the port is taken. The socket need not be there yet: a connection is closed where it is missing.
    """
    import threading  # noqa: PLC0415  # the supervisor reads `variables` only

    forwarder = Forwarder(socket_path, port)
    threading.Thread(target=forwarder.run, name="egress", daemon=True).start()
    return forwarder.port


class _Pipe:
    """One direction of a connection."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting = b""
        self.ended = False
        """The source has said all; once `waiting` is gone, the sink is told."""
        self.done = False

    def move(self) -> None:
        """Read and write what can be without waiting. `OSError`: one of them broke."""
        if not self.waiting and not self.ended:
            with contextlib.suppress(BlockingIOError):
                self.waiting = self.source.recv(CHUNK)
                self.ended = not self.waiting
        if self.waiting:
            with contextlib.suppress(BlockingIOError):
                self.waiting = self.waiting[self.sink.send(self.waiting) :]
        if self.ended and not self.waiting and not self.done:
            self.done = True
            self.sink.shutdown(socket.SHUT_WR)


class _Link:
    """A connection of the guest and its other half to the host."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.pipes = (_Pipe(near, far), _Pipe(far, near))

    def interest(self, end: socket.socket) -> int:
        """What to wait for at one end."""
        events = 0
        for pipe in self.pipes:
            if pipe.source is end and not pipe.waiting and not pipe.ended:
                events |= selectors.EVENT_READ
            if pipe.sink is end and pipe.waiting:
                events |= selectors.EVENT_WRITE
        return events

    def move(self, end: socket.socket, events: int) -> bool:
        """Move what can be moved, now that `end` is ready; False once it is over, or one side broke."""
        for pipe in self.pipes:
            is_ready = (events & selectors.EVENT_READ and pipe.source is end) or (
                events & selectors.EVENT_WRITE and pipe.sink is end
            )
            if is_ready:
                try:
                    pipe.move()
                except OSError:
                    return False
        return not all(pipe.done for pipe in self.pipes)

    def close(self) -> None:
        for end in self.ends:
            end.close()


class Forwarder:
    """Pipes connections of one port to one socket. `run` it in a thread, or in a process of its own."""

    def __init__(self, socket_path: str, port: int = PORT) -> None:
        self._path = socket_path
        self._selector = selectors.DefaultSelector()
        self._links: dict[socket.socket, _Link] = {}
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # The connections of the last call may still linger; who listens on the port, refuses it all the same.
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", port))
            self._listener.listen(MAX_CONNECTIONS)
        except OSError:
            self._listener.close()
            raise
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until the process ends."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            for key, events in self._selector.select():
                end = key.fileobj
                assert isinstance(end, socket.socket)
                link = self._links.get(end)
                if link is not None:
                    self._serve(link, end, events)
                elif end is self._listener:
                    self._accept()

    def _accept(self) -> None:
        try:
            link = self._connect()
        except OSError:  # no proxy, its backlog is full, or no descriptor is left; at once it would be so again
            time.sleep(PAUSE_SECONDS)
            return
        for end in link.ends:
            self._links[end] = link
            self._selector.register(end, selectors.EVENT_READ)
        if len(self._links) >= 2 * MAX_CONNECTIONS:
            self._selector.unregister(self._listener)  # the next ones wait in the backlog
        self._serve(link, link.ends[0], selectors.EVENT_READ)  # the first words are often there already

    def _connect(self) -> _Link:
        """The next connection of the guest, and its other half. `OSError`: there is none; nothing stays open."""
        with contextlib.ExitStack() as stack:
            near, _ = self._listener.accept()
            stack.callback(near.close)
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            stack.callback(far.close)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far.connect(self._path)
            near.setblocking(False)
            far.setblocking(False)
            stack.pop_all()
        return _Link(near, far)

    def _serve(self, link: _Link, ready: socket.socket, events: int) -> None:
        if link.move(ready, events):
            for end in link.ends:
                self._watch(end, link.interest(end))
            return
        full = len(self._links) >= 2 * MAX_CONNECTIONS
        for end in link.ends:
            del self._links[end]
            with contextlib.suppress(KeyError):
                self._selector.unregister(end)
        link.close()
        if full:
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _watch(self, end: socket.socket, events: int) -> None:
        key = self._selector.get_map().get(end)
        if key is None:
            if events:
                self._selector.register(end, events)
        elif not events:
            self._selector.unregister(end)
        elif events != key.events:
            self._selector.modify(end, events)
