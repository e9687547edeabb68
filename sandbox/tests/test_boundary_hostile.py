"""A hostile other side: it can end the boundary, and nothing else. It cannot make the host raise, grow or serve."""

from __future__ import annotations

import json
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead_sandbox.boundary import HOST, Call, Limits
from fairlead_sandbox.boundary._reader import Reader
from fairlead_sandbox.errors import BoundaryBroken, SandboxError, SandboxLost
from fairlead_sandbox.inside._frames import FrameError, encode

from .boundary_wires import facing, run_on

quick = settings(max_examples=60, deadline=None, suppress_health_check=(HealthCheck.too_slow,))

CALL: dict[str, Any] = {"type": "call", "id": 1, "op": "x", "args": {}}

VIOLATIONS: dict[str, list[dict[str, Any]]] = {
    "no type": [{"id": 1}],
    "unknown type": [{"type": "shout", "id": 1}],
    "a type that is no text": [{"type": ["call"], "id": 1}],
    "no id": [{"type": "cancel"}],
    "an id that is no number": [{"type": "cancel", "id": "1"}],
    "a true id": [{"type": "cancel", "id": True}],
    "a negative id": [{"type": "cancel", "id": -1}],
    "a huge id": [{"type": "cancel", "id": 10**300}],
    "another key": [{**CALL, "eval": "1"}],
    "no arguments": [{"type": "call", "id": 1, "op": "x"}],
    "arguments that are no object": [{**CALL, "args": [1]}],
    "a long operation": [{**CALL, "op": "x" * 65}],
    "a stream without credit": [{**CALL, "type": "stream"}],
    "one id twice": [{**CALL, "op": "wait"}, {**CALL, "op": "wait"}],
    "a result of nothing": [{"type": "result", "id": 7, "value": 1}],
    "an item of nothing": [{"type": "item", "id": 7, "value": 1}],
    "an error of nothing": [{"type": "error", "id": 7, "error": {}}],
    "an error that is text": [{"type": "error", "id": 7, "error": "no"}],
    "too many calls": [{**CALL, "op": "wait", "id": number} for number in range(1, 1026)],
    "a flood of strays": [{"type": "cancel", "id": 5}] * 1001,
}


async def waiting(op: str, args: dict[str, Any], call: Call) -> Any:
    if op == "wait":
        await anyio.sleep_forever()
    return "served"


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
@pytest.mark.parametrize("name", VIOLATIONS)
def test_violation_breaks_the_boundary(name: str, backend: str) -> None:
    """Whoever waits is told that it broke; what was being served is cancelled."""

    async def case() -> None:
        async with facing(waiting) as (peer, far, ended):
            await far.wire.send(b"".join(map(encode, VIOLATIONS[name])))
            assert BoundaryBroken is type(await ended.why())
            with pytest.raises(BoundaryBroken):
                await peer.call("more")

    run_on(backend, case)


def test_items_beyond_the_credit_break_the_boundary() -> None:
    """By number and by bytes."""

    async def flood(count: int, size: int) -> Any:
        async with facing() as (peer, far, ended):
            async with peer.stream("give", credit=4) as items:
                asked = await far.hear()
                for _ in range(count):
                    await far.say({"type": "item", "id": asked["id"], "value": "x" * size})
                why = await ended.why()
                for _ in range(min(count - 1, 4)):
                    await anext(items)
                with pytest.raises(BoundaryBroken):
                    await anext(items)
            return why

    async def case() -> None:
        assert "nobody has asked for" in (await flood(5, 1)).problem
        assert "nobody has asked for" in (await flood(3, 600_000)).problem

    run_on("trio", case)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x02[]",
        b"GET / HTTP/1.1\r\n\r\n",
        b'\x00\x00\x00\x1c{"type":"cancel","id":NaN   }',
        b'\x00\x00\x00\x1f{"type":"cancel","id":1,"id":2}    ',
        b"\x00\x00\x00\x02\xc3\x28",
        b"\x00\x01\x86\xa0" + b"[" * 100_000,
    ],
)
def test_bytes_that_are_no_frame_break_the_boundary(data: bytes) -> None:
    """Lengths, encodings and JSON that no strict reader takes."""

    async def case() -> None:
        async with facing() as (_, far, ended):
            await far.wire.send(data)
            assert BoundaryBroken is type(await ended.why())

    run_on("trio", case)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
IDS = st.integers(-1, 6) | JSON
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from(["call", "stream", "item", "credit", "result", "error", "cancel", "x"]), "id": IDS},
    optional={
        "op": st.sampled_from(["wait", "serve", ""]) | JSON,
        "args": st.just({}) | JSON,
        "value": JSON,
        "error": st.just({"class": "VersionConflict", "problem": "no", "fields": {"expected": "x"}}) | JSON,
        "credit": st.integers(0, 5) | JSON,
        "window": st.integers(0, 5) | JSON,
        "within": st.integers(0, 6) | JSON,
    },
)


