"""Everything that runs plugins outside of the host, for one app."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import trio

from fairlead import Finding, ToolSpec
from fairlead.config import Config
from fairlead.errors import ConfigError, PluginLoadError
from fairlead.isolation import Assignment
from fairlead.types import Isolation
from fairlead_sandbox._places import Places, Walls
from fairlead_sandbox.environments import Environment, PluginStore, bundle, hold
from fairlead_sandbox.errors import EngineUnavailable, ImageMissing
from fairlead_sandbox.isolator._containers import Containers, Plan
from fairlead_sandbox.isolator._egress import WaysOut
from fairlead_sandbox.isolator._guest_tools import GuestTool, SessionGuests
from fairlead_sandbox.isolator._guests import Guest, Guests
from fairlead_sandbox.isolator._secrets import Handles
from fairlead_sandbox.isolator._tools import SandboxedTool, described
from fairlead_sandbox.runner import Table

__all__ = ["Yard"]


class Yard:
    """Tools run in sandboxes, a call a process; other plugins as a whole, in a process or container of their own."""

    def __init__(self, config: Config, nursery: trio.Nursery, notice: Callable[..., None]) -> None:
        self._seconds = config.limits.tool_seconds
        self._notice = notice
        self._walls = Walls.read(config.isolation)
        self._places = Places.of(config)
        self._containers = Containers(self._walls, self._places, nursery, notice)
        self._ways = WaysOut(self._places.run, notice)
        self._guests = Guests(self._walls, self._places, self._ways, self._containers, nursery, notice)
        self._held = ExitStack()
        self._of_sessions: list[SessionGuests] = []
        self._store = PluginStore(self._places.plugins, self._places.cache)

    async def open(self) -> None:
        await trio.to_thread.run_sync(self._places.prepare)

    async def close(self) -> None:
        for guests in self._of_sessions:
            await guests.aclose()
        await self._guests.stop()
        await self._containers.aclose()
        self._held.close()

    def check(self) -> Sequence[Finding]:
        found = [
            Finding(subject, ok=state.status in ("ready", "stopped", "starting"), detail=_told(state))
            for subject, state in ((name, each.state) for name, each in self._guests.supervisors.items())
        ]
        if figures := self._containers.figures():
            told = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items())
            found.append(Finding("sandboxes", ok=True, detail=told))
        return found

    async def forget(self, session: str) -> None:
        for guests in self._of_sessions:
            await guests.end(session)
        await self._guests.forget(session)
        await self._containers.forget(session)

    async def place(self, assignment: Assignment) -> Mapping[str, Sequence[Any]]:
        environment = await trio.to_thread.run_sync(self._environment, assignment)
        self._held.enter_context(hold(environment))  # nobody removes it while the app runs
        level = assignment.level
        runtime = (self._walls.runtime or "runsc") if level == "kernel" else ""
        if assignment.table.kind == "tools" and assignment.table.listen:
            subject = f"{assignment.table.kind}.{assignment.table.name}"
            problem = "a tool is not reached from outside: it runs for one call at a time"
            raise ConfigError(problem, path=f"{subject}.listen", next_step=f"take listen out of [{subject}]")
        if assignment.table.kind == "tools" and level != "process" and not await self._falls_back(level):
            return {"tools": await self._tools(assignment, environment, level, runtime)}
        if assignment.table.kind == "tools":
            return {"tools": await self._process_tools(assignment, environment)}
        return await self._guests.place(assignment, environment, level, runtime)

    async def _falls_back(self, level: Isolation) -> bool:
        """Whether the configuration allows a process, and there is nothing better."""
        if self._walls.fallback != "process" or level != "container":
            return False
        try:
            await self._containers.ready()
        except (EngineUnavailable, ImageMissing):
            return True
        return False

    def _environment(self, assignment: Assignment) -> Environment:
        plugin = assignment.plugin
        try:
            if plugin.site:
                return self._store.environment(Path(plugin.site).parent.parent.name)
            return bundle(distribution(plugin.distribution), self._places.cache)
        except OSError as error:
            problem = f"its packages cannot be copied to {self._places.cache}: {error}"
            raise PluginLoadError(problem, next_step=f"df -h {self._places.data}") from error

    async def _process_tools(self, assignment: Assignment, environment: Environment) -> list[GuestTool]:
        manifest = assignment.plugin.manifest

        async def start(session: str) -> Guest:
            return await self._guests.start(assignment, environment, "process", "", session)

        guests = SessionGuests(start, most=self._walls.containers, idle_seconds=self._walls.idle_seconds)
        self._of_sessions.append(guests)
        if manifest is not None and manifest.tools and not assignment.settings.options:
            specs: Sequence[Sequence[ToolSpec]] = [manifest.tools]
        else:
            specs = await guests.describe()
        made = [GuestTool(guests, worker, each, "process") for worker, each in enumerate(specs)]
        for worker, tool in enumerate(made):
            tool.name = _name(assignment.table.name, worker)
            tool.distribution = environment.digest
        return made

    async def _tools(
        self, assignment: Assignment, environment: Environment, level: Isolation, runtime: str
    ) -> list[SandboxedTool]:
        table, manifest = assignment.table, assignment.plugin.manifest
        handles = Handles(table.hosts)
        options = handles.options(assignment.settings.options)
        subject = f"{table.kind}/{table.name}"
        handles.tell(subject, self._notice)

        async def open_way(nursery: trio.Nursery) -> Path | None:
            return await self._ways.open(nursery, subject, table.hosts, handles.grants)

        plan = Plan(
            Table(table.name, assignment.plugin.value, options, assignment.settings.profile),
            environment,
            runtime,
            shared_volume=manifest is not None and "workspace" in manifest.mounts,
            open_way=open_way,
        )
        self._containers.plan(plan)
        if manifest is not None and manifest.tools and not options:  # which may change what it offers
            specs: Sequence[Sequence[Any]] = [manifest.tools]
        else:
            specs = await described(plan, self._containers, self._places.cache)
        made = []
        for worker, each in enumerate(specs):
            tool = SandboxedTool(
                plan,
                worker,
                each,
                containers=self._containers,
                walls=self._walls,
                level=level,
                seconds=self._seconds,
            )
            tool.name = _name(table.name, worker)
            made.append(tool)
        return made


def _name(table: str, worker: int) -> str:
    """As the core names workers."""
    return table if worker == 0 else f"{table}-{worker + 1}"


def _told(state: Any) -> str:
    words = f": {state.last_words[:200]}" if state.last_words and state.status != "ready" else ""
    return f"{state.status}, {state.restarts} restarts{words}"
