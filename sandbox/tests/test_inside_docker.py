"""The same supervisor in a real hardened container: its users, its limits, and attacks one after the other in it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead_sandbox.container import SUPERVISOR, Container, ContainerSpec, Engine, Mount, inside_mount
from fairlead_sandbox.environments import bundle
from fairlead_sandbox.errors import OutOfMemory, SandboxLost, Timeout
from fairlead_sandbox.runner import Identities, Runner, Setup

from .container_daemon import GVISOR, own_engine
from .container_engine import engine, has_image
from .inside_calls import work
from .inside_namespace import PROBES, TABLES
from .test_inside_hostile import ALL, CLEAN, SURVEY

NAMES = (
    "fork bomb",
    "fork bomb whose first process ends",
    "children that left the session",
    "stopped child",
    "swallows cancellation",
    "segmentation fault",
    "threads without end",
    "leak",
    "leak of a grandchild",
    "fills the inodes",
    "deep directories in /tmp",
    "flood",
    "flood of children that were left",
    "writes to every file",
    "forged by a child",
    "forged by a program that was given the channel",
    "kills the zygote",
    "memory of the supervisor",
    "files of the zygote",
    "limits of the zygote",
    "becomes root",
    "becomes the supervisor",
    "writes to the runtime",
    "changes the runtime",
)


OPEN = """
import errno, json, stat
found = []
for name in os.listdir(f'/proc/{os.getppid()}/fd'):
    path = f'/proc/{os.getppid()}/fd/{name}'
    try: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except OSError as error: found.append(errno.errorcode[error.errno])
return json.dumps(found)
"""
EXHAUSTING = {
    "fork bomb",
    "fork bomb whose first process ends",
    "leak",
    "leak of a grandchild",
    "fills the inodes",
}
"""What ends a sandbox of gVisor, whose own memory and threads count as the container's."""


@contextlib.asynccontextmanager
async def contained(
    root: Path, opening: AbstractAsyncContextManager[Engine] | None = None, runtime: str = "", **setup: Any
) -> AsyncIterator[tuple[Runner, Container]]:
    async with opening or engine(root) as opened:
        image = await has_image(opened)
        environment = bundle(importlib.metadata.distribution("fairlead-calculator"), root / "cache")
        shutil.copytree(PROBES, root / "probes")
        sources = [root / "probes", *environment.paths]
        mounts = [Mount(path.resolve(), f"/plugin/{place}") for place, path in enumerate(sources)]
        spec = ContainerSpec(image.id, SUPERVISOR, [inside_mount(), *mounts], runtime=runtime)
        container = await opened.start_container(spec)
        runner = Runner(container.stream, container.kill)
        try:
            with trio.fail_after(30):
                paths = [mount.target for mount in mounts]
                await runner.start(Setup(paths, TABLES, Identities.from_base(container.uids.first), **setup))
            yield runner, container
        finally:
            with trio.CancelScope(shield=True):
                await container.aclose()


async def attack(runner: Runner, first: int, names: Collection[str]) -> None:
    """One after the other: each is typed as under namespaces alone, and the next call is clean."""
    clean = CLEAN | {"ids": [first + 2] * 3, "cwd": "/"}
    for probe in [probe for probe in ALL if probe.name in names]:
        code = probe.code.replace("61000", str(first)).replace("/mnt/fairlead", "/fairlead")
        outcome = await runner.call(work(code, **probe.limits))
        assert (probe.name, probe.error or type(None)) == (probe.name, type(outcome.error)), outcome
        assert (probe.name, True) == (probe.name, runner.usable)
        if probe.error is None:
            assert (probe.name, probe.value) == (probe.name, outcome.value)
        assert (probe.name, clean) == (probe.name, json.loads((await runner.call(work(SURVEY))).value))


@pytest.mark.docker
async def test_container_gives_what_the_supervisor_needs(tmp_path: Path) -> None:
    """Users of its own, no root left, kills for want of memory are counted, nothing else can be written to."""
    async with contained(tmp_path) as (runner, _):
        facts = runner.facts
        assert (True, False, True) == tuple(facts[key] for key in ("separate", "root", "counted"))
        assert [] == facts["writable"]
        assert ["echo", "run"] == sorted(spec["name"] for spec in (await runner.describe())[0]["specs"])


