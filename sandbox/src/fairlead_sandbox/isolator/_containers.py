"""The engine as one app uses it: opened when the first call needs it, with a pool of sandboxes and their volumes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen

from fairlead_sandbox._places import PROJECT, Places, Walls
from fairlead_sandbox.container import (
    SUPERVISOR,
    Container,
    ContainerSpec,
    Engine,
    Mount,
    Pool,
    Workspace,
    Workspaces,
    inside_mount,
    open_engine,
)
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.errors import EngineUnavailable, SandboxLost
from fairlead_sandbox.image import Image, check_python, find_image
from fairlead_sandbox.isolator._shelter import start_sheltered
from fairlead_sandbox.isolator._volumes import Owner, Volumes
from fairlead_sandbox.runner import Identities, Runner, Setup, Table

__all__ = ["Containers", "Plan", "Sandbox"]

START_SECONDS = 30.0
"""For a sandbox to have loaded its plugin."""
Notice = Callable[..., None]


@frozen
class Plan:
    """How the sandboxes of one table are made."""

    table: Table
    environment: Environment
    runtime: str
    """Empty for the engine's own."""
    shared_volume: bool
    """It has the session's workspace, with others that have it too; else a volume of its own for each session."""
    open_way: Callable[[trio.Nursery], Awaitable[Path | None]]
    """Gives the socket of a way out, served in the nursery."""

    def owner(self, session: str) -> Owner:
        return Owner(session) if self.shared_volume else Owner(session, self.table.name)


@define(eq=False)
class Sandbox:
    """A container of ours with the supervisor in it, for one table and (from its first call on) one session."""

    container: Container
    runner: Runner
    volume: Workspace
    owned: bool
    """Somebody's files are in the volume."""
    full: str = ""
    """In words, where the files are larger than allowed."""
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    """Of what it needs on the host: its way out."""

    @property
    def evidence(self) -> Mapping[str, Any]:
        """Of the container, with the user that calls have in it; its first process has another one."""
        return {**self.container.evidence, "user": str(Identities.from_base(self.container.uids.first).call)}


