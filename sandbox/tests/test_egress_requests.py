"""Plain requests: as a proxy gets them and in the reverse form; what has two meanings is refused."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
import trio
from attrs import evolve

from fairlead_sandbox.egress._websocket import Frame

from .egress_world import (
    API,
    LIMITS,
    OTHER,
    PUBLIC,
    Answer,
    Certificate,
    World,
    make_certificate,
    opened_world,
    read_all,
    read_head,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


async def test_reverse_form_is_asked_with_tls_of_the_host(certificate: Certificate, tmp_path: Path) -> None:
    """A library needs no more than the base of its addresses; the server sees its own name and nothing of the proxy."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await world.ask(f"/https/{API}/v1/things?q=1", "X-Own: yes", method="POST", body=b"hello")
        assert 200 == answer.status
        assert {
            "method": "POST",
            "path": "/v1/things?q=1",
            "headers": {"host": API, "x-own": "yes", "content-length": "5"},
            "body": "hello",
        } == answer.told
        assert [(PUBLIC, 443)] == world.dialed
        opened, closed = world.decisions
        assert ("request", False, True) == (opened.way, opened.closed, closed.closed)
        assert closed.bytes_up > 50
        assert closed.bytes_down > 100


async def test_absolute_form_is_asked_without_tls_at_port_80(certificate: Certificate, tmp_path: Path) -> None:
    """As clients with a proxy send it."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await world.ask(f"http://{API}/x?y", host=API)
        assert ("/x?y", {"host": API}) == (answer.told["path"], answer.told["headers"])
        assert [(PUBLIC, 80)] == world.dialed


async def test_absolute_form_with_https_is_asked_with_tls(certificate: Certificate, tmp_path: Path) -> None:
    """A few clients send it to a proxy in the clear; it goes on encrypted."""
    async with opened_world(tmp_path, certificate) as world:
        assert 200 == (await world.ask(f"https://{API}/", host=API)).status
        assert [(PUBLIC, 443)] == world.dialed


async def test_granted_address_is_asked_without_tls(certificate: Certificate, tmp_path: Path) -> None:
    """A model server of one's own, through the proxy of the environment and in the reverse form."""
    async with opened_world(tmp_path, certificate, grants=("127.0.0.1:PORT",)) as world:
        place = f"127.0.0.1:{world.port}"
        for target, host in ((f"http://{place}/api", place), (f"/http/{place}/api", "x")):
            answer = await world.ask(target, host=host)
            assert ("/api", place) == (answer.told["path"], answer.told["headers"]["host"])


