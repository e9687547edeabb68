"""Members are handed out in order, to one tenant each, and none is lost; on a virtual clock."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, evolve, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_sandbox.container import Pool, PoolExhausted, PoolFigures, PoolKey, PoolLimits

A, B, PURE = PoolKey("files", "ann"), PoolKey("files", "bob"), PoolKey("files")


@define(eq=False)
class Box:
    """A member: what stands for a container."""

    number: int
    plugins: str
    owners: set[str] = field(factory=set)
    users: int = 0
    alive: bool = True
    healthy: bool = True


@define
class Factory:
    """Makes boxes that take time, and fails when it is told to."""

    making: float = 1.0
    ending: float = 0.5
    faults: list[bool] = field(factory=list)
    boxes: list[Box] = field(factory=list)
    half_made: int = 0

    async def make(self, plugins: str, tenant: str | None) -> Box:
        self.half_made += 1
        try:
            await trio.sleep(self.making)
            if self.faults and self.faults.pop():
                raise OSError("the engine is busy")
            self.boxes.append(Box(len(self.boxes), plugins))
            return self.boxes[-1]
        finally:
            self.half_made -= 1

    async def end(self, box: Box) -> None:
        await trio.sleep(self.ending)
        box.alive = False

    async def usable(self, box: Box) -> bool:
        await trio.lowlevel.checkpoint()
        return box.healthy

    @property
    def living(self) -> int:
        return self.half_made + sum(box.alive for box in self.boxes)


@contextlib.asynccontextmanager
async def running(factory: Factory, limits: PoolLimits | None = None) -> AsyncIterator[Pool[Box]]:
    async with trio.open_nursery() as nursery:
        pool = Pool(factory.make, factory.end, usable=factory.usable, limits=limits)
        await nursery.start(pool.run)
        yield pool
        nursery.cancel_scope.cancel()


async def use(pool: Pool[Box], key: PoolKey, holds: float = 1.0, **options: Any) -> int:
    async with pool.acquire(key, **options) as lease:
        await trio.sleep(holds)
        return lease.value.number


async def test_member_is_used_again_by_its_tenant_only(autojump_clock: trio.testing.MockClock) -> None:
    """The second call of a session gets what the first had; another session gets another."""
    async with running(Factory()) as pool:
        assert [0, 0, 1, 0] == [await use(pool, key) for key in (A, A, B, A)]


async def test_pure_tools_share(autojump_clock: trio.testing.MockClock) -> None:
    """Without a tenant everybody gets the same member, but never what a tenant had."""
    async with running(Factory()) as pool:
        assert [0, 1, 1] == [await use(pool, key) for key in (A, PURE, PURE)]


async def test_warm_member_is_handed_out_at_once_and_replaced(autojump_clock: trio.testing.MockClock) -> None:
    """It is made before anybody asks; whoever takes it keeps it, and another is made."""
    async with running(Factory()) as pool:
        pool.keep_warm("files", 1)
        await trio.sleep(2)
        async with pool.acquire(A) as lease:
            assert (0, 0.0) == (lease.value.number, lease.waited)
            await trio.sleep(2)
            assert (1, 1) == (pool.figures().in_use, pool.figures().warm)
        assert 1 == await use(pool, B)
        assert 0 == await use(pool, A)


async def test_tenant_with_files_of_before_gets_no_warm_member(autojump_clock: trio.testing.MockClock) -> None:
    """One is made for it, because it needs what the new one lacks."""
    async with running(Factory()) as pool:
        pool.keep_warm("files", 1)
        await trio.sleep(2)
        assert 1 == await use(pool, evolve(A, warm=False))


async def test_first_come_first_served(autojump_clock: trio.testing.MockClock) -> None:
    """With one member, ten callers of different tenants are served in their order."""
    order: list[int] = []

    async def call(place: int) -> None:
        async with pool.acquire(PoolKey("files", f"tenant {place}"), seconds=1000):
            order.append(place)
            await trio.sleep(1)

    async with running(Factory(), PoolLimits(maximum=1)) as pool, trio.open_nursery() as nursery:
        for place in range(10):
            nursery.start_soon(call, place)
            await trio.testing.wait_all_tasks_blocked()
    assert list(range(10)) == order


async def test_calls_of_one_tenant_run_one_at_a_time_and_delay_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The second call of Ann waits for her first; Bob, who came later, is served at once."""
    done: list[str] = []

    async def call(key: PoolKey, seconds: float) -> None:
        await use(pool, key, seconds)
        done.append(key.tenant)

    async with running(Factory(), PoolLimits(maximum=2)) as pool, trio.open_nursery() as nursery:
        for key, seconds in ((A, 10), (A, 10), (B, 1)):
            nursery.start_soon(call, key, seconds)
            await trio.testing.wait_all_tasks_blocked()
    assert ["bob", "ann", "ann"] == done


