"""The same supervisor in a real hardened container: its users, its limits, and attacks one after the other in it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from fairlead_sandbox.container import SUPERVISOR, Container, ContainerSpec, Mount, inside_mount
from fairlead_sandbox.environments import bundle
from fairlead_sandbox.errors import OutOfMemory, SandboxLost, Timeout
from fairlead_sandbox.runner import Identities, Runner, Setup

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


@contextlib.asynccontextmanager
async def contained(root: Path) -> AsyncIterator[tuple[Runner, Container]]:
    async with engine(root) as opened:
        image = await has_image(opened)
        environment = bundle(importlib.metadata.distribution("fairlead-calculator"), root / "cache")
        shutil.copytree(PROBES, root / "probes")
        sources = [root / "probes", *environment.paths]
        mounts = [Mount(path.resolve(), f"/plugin/{place}") for place, path in enumerate(sources)]
        container = await opened.start_container(ContainerSpec(image.id, SUPERVISOR, [inside_mount(), *mounts]))
        runner = Runner(container.stream, container.kill)
        try:
            with trio.fail_after(30):
                paths = [mount.target for mount in mounts]
                await runner.start(Setup(paths, TABLES, Identities.from_base(container.uids.first)))
            yield runner, container
        finally:
            with trio.CancelScope(shield=True):
                await container.aclose()


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
    """One after the other: each is typed as under namespaces alone, and the next call is clean."""
    async with contained(tmp_path) as (runner, container):
        first = container.uids.first
        clean = CLEAN | {"ids": [first + 2] * 3, "cwd": "/"}
        for probe in [probe for probe in ALL if probe.name in NAMES]:
            code = probe.code.replace("61000", str(first)).replace("/mnt/fairlead", "/fairlead")
            outcome = await runner.call(work(code, **probe.limits))
            told = (probe.name, probe.error or type(None), probe.value if probe.error is None else None)
            assert told == (probe.name, type(outcome.error), outcome.value if probe.error is None else None), outcome
            assert runner.usable, probe.name
            survey = await runner.call(work(SURVEY))
            assert (probe.name, clean) == (probe.name, json.loads(survey.value))


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