async def test_forwarder_that_is_base_and_proxy_at_once_is_understood(certificate: Certificate, tmp_path: Path) -> None:
    """Some libraries send their requests to the base through the proxy."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await world.ask(f"http://127.0.0.1:3128/https/{API}/x")
        assert ("/x", API) == (answer.told["path"], answer.told["headers"]["host"])
        assert "malformed" == (await world.ask("http://127.0.0.1:3128/x")).refused


@pytest.mark.parametrize(
    ("target", "host", "reason"),
    [
        ("/https/evil.org/", "x", "not-granted"),
        ("/https/api.example.org:8443/", "x", "not-granted"),
        ("/https/127.0.0.1/", "x", "not-granted"),
        ("/http/169.254.169.254/latest/meta-data/", "x", "not-granted"),
        ("http://evil.org/", "evil.org", "not-granted"),
        ("http://api.example.org:443/", "api.example.org:443", "plain"),
        ("/http/api.example.org:443/", "x", "plain"),
        ("/http/other.example.org/", "x", "not-granted"),
        ("http://api.example.org/", "evil.org", "malformed"),
        ("http://api.example.org/", "api.example.org:8080", "malformed"),
        ("http://user@api.example.org/", "api.example.org", "malformed"),
        ("http://api.example.org@evil.org/", "api.example.org", "malformed"),
        ("http://evil.org#@api.example.org/", "api.example.org", "malformed"),
        ("http://evil.org\\@api.example.org/", "api.example.org", "malformed"),
        ("http://api.example.org/#x", "api.example.org", "malformed"),
        ("http://api.example.org./", "api.example.org.", "malformed"),
        ("http://api%2eexample.org/", "api.example.org", "malformed"),
        ("http:///api.example.org/", "api.example.org", "malformed"),
        ("http://2130706433/", "2130706433", "malformed"),
        ("http://[::ffff:7f00:1]/", "[::ffff:7f00:1]", "not-granted"),
        ("ftp://api.example.org/", "api.example.org", "malformed"),
        ("file:///etc/passwd", "x", "malformed"),
        ("/https//api.example.org/", "x", "malformed"),
        ("/HTTPS/api.example.org/", "x", "malformed"),
        ("/https/api.example.org@evil.org/", "x", "malformed"),
        ("/https/api.example.org%2f/", "x", "malformed"),
        ("/https/api.example.org\\x/", "x", "malformed"),
        ("/", "api.example.org", "malformed"),
        ("/v1", "api.example.org", "malformed"),
        ("*", "api.example.org", "malformed"),
        ("api.example.org:443", "api.example.org", "malformed"),
    ],
)
async def test_request_elsewhere_is_refused(
    certificate: Certificate, tmp_path: Path, target: str, host: str, reason: str
) -> None:
    """Nothing is resolved and nothing connected to; the answer is marked as the proxy's own."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await world.ask(target, host=host)
        assert reason == answer.refused
        assert answer.status in (400, 403)
        assert [reason] == world.refused
        assert ([], []) == (world.asked, world.dialed)


REVERSE = f"/https/{API}/"
SMUGGLED = [
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5 5\r\n",
    "Content-Length: \r\n",
    "Content-Length : 5\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: \x0bchunked\r\n",
    "Transfer-Encoding\r\n",
    "Host: evil.org\r\n",
    "X: a\nTransfer-Encoding: chunked\r\n",
    "X: a\rY: b\r\n",
    "X: a\0b\r\n",
    " X: folded\r\n",
    "X: a\r\n\tfolded: b\r\n",
    ": empty\r\n",
    "X Y: space\r\n",
    "X\xe9: latin\r\n",
    "Connection: host\r\n",
    "Connection: close, x-needed\r\n",
    "Connection: content-length\r\n",
    "".join(f"X{i}: y\r\n" for i in range(101)),
]


