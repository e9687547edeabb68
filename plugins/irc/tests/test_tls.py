"""TLS: with a real server, and with certificates of our own."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trio

from .bots import make_channel, running, say
from .daemon import Daemon, free_port, person, serving
from .ircv3 import Server

MAKE = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"


def certify(directory: Path, name: str) -> tuple[str, str]:
    """A certificate and its key, signed by itself, for loopback."""
    if shutil.which("openssl") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("openssl is not installed: apt-get install openssl")
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *MAKE.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    key.chmod(0o644)  # ngircd reads it as another user
    return str(cert), str(key)


async def test_bot_talks_over_tls_to_ngircd(tmp_path: Path) -> None:
    """Where the server's certificate is trusted; somebody without TLS reads it."""
    tmp_path.chmod(0o755)
    cert, key = certify(tmp_path, "server")
    port = free_port()
    section = f"[SSL]\nCertFile = {cert}\nKeyFile = {key}\nPorts = {port}"
    async with serving(ssl=section) as daemon, person(daemon, "ann", "#room") as ann:
        await answers(daemon, port)
        channel = make_channel(port, tls=True, ca_file=cert, channels=["#room"])
        async with running(channel):
            delivery = await say(channel, "#room", "over TLS")
            await ann.settle()
    assert ("sent", ["over TLS"]) == (delivery.status, ann.texts("#room"))


async def answers(daemon: Daemon, port: int) -> None:
    """The second port may be there a moment later than the first."""
    while True:
        try:
            await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        except OSError:
            assert daemon.process is not None
            assert daemon.process.poll() is None
            await trio.sleep(0.05)  # real time: another process starts
        else:
            return


async def test_certificate_that_nobody_vouches_for_is_not_taken(tmp_path: Path) -> None:
    """Nothing was said to such a server, and the finding says why."""
    cert, key = certify(tmp_path, "server")
    async with trio.open_nursery() as nursery:
        server, port = await serve(nursery, cert, key)
        (finding,) = await make_channel(port, tls=True).check()
        nursery.cancel_scope.cancel()
    assert not finding.ok
    assert "certificate" in finding.detail.lower()
    assert [] == server.lines


async def test_client_certificate_is_the_account(tmp_path: Path) -> None:
    """SASL EXTERNAL: the server sees the certificate in the handshake."""
    cert, key = certify(tmp_path, "server")
    own, own_key = certify(tmp_path, "robot")
    async with trio.open_nursery() as nursery:
        server, port = await serve(nursery, cert, key, trusted=own)
        channel = make_channel(port, tls=True, ca_file=cert, client_cert=own, client_key=own_key)
        async with running(channel):
            assert ["robot"] == [client.account for client in server.clients]
        nursery.cancel_scope.cancel()
    assert "AUTHENTICATE :EXTERNAL" in server.lines


async def serve(nursery: trio.Nursery, cert: str, key: str, trusted: str = "") -> tuple[Server, int]:
    """The server of the tests behind TLS; `trusted`: it asks for this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    if trusted:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(trusted)
    server = Server(external=True)
    server.reading.set()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, server.serve, [trio.SSLListener(listener, context)])
    port: int = listener.socket.getsockname()[1]
    return server, port
