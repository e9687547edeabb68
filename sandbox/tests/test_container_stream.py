"""A container's streams, as the engine's attach sends them, over a real pair of sockets."""

from __future__ import annotations

import itertools

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_sandbox.container import AttachedStream
from fairlead_sandbox.container._hijack import LAST_WORDS_BYTES
from fairlead_sandbox.errors import BoundaryBroken

STDOUT, STDERR = 1, 2
frames = st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=200)), max_size=20)


def frame(kind: int, data: bytes) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


async def attached(begun: bytes = b"") -> tuple[AttachedStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    return AttachedStream(trio.SocketStream(ours), begun), trio.SocketStream(theirs)


async def receive_all(pieces: list[bytes], max_bytes: int) -> tuple[bytes, str]:
    stream, engine = await attached()

    async def play() -> None:
        async with engine:
            for piece in pieces:
                await engine.send_all(piece)

    received = b""
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(play)
        while piece := await stream.receive_some(max_bytes):
            assert len(piece) <= max_bytes
            received += piece
    return received, stream.last_words


@settings(max_examples=100, deadline=None)
@given(said=frames, cuts=st.lists(st.integers(1, 40), min_size=1, max_size=20), max_bytes=st.integers(1, 300))
def test_streams_are_told_apart_wherever_the_bytes_are_cut(
    said: list[tuple[int, bytes]], cuts: list[int], max_bytes: int
) -> None:
    """Standard output in order and whole; standard error as last words."""
    wire = b"".join(itertools.starmap(frame, said))
    pieces, place = [], 0
    for size in itertools.cycle(cuts):
        if place >= len(wire):
            break
        pieces.append(wire[place : place + size])
        place += size
    out, err = (b"".join(data for kind, data in said if kind == wanted) for wanted in (STDOUT, STDERR))
    received, words = trio.run(receive_all, pieces, max_bytes)
    assert out == received
    assert err.decode("utf-8", "replace") == words


async def test_what_came_with_the_head_is_not_lost() -> None:
    """The engine may send its answer and the first bytes in one piece."""
    stream, engine = await attached(frame(STDOUT, b"early"))
    async with stream, engine:
        assert b"early" == await stream.receive()


async def test_only_the_end_of_standard_error_is_kept() -> None:
    """A container that complains without end costs the host nothing."""
    line = b"x" * 1000
    stream, engine = await attached()

    async def complain() -> None:
        async with engine:
            for number in range(2000):
                await engine.send_all(frame(STDERR, line + str(number).encode()))

    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(complain)
        await stream.drain()
    assert stream.last_words.endswith("1999")
    assert LAST_WORDS_BYTES == len(stream.last_words)
    assert sum(map(len, stream._errors)) < 2 * LAST_WORDS_BYTES  # noqa: SLF001  # what is held is the point


@pytest.mark.parametrize("head", [b"\x03\0\0\0\0\0\0\1", b"\1\1\0\0\0\0\0\1", b"HTTP/1.1"])
async def test_what_is_no_frame_breaks_the_boundary(head: bytes) -> None:
    """Nothing is guessed."""
    stream, engine = await attached(head)
    async with stream, engine:
        with pytest.raises(BoundaryBroken, match="a frame's head is expected"):
            await stream.receive()


async def test_end_and_closing_have_their_own_errors() -> None:
    """`EndOfStream` where the container ended, `ClosedResourceError` where we closed, as anyio's streams say it."""
    stream, engine = await attached()
    await engine.aclose()
    with pytest.raises(anyio.EndOfStream):
        await stream.receive()
    with pytest.raises(anyio.BrokenResourceError):
        await stream.send(b"x" * 1_000_000)
    await stream.aclose()
    stream, engine = await attached()
    await stream.aclose()
    await engine.aclose()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.receive()
    with pytest.raises(anyio.ClosedResourceError):
        await stream.send(b"x")
