"""The published schema of the boundary and the code say the same."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import SchemaError, ToolError
from fairlead.wire import build_validator, check, load_schema
from fairlead_sandbox.boundary import Call
from fairlead_sandbox.boundary._shapes import check_shape
from fairlead_sandbox.guest import _operations
from fairlead_sandbox.inside._frames import FrameError

from .boundary_wires import peers

SCHEMA: dict[str, Any] = dict(load_schema("boundary"))
DEFINITIONS: dict[str, Any] = SCHEMA["$defs"]
KINDS = ["call", "stream", "item", "credit", "result", "error", "cancel"]
ONLY = ["allOf", "description", "properties", "required", "type"]
OPERATIONS = {
    rule["if"]["properties"]["op"]["const"]: rule["then"]["properties"]["args"]["$ref"].rpartition("/")[2]
    for rule in SCHEMA["allOf"]
    if "op" in rule["if"]["properties"]
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_every_part_of_the_schema_is_sound_and_described(name: str) -> None:
    """It refers to what there is, and each of its properties says what it means."""
    build_validator({"$ref": f"{SCHEMA['$id']}#/$defs/{name}"})
    part = DEFINITIONS[name]
    assert "$ref" in part or part["description"]
    missing = [key for key, value in part.get("properties", {}).items() if "description" not in value]
    assert [] == missing


def test_every_operation_of_a_guest_is_described() -> None:
    """And nothing is described that no guest does; the rest is what the host offers within a call."""
    served = {
        f"{noun}.{verb}"
        for noun, (_, cls) in _operations._SERVED.items()  # noqa: SLF001  # the table is what the schema describes
        for verb in vars(cls)
        if not verb.startswith("_")
    }
    common = {"hello", "ping", "describe", "open", "close", "check"}
    offered = {"inbox.accept", "inbox.ready", "inbox.cancel", "progress"}
    assert served | common | offered == set(OPERATIONS)


IDS = st.integers(-1, 3) | st.sampled_from([True, 1.5, "1", None, 2**53, 2**53 + 1])
FRAMES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([*KINDS, "x", 7]),
        "id": IDS,
        "op": st.sampled_from(["x", "", "x" * 64, "x" * 65, 5]),
        "args": st.sampled_from([{}, [], None]),
        "value": st.none(),
        "error": st.sampled_from([{"class": "X", "problem": ""}, [], None]),
        "credit": IDS,
        "window": IDS,
        "within": IDS,
        "more": st.none(),
    },
)


@settings(max_examples=600, deadline=None, suppress_health_check=(HealthCheck.too_slow,))
@given(frame=FRAMES)
def test_code_takes_a_frame_that_the_schema_takes(frame: dict[str, Any]) -> None:
    """The check by hand is no stricter; where it is weaker, a number 0 or 1.0, the frame is about no open call."""
    try:
        check("boundary", frame)
    except SchemaError:
        return
    assert frame["type"] == check_shape(frame)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_one_of_their_keys_are_refused_by_both(kind: str) -> None:
    """Code and schema."""
    whole = {
        "type": kind,
        "id": 1,
        "op": "x",
        "args": {},
        "value": 1,
        "error": {"class": "X", "problem": "no"},
        "credit": 1,
        "window": 1,
    }
    name = next(rule["then"]["$ref"].rpartition("/")[2] for rule in SCHEMA["allOf"] if _is_of(rule, kind))
    needed = DEFINITIONS[name]["required"]
    frame = {key: whole[key] for key in needed}
    check("boundary", frame)
    assert kind == check_shape(frame)
    for key in needed:
        less = {other: value for other, value in frame.items() if other != key}
        for refuse in (lambda value: check("boundary", value), check_shape):
            with pytest.raises((SchemaError, FrameError)):
                refuse(less)


def _is_of(rule: dict[str, Any], kind: str) -> bool:
    return bool(rule["if"]["properties"].get("type", {}).get("const") == kind)


async def test_every_frame_that_a_peer_sends_matches() -> None:
    """All kinds of them, in both directions."""

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        if op == "fail":
            raise ToolError("no", next_step="ask")
        if op == "wait":
            await anyio.sleep_forever()
        for number in range(20):
            await call.send(number)
        return await call.call("twice", {"n": 1})

    async def twice(op: str, args: dict[str, Any], call: Call) -> Any:
        return 2 * args["n"]

    async with peers(guest) as (host, _, (near, far)):
        async with host.stream("give", {}, credit=4, services=twice) as items:
            assert 20 == len([item async for item in items])
        with pytest.raises(ToolError):
            await host.call("fail")
        with anyio.move_on_after(0.01):
            await host.call("wait")
        frames = near.frames + far.frames
    for frame in frames:
        check("boundary", frame)
    assert set(KINDS) == {frame["type"] for frame in frames}


def test_limits_are_told_as_the_code_has_them() -> None:
    """Levels, digits, the length of an operation's name."""
    text = SCHEMA["description"]
    assert ["64", "400"] == re.findall(r"at most (\d+)", text)
    assert 64 == DEFINITIONS["Call"]["properties"]["op"]["maxLength"]
    assert ONLY == sorted(key for key in SCHEMA if key[0] != "$" and key != "title")
