"""What `sandbox.py` measures with: the product's own parts on the real engine, and bare ones to compare with."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from fairlead_sandbox._places import Places, Walls
from fairlead_sandbox.container import SUPERVISOR, Container, ContainerSpec, Engine, Mount, inside_mount
from fairlead_sandbox.environments import Environment, bundle
from fairlead_sandbox.image import find_image
from fairlead_sandbox.isolator._containers import Containers, Plan
from fairlead_sandbox.runner import Identities, Limits, Outcome, Runner, Setup, Table, Work

DOCKER = shutil.which("docker") or "docker"
MODULE = "measured"
PLUGIN = """
from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl

class Plain(Tool):
    immediate = True

    def specs(self):
        return [ToolSpec(name, "x", effect="read") for name in ("nothing", "spin", "flood")]

    async def call(self, call, context):
        if call.tool == "spin":
            await context.progress("spins")
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
AWAITS = PLUGIN.replace("    immediate = True\n", "")
HEAVY = "import asyncio, concurrent.futures, ctypes, email.message, http.client, multiprocessing, sqlite3\n"
HEAVY += "import unittest.mock, urllib.request, xml.dom.minidom, xmlrpc.client, optparse, pydoc\n"
FORK = """
import os, sys, time
for line in sys.stdin:
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    print(time.perf_counter() - began, flush=True)
"""
IMPORT = "import sys; sys.path[:0] = {paths}; import {module}, pluggy, fairlead.wire; print('ready', flush=True)"


class BareFork:
    """A small process that forks when it is told, and waits for the child."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", "-c", FORK]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    async def __call__(self) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@frozen
class Sandboxed:
    """A container of ours, ready for calls."""

    runner: Runner
    container: Container

    async def call(self, tool: str, limits: Limits = Limits()) -> tuple[float, Outcome]:  # noqa: B008  # frozen
        """Seconds until it is answered, and what became of it."""
        began = time.perf_counter()
        outcome = await self.runner.call(Work(str(began), "t", tool, {}, effect="read", limits=limits))
        return time.perf_counter() - began, outcome


class World:
    """An engine with our image, and the packages of a plugin with all that it needs."""

    def __init__(self, engine: Engine, image: str, root: Path) -> None:
        """`root`: a directory that everybody may enter, among the engine's own."""
        self.engine, self.image, self.root = engine, image, root
        self.packages = root / "data" / "cache"
        """Where an app has them too."""
        self._packages = bundle(importlib.metadata.distribution("fairlead-calculator"), self.packages)

    @classmethod
    async def of(cls, engine: Engine, root: Path) -> World:
        return cls(engine, (await find_image(engine)).id, root)

    def environment(self, source: str = PLUGIN) -> Environment:
        """The packages, with a plugin of this source before them."""
        plugin = Path(tempfile.mkdtemp(dir=self.packages))
        plugin.chmod(0o755)
        (plugin / f"{MODULE}.py").write_text(source)
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(plugin)], check=True)
        packages = self._packages
        return Environment((plugin, *packages.paths), packages.digest, packages.distribution, packages.version)

    @staticmethod
    def mounts(environment: Environment) -> list[Mount]:
        return [Mount(path.resolve(), f"/plugin/{place}") for place, path in enumerate(environment.paths)]

    async def start(self, environment: Environment) -> Container:
        """The container alone: nothing is said to it yet."""
        mounts = [inside_mount(), *self.mounts(environment)]
        return await self.engine.start_container(ContainerSpec(self.image, SUPERVISOR, mounts))

    async def make(self, environment: Environment, **setup: Any) -> Sandboxed:
        """Ready for calls. `setup`: what is otherwise than usual, of `Setup`."""
        container = await self.start(environment)
        runner = Runner(container.stream, container.kill)
        paths = [mount.target for mount in self.mounts(environment)]
        await runner.start(Setup(paths, [Table("t", MODULE)], Identities.from_base(container.uids.first), **setup))
        return Sandboxed(runner, container)

    @contextlib.asynccontextmanager
    async def sandbox(self, environment: Environment, **setup: Any) -> AsyncIterator[Sandboxed]:
        made = await self.make(environment, **setup)
        try:
            yield made
        finally:
            with trio.CancelScope(shield=True):
                await made.container.aclose()

    # -- bare ones

    def bare(self) -> str:
        """What ``docker create`` and ``docker start`` do, without a client's own start: the container's name."""
        return self._bare(["sleep", "600"])

    def bare_import(self, environment: Environment) -> str:
        """A container without any protection that imports the plugin and says so."""
        paths = [mount.target for mount in self.mounts(environment)]
        command = ["python3", "-I", "-S", "-c", IMPORT.format(paths=paths, module=MODULE)]
        binds = [f"{path.resolve()}:{paths[place]}:ro" for place, path in enumerate(environment.paths)]
        name = self._bare(command, binds=binds)
        for _ in self.engine.api.logs(name, stream=True, follow=True):
            break
        return name

    def _bare(self, command: list[str], **more: Any) -> str:
        api = self.engine.api
        config = api.create_host_config(network_mode="none", **more)
        name = str(api.create_container(self.image, command, host_config=config)["Id"])
        api.start(name)
        return name

    async def execute(self, container: str) -> float:
        """One ``docker exec``: seconds."""
        began = time.perf_counter()
        await trio.run_process([DOCKER, "exec", container, "true"])
        return time.perf_counter() - began


@contextlib.asynccontextmanager
async def as_an_app(root: Path, environment: Environment, nursery: trio.Nursery) -> AsyncIterator[Containers]:
    """The sandboxes as an app has them: a pool, and a volume for each session."""
    places = Places(root / "data", root / "run")
    places.prepare()

    async def no_way(_: trio.Nursery) -> Path | None:
        await trio.lowlevel.checkpoint()
        return None

    def tell(*words: object, **more: object) -> None:
        print(*words, more or "", file=sys.stderr)

    containers = Containers(Walls(), places, nursery, tell)
    containers.plan(Plan(Table("t", MODULE), environment, "", shared_volume=False, open_way=no_way))
    await containers.ready()
    try:
        yield containers
    finally:
        with trio.CancelScope(shield=True):
            await containers.aclose()
