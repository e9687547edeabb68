"""An engine that takes every question and answers none: nobody waits for it for long, or for ever."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from fairlead_sandbox.container import Pool, PoolExhausted, PoolKey, open_engine
from fairlead_sandbox.container._hijack import attach, watch_exit
from fairlead_sandbox.errors import EngineUnavailable

Ask = Callable[[str, str, str], Awaitable[object]]


@pytest.fixture
def silent() -> Iterator[Path]:
    """The kernel takes the connections, and nobody else does."""
    with tempfile.TemporaryDirectory(prefix="engine-") as directory, socket.socket(socket.AF_UNIX) as listener:
        path = Path(directory) / "d.sock"
        listener.bind(str(path))
        listener.listen(16)
        yield path


async def test_engine_that_hangs_is_unavailable_soon(silent: Path) -> None:
    """An answer may take long, a sign of life may not."""
    began = time.monotonic()
    with pytest.raises(EngineUnavailable, match=r"no Docker Engine answers at .*: timed out") as caught:
        async with open_engine(project="tests", roots=[], host=f"unix://{silent}"):
            raise AssertionError("it was opened")
    assert "docker" in caught.value.next_step
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("ask", [attach, watch_exit])
async def test_engine_that_hangs_later_is_unavailable_too(silent: Path, autojump_clock: MockClock, ask: Ask) -> None:
    """Its streams are asked for without the SDK, which has a limit of its own."""
    began = trio.current_time()
    with pytest.raises(EngineUnavailable, match=r"gives no answer to /v1.41/containers/abc/(attach|wait) in 20 s"):
        await ask(str(silent), "1.41", "abc")
    assert 20 == round(trio.current_time() - began)


async def test_sandbox_that_is_not_made_in_time_is_no_crowd(autojump_clock: MockClock) -> None:
    """The message must not send people to a limit that nobody has reached."""

    async def make(_plugins: str, _tenant: str | None) -> None:
        await trio.sleep_forever()

    async def end(_value: None) -> None:
        raise AssertionError("there was none")

    pool: Pool[None] = Pool(make, end)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with pytest.raises(PoolExhausted, match="was not made in time: the machine is busy, or the engine hangs"):
            async with pool.acquire(PoolKey("tools", "session"), seconds=3):
                raise AssertionError("there is none")
        nursery.cancel_scope.cancel()
    assert 0 == pool.figures().making