@quick
@given(frames=st.lists(FRAMES, max_size=12), rest=st.binary(max_size=40), calls=st.integers(0, 4))
def test_random_frames_end_nothing_but_the_boundary(frames: list[dict[str, Any]], rest: bytes, calls: int) -> None:
    """Open calls have an outcome: a value of JSON, or an error of ours."""
    outcomes: list[Any] = []

    async def case() -> None:
        async with facing(waiting) as (peer, far, ended), anyio.create_task_group() as tasks:

            async def ask() -> None:
                try:
                    outcomes.append(await peer.call("ask", services=waiting))
                except Exception as error:  # noqa: BLE001  # which one it is, is what the test looks at
                    outcomes.append(error)

            for _ in range(calls):
                __ = tasks.start_soon(ask)
            await far.wire.send(b"".join(map(encode, frames)) + rest)
            await anyio.wait_all_tasks_blocked()
            await far.wire.aclose()
            assert isinstance(await ended.why(), SandboxError)

    run_on("trio", case)
    assert calls == len(outcomes)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            assert type(outcome).__module__ in ("fairlead.errors", "fairlead_sandbox.errors")
            json.dumps(str(outcome)).encode()


@quick
@given(data=st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_refused_however_it_is_cut(data: list[bytes]) -> None:
    """A reader gives frames or says what is wrong; never anything else."""
    reader = Reader(HOST.takes)
    try:
        for piece in data:
            for frame, size in reader.feed(piece):
                assert isinstance(frame, dict)
                assert 0 < size <= len(b"".join(data))
    except FrameError as error:
        assert error.problem  # noqa: PT017  # either way is right


@quick
@given(frames=st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=5), cut=st.integers(1, 50))
def test_frames_are_read_however_they_are_cut(frames: list[dict[str, Any]], cut: int) -> None:
    """Byte by byte or all at once."""
    data = b"".join(map(encode, frames))
    reader = Reader(HOST.takes)
    pieces = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert frames == [frame for piece in pieces for frame, _ in reader.feed(piece)]
    assert reader.empty


def test_length_is_refused_before_the_frame_is_there() -> None:
    """Nothing is kept of what would be too long."""
    reader = Reader(HOST.takes)
    with pytest.raises(FrameError, match="at most"):
        list(reader.feed((HOST.takes.frame_bytes + 1).to_bytes(4, "big")))


@pytest.mark.parametrize(
    "body",
    [
        b'{"x":[' + b"[]," * 3_000_000 + b"[]]}",
        b'{"x":[' + b"{}," * 3_000_000 + b"{}]}",
        b'{"x":[' + b"1.5," * 3_000_000 + b"1]}",
        b'{"x":"' + b'\\"' * 4_000_000,
        b'{"x":"' + b"\\" * 8_000_000,
        b'"' * 8_000_000,
        b'{"x":"' + b"a," * 4_000_000 + b'","y":[' + b"1," * 300_000 + b"1]}",
    ],
    ids=["lists", "objects", "numbers", "quotes", "backslashes", "empty texts", "behind a text"],
)
def test_values_of_a_frame_are_bounded_before_they_are_made(body: bytes) -> None:
    """Little JSON can be much memory: it is counted first, in linear time."""
    reader = Reader(HOST.takes)
    data = len(body).to_bytes(4, "big") + body
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(FrameError):
        list(reader.feed(data))
    took, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * len(body) + 5_000_000
    assert took < 5  # real time: quadratic work would take minutes


def test_long_texts_are_no_values() -> None:
    """A text full of commas and brackets passes, as large as a frame may be."""
    body = json.dumps({"x": "[{," * 4_000_000}).encode()
    reader = Reader(HOST.takes)
    ((frame, size),) = reader.feed(len(body).to_bytes(4, "big") + body)
    assert (12_000_000, len(body)) == (len(frame["x"]), size)


def test_bytes_of_open_calls_are_bounded() -> None:
    """A guest that asks and asks, and reads no answer, fills nothing."""
    takes = Limits(frame_bytes=1000, values=100, calls=100, held_bytes=3000, queued_bytes=1000)
    side = HOST.__class__(takes, takes, HOST.believes, candid=False)

    async def case() -> None:
        async with facing(waiting, side=side) as (_, far, ended):
            for number in range(1, 6):
                await far.say({**CALL, "op": "wait", "id": number, "args": {"x": "x" * 800}})
            assert "3000 bytes" in (await ended.why()).problem

    run_on("trio", case)


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_guest_that_reads_no_answers_is_served_no_more(backend: str) -> None:
    """What it does not read is bounded; beyond that the boundary breaks."""
    served = 0

    async def big(op: str, args: dict[str, Any], call: Call) -> Any:
        nonlocal served
        served += 1
        return "x" * 20_000

    takes = Limits(frame_bytes=1000, values=100, calls=1024, held_bytes=1_000_000, queued_bytes=100_000)
    side = HOST.__class__(takes, evolve(takes, frame_bytes=30_000), HOST.believes, candid=False)

    async def case() -> None:
        async with facing(big, side=side) as (_, far, ended):
            with suppress(anyio.BrokenResourceError):
                for number in range(1, 1025):
                    await far.say({**CALL, "id": number})
            assert "does not read" in (await ended.why()).problem

    run_on(backend, case)
    assert served < 300  # the wire of this test takes a hundred of them


def test_peer_that_is_closed_is_lost_for_whoever_asks() -> None:
    """Also from this side."""

    async def case() -> None:
        async with facing() as (peer, _, ended):
            await peer.aclose()
            with pytest.raises(SandboxLost):
                await peer.call("x")
            assert SandboxLost is type(await ended.why())

    run_on("trio", case)