async def test_waiting_has_an_end(autojump_clock: trio.testing.MockClock) -> None:
    """A typed error, at the deadline, that says how the pool is."""
    async with running(Factory(), PoolLimits(maximum=1)) as pool, pool.acquire(A):
        begun = trio.current_time()
        with pytest.raises(PoolExhausted, match=r"all of its 1 members at work \(1 in use") as caught:
            await use(pool, B, seconds=3.0)
        assert 3.0 == trio.current_time() - begun
        assert caught.value.next_step


async def test_idle_member_of_another_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    """At the maximum, the one that lay unused for longest is ended, and not before it is needed."""
    factory = Factory()
    async with running(factory, PoolLimits(maximum=2)) as pool:
        assert [0, 1] == [await use(pool, A), await use(pool, B)]
        assert 2 == await use(pool, PoolKey("files", "eve"))
        assert [False, True, True] == [box.alive for box in factory.boxes]


@pytest.mark.parametrize("cause", ["spoilt", "raises", "calls", "age", "idle", "sick"])
async def test_member_that_is_not_as_new_is_thrown_away(autojump_clock: trio.testing.MockClock, cause: str) -> None:
    """Spoilt by its user, used by a block that raised, used up, old, long unused, or not usable when it is tried."""
    limits = PoolLimits(max_calls=1 if cause == "calls" else 99, max_age=50, max_idle=20)
    factory = Factory()
    async with running(factory, limits) as pool:
        with contextlib.suppress(LookupError):
            async with pool.acquire(A) as lease:
                if cause == "spoilt":
                    lease.spoil()
                if cause == "raises":
                    raise LookupError
        factory.boxes[0].healthy = cause != "sick"
        await trio.sleep({"age": 50, "idle": 20}.get(cause, 1))
        assert 1 == await use(pool, A)
        await trio.sleep(1)
        assert (2 if cause == "calls" else 1, 2) == (pool.figures().thrown_away, pool.figures().made)
        assert not factory.boxes[0].alive


async def test_failure_of_making_is_the_callers_and_leaves_room(autojump_clock: trio.testing.MockClock) -> None:
    """The next in line is served."""
    async with running(Factory(faults=[True]), PoolLimits(maximum=1)) as pool:
        with pytest.raises(OSError, match="busy"):
            await use(pool, A)
        assert 0 == await use(pool, B)
        assert 1 == pool.figures().failed


async def test_warming_up_is_tried_again_later_and_later(autojump_clock: trio.testing.MockClock) -> None:
    """After 1, 2 and 4 seconds; a failure is no reason to end the pool."""
    factory = Factory(making=0.0, faults=[True, True, True])
    async with running(factory) as pool:
        pool.keep_warm("files", 1)
        await trio.sleep(6.9)
        assert (3, 0) == (pool.figures().failed, pool.figures().warm)
        await trio.sleep(0.2)
        assert 1 == pool.figures().warm


async def test_closing_ends_everything(autojump_clock: trio.testing.MockClock) -> None:
    """What is idle, what is in use as soon as it is given back, and nothing for those who wait."""
    factory = Factory()
    pool = Pool(factory.make, factory.end, limits=PoolLimits(maximum=1))
    outcomes: list[str] = []

    async def wait() -> None:
        with pytest.raises(PoolExhausted, match="is closed"):
            await use(pool, B)
        outcomes.append("refused")

    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(pool.run)
            outer.start_soon(use, pool, A, 5.0)
            await trio.sleep(2)
            outer.start_soon(wait)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert 0 == factory.living
        outcomes.append("closed")
    assert ["refused", "closed"] == outcomes
    with pytest.raises(PoolExhausted, match="is closed"):
        await use(pool, A)


