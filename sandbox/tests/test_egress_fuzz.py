"""Requests that are almost right, a thousand of them: nothing breaks, nothing leaks, nothing else is reached."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from attrs import evolve

from .egress_hellos import real_hello
from .egress_world import API, LIMITS, OTHER, PUBLIC, VALUE, World, make_certificate, opened_world, secret

PIECES = [b"\r\n", b"\n", b"\0", b":", b" ", b"\t", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"]
PIECES += [b"Host: y\r\n", b"@", b"%", b"[::1]", b"/", b"\\", b"\xff", b"Connection: upgrade\r\n", b"127.0.0.1"]
PIECES += [b"HTTP/1.0", b"Upgrade: websocket\r\n", b"evil.org"]


def seeds(handle: str) -> list[bytes]:
    body = f'{{"a": "{handle}"}}'.encode()
    json = b"Host: x\r\nContent-Type: application/json\r\n"
    reverse = f"/https/{API}/x".encode()
    return [
        b"GET %s?y=%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % (reverse, *[handle.encode()] * 2),
        b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (reverse, json, len(body), body),
        b"POST %s HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
        % (reverse, json, len(body), body),
        f"GET http://{API}/ HTTP/1.1\r\nHost: {API}\r\nConnection: keep-alive\r\n\r\n".encode(),
        f"CONNECT {OTHER}:443 HTTP/1.1\r\nHost: {OTHER}:443\r\n\r\n".encode() + real_hello(OTHER),
        f"GET /https/{API}/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode()
        + b"\x81\x85abcd\1\2\3\4\5",
        f"HEAD /https/{OTHER}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n".encode() * 2,
    ]


def twisted(data: bytes, chance: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5))):
        at = chance.randrange(len(found) + 1)
        way = chance.choice("cut insert insert change end".split())  # noqa: SIM905  # shorter than a list of strings
        if way == "cut":
            del found[at : at + chance.randrange(1, 8)]
        elif way == "insert":
            found[at:at] = chance.choice(PIECES)
        elif way == "change":
            found[at : at + 1] = bytes([chance.randrange(256)])
        else:
            del found[at:]
    return bytes(found)


@pytest.mark.parametrize("seed", range(4))
async def test_any_bytes_are_answered_or_refused(tmp_path: Path, seed: int) -> None:
    """Every connection ends, the value of a secret comes back over none, and nothing but what is granted is dialed."""
    chance = random.Random(seed)  # noqa: S311  # a test that can be repeated
    handle, secrets = secret()
    good = seeds(handle)
    limits = evolve(LIMITS, head_seconds=0.2, idle_seconds=0.3, keepalive_seconds=0.2)
    async with opened_world(tmp_path, make_certificate(tmp_path), secrets=secrets, limits=limits) as world:

        async def one(world: World, data: bytes, eof: bool) -> None:  # noqa: FBT001  # a nursery passes no names
            assert VALUE.encode() not in await world.send(data, eof=eof), data

        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    data = twisted(chance.choice(good), chance)
                    nursery.start_soon(one, world, data, bool(len(data) % 2))
        assert [] == [decision.detail for decision in world.decisions if decision.reason == "internal"]
        assert set(world.dialed) <= {(PUBLIC, 443), (PUBLIC, 80)}
        assert not any(VALUE in repr(decision) for decision in world.decisions)
        assert 0 == world.egress.connections
