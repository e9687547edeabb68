"""What the way out costs: the same requests to a TLS server on loopback, direct and through the proxy, by turns.

    uv run python tests/benchmarks/sandbox_egress.py

The proxy runs in a process of its own, as the host does; the client and the forwarder are the guest. The server waits
some milliseconds before it answers where the line says so, as any server out there does; without that, everything is
loopback and a few system calls. `socket` is a tunnel straight to the proxy; `CONNECT` and `reverse` go through the
forwarder, which shares the client's interpreter, as in a plugin. Ratios of medians of one interleaved run; the goal is
1.5 at most.
"""

from __future__ import annotations

import contextlib
import http.client
import multiprocessing
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import trio

from fairlead_sandbox.egress import Egress
from fairlead_sandbox.inside._forward import start

HOST = "api.example.org"
PUBLIC = "93.184.216.34"
ROUNDS = 150
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 1000
MEGABYTES = 64


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """For HOST and 127.0.0.1, signed by itself."""
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-subj", "/CN=bench", "-keyout", str(directory / "key.pem")]
    command += ["-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1", "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return directory / "cert.pem", directory / "key.pem"


def serve_tls(cert: str, key: str, ready: multiprocessing.SimpleQueue[int]) -> None:
    """Answers what ends in an empty line; ``/wait/N`` after N milliseconds, ``/big`` with megabytes."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    ready.put(listener.getsockname()[1])

    def one(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as stream:
            while data := stream.recv(65536):
                path = data.split(b" ", 2)[1]
                if b"/big" in path:
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MEGABYTES << 20))
                    for _ in range(MEGABYTES):
                        stream.sendall(bytes(1 << 20))
                else:
                    time.sleep(int(path.rpartition(b"/")[2] or 0) / 1000)
                    stream.sendall(ANSWER)

    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=one, args=[near], daemon=True).start()


def serve_proxy(path: str, cert: str, port: int, ready: multiprocessing.SimpleQueue[int]) -> None:
    """The host's side: HOST has a public address, which leads to the server on loopback."""

    async def resolve(host: str, port: int) -> list[str]:
        await trio.lowlevel.checkpoint()
        return [PUBLIC]

    async def connect(address: str, to: int) -> trio.SocketStream:
        sock = trio.socket.socket()
        await sock.connect(("127.0.0.1", port))
        return trio.SocketStream(sock)

    async def main() -> None:
        context = ssl.create_default_context(cafile=cert)
        egress = Egress(path, [f"{HOST}:443"], resolver=resolve, connector=connect, tls=context)
        async with trio.open_nursery() as nursery:
            await nursery.start(egress.serve)
            ready.put(1)

    trio.run(main)


class SocketTunnel(http.client.HTTPConnection):
    """A tunnel without a forwarder: what the proxy alone costs."""

    def __init__(self, path: str, context: ssl.SSLContext) -> None:
        super().__init__(HOST)
        self._path, self._context = path, context

    def connect(self) -> None:
        """CONNECT over the Unix socket, then TLS."""
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(self._path)
        plain.sendall(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += plain.recv(1000)
        self.sock = self._context.wrap_socket(plain, server_hostname=HOST)


class Ways:
    """The ways to ask: a connection each, not yet opened."""

    def __init__(self, server: int, path: str, forwarder: int, cert: Path) -> None:
        self._server, self._path, self._forwarder = server, path, forwarder
        self._context = ssl.create_default_context(cafile=str(cert))

    def socket(self) -> http.client.HTTPConnection:
        return SocketTunnel(self._path, self._context)

    def direct(self) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._server, context=self._context)

    def tunnel(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", self._forwarder, context=self._context)
        connection.set_tunnel(HOST, 443)
        return connection

    def reverse(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._forwarder)


def ask(connection: http.client.HTTPConnection, path: str) -> int:
    """One request; the bytes of its answer."""
    connection.request("GET", path)
    return len(connection.getresponse().read())


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare(title: str, works: Mapping[str, Callable[[], object]], rounds: int) -> None:
    """Each in turn, `rounds` times; medians, and ratios to the first."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for name, work in works.items():
        work()
        times[name].clear()
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    base = statistics.median(next(iter(times.values())))
    for name, found in times.items():
        median, slow = statistics.median(found), statistics.quantiles(found, n=20)[18]
        print(f"{title:36} {name:8} {median * 1e3:8.2f} ms   p95 {slow * 1e3:8.2f} ms   {median / base:5.2f} x direct")


@contextlib.contextmanager
def running() -> Iterator[Ways]:
    """Server and proxy in processes of their own, the forwarder in this one."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        cert, key = make_certificate(Path(name))
        path = str(Path(name) / "egress.sock")
        ready: multiprocessing.SimpleQueue[int] = spawn.SimpleQueue()
        server = spawn.Process(target=serve_tls, args=[str(cert), str(key), ready], daemon=True)
        server.start()
        port = ready.get()
        proxy = spawn.Process(target=serve_proxy, args=[path, str(cert), port, ready], daemon=True)
        proxy.start()
        ready.get()
        try:
            yield Ways(port, path, start(path, 0), cert)
        finally:
            for process in (server, proxy):
                process.kill()
                process.join()


def once(make: Callable[[], http.client.HTTPConnection], path: str) -> Callable[[], None]:
    """A connection for one request."""

    def work() -> None:
        with contextlib.closing(make()) as connection:
            ask(connection, path)

    return work


def again(make: Callable[[], http.client.HTTPConnection], path: str) -> Callable[[], None]:
    """The next request of one connection."""
    connection = make()

    def work() -> None:
        ask(connection, path)

    return work


def main() -> None:
    """Print the figures."""
    with running() as ways:
        reverse = f"/https/{HOST}"
        for wait in (0, 20):
            for title, kind in (("a connection each", once), ("one connection", again)):
                works = {
                    "direct": kind(ways.direct, f"/wait/{wait}"),
                    "socket": kind(ways.socket, f"/wait/{wait}"),
                    "CONNECT": kind(ways.tunnel, f"/wait/{wait}"),
                    "reverse": kind(ways.reverse, f"{reverse}/wait/{wait}"),
                }
                compare(f"{title}, server takes {wait} ms", works, ROUNDS // (3 if wait else 1))
        works = {
            "direct": again(ways.direct, "/big"),
            "socket": again(ways.socket, "/big"),
            "CONNECT": again(ways.tunnel, "/big"),
            "reverse": again(ways.reverse, f"{reverse}/big"),
        }
        compare(f"{MEGABYTES} MB in one answer", works, 3)


if __name__ == "__main__":
    main()
