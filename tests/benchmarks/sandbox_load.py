"""Many callers at the same time, on a few containers: ours through a pool, and `docker exec`. For `sandbox.py`."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio
from attrs import field, frozen
from sandbox_table import Row, milliseconds, quantile
from sandbox_world import Sandboxed, World

from fairlead_sandbox.container import Pool, PoolKey, PoolLimits
from fairlead_sandbox.environments import Environment

CALLERS = 32
CONTAINERS = 4
GOAL = 20.0
One = Callable[[], Awaitable[object]]


@frozen
class Load:
    """What came of some slices of time."""

    rates: list[float] = field(factory=list)
    """Calls in a second, of each slice."""
    waits: list[float] = field(factory=list)
    """Seconds of each call, from the wish to the answer."""

    async def slice(self, one: One, seconds: float) -> None:
        """All callers at once, each with one call after the other."""
        until = trio.current_time() + seconds
        done: list[float] = []

        async def caller() -> None:
            while trio.current_time() < until:
                began = time.perf_counter()
                await one()
                done.append(time.perf_counter() - began)

        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(caller)
        self.rates.append(len(done) / (time.perf_counter() - began))
        self.waits.extend(done)

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@contextlib.asynccontextmanager
async def pooled(world: World, environment: Environment) -> AsyncIterator[tuple[Pool[Sandboxed], list[str]]]:
    """A pool that has all its containers, and their names."""
    names: list[str] = []

    async def make(_kind: str, _tenant: str | None) -> Sandboxed:
        made = await world.make(environment)
        names.append(made.container.id)
        return made

    async def end(sandbox: Sandboxed) -> None:
        await sandbox.container.aclose()

    pool = Pool(make, end, limits=PoolLimits(maximum=CONTAINERS, max_calls=1_000_000))
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(CONTAINERS):
                await stack.enter_async_context(pool.acquire(PoolKey("t")))
        yield pool, names
        nursery.cancel_scope.cancel()


async def load_rows(
    world: World, environment: Environment, slices: int, seconds: float, rates: dict[str, float]
) -> Sequence[Row]:
    """Ours and `docker exec` by turns, on the same containers. Our calls in a second go to `rates` under ``ours``."""
    ours, theirs = Load(), Load()
    async with pooled(world, environment) as (pool, names):
        turn = 0

        async def call() -> None:
            async with pool.acquire(PoolKey("t"), seconds=60.0) as lease:
                _, outcome = await lease.value.call("nothing")
                assert outcome.error is None, outcome

        async def execute() -> None:
            nonlocal turn
            turn += 1
            await world.execute(names[turn % len(names)])

        for _ in range(slices):
            await ours.slice(call, seconds)
            await theirs.slice(execute, seconds)
    rates["ours"] = ours.rate
    return _rows(ours, theirs)


def _rows(ours: Load, theirs: Load) -> Sequence[Row]:
    ratio = ours.rate / theirs.rate
    waits = f"p50 {milliseconds(quantile(ours.waits, 0.5))}"
    return [
        Row(
            f"calls of {CALLERS} callers on {CONTAINERS} containers",
            f"{ours.rate:.0f}/s",
            f"{ratio:.1f} x docker exec",
            f">= {GOAL:g} x",
            ratio >= GOAL,
        ),
        Row("  from the wish to the answer, p99", milliseconds(quantile(ours.waits, 0.99)), waits),
        Row("docker exec on the same", f"{theirs.rate:.1f}/s"),
    ]
