"""Two peers: calls and streams in both directions, cancellation, errors, and the end. On trio and on asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from fairlead.errors import DuplicateKey, JournalUnavailable, RateLimited, SchemaError, ToolError, VersionConflict
from fairlead_sandbox.boundary import Call
from fairlead_sandbox.errors import BoundaryBroken, SandboxError, SandboxLost

from .boundary_wires import facing, peers, run_on


@pytest.fixture(params=["trio", "asyncio"])
def on(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    return lambda case: run_on(request.param, case)


On = Callable[[Callable[[], Awaitable[None]]], None]


async def echo(op: str, args: dict[str, Any], call: Call) -> Any:
    return [op, args]


def test_call_has_its_answer_in_both_directions(on: On) -> None:
    """Many at a time, and none gets the answer of another."""

    async def case() -> None:
        async with peers(echo, echo) as (host, guest, _):
            for side in (host, guest):
                found: dict[int, Any] = {}

                async def ask(number: int, side: Any = side, found: dict[int, Any] = found) -> None:
                    found[number] = await side.call("add", {"n": number})

                async with anyio.create_task_group() as tasks:
                    for number in range(50):
                        _ = tasks.start_soon(ask, number)
                assert {number: ["add", {"n": number}] for number in range(50)} == found

    on(case)


def test_errors_come_back_typed_with_their_fields(on: On) -> None:
    """Those of the tree, as they were raised."""
    raised = [
        VersionConflict("somebody was first", session="s", expected=3, found=4, next_step="read again"),
        DuplicateKey("known", key="k"),
        RateLimited("too many", provider="p", status=429, reset_after=1.5),
        ToolError("say please"),
    ]

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        raise raised[args["n"]]

    async def case() -> None:
        async with peers(serve) as (host, _, _):
            for number, error in enumerate(raised):
                with pytest.raises(type(error)) as caught:
                    await host.call("fail", {"n": number})
                assert vars(error) == vars(caught.value)

    on(case)


def test_other_errors_of_a_guest_are_told_in_words(on: On) -> None:
    """Also those that would end a process, and those that only the host could know."""
    raised: list[BaseException] = [
        ValueError("bad luck"),
        SystemExit(3),
        SandboxLost("I go"),
        BoundaryBroken("no"),
    ]

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        raise raised[args["n"]]

    async def case() -> None:
        async with peers(serve) as (host, _, _):
            told = []
            for number in range(len(raised)):
                with pytest.raises(SandboxError) as caught:
                    await host.call("fail", {"n": number})
                assert SandboxError is type(caught.value)
                told.append(caught.value.problem)
            assert [
                "it raised ValueError: bad luck",
                "it raised SystemExit: 3",
                "it raised SandboxLost: I go",
                "it raised BoundaryBroken: no",
            ] == told

    on(case)


def test_host_does_not_tell_its_inner_errors(on: On) -> None:
    """A path or a password may stand in them; errors of the tree are told."""

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        raise JournalUnavailable("the disk is full", session="s") if op == "known" else OSError("/etc/secret: no")

    async def case() -> None:
        async with peers(host=serve) as (_, guest, _):
            with pytest.raises(JournalUnavailable, match="the disk is full"):
                await guest.call("known")
            with pytest.raises(SandboxError) as caught:
                await guest.call("unknown")
            assert "secret" not in str(caught.value)

    on(case)


def test_stream_gives_its_items_and_its_result(on: On) -> None:
    """In order, then the result; an error comes behind the items that were before it."""

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        for number in range(args["n"]):
            await call.send(number)
        if op == "break":
            raise ToolError("enough")
        return "end"

    async def case() -> None:
        async with peers(serve) as (host, _, _):
            async with host.stream("count", {"n": 100}, credit=3) as items:
                assert list(range(100)) == [item async for item in items]
                assert "end" == items.result
            async with host.stream("break", {"n": 5}) as items:
                assert list(range(5)) == [await anext(items) for _ in range(5)]
                with pytest.raises(ToolError, match="enough"):
                    await anext(items)

    on(case)


def test_sender_waits_for_a_slow_reader(on: On) -> None:
    """Never more than the credit is on its way; large items count by their bytes."""
    sent = 0

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        nonlocal sent
        for _ in range(args["n"]):
            await call.send("x" * args["size"])
            sent += 1

    async def case() -> None:
        nonlocal sent
        async with peers(serve) as (host, _, _):
            for size, most in ((1, 4), (600_000, 2)):
                sent = 0
                async with host.stream("give", {"n": 20, "size": size}, credit=4) as items:
                    for read in range(1, 21):
                        await anyio.wait_all_tasks_blocked()
                        assert sent <= read - 1 + most
                        await anext(items)

    on(case)


def test_call_within_a_call_uses_what_was_offered_with_it(on: On) -> None:
    """And nothing else: neither without the call, nor when it offered nothing, nor when it is over."""
    calls: list[Call] = []

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        calls.append(call)
        return await call.call("twice", {"n": 21})

    async def twice(op: str, args: dict[str, Any], call: Call) -> Any:
        return [op, 2 * args["n"]]

    async def case() -> None:
        async with peers(guest, echo) as (host, far, _):
            assert ["twice", 42] == await host.call("work", services=twice)
            with pytest.raises(SandboxError, match="nothing is offered"):
                await host.call("work")
            with pytest.raises(SandboxError, match="is over"):
                await far.call("twice", {"n": 1}, within=calls[0].id)
            assert ["twice", {"n": 1}] == await far.call("twice", {"n": 1})

    on(case)


def test_cancelling_one_side_cancels_the_other(on: On) -> None:
    """And what was asked within the call, on both sides; whoever cancelled goes on when all of it has ended."""
    log: list[str] = []

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        try:
            await call.call("ask")
        finally:
            log.append("guest ended")

    async def service(op: str, args: dict[str, Any], call: Call) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("service ended")

    async def case() -> None:
        async with peers(guest) as (host, _, _):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    _ = tasks.start_soon(lambda: host.call("work", services=service))
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            assert ["guest ended", "service ended"] == sorted(log)
            assert host.ended is None

    on(case)


def test_left_stream_is_cancelled(on: On) -> None:
    """A reader that has seen enough ends the sender."""
    ended = anyio.Event()

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        try:
            while True:
                await call.send("more")
        finally:
            ended.set()

    async def case() -> None:
        async with peers(guest) as (host, _, _):
            async with host.stream("work") as items:
                await anext(items)
            assert ended.is_set()

    on(case)


def test_one_that_ignores_cancellation_is_given_up(on: On) -> None:
    """After 2 s: the owner is told to kill it, and every open call ends."""
    told: list[str] = []

    async def kill() -> None:
        told.append("killed")

    async def case() -> None:
        async with facing(on_stuck=kill) as (peer, far, ended):
            began = anyio.current_time()
            other: list[SandboxError] = []

            async def ask() -> None:
                try:
                    await peer.call("patient")
                except SandboxError as error:
                    other.append(error)

            async with anyio.create_task_group() as tasks:
                _ = tasks.start_soon(ask)
                with anyio.move_on_after(0.01):
                    await peer.call("stubborn")
            took = anyio.current_time() - began
            assert ["killed"] == told
            assert 2.0 <= took < 3.0  # real time: it is the promise
            assert ["stubborn did not end within 2 s of its cancellation"] == [error.problem for error in other]
            frames = [await far.hear() for _ in range(3)]
            stubborn = next(frame["id"] for frame in frames if frame.get("op") == "stubborn")
            assert {"type": "cancel", "id": stubborn} == frames[2]
            assert BoundaryBroken is type(await ended.why())

    on(case)


def test_end_of_file_ends_every_open_call(on: On) -> None:
    """With the last words of the other side, where somebody knows them."""

    async def last_words() -> str:
        return "exit status 3"

    async def case() -> None:
        async with facing(last_words=last_words) as (peer, far, ended):
            errors: list[SandboxLost] = []

            async def ask() -> None:
                with pytest.raises(SandboxLost) as caught:
                    await peer.call("work")
                errors.append(caught.value)

            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    handle = tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                assert handle is not None
                await far.wire.aclose()
            assert ["exit status 3"] * 3 == [error.last_words for error in errors]
            assert len({id(error) for error in errors}) == 3
            assert SandboxLost is type(await ended.why())
            with pytest.raises(SandboxLost):
                await peer.call("more")

    on(case)


def test_cancelled_before_it_was_sent_asks_nothing(on: On) -> None:
    """The other side never hears of it."""

    async def case() -> None:
        async with peers(echo) as (host, _, (near, _)):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.lowlevel.checkpoint()
                await host.call("never")
            await host.call("then")
            assert ["then"] == [frame["op"] for frame in near.frames]

    on(case)


def test_what_is_no_json_is_refused_before_it_is_sent(on: On) -> None:
    """The call fails, the boundary stays whole; an answer that is no JSON is an error of the call."""

    async def serve(op: str, args: dict[str, Any], call: Call) -> Any:
        return float("nan") if op == "nan" else "x" * 17_000_000 if op == "large" else "fine"

    async def case() -> None:
        async with peers(serve) as (host, _, _):
            for value in (float("inf"), {1}, "\ud800", object()):
                with pytest.raises(SchemaError, match="cannot pass the boundary"):
                    await host.call("x", {"value": value})
            for op in ("nan", "large"):
                with pytest.raises(SchemaError, match="boundary"):
                    await host.call(op)
            assert "fine" == await host.call("x")

    on(case)


def test_callers_wait_while_the_other_side_does_not_read(on: On) -> None:
    """What is queued is bounded; a caller that waits for room can be cancelled, and nothing of it was sent."""
    size = 1_000_000

    async def case() -> None:
        async with facing() as (peer, far, _):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    _ = tasks.start_soon(peer.call, "big", {"n": number, "x": "x" * size})
                await anyio.wait_all_tasks_blocked()
                waiting = peer._outbox._bytes  # noqa: SLF001  # the bound that the test is about
                assert waiting <= 6 * size
                tasks.cancel_scope.cancel()
            assert far.wire is not None

    # Only the cancellation of those that were sent is waited for, and given up: nobody answers here.
    on(case)


def test_guest_that_cancels_its_question_cancels_the_service(on: On) -> None:
    """Within a call, which goes on; both directions are the same."""
    log: list[str] = []

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        with anyio.move_on_after(0.02):
            await call.call("ask")
        log.append("guest goes on")
        return "done"

    async def service(op: str, args: dict[str, Any], call: Call) -> Any:
        try:
            await anyio.sleep_forever()
        finally:
            log.append("service ended")

    async def case() -> None:
        async with peers(guest) as (host, _, _):
            assert "done" == await host.call("work", services=service)
            assert ["service ended", "guest goes on"] == log

    on(case)


TRACE: ContextVar[str] = ContextVar("trace", default="none")


def test_service_runs_in_the_context_of_whoever_called(on: On) -> None:
    """So that traces go through the plugin and back."""
    seen: list[str] = []

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        await call.call("ask")

    async def service(op: str, args: dict[str, Any], call: Call) -> Any:
        seen.append(TRACE.get())

    async def case() -> None:
        async with peers(guest) as (host, _, _):

            async def ask(trace: str) -> None:
                TRACE.set(trace)
                await host.call("work", services=service)

            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    _ = tasks.start_soon(ask, f"trace {number}")
        assert ["trace 0", "trace 1", "trace 2"] == sorted(seen)

    on(case)


@pytest.mark.parametrize("kind", ["call", "stream"])
def test_cancelled_at_any_step_nothing_is_left(on: On, kind: str) -> None:
    """Neither an open call on one of the sides, nor a service; and the next call works."""
    running = 0

    async def guest(op: str, args: dict[str, Any], call: Call) -> Any:
        nonlocal running
        running += 1
        try:
            await call.call("ask")
            for number in range(3 if call.streams else 0):
                await call.send(number)
            return await call.call("ask")
        finally:
            running -= 1

    async def service(op: str, args: dict[str, Any], call: Call) -> Any:
        nonlocal running
        running += 1
        try:
            await anyio.lowlevel.checkpoint()
            return op
        finally:
            running -= 1

    async def case() -> None:
        async with peers(guest) as (host, far, _):

            async def work() -> Any:
                if kind == "call":
                    return await host.call("work", services=service)
                async with host.stream("work", services=service, credit=2) as items:
                    assert [0, 1, 2] == [item async for item in items]
                    return items.result

            for steps in range(60):
                async with anyio.create_task_group() as tasks:
                    _ = tasks.start_soon(work)
                    for _ in range(steps):
                        await anyio.lowlevel.checkpoint()
                    tasks.cancel_scope.cancel()
                open_calls = (host._requests, far._calls, far._requests, host._calls)  # noqa: SLF001  # what must be empty
                assert ({}, {}, {}, {}) == open_calls
                assert 0 == running
            assert "ask" == await work()

    on(case)