# -- any interleaving


@frozen
class Caller:
    """Comes, waits for so long at most, uses for so long, and may be cancelled or fail."""

    after: float
    key: PoolKey
    patience: float
    holds: float
    cancelled_after: float | None
    fails: bool
    leaves_sick: bool


times = st.integers(0, 12).map(lambda tenths: tenths / 4)
callers = st.builds(
    Caller,
    after=times,
    key=st.builds(PoolKey, st.sampled_from("xy"), st.sampled_from(["", "ann", "bob"]), warm=st.booleans()),
    patience=times,
    holds=times,
    cancelled_after=st.none() | times,
    fails=st.booleans(),
    leaves_sick=st.booleans(),
)
limits = st.builds(
    PoolLimits,
    maximum=st.integers(1, 3),
    per_tenant=st.integers(1, 2),
    max_calls=st.integers(1, 4),
    max_age=st.sampled_from([2.0, 1000.0]),
    max_idle=st.sampled_from([1.0, 1000.0]),
)


@define
class Scene:
    """Runs the callers and looks at every step whether what must hold does."""

    pool: Pool[Box]
    factory: Factory
    using: Counter[PoolKey] = field(factory=Counter)

    def look(self) -> None:
        figures = self.pool.figures()
        assert self.factory.living <= self.pool.limits.maximum
        assert min(figures.in_use, figures.making, figures.ending, figures.idle, figures.waiting) >= 0
        for key, users in self.using.items():
            assert not key.tenant or users <= self.pool.limits.per_tenant

    async def call(self, caller: Caller) -> None:
        await trio.sleep(caller.after)
        with trio.CancelScope() as scope, contextlib.suppress(PoolExhausted, OSError, LookupError):
            if caller.cancelled_after is not None:
                scope.deadline = trio.current_time() + caller.cancelled_after
            async with self.pool.acquire(caller.key, seconds=caller.patience) as lease:
                await self.use(lease.value, caller)
        self.look()

    async def use(self, box: Box, caller: Caller) -> None:
        box.owners.add(caller.key.tenant)
        box.users += 1
        self.using[caller.key] += 1
        self.look()
        assert (1, caller.key.plugins) == (box.users, box.plugins)
        assert {caller.key.tenant} == box.owners
        assert box.alive
        try:
            await trio.sleep(caller.holds)
            box.healthy = not caller.leaves_sick
            if caller.fails:
                raise LookupError
        finally:
            box.users -= 1
            self.using[caller.key] -= 1


async def play(limits: PoolLimits, people: list[Caller], faults: list[bool], warm: int) -> tuple[Factory, PoolFigures]:
    factory = Factory(0.5, 0.25, faults)
    pool = Pool(factory.make, factory.end, usable=factory.usable, limits=limits)
    scene = Scene(pool, factory)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        pool.keep_warm("x", warm)
        async with trio.open_nursery() as crowd:
            for caller in people:
                crowd.start_soon(scene.call, caller)
        await trio.sleep(1)
        figures = pool.figures()
        assert (0, 0) == (figures.in_use, figures.waiting)
        nursery.cancel_scope.cancel()
    return factory, pool.figures()


@settings(max_examples=150, deadline=None)
@given(
    limits=limits,
    people=st.lists(callers, max_size=12),
    faults=st.lists(st.booleans(), max_size=5),
    warm=st.integers(0, 2),
)
def test_no_interleaving_shares_loses_or_overbooks_a_member(
    limits: PoolLimits, people: list[Caller], faults: list[bool], warm: int
) -> None:
    """Never more than the maximum, one user and one tenant for each member, and in the end nothing is left."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    factory, figures = trio.run(play, limits, people, faults, warm, clock=clock)
    assert 0 == factory.living
    state = (figures.in_use, figures.idle, figures.waiting, figures.making, figures.ending)
    assert (0, 0, 0, 0, 0) == state
    assert len(factory.boxes) == figures.made == figures.thrown_away
