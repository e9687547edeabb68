"""What `sandbox.py` does in each round: one act for each figure."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from sandbox_egress import (
    Ways,
    again,
    once,
)
from sandbox_table import Act
from sandbox_world import BareFork, Sandboxed, World

from fairlead_sandbox.container import PoolKey
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.errors import OutputLimit, SandboxLost, Timeout
from fairlead_sandbox.isolator._containers import Containers
from fairlead_sandbox.runner import Limits, Work

PAUSE = 0.02
SPIN_SECONDS = 0.1
GONE_SECONDS = 10.0
MB = 1 << 20
Run = Callable[[], Awaitable[float]]


class Growth:
    """How far this process has grown at most during an act."""

    def __init__(self) -> None:
        self.most = 0.0
        """MB."""

    def begin(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew
        self._before = _status("VmRSS")

    def end(self) -> None:
        self.most = max(self.most, (_status("VmHWM") - self._before) / 1024)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def call_acts(plain: Sandboxed, waiting: Sandboxed, heavy: Sandboxed, fork: BareFork, world: World) -> list[Act]:
    """The path of a call, and what it is measured by."""

    def paused(sandbox: Sandboxed) -> Run:
        async def run() -> float:
            await trio.sleep(PAUSE)
            seconds: float = (await sandbox.call("nothing"))[0]
            return seconds

        return run

    def at_once(sandbox: Sandboxed) -> Run:
        async def run() -> float:
            await sandbox.call("nothing")
            seconds: float = (await sandbox.call("nothing"))[0]
            return seconds

        return run

    async def execute() -> float:
        seconds: float = await world.execute(plain.container.id)
        return seconds

    return [
        Act("fork", fork),
        Act("call", paused(plain)),
        Act("call at once", at_once(plain)),
        Act("awaits", paused(waiting)),
        Act("awaits at once", at_once(waiting)),
        Act("heavy", paused(heavy)),
        Act("heavy at once", at_once(heavy)),
        Act("exec", execute, every=4),
    ]


def limit_acts(plain: Sandboxed, growth: Growth, every: int) -> list[Act]:
    """The ends of calls that reach a limit."""

    async def late() -> float:
        seconds, outcome = await plain.call("spin", Limits(seconds=SPIN_SECONDS))
        assert isinstance(outcome.error, Timeout), outcome
        return float(seconds) - SPIN_SECONDS

    async def flood() -> float:
        growth.begin()
        seconds, outcome = await plain.call("flood")
        growth.end()
        assert isinstance(outcome.error, OutputLimit), outcome
        return float(seconds)

    return [Act("late", late, max(every // 4, 1)), Act("flood", flood, max(every // 4, 1))]


def start_acts(world: World, environment: Environment, every: int) -> list[Act]:
    """Containers that are made for one use."""

    def bare(make: Callable[[], str]) -> Run:
        async def run() -> float:
            began = time.perf_counter()
            name = await world.engine.ask(make)
            seconds = time.perf_counter() - began
            await world.engine.remove(name)
            return seconds

        return run

    async def started() -> float:
        began = time.perf_counter()
        container = await world.start(environment)
        seconds = time.perf_counter() - began
        await container.kill()
        return seconds

    async def answered() -> float:
        began = time.perf_counter()
        async with world.sandbox(environment) as sandbox:
            await sandbox.call("nothing")
            return time.perf_counter() - began

    async def one_call() -> float:
        began = time.perf_counter()
        async with world.sandbox(environment) as sandbox:
            await sandbox.call("nothing")
        return time.perf_counter() - began

    return [
        Act("bare start", bare(world.bare), every),
        Act("started", started, every),
        Act("bare import", bare(lambda: str(world.bare_import(environment))), every),
        Act("answered", answered, every),
        Act("container per call", one_call, every),
    ]


def app_acts(containers: Containers, every: int) -> list[Act]:
    """As an app calls tools: through its pool."""
    numbers = itertools.count()

    async def use(session: str) -> tuple[float, float]:
        """Seconds until a sandbox was there, and until a call was answered."""
        began = time.perf_counter()
        async with containers.pool.acquire(PoolKey("t", session)) as lease:
            acquired = time.perf_counter() - began
            outcome = await lease.value.runner.call(Work(f"{session}-{began}", "t", "nothing", {}, effect="read"))
            assert outcome.error is None, outcome
        return acquired, time.perf_counter() - began

    async def acquire() -> float:
        return (await use("same"))[0]

    async def first_call() -> float:
        session = f"session-{next(numbers)}"
        seconds = (await use(session))[1]
        await containers.forget(session)
        return seconds

    return [Act("acquire", acquire), Act("first call", first_call, every)]


def egress_acts(ways: Ways) -> list[Act]:
    """A connection and one request each, to a server on loopback."""
    acts = []
    for wait in (0, 20):
        for name, way in (("direct", ways.direct), ("proxy", ways.tunnel)):
            acts.append(Act(f"{name} {wait}", _timed(once(way, f"/wait/{wait}")), 2))
    for name, way in (("direct", ways.direct), ("proxy", ways.tunnel)):
        acts.append(Act(f"{name} kept", _timed(again(way, "/wait/0"))))
    return acts


def _timed(work: Callable[[], object]) -> Run:
    async def run() -> float:
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        await trio.lowlevel.checkpoint()
        return seconds

    return run


def killed_act(world: World, every: int) -> Act:
    """The host dies in the middle of a call: seconds until the engine knows nothing of its container."""
    program = Path(__file__).with_name("sandbox_host.py")

    async def run() -> float:
        with subprocess.Popen([sys.executable, str(program), str(world.root)], stdout=subprocess.PIPE) as host:
            try:
                assert host.stdout is not None
                name = (await trio.to_thread.run_sync(host.stdout.readline)).decode().strip()
                assert name, "the host ended before its call had begun"
            finally:
                os.kill(host.pid, signal.SIGKILL)
                began = time.perf_counter()
        while time.perf_counter() - began < GONE_SECONDS:
            try:
                await world.engine.ask(lambda: world.engine.api.inspect_container(name))
            except SandboxLost:
                return time.perf_counter() - began
            await trio.sleep(0.005)
        await world.engine.remove(name)
        return time.perf_counter() - began

    return Act("killed", run, every)
