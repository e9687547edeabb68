"""A small internet on loopback for the tests of the way out: names, addresses, and a server that shows what it got."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h11
import trio
from attrs import define, field, frozen

from fairlead_sandbox.egress import Decision, Egress, EgressLimits, SecretGrant, new_handle
from fairlead_sandbox.egress._websocket import Frame, FrameReader

PUBLIC = "93.184.216.34"
API = "api.example.org"
OTHER = "other.example.org"
WILD = "one.wild.example.org"
VALUE = "s3cr3t/+value&with=odd:chars?"
GRANTS = (f"{API}:443", f"{API}:80", f"{OTHER}:443", "*.wild.example.org:443")
LIMITS = EgressLimits(
    head_seconds=2.0, connect_seconds=2.0, resolve_seconds=0.3, half_open_seconds=0.3, refusal_seconds=0.0
)


@frozen
class Certificate:
    """Of the only server, valid for all of its names; it is its own authority."""

    file: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.file))


def make_certificate(directory: Path) -> Certificate:
    names = ",".join([*(f"DNS:{name}" for name in (API, OTHER, WILD, "localhost")), "IP:127.0.0.1"])
    command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-subj", "/CN=test", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return Certificate(directory / "cert.pem", directory / "key.pem")


@define
class Server:
    """Answers each request with what it got, as JSON; some paths do more. Speaks TLS to those who begin with it."""

    context: ssl.SSLContext
    requests: list[dict[str, Any]] = field(factory=list)
    messages: list[bytes] = field(factory=list)
    """Of WebSockets."""
    connections: int = 0
    closed: int = 0
    asked: trio.Event = field(factory=trio.Event)
    """A request for /wait has come."""
    release: trio.Event = field(factory=trio.Event)
    """It is answered then."""

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(trio.BrokenResourceError, ssl.SSLError, h11.ProtocolError):
                await self._serve(stream)
        finally:
            self.closed += 1
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        first = await stream.socket.recv(1, socket.MSG_PEEK)
        if first == b"\x16":
            await self._http(trio.SSLStream(stream, self.context, server_side=True, https_compatible=True))
        elif first.isalpha():
            await self._http(stream)
        else:  # repeats, and says at the end that it has heard the end
            while data := await stream.receive_some():
                await stream.send_all(bytes(data))
            await stream.send_all(b"END")
            await stream.send_eof()

    async def _http(self, stream: trio.abc.Stream) -> None:
        while True:
            http = h11.Connection(h11.SERVER)
            request: h11.Request | None = None
            body = b""
            while not isinstance(event := http.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    http.receive_data(bytes(await stream.receive_some()))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    return
            assert request is not None
            headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
            told = {
                "method": request.method.decode(),
                "path": request.target.decode(),
                "headers": headers,
                "body": body.decode("latin-1"),
            }
            self.requests.append(told)
            if not await self._answer(stream, http, told):
                return

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection, told: dict[str, Any]) -> bool:
        way = told["path"].partition("?")[0]
        if way == "/ws":
            return await self._websocket(stream, http, told)
        if way == "/wait":
            self.asked.set()
            await self.release.wait()
        if way == "/broken":
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return False
        if way == "/garbage":
            await stream.send_all(b"\0\1\2 no HTTP\r\n\r\n")
            return False
        body = told["body"].encode("latin-1") if way in ("/repeat", "/drip") else json.dumps(told).encode()
        headers: list[tuple[Any, Any]] = [
            ("Content-Type", "application/json"),
            ("Fairlead-Egress", "forged"),
            ("Keep-Alive", "timeout=5"),
        ]
        headers += [("X-Echo", told["headers"].get("authorization", "").encode("latin-1"))]
        if way == "/gzip":
            body = gzip.compress(body)
            headers.append(("Content-Encoding", "gzip"))
        if way != "/drip":
            headers.append(("Content-Length", str(len(body))))
        pieces = [body[i : i + 1] for i in range(len(body))] if way == "/drip" else [body]
        pieces = [] if told["method"] == "HEAD" else pieces
        await stream.send_all(http.send(h11.Response(status_code=200, headers=headers, reason="OK")) or b"")
        for piece in pieces:
            await stream.send_all(http.send(h11.Data(data=piece)) or b"")
        await stream.send_all(http.send(h11.EndOfMessage()) or b"")
        return http.our_state is h11.DONE

    async def _websocket(self, stream: trio.abc.Stream, http: h11.Connection, told: dict[str, Any]) -> bool:
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "x")]
        await stream.send_all(http.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
        await stream.send_all(Frame(True, 1, b"hello from " + told["headers"]["host"].encode()).encode(masked=False))
        reader = FrameReader(1_000_000, masked=True)
        while data := await stream.receive_some():
            for frame in reader.feed(bytes(data)):
                self.messages.append(frame.data)
                echo = (
                    told["headers"].get("authorization", "").encode() if frame.data == b"authorization" else frame.data
                )
                await stream.send_all(Frame(True, frame.code, echo).encode(masked=False))
        return False


@define
class World:
    """A guest's proxy, and what is out there."""

    egress: Egress
    server: Server
    certificate: Certificate
    port: int
    """Of the server, on 127.0.0.1."""
    decisions: list[Decision]
    names: dict[str, Sequence[str]]
    """What the resolver answers; a name that is missing has no address."""
    asked: list[str]
    """What it was asked."""
    dialed: list[tuple[str, int]]
    """What was connected to."""
    dead: set[str]
    """Addresses where nobody answers."""

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(str(self.egress.socket_path))

    async def send(self, data: bytes, *, eof: bool = False) -> bytes:
        """Send bytes, and read until the proxy closes."""
        stream = await self.connect()
        async with stream:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(data)
                if eof:
                    await stream.send_eof()
            with trio.fail_after(10):
                return await read_all(stream)

    async def ask(
        self, target: str, *headers: str, method: str = "GET", body: bytes = b"", host: str = "127.0.0.1:3128"
    ) -> Answer:
        """One plain request on a connection of its own."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        lines += [f"Content-Length: {len(body)}"] if body else []
        answer = await self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return Answer.parse(answer)

    async def open_tunnel(self, authority: str) -> tuple[trio.SocketStream, bytes]:
        """A tunnel before its first byte, and the answer to CONNECT."""
        stream = await self.connect()
        await stream.send_all(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode("latin-1"))
        with trio.fail_after(10):
            return stream, await read_head(stream)

    async def tls(self, authority: str, server_name: str) -> trio.SSLStream[trio.SocketStream]:
        """TLS through a tunnel, after its handshake."""
        stream, head = await self.open_tunnel(authority)
        assert head.startswith(b"HTTP/1.1 200 "), head
        secure = trio.SSLStream(stream, self.certificate.client(), server_hostname=server_name, https_compatible=True)
        await secure.do_handshake()
        return secure

    @property
    def refused(self) -> list[str]:
        """The reasons of what was refused."""
        return [decision.reason for decision in self.decisions if not decision.allowed]


@frozen
class Answer:
    """Of the proxy or through it."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes

    @staticmethod
    def parse(data: bytes, method: str = "GET") -> Answer:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(data)
        client.receive_data(b"")
        answer = client.next_event()
        assert isinstance(answer, h11.Response), data
        body = b""
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        headers = {name.decode(): value.decode("latin-1") for name, value in answer.headers}
        return Answer(answer.status_code, bytes(answer.reason).decode(), headers, body)

    @property
    def told(self) -> Any:
        """What the server got."""
        return json.loads(self.body)

    @property
    def refused(self) -> str:
        """The word of the proxy's own answer; empty where it is not the proxy's."""
        return self.headers.get("fairlead-egress", "")


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    found = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(65536):
            found += data
    return found