class Containers:
    """All containers of an app. `nursery` keeps the engine's tasks; nothing is asked of the engine before `ready`."""

    def __init__(self, walls: Walls, places: Places, nursery: trio.Nursery, notice: Notice) -> None:
        self._walls, self._places, self._nursery, self._notice = walls, places, nursery, notice
        self._index = places.volumes / "index"
        self._plans: dict[str, Plan] = {}
        self._opening = trio.Lock()
        self._scope: trio.CancelScope | None = None
        self._done = trio.Event()
        self.engine: Engine
        self.image: Image
        self.pool: Pool[Sandbox]
        self.volumes: Volumes
        self._workspaces: Workspaces

    def plan(self, plan: Plan) -> None:
        """Say how a table's sandboxes are made, before the first one is wanted."""
        self._plans[plan.table.name] = plan
        if self._scope is not None and self._walls.warm:
            self.pool.keep_warm(plan.table.name, self._walls.warm)

    async def ready(self) -> None:
        """Open the engine, where it is not open. `EngineUnavailable`, `ImageMissing`; asked again, it tries again."""
        async with self._opening:
            if self._scope is None:
                await start_sheltered(self._nursery, self._keep, partial(self._notice, "isolation"))

    async def _keep(self, task_status: trio.TaskStatus[None]) -> None:
        """Hold the engine open until the end of the app."""
        try:
            async with AsyncExitStack() as stack:
                roots = [*self._places.roots]
                self.engine = await stack.enter_async_context(open_engine(project=PROJECT, roots=roots))
                self.image = await find_image(self.engine, *filter(None, [self._walls.image]))
                volumes = Workspaces(self._places.volumes, self.engine, image=self.image.id)
                self._workspaces = await stack.enter_async_context(volumes)
                self.volumes = Volumes(self._workspaces, self._index, self._walls.workspace_mb * 1_000_000)
                self.pool = Pool(self._make, self._end, usable=self._usable, limits=self._walls.of_pool)
                async with trio.open_nursery() as nursery:
                    self._scope = nursery.cancel_scope
                    self._done = trio.Event()
                    await nursery.start(self.pool.run)
                    for name in self._plans if self._walls.warm else ():
                        self.pool.keep_warm(name, self._walls.warm)
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._scope = None
            self._done.set()

    async def aclose(self) -> None:
        """Nothing of it is left when this returns."""
        if self._scope is not None:
            self._scope.cancel()
            await self._done.wait()
        shutil.rmtree(self._places.run, ignore_errors=True)

    # -- containers

    async def start(self, environment: Environment, runtime: str, command: Sequence[str], **more: Any) -> Container:
        """A container with the packages of an environment at ``/plugin/0`` and so on.

        `runtime`: one with a kernel of its own; empty for the engine's own runtime.
        """
        if runtime and self.engine.facts.level(runtime) != "kernel":
            raise EngineUnavailable(
                f"the runtime {runtime!r} brings no kernel of its own, and the level 'kernel' was asked for",
                next_step='write runtime = "runsc" into [isolation], and: fairlead sandbox doctor',
                floor="kernel",
            )
        await trio.to_thread.run_sync(check_python, self.image, environment.paths)
        mounts = [inside_mount()]
        mounts += [Mount(path.resolve(), f"/plugin/{place}") for place, path in enumerate(environment.paths)]
        spec = ContainerSpec(
            self.image.id,
            command,
            mounts,
            limits=self._walls.of_containers,
            runtime=runtime,
            max_age=self._walls.age_seconds + self._walls.idle_seconds,
            **more,
        )
        return await self.engine.start_container(spec)

    async def _make(self, name: str, session: str | None) -> Sandbox:
        """For the pool: a sandbox of a table, for a session or for whoever comes."""
        plan = self._plans[name]
        volume = await self.volumes.take(plan.owner(session) if session is not None else None)
        made = trio.CancelScope()
        try:
            told = partial(self._notice, f"tools/{name}")
            way = await start_sheltered(self._nursery, partial(self._keep_way, plan, made), told)
            if way is not None:
                self._give(way, volume)
            sandbox = await self._begin(plan, volume, way, made)
        except BaseException:
            made.cancel()
            with trio.CancelScope(shield=True):
                await self.volumes.leave(volume, keep=session is not None)
            raise
        sandbox.owned = session is not None
        try:
            sandbox.full = await self.overfull(sandbox) if sandbox.owned else ""
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._end(sandbox)
            raise
        return sandbox

    def _give(self, socket: Path, volume: Workspace) -> None:
        """To the user of the calls alone: another user of this machine must not get out by it. As root; else to all."""
        if os.geteuid() == 0:
            user = Identities.from_base(volume.uids.first).call + self.engine.facts.uid_offset
            os.chown(socket, user, -1)
            socket.chmod(0o600)

    async def describe(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What a table's workers are, from a sandbox that is made for nothing else. Untrusted."""
        sandbox = await self._make(name, None)
        try:
            return await sandbox.runner.describe()
        finally:
            with trio.CancelScope(shield=True):
                await self._end(sandbox)

    async def prove(self, name: str) -> Mapping[str, Any]:
        """The evidence of a table's sandbox, from one that is made for nothing else."""
        sandbox = await self._make(name, None)
        try:
            return sandbox.evidence
        finally:
            with trio.CancelScope(shield=True):
                await self._end(sandbox)

    async def forget(self, session: str) -> None:
        """Remove the files of a session, also of tables that are not there any more."""
        if Volumes.has_files(self._index, session):
            await self.ready()
            self.pool.throw_away(session)
            await self.volumes.erase(session)

    async def _keep_way(
        self, plan: Plan, scope: trio.CancelScope, task_status: trio.TaskStatus[Path | None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """A way out for as long as the scope lives."""
        with scope:
            async with trio.open_nursery() as nursery:
                socket = await plan.open_way(nursery)
                task_status.started(socket)
                if socket is not None:
                    await trio.sleep_forever()

    async def _begin(self, plan: Plan, volume: Workspace, way: Path | None, scope: trio.CancelScope) -> Sandbox:
        container = await self.start(
            plan.environment, plan.runtime, SUPERVISOR, workspace=volume, egress_socket=way, plugins=plan.table.name
        )
        runner = Runner(container.stream, container.kill)
        try:
            with trio.fail_after(START_SECONDS):
                await runner.start(self._setup(plan, container, way))
        except trio.TooSlowError:
            await container.kill()
            problem = f"the sandbox of {plan.table.name!r} was not ready within {START_SECONDS:g} s"
            raise SandboxLost(problem, next_step="fairlead sandbox doctor") from None
        except SandboxLost as lost:
            lost.last_words = await container.wait()
            lost.problem = f"the sandbox of {plan.table.name!r} ended before it was ready: {lost.last_words}"
            raise
        except BaseException:
            await container.kill()
            raise
        return Sandbox(container, runner, volume, owned=False, scope=scope)

    @staticmethod
    def _setup(plan: Plan, container: Container, way: Path | None) -> Setup:
        return Setup(
            paths=[f"/plugin/{place}" for place in range(len(plan.environment.paths))],
            tables=[plan.table],
            identities=Identities.from_base(container.uids.first),
            work="/work",
            record="/record",
            egress=f"/egress/{way.name}" if way is not None else None,
        )

    async def overfull(self, sandbox: Sandbox) -> str:
        """What is wrong with the size of the sandbox's files, in words; empty where they fit.

        Where the kernel keeps the quota, nothing can be; elsewhere it is looked at after the fact.
        """
        if sandbox.volume.guarantee == "hard":
            return ""
        found = await self._workspaces.measure(sandbox.volume)
        if not found.exceeded:
            return ""
        return f"the files of this session are {found.used_bytes} bytes, and {found.quota_bytes} are allowed"

    async def _usable(self, sandbox: Sandbox) -> bool:
        return sandbox.runner.usable and not sandbox.container.ended

    async def _end(self, sandbox: Sandbox) -> None:
        sandbox.runner.usable = False
        try:
            await sandbox.container.aclose()
        finally:
            sandbox.scope.cancel()
            await self.volumes.leave(sandbox.volume, keep=sandbox.owned)

    def figures(self) -> Mapping[str, float]:
        """Of the pool; empty before the first sandbox was wanted."""
        if self._scope is None:
            return {}
        figures = self.pool.figures()
        names = ("in_use", "idle", "waiting", "made", "thrown_away", "wait_p99")
        return {name: getattr(figures, name) for name in names}
