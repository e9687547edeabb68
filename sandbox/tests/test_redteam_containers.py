"""Attacks on containers and on the way to them: they die when nobody looks, and calls are too large or too deep."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from fairlead.errors import ToolError
from fairlead_sandbox.container import ContainerSpec
from fairlead_sandbox.runner import Runner, Work

from .container_engine import IDLE, engine, has_image


@pytest.mark.docker
async def test_container_that_died_while_nobody_looked_has_ended(tmp_path: Path) -> None:
    """Killed from outside, or by an engine that restarted: it is not handed out for one more call."""
    async with engine(tmp_path.resolve()) as opened:
        image = await has_image(opened)
        container = await opened.start_container(ContainerSpec(image.id, IDLE))
        assert [False] == [container.ended]
        await opened.ask(lambda: opened.api.kill(container.id))
        with trio.fail_after(10):
            while not container.ended:  # noqa: ASYNC110  # nobody sets an event: that is the point
                await trio.sleep(0.01)  # real time: the kernel ends it
        await container.kill()


@pytest.mark.docker
async def test_container_whose_streams_have_ended_has_ended(tmp_path: Path) -> None:
    """Where the kernel lets nobody look at its process, the engine says it."""
    async with engine(tmp_path.resolve()) as opened:
        image = await has_image(opened)
        container = await opened.start_container(ContainerSpec(image.id, IDLE))
        assert [False] == [container.stream.at_end]
        await opened.ask(lambda: opened.api.kill(container.id))
        with trio.fail_after(10):
            while not container.stream.at_end:  # noqa: ASYNC110  # as above
                await trio.sleep(0.01)  # real time: the engine ends it
        await container.kill()


class Deaf:
    """A sandbox to which nothing may be sent."""

    async def send(self, item: bytes) -> None:
        raise AssertionError(f"{len(item)} bytes were sent")

    async def receive(self, max_bytes: int = 1) -> bytes:
        raise AssertionError(f"{max_bytes} bytes were wanted")


async def _kill() -> None:
    raise AssertionError("it was killed")


def _deep(levels: int) -> object:
    value: object = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "arguments",
    [
        {"v": _deep(100)},
        {"v": _deep(5000)},
        {"v": 10**500},
        {"v": "\ud800"},
        {"v": "x" * (65 << 20)},
        {"v": float("nan")},
    ],
    ids=["deep", "deeper", "long number", "lone surrogate", "large", "no number"],
)
async def test_call_that_cannot_be_sent_fails_and_harms_no_sandbox(arguments: object) -> None:
    """The model reads why; what it asks for next finds the sandbox as it was."""
    runner = Runner(Deaf(), _kill)
    runner.usable = True
    outcome = await runner.call(Work("c", "table", "tool", arguments))
    assert isinstance(outcome.error, ToolError)
    assert "was not made: its arguments cannot be sent" in outcome.error.problem
    assert runner.usable