async def read_head(stream: trio.abc.ReceiveStream) -> bytes:
    found = b""
    while not found.endswith(b"\r\n\r\n") and (data := await stream.receive_some(1)):
        found += data
    return found


@contextlib.asynccontextmanager
async def opened_world(
    directory: Path,
    certificate: Certificate,
    grants: Sequence[str] = GRANTS,
    secrets: Mapping[str, SecretGrant] | None = None,
    limits: EgressLimits = LIMITS,
) -> AsyncIterator[World]:
    """A proxy and a server that run. ``PORT`` in a grant stands for the server's own."""
    server = Server(certificate.server())
    names: dict[str, Sequence[str]] = {name: [PUBLIC] for name in (API, OTHER, WILD)}
    decisions: list[Decision] = []
    asked: list[str] = []
    dialed: list[tuple[str, int]] = []
    dead: set[str] = set()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, server.serve, listeners)
        port: int = listeners[0].socket.getsockname()[1]

        async def resolve(host: str, _port: int) -> Sequence[str]:
            asked.append(host)
            await trio.lowlevel.checkpoint()
            if host not in names:
                raise OSError("Name or service not known")
            return names[host]

        async def connect(address: str, to: int) -> trio.SocketStream:
            dialed.append((address, to))
            if address in dead:
                raise ConnectionRefusedError("Connection refused")
            return await trio.open_tcp_stream("127.0.0.1", port)

        egress = Egress(
            directory / "egress.sock",
            [grant.replace("PORT", str(port)) for grant in grants],
            secrets,
            decisions.append,
            resolver=resolve,
            connector=connect,
            tls=certificate.client(),
            limits=limits,
        )
        await nursery.start(egress.serve)
        yield World(egress, server, certificate, port, decisions, names, asked, dialed, dead)
        nursery.cancel_scope.cancel()


def secret(value: str = VALUE, *hosts: str) -> tuple[str, dict[str, SecretGrant]]:
    """A handle, and the mapping that a proxy takes."""
    handle = new_handle()
    return handle, {handle: SecretGrant(value, hosts or (f"{API}:443",))}
