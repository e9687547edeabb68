"""The far side: a way out as the sandbox gives it, and the pages that can be reached through it."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from attrs import define, field, frozen

__all__ = ["FarSide", "Reply", "running"]


@frozen
class Reply:
    """What a server answers."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: Mapping[str, str] = field(factory=dict)
    length: int | None = None
    """What is said of the length, where that is a lie."""


@define
class FarSide:
    """``http/host:port`` and path to the reply; every other host is not granted, every other path is not there."""

    port: int = 0
    pages: dict[str, Reply | Callable[[], Reply]] = field(factory=dict)
    asked: list[str] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)

    def find(self, target: str) -> Reply:
        _, scheme, host, path = target.split("/", 3)
        url = f"{scheme}://{host}/{path}"
        self.asked.append(url)
        page = self.pages.get(url)
        if page is not None:
            return page if isinstance(page, Reply) else page()
        if any(known.startswith(f"{scheme}://{host}/") for known in self.pages):
            return Reply(b"<h1>Nothing here</h1>", status=404)
        return refused("not-granted", f"{host}:443 is not granted; write hosts")


def refused(reason: str, words: str, status: int = 403) -> Reply:
    return Reply(words.encode(), "text/plain; charset=utf-8", status, {"Fairlead-Egress": reason})


@contextlib.contextmanager
def running() -> Iterator[FarSide]:
    """In threads of its own."""
    far = FarSide()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            far.headers.append(dict(self.headers))
            reply = far.find(self.path)
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
            if reply.kind:
                self.send_header("Content-Type", reply.kind)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(reply.body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        far.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield far
        finally:
            server.shutdown()
            thread.join()


def zipped(body: bytes, kind: str = "text/html") -> Reply:
    return Reply(gzip.compress(body), kind, headers={"Content-Encoding": "gzip"})
