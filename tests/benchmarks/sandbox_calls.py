"""Calls in a sandbox against a bare fork, `docker exec`, and their limits of time and output; one interleaved run.

Run it with ``uv run python tests/benchmarks/sandbox_calls.py``. It needs a Docker Engine with the base image
(``fairlead sandbox build``) and takes about a minute.

A bare fork is ``os.fork`` and ``os.waitpid`` in a small process. *At once* means that the next call comes when the
last one is answered, so that it waits for its process; *after a pause* the process is there. The heavy plugin imports
ten large modules, once.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import trio

from fairlead_sandbox.container import SUPERVISOR, Container, ContainerSpec, Engine, Mount, inside_mount, open_engine
from fairlead_sandbox.environments import bundle
from fairlead_sandbox.errors import OutputLimit, Timeout
from fairlead_sandbox.image import find_image
from fairlead_sandbox.runner import Identities, Limits, Runner, Setup, Table, Work

ROUNDS = 100
PAUSE = 0.02
SPINS = 30
SPIN_SECONDS = 0.1
PLUGIN = """
from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl

class Plain(Tool):
    def specs(self):
        return [ToolSpec(name, "x", effect="read") for name in ("nothing", "spin", "flood")]

    async def call(self, call, context):
        if call.tool == "spin":
            while True: pass
        if call.tool == "flood":
            import os
            data = bytes(1 << 20)
            for _ in range(1024): os.write(1, data)
        return "done"

@hookimpl
def fairlead_tools(settings):
    return [Plain()]
"""
HEAVY = "import asyncio, concurrent.futures, ctypes, email.message, http.client, multiprocessing, sqlite3\n"
HEAVY += "import unittest.mock, urllib.request, xml.dom.minidom, xmlrpc.client, optparse, pydoc\n"
BARE = """
import os, sys, time
for line in sys.stdin:
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - began, flush=True)
"""


class BareFork:
    """A small process that forks when it is told."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", BARE]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    async def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.asynccontextmanager
async def contained(engine: Engine, root: Path, source: str) -> AsyncIterator[tuple[Runner, Container]]:
    """A sandbox with one plugin in the container that an app would get."""
    image = await find_image(engine)
    environment = bundle(importlib.metadata.distribution("fairlead-calculator"), root / "cache")
    plugin = Path(tempfile.mkdtemp(dir=root))
    plugin.chmod(0o755)
    (plugin / "measured.py").write_text(source)
    mounts = [Mount(path.resolve(), f"/plugin/{place}") for place, path in enumerate((plugin, *environment.paths))]
    container = await engine.start_container(ContainerSpec(image.id, SUPERVISOR, [inside_mount(), *mounts]))
    runner = Runner(container.stream, container.kill)
    try:
        identities = Identities.from_base(container.uids.first)
        await runner.start(Setup([mount.target for mount in mounts], [Table("t", "measured")], identities))
        yield runner, container
    finally:
        with trio.CancelScope(shield=True):
            await container.aclose()


async def timed(runner: Runner, tool: str, limits: Limits = Limits()) -> tuple[float, object]:  # noqa: B008  # frozen
    began = time.perf_counter()
    outcome = await runner.call(Work(str(began), "t", tool, {}, effect="read", limits=limits))
    return time.perf_counter() - began, outcome.error


def execute(container: Container) -> float:
    began = time.perf_counter()
    subprocess.run([shutil.which("docker") or "docker", "exec", container.id, "true"], check=True)
    return time.perf_counter() - began


def line(name: str, seconds: float, bare: float, goal: str = "") -> None:
    print(f"{name:44} {seconds * 1e3:9.2f} ms  {seconds / bare:7.1f} x a bare fork   {goal}")


async def ratios(plain: Runner, heavy: Runner, container: Container) -> None:
    """Everything in turn, so that a slow moment of the machine meets all of it."""
    bare = BareFork()
    names: dict[str, Callable[[], Awaitable[float]]] = {
        "bare fork": bare,
        "call, at once": lambda: first(timed(plain, "nothing")),
        "call, after a pause": lambda: paused(plain),
        "call of the heavy plugin, at once": lambda: first(timed(heavy, "nothing")),
        "call of the heavy plugin, after a pause": lambda: paused(heavy),
    }
    found: dict[str, list[float]] = {name: [] for name in (*names, "docker exec")}
    try:
        for place in range(ROUNDS):
            for name, act in names.items():
                if name.endswith("at once"):
                    await act()
                found[name].append(await act())
            if place % 20 == 0:
                found["docker exec"].append(execute(container))
    finally:
        bare.close()
    base = statistics.median(found["bare fork"])
    goals = {"call, after a pause": "goal 6", "call of the heavy plugin, after a pause": "goal 12"}
    for name, values in found.items():
        line(name, statistics.median(values), base, goals.get(name, ""))
    share = statistics.median(found["docker exec"]) / statistics.median(found["call, after a pause"])
    print(f"{'docker exec against a call':44} {share:9.1f} x               goal 15")


async def first(act: Awaitable[tuple[float, object]]) -> float:
    return (await act)[0]


async def paused(runner: Runner) -> float:
    await trio.sleep(PAUSE)
    return await first(timed(runner, "nothing"))


async def limits(runner: Runner) -> None:
    """How late the end of an endless call is, and what a flood of a gigabyte costs."""
    late = []
    for _ in range(SPINS):
        seconds, error = await timed(runner, "spin", Limits(seconds=SPIN_SECONDS))
        assert isinstance(error, Timeout), error
        late.append((seconds - SPIN_SECONDS) * 1e3)
    late.sort()
    half, most = late[SPINS // 2], late[int(SPINS * 0.95)]
    print(f"{'late after a timeout, p50 and p95':44} {half:9.2f} ms {most:9.2f} ms   goal 50")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    floods = []
    for _ in range(SPINS):
        seconds, error = await timed(runner, "flood")
        assert isinstance(error, OutputLimit), error
        floods.append(seconds * 1e3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    half, most = statistics.median(floods), max(floods)
    print(f"{'a gigabyte of output, p50 and worst':44} {half:9.2f} ms {most:9.2f} ms   goal 100")
    print(f"{'the host grew by':44} {grown:9.2f} MB                goal 8")


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        root.chmod(0o755)
        async with open_engine(project="benchmark", roots=[root]) as engine, contextlib.AsyncExitStack() as stack:
            plain, container = await stack.enter_async_context(contained(engine, root, PLUGIN))
            heavy, _ = await stack.enter_async_context(contained(engine, root, HEAVY + PLUGIN))
            await ratios(plain, heavy, container)
            await limits(plain)


if __name__ == "__main__":
    trio.run(main)