@pytest.mark.parametrize("lines", SMUGGLED, ids=lambda lines: ascii(lines[:30]))
async def test_head_of_two_meanings_is_refused(certificate: Certificate, tmp_path: Path, lines: str) -> None:
    """What another program could read in another way never goes on, also not cleaned up."""
    async with opened_world(tmp_path, certificate) as world:
        head = f"POST {REVERSE} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
        answer = Answer.parse(await world.send(head.encode("latin-1") + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"))
        assert "malformed" == answer.refused
        assert [] == world.dialed


@pytest.mark.parametrize(
    "head",
    [
        b"\r\nGET /https/api.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /https/api.example.org/ HTTP/1.1\nHost: x\n\n\r\n\r\n",
        b"GET /https/api.example.org/  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /https/api.example.org/ x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /https/api.example.org/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /https/api.example.org/ HTTP/1.1\r\n\r\n",
        b"GET /https/api.example.org/ HTTP/0.9\r\n\r\n",
        b"GET /https/api.example.org/\r\n\r\n",
        b"POST /https/api.example.org/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"TRACE /https/api.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET\t/https/api.example.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x05\x01\x00\r\n\r\n",
    ],
)
async def test_request_line_has_one_form(certificate: Certificate, tmp_path: Path, head: bytes) -> None:
    """METHOD, one space, target, one space, version."""
    async with opened_world(tmp_path, certificate) as world:
        assert b"HTTP/1.1 400 " == (await world.send(head))[:13]
        assert [] == world.dialed


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nhelloXX0\r\n\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel"])
async def test_malformed_body_is_never_finished(certificate: Certificate, tmp_path: Path, chunks: bytes) -> None:
    """The server does not take a part for the whole."""
    async with opened_world(tmp_path, certificate) as world:
        head = f"POST {REVERSE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        answer = Answer.parse(await world.send(head + chunks, eof=True))
        assert "malformed" == answer.refused
        assert [] == world.server.requests


async def test_second_request_in_a_body_stays_in_it(certificate: Certificate, tmp_path: Path) -> None:
    """The server's view of where a request ends is the proxy's."""
    async with opened_world(tmp_path, certificate) as world:
        inner = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await world.ask(REVERSE, "Content-Type: text/plain", method="POST", body=inner)
        assert inner.decode() == answer.told["body"]
        assert 1 == len(world.server.requests)


async def test_headers_of_one_connection_end_at_the_proxy(certificate: Certificate, tmp_path: Path) -> None:
    """In both directions; no server can pretend to be the proxy."""
    async with opened_world(tmp_path, certificate) as world:
        sent = ["Proxy-Authorization: Basic eA==", "Proxy-Connection: keep-alive", "TE: trailers", "Keep-Alive: 5"]
        answer = await world.ask(REVERSE, *sent, "Expect: 100-continue", "Accept: */*", "Upgrade: h2c")
        assert {"host": API, "accept": "*/*"} == answer.told["headers"]
        assert "" == answer.refused
        assert "keep-alive" not in answer.headers


async def test_requests_follow_each_other_on_one_connection(certificate: Certificate, tmp_path: Path) -> None:
    """Also when they are sent together; the host's own connection is used again for the same server only."""
    async with opened_world(tmp_path, certificate) as world:
        lines = [f"GET /https/{host}/{n} HTTP/1.1\r\nHost: x\r\n" for n, host in enumerate((API, API, OTHER))]
        found = await world.send(("\r\n".join(lines) + "Connection: close\r\n\r\n").encode())
        assert 3 == found.count(b"HTTP/1.1 200 OK")
        assert ["/0", "/1", "/2"] == [request["path"] for request in world.server.requests]
        assert 2 == len(world.dialed)


async def test_body_is_asked_for_by_the_proxy(certificate: Certificate, tmp_path: Path) -> None:
    """Expect: 100-continue."""
    async with opened_world(tmp_path, certificate) as world:
        stream = await world.connect()
        async with stream:
            lines = [f"PUT {REVERSE} HTTP/1.1", "Host: x", "Content-Length: 3", "Expect: 100-continue"]
            await stream.send_all("\r\n".join([*lines, "Connection: close", "", ""]).encode())
            with trio.fail_after(5):
                assert b"HTTP/1.1 100 " == (await read_head(stream))[:13]
                await stream.send_all(b"abc")
                assert "abc" == Answer.parse(await read_all(stream)).told["body"]


async def test_large_body_goes_through_both_ways(certificate: Certificate, tmp_path: Path) -> None:
    """Piece by piece, in chunks and with a length."""
    body = bytes(range(256)) * 8_000
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(body) // 4, body[i::4]) for i in range(4)) + b"0\r\n\r\n"
    async with opened_world(tmp_path, certificate) as world:
        assert body == (await world.ask(f"/https/{API}/repeat", method="POST", body=body)).body
        head = (
            f"POST /https/{API}/repeat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        assert sorted(body) == sorted(Answer.parse(await world.send(head.encode() + chunked)).body)


async def test_compressed_answer_goes_through_where_no_secret_is(certificate: Certificate, tmp_path: Path) -> None:
    """As it is."""
    async with opened_world(tmp_path, certificate) as world:
        answer = await world.ask(f"/https/{API}/gzip", "Accept-Encoding: gzip")
        assert ("gzip", b"\x1f\x8b") == (answer.headers["content-encoding"], answer.body[:2])


async def test_server_that_fails_is_told_from_the_proxy(certificate: Certificate, tmp_path: Path) -> None:
    """No HTTP, half an answer, nobody there."""
    async with opened_world(tmp_path, certificate) as world:
        assert (502, "broken") == status(await world.ask(f"/https/{API}/garbage"))
        found = await world.send(f"GET /https/{API}/broken HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert found.endswith(b"half")
        world.dead.add(PUBLIC)
        assert (502, "unreachable") == status(await world.ask(REVERSE))


def status(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.refused


async def test_certificate_for_another_name_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    """The host verifies: a name that the certificate does not have gets nothing."""
    async with opened_world(tmp_path, certificate, grants=("third.example.org:443",)) as world:
        world.names["third.example.org"] = [PUBLIC]
        answer = await world.ask("/https/third.example.org/")
        assert (502, "tls") == status(answer)
        assert b"certificate" in answer.body
        assert [] == world.server.requests


async def test_server_without_tls_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    """Nothing is sent in the clear where TLS was asked for."""
    async with opened_world(tmp_path, certificate) as world:
        world.server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate
        assert (502, "tls") == status(await world.ask(REVERSE))


async def test_guest_that_goes_away_frees_its_place(certificate: Certificate, tmp_path: Path) -> None:
    """Also while the server thinks; one that only closed its side still gets the answer."""
    async with opened_world(tmp_path, certificate) as world:
        request = f"GET /https/{API}/wait HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        stream = await world.connect()
        await stream.send_all(request)
        await world.server.asked.wait()
        await stream.aclose()
        with trio.fail_after(5):
            while world.egress.connections:
                await trio.testing.wait_all_tasks_blocked(0.01)
        world.server.release.set()
        assert 200 == Answer.parse(await world.send(request, eof=True)).status


async def test_slow_head_and_large_head_are_let_go(certificate: Certificate, tmp_path: Path) -> None:
    """By time, whatever trickles in, and by size."""
    async with opened_world(tmp_path, certificate, limits=evolve(LIMITS, head_seconds=0.3, head_bytes=4096)) as world:
        assert b"HTTP/1.1 408 " == (await world.send(b"GET /https"))[:13]
        assert b"HTTP/1.1 431 " == (await world.send(b"GET / HTTP/1.1\r\nX: " + b"y" * 5000))[:13]
        assert b"" == await world.send(b"")
        assert b"HTTP/1.1 400 " == (await world.send(b"GET /https", eof=True))[:13]
        assert await drips(world) < 200


async def drips(world: World) -> int:
    """How many bytes a guest can send one by one before the proxy has enough."""
    stream = await world.connect()
    async with stream:
        sent = 0
        with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(5):
            for sent in range(1000):  # noqa: B007  # it is returned
                await stream.send_all(b"G")
                with trio.move_on_after(0.01):
                    if await stream.receive_some():
                        break
        return sent


async def test_websocket_goes_through_the_reverse_form(certificate: Certificate, tmp_path: Path) -> None:
    """After 101 the bytes are the two sides' own."""
    async with opened_world(tmp_path, certificate) as world:
        stream = await world.connect()
        async with stream:
            upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
            frames = [Frame(True, 1, word).encode(masked=True) for word in (b"early", b"more")]
            await stream.send_all(f"GET /https/{API}/ws HTTP/1.1\r\nHost: x\r\n{upgrade}".encode() + frames[0])
            with trio.fail_after(5):
                head = (await read_head(stream)).lower()
                assert b"http/1.1 101 " == head[:13]
                assert b"sec-websocket-accept: x\r\n" in head
                found = b""
                while not found.endswith(b"early"):
                    found += await stream.receive_some()
                assert f"hello from {API}".encode() in found
                await stream.send_all(frames[1])
                assert b"\x81\x04more" == await stream.receive_some()
        assert "websocket" == world.decisions[0].way
        assert "websocket" == world.server.requests[0]["headers"]["upgrade"]