@pytest.mark.docker
async def test_attacks_have_their_outcomes_in_one_container(tmp_path: Path) -> None:
    """With the engine's own runtime."""
    async with contained(tmp_path) as (runner, container):
        await attack(runner, container.uids.first, NAMES)


@pytest.mark.docker
async def test_attacks_have_their_outcomes_under_gvisor(tmp_path: Path) -> None:
    """All but those that exhaust gVisor itself: see below."""
    root = tmp_path.resolve()
    async with contained(root, own_engine(root, GVISOR, "runsc"), "runsc") as (runner, container):
        await attack(runner, container.uids.first, set(NAMES) - EXHAUSTING - {"files of the zygote"})
        # gVisor lists the files of a hidden process; its channel is a socket, which nobody can open that way.
        refused = await runner.call(work(OPEN))
        assert "ENXIO" in json.loads(refused.value)


@pytest.mark.docker
async def test_attacks_have_their_outcomes_with_user_namespaces(tmp_path: Path) -> None:
    """The engine's root is nobody on the machine; the supervisor's three users lie in its range."""
    root = tmp_path.resolve()
    async with contained(root, own_engine(root, {}, remap=True)) as (runner, container):
        await attack(runner, container.uids.first, NAMES)


OPENED: dict[str, tuple[Callable[[Path], AbstractAsyncContextManager[Engine]], str]] = {
    "the engine": (engine, ""),
    "gvisor": (lambda root: own_engine(root, GVISOR, "runsc"), "runsc"),
    "user namespaces": (lambda root: own_engine(root, {}, remap=True), ""),
}


@pytest.mark.docker
@pytest.mark.parametrize("place", OPENED)
async def test_plugins_that_were_sent_away_are_loaded_by_the_next_call(place: str, tmp_path: Path) -> None:
    """Another zygote makes its process than the one before."""
    root = tmp_path.resolve()
    make, runtime = OPENED[place]
    async with contained(root, make(root), runtime, rest_seconds=0.0, sleep_seconds=0.0) as (runner, _):
        seen = set[str]()
        with trio.fail_after(60):
            while len(seen) < 3:
                outcome = await runner.call(work("return str(os.getppid())"))
                assert None is outcome.error
                seen.add(outcome.value)
                await trio.sleep(0.1)  # real time: the supervisor is another process
        assert runner.usable


@pytest.mark.docker
async def test_exhausted_gvisor_is_lost_and_nothing_more(tmp_path: Path) -> None:
    """It counts no memory for itself and heeds no limit of inodes: the sandbox ends, and the host is told."""
    root = tmp_path.resolve()
    async with contained(root, own_engine(root, GVISOR, "runsc"), "runsc") as (runner, _):
        leak = next(probe for probe in ALL if probe.name == "leak")
        with pytest.raises(SandboxLost):
            await runner.call(work(leak.code))
        assert not runner.usable


@pytest.mark.docker
async def test_limits_of_the_container_are_typed(tmp_path: Path) -> None:
    """Memory by its cgroup, time by the supervisor within 50 ms."""
    async with contained(tmp_path) as (runner, _):
        outcome = await runner.call(work("x = []\nwhile True: x.append(bytearray(1 << 20))"))
        assert OutOfMemory is type(outcome.error)
        began = time.monotonic()
        outcome = await runner.call(work("while True: pass", seconds=0.3))
        assert Timeout is type(outcome.error)
        assert time.monotonic() - began < 0.5


@pytest.mark.docker
async def test_killed_container_is_lost(tmp_path: Path) -> None:
    """In the middle of a call: nobody knows whether it had its effect."""
    async with contained(tmp_path) as (runner, container), trio.open_nursery() as nursery:
        nursery.start_soon(_lost, runner)
        await trio.sleep(0.3)  # real time: the call runs in a container
        await container.kill()


async def _lost(runner: Runner) -> None:
    with pytest.raises(SandboxLost):
        await runner.call(work("await trio.sleep(99)"))
