"""The guest's end: a thread that pipes connections, with ordinary libraries in front and the real proxy behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trio

from fairlead_sandbox.inside import _forward
from fairlead_sandbox.inside._forward import MAX_CONNECTIONS, start, variables

from .egress_world import API, OTHER, VALUE, Certificate, make_certificate, opened_world, secret


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def test_guest_is_told_where_its_way_out_is() -> None:
    """What libraries look for, and the base of reverse addresses, which is not itself reached through the proxy."""
    found = variables(4000)
    base = "http://127.0.0.1:4000"
    assert {base} == {found[name] for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")}
    assert (base, "127.0.0.1:4000") == (found["FAIRLEAD_EGRESS"], found["NO_PROXY"])
    assert "http://127.0.0.1:3128" == variables()["HTTP_PROXY"]


def test_forwarder_needs_the_standard_library_only() -> None:
    """It runs with -I -S from a file alone, in a container where nothing of ours is installed."""
    code = f"import runpy; print(runpy.run_path({_forward.__file__!r})['start']('/nowhere', 0) > 0)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert "True" == done.stdout.strip()


def test_port_that_is_taken_is_an_error() -> None:
    """At once, not at the first connection."""
    port = start("/nowhere", 0)
    with pytest.raises(OSError, match="in use"):
        start("/nowhere", port)


def test_connection_without_a_proxy_is_closed() -> None:
    """And the next one is served."""
    port = start("/nowhere", 0)
    for _ in range(3):
        guest = socket.create_connection(("127.0.0.1", port), timeout=5)
        with guest, contextlib.suppress(ConnectionResetError):
            assert b"" == guest.recv(1)


async def test_ordinary_libraries_reach_a_granted_host(
    certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """urllib and httpx2 know nothing of us: CONNECT, the absolute form, and the reverse form as a base."""
    handle, secrets = secret(VALUE, f"{OTHER}:443")
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        port = start(str(world.egress.socket_path), 0)
        for name, value in variables(port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))

        def with_urllib(address: str) -> str:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  # the test's own address
                found: str = json.load(answer)["path"]
                return found

        for address in (f"https://{API}/a", f"http://{API}/a", f"http://127.0.0.1:{port}/https/{API}/a"):
            assert "/a" == await trio.to_thread.run_sync(with_urllib, address)
        async with httpx2.AsyncClient(verify=certificate.client()) as client:
            for address in (f"https://{API}/b", f"http://{API}/b", f"http://127.0.0.1:{port}/https/{API}/b"):
                assert "/b" == (await client.get(address, timeout=5)).json()["path"]
            headers = {"Authorization": f"Bearer {handle}"}
            await client.get(f"http://127.0.0.1:{port}/https/{OTHER}/c", headers=headers, timeout=5)
            assert f"Bearer {VALUE}" == world.server.requests[-1]["headers"]["authorization"]
            with pytest.raises(httpx2.ProxyError, match=r"403 evil.org:443 is not granted"):
                await client.get("https://evil.org/", timeout=5)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[str]:
    """A Unix socket whose other side repeats all, one thread for each connection; it says END at the end."""
    path = str(tmp_path / "echo.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(200)

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)
            connection.sendall(b"END")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def exchange(port: int, data: bytes) -> bytes:
    """Send all, end, and read all; both at once, for neither side keeps so much."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as guest:

        def send() -> None:
            guest.sendall(data)
            guest.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        found = bytearray()
        while piece := guest.recv(65536):
            found += piece
        sender.join()
        return bytes(found)


def test_bytes_and_ends_go_through_both_ways(echo: str) -> None:
    """Ten megabytes with back-pressure; what the far side says after the end still arrives."""
    port = start(echo, 0)
    data = os.urandom(10_000_000)
    assert data + b"END" == exchange(port, data)
    assert b"END" == exchange(port, b"")


def test_reader_who_waits_stops_nobody(echo: str) -> None:
    """One who sends and never reads holds up its own connection only, and little memory."""
    port = start(echo, 0)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as greedy:
        greedy.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                greedy.send(bytes(65536))
        assert b"helloEND" == exchange(port, b"hello")


def test_resets_and_floods_leave_it_working(echo: str) -> None:
    """More connections than it serves at once wait their turn; resets in every state end one connection only."""
    port = start(echo, 0)
    held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(MAX_CONNECTIONS + 20)]
    for number, guest in enumerate(held):
        if number % 2:
            guest.sendall(b"x" * 1000)
        guest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close resets
        guest.close()
    assert b"stillEND" == exchange(port, b"still")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        assert b"xEND" == exchange(port, b"x")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2
