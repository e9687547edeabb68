"""Things that are expensive to make, handed out one at a time: first come, first served.

A pool knows nothing of containers: it is given how to make, try and end a member. A member is made for a *kind* (a set
of plugins) and belongs from its first use to one *tenant* (a session of a principal), so that nobody ever gets what
somebody else had. The tenant "" is everybody: for tools that say they are pure.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Literal, TypeVar

import trio
from attrs import define, field, frozen

from fairlead.errors import IsolationUnavailable
from fairlead_sandbox.container._waits import Waits

__all__ = ["Lease", "Pool", "PoolExhausted", "PoolFigures", "PoolKey", "PoolLimits"]

T = TypeVar("T")
Count = Literal["in_use", "making", "ending", "made", "thrown_away", "failed"]
UNASSIGNED = None
BACK_OFF = (1.0, 60.0)
"""Seconds after the first failure of warming up, and at most; doubled each time."""


class PoolExhausted(IsolationUnavailable):
    """No member was free in time. Not `EngineUnavailable`: everything works, and others were first."""


@frozen
class PoolKey:
    """What a member must be, to be handed out."""

    plugins: str
    """The kind: whatever decides how a member is made."""
    tenant: str = ""
    """To whom it belongs from its first use on; empty for everybody."""
    warm: bool = field(default=True, eq=False)
    """One that nobody has used will do. False where it must be made for this tenant, because it has something that a
    new one lacks: files of an earlier container."""


@frozen
class PoolLimits:
    """How many, and for how long."""

    maximum: int = 4
    """Members at once, also those that are being made or ended."""
    per_tenant: int = 1
    """Of them for one tenant and kind, so that its calls run one at a time; everybody ("") has no such limit."""
    max_age: float = 3600.0
    """Seconds after which a member is not handed out again."""
    max_idle: float = 600.0
    """Seconds that a member which somebody has used may lie unused."""
    max_calls: int = 1000
    """Uses of a member."""
    ending: float = 10.0
    """Seconds that ending a member may take before the pool counts it as gone."""


@frozen
class PoolFigures:
    """The state of a pool at one moment."""

    in_use: int
    idle: int
    warm: int
    """Of the idle ones, those that nobody has used."""
    waiting: int
    making: int
    ending: int
    made: int
    """Ever."""
    thrown_away: int
    failed: int
    """Times that making one failed."""
    wait_p50: float
    """Seconds until a member was handed out, over the last thousand."""
    wait_p99: float


@define(eq=False)
class _Member(Generic[T]):
    value: T
    plugins: str
    tenant: str | None
    born: float
    calls: int = 0
    idle_since: float = 0.0


@define(eq=False)
class _Waiter(Generic[T]):
    key: PoolKey
    granted: trio.Event = field(factory=trio.Event)
    member: _Member[T] | None = None
    """None once granted: there is room, and one must be made."""


@define(eq=False)
class Lease(Generic[T]):
    """One use of a member."""

    value: T
    waited: float
    """Seconds."""
    spoilt: bool = False

    def spoil(self) -> None:
        """It is not to be used again: it is ended at the end of the block."""
        self.spoilt = True


class Pool(Generic[T]):
    """Run `run` in a nursery, then `acquire`.

    `make`: gives a new member of a kind, for a tenant or (None) for whoever comes; cancelled or failed, it leaves
    nothing behind. `end`: ends one. `usable`: tries one before it is handed out again.
    """

    def __init__(
        self,
        make: Callable[[str, str | None], Awaitable[T]],
        end: Callable[[T], Awaitable[None]],
        *,
        usable: Callable[[T], Awaitable[bool]] | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        self._make, self._end, self._usable = make, end, usable
        self.limits = limits or PoolLimits()
        self._idle: list[_Member[T]] = []
        self._busy: Counter[PoolKey] = Counter()
        """Handed out or being made, by key."""
        self._waiters: deque[_Waiter[T]] = deque()
        self._count: Counter[Count] = Counter()
        self._wanted: dict[str, int] = {}
        self._warming: Counter[str] = Counter()
        self._failures = 0
        """Of warming up, in a row."""
        self._warm_again = -math.inf
        self._waits = Waits()
        self._ending: deque[_Member[T]] = deque()
        self._changed = trio.Event()
        self._closed = False

    # -- for users

    @contextlib.asynccontextmanager
    async def acquire(self, key: PoolKey, *, seconds: float = 30.0) -> AsyncIterator[Lease[T]]:
        """A member for the time of the block; first come, first served.

        `PoolExhausted` where none was free within `seconds`; what `make` raises, where one had to be made. A block that
        raises, or is cancelled, spoils the member, and so does `Lease.spoil`.
        """
        begun = trio.current_time()
        member = await self._take(key, begun + seconds)
        lease = Lease(member.value, self._waits.add(trio.current_time() - begun))
        try:
            yield lease
        except BaseException:
            lease.spoil()
            raise
        finally:
            member.calls += 1
            self._give_back(key, member, spoilt=lease.spoilt)

    def keep_warm(self, plugins: str, count: int) -> None:
        """Have as many members of a kind ready that nobody has used; made in the background while there is room."""
        self._wanted[plugins] = count
        self._change()

    def throw_away(self, tenant: str) -> None:
        """End what is idle of a tenant: its session is over."""
        self._retire(*(member for member in self._idle if member.tenant == tenant))

    def figures(self) -> PoolFigures:
        count = self._count
        return PoolFigures(
            in_use=count["in_use"],
            idle=len(self._idle),
            warm=sum(1 for member in self._idle if member.tenant is UNASSIGNED),
            waiting=len(self._waiters),
            making=count["making"],
            ending=count["ending"],
            made=count["made"],
            thrown_away=count["thrown_away"],
            failed=count["failed"],
            wait_p50=self._waits.quantile(0.5),
            wait_p99=self._waits.quantile(0.99),
        )

    # -- handing out

    async def _take(self, key: PoolKey, deadline: float) -> _Member[T]:
        await trio.lowlevel.checkpoint()
        front = False
        while not self._closed:
            member = await self._wait_for_turn(key, deadline, front=front)
            if member is None:
                return await self._make_member(key, deadline)
            if await self._is_usable(key, member):
                member.tenant = key.tenant
                return member
            # It was this caller's turn already.
            front = True
            self._give_back(key, member, spoilt=True)
        raise self._exhausted(key)

    async def _wait_for_turn(self, key: PoolKey, deadline: float, *, front: bool) -> _Member[T] | None:
        """A member, or None for the right to make one; both are counted as this caller's."""
        waiter: _Waiter[T] = _Waiter(key)
        if front:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        self._dispatch()
        try:
            with trio.move_on_at(deadline):
                await waiter.granted.wait()
        except BaseException:
            if waiter.granted.is_set():
                # The turn came together with the cancellation.
                self._return_turn(waiter)
            raise
        finally:
            if not waiter.granted.is_set():
                self._waiters.remove(waiter)
                self._dispatch()
        if not waiter.granted.is_set() or (self._closed and waiter.member is None):
            if waiter.granted.is_set():
                self._return_turn(waiter)
            raise self._exhausted(key)
        return waiter.member

    def _return_turn(self, waiter: _Waiter[T]) -> None:
        if waiter.member is None:
            self._count["making"] -= 1
            self._busy[waiter.key] -= 1
            self._dispatch()
        else:
            self._give_back(waiter.key, waiter.member, spoilt=False)

    def _exhausted(self, key: PoolKey) -> PoolExhausted:
        figures = self.figures()
        state = "is closed" if self._closed else f"has all of its {self.limits.maximum} members at work"
        return PoolExhausted(
            f"no sandbox for {key.plugins!r} was free in time: the pool {state}"
            f" ({figures.in_use} in use, {figures.making} being made, {figures.waiting} waiting)",
            next_step="raise the maximum of the pool, or the time that calls may wait",
            floor="container",
        )

    async def _make_member(self, key: PoolKey, deadline: float) -> _Member[T]:
        """In the room that was granted."""
        value: T | None = None
        made = False
        try:
            with trio.move_on_at(deadline):
                value = await self._make(key.plugins, key.tenant)
                made = True
        except Exception:
            self._count["failed"] += 1
            raise
        finally:
            self._count["making"] -= 1
            if made:
                self._count["made"] += 1
                self._count["in_use"] += 1
            else:
                self._busy[key] -= 1
            self._dispatch()
        if not made:
            raise PoolExhausted(
                f"a sandbox for {key.plugins!r} was not made in time: the machine is busy, or the engine hangs",
                next_step="fairlead sandbox doctor",
                floor="container",
            )
        return _Member(value, key.plugins, key.tenant, trio.current_time())  # type: ignore[arg-type]  # it was made

    async def _is_usable(self, key: PoolKey, member: _Member[T]) -> bool:
        if self._usable is None:
            return True
        try:
            return await self._usable(member.value)
        except Exception:  # noqa: BLE001  # whatever fails here is no reason to hand it out
            return False
        except BaseException:
            self._give_back(key, member, spoilt=True)
            raise

    def _give_back(self, key: PoolKey, member: _Member[T], *, spoilt: bool) -> None:
        self._busy[key] -= 1
        self._count["in_use"] -= 1
        member.idle_since = trio.current_time()
        if spoilt or self._closed or member.calls >= self.limits.max_calls:
            self._retire(member)
        else:
            self._idle.append(member)
        self._dispatch()

    def _retire(self, *members: _Member[T]) -> None:
        for member in members:
            if member in self._idle:
                self._idle.remove(member)
            self._count["thrown_away"] += 1
            self._count["ending"] += 1
            self._ending.append(member)
        if members:
            self._change()

    def _change(self) -> None:
        self._changed.set()

    # -- the order of turns

    def _total(self) -> int:
        return len(self._idle) + sum(self._count[name] for name in ("in_use", "making", "ending"))

    def _dispatch(self) -> None:
        """Give turns to those who wait, in their order. Only who waits for its own tenant's calls is passed over."""
        self._expire()
        blocked = 0
        for waiter in () if self._closed else tuple(self._waiters):
            key = waiter.key
            if key.tenant and self._busy[key] >= self.limits.per_tenant:
                continue
            member = self._match(key)
            if member is None and self._total() >= self.limits.maximum:
                # Room is made for it where something lies idle; then nobody behind takes that room.
                blocked += 1
                if self._count["ending"] < blocked and self._idle:
                    self._retire(min(self._idle, key=lambda idle: idle.idle_since))
                continue
            self._waiters.remove(waiter)
            self._busy[key] += 1
            self._count["in_use" if member else "making"] += 1
            waiter.member = member
            waiter.granted.set()
        self._change()

    def _match(self, key: PoolKey) -> _Member[T] | None:
        """What lies ready for the key: what its tenant had before, else one that nobody has used."""
        mine = [member for member in self._idle if member.plugins == key.plugins]
        for tenant in (key.tenant, UNASSIGNED) if key.warm else (key.tenant,):
            for member in mine:
                if member.tenant == tenant:
                    self._idle.remove(member)
                    return member
        return None

    def _expiry(self, member: _Member[T]) -> float:
        oldest = member.born + self.limits.max_age
        return oldest if member.tenant is UNASSIGNED else min(oldest, member.idle_since + self.limits.max_idle)

    def _expire(self) -> None:
        now = trio.current_time()
        self._retire(*(member for member in self._idle if self._expiry(member) <= now))

    # -- in the background

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End what is thrown away, and keep members warm, until cancelled; then nothing is left of any member.

        Cancelled, it waits up to `PoolLimits.ending` seconds for those that are in use.
        """
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    self._changed = trio.Event()
                    self._expire()
                    self._start_ending(nursery)
                    self._start_warming(nursery)
                    with trio.move_on_at(self._next_time()):
                        await self._changed.wait()
        finally:
            await self._close()

    def _start_ending(self, nursery: trio.Nursery) -> None:
        while self._ending:
            nursery.start_soon(self._end_member, self._ending.popleft())

    async def _end_member(self, member: _Member[T]) -> None:
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + self.limits.ending):
                await self._end(member.value)
        except Exception:  # noqa: BLE001  # a member that cannot be ended must not keep its place for ever
            self._count["failed"] += 1
        finally:
            self._count["ending"] -= 1
            self._dispatch()

    def _start_warming(self, nursery: trio.Nursery) -> None:
        if self._waiters or trio.current_time() < self._warm_again:
            return
        for plugins, wanted in self._wanted.items():
            ready = sum(1 for idle in self._idle if idle.plugins == plugins and idle.tenant is UNASSIGNED)
            for _ in range(ready + self._warming[plugins], wanted):
                if self._total() < self.limits.maximum:
                    self._count["making"] += 1
                    self._warming[plugins] += 1
                    nursery.start_soon(self._warm, plugins)

    async def _warm(self, plugins: str) -> None:
        try:
            value = await self._make(plugins, UNASSIGNED)
        except Exception:  # noqa: BLE001  # whoever needs one makes it then, and gets the error
            self._count["failed"] += 1
            self._failures += 1
            least, most = BACK_OFF
            self._warm_again = trio.current_time() + min(least * 2.0 ** min(self._failures - 1, 30), most)
        else:
            self._failures = 0
            self._count["made"] += 1
            now = trio.current_time()
            self._idle.append(_Member(value, plugins, UNASSIGNED, now, idle_since=now))
        finally:
            self._count["making"] -= 1
            self._warming[plugins] -= 1
            self._dispatch()

    def _next_time(self) -> float:
        times = [self._expiry(member) for member in self._idle]
        if self._warm_again > trio.current_time():
            times.append(self._warm_again)
        return min(times, default=math.inf)

    async def _close(self) -> None:
        self._closed = True
        with trio.CancelScope(shield=True):
            self._retire(*self._idle)
            for waiter in tuple(self._waiters):
                self._waiters.remove(waiter)
                self._count["making"] += 1
                self._busy[waiter.key] += 1
                waiter.granted.set()
            async with trio.open_nursery() as nursery:
                with trio.move_on_after(self.limits.ending):
                    while self._count["in_use"] or self._count["making"]:
                        self._changed = trio.Event()
                        self._start_ending(nursery)
                        await self._changed.wait()
                self._start_ending(nursery)
