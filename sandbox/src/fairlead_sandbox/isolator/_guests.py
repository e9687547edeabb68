"""Whole plugins outside of the host: one process, or one container, for each table, kept running by a supervisor."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from fairlead.isolation import Assignment
from fairlead_sandbox._places import Places, Walls
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.guest import guest_command
from fairlead_sandbox.isolator._containers import Containers
from fairlead_sandbox.isolator._egress import WaysOut
from fairlead_sandbox.isolator._secrets import Handles
from fairlead_sandbox.isolator._shelter import start_sheltered
from fairlead_sandbox.process import ProcessSpec, Running, Supervisor, launch
from fairlead_sandbox.remote import RemotePlugin

__all__ = ["Guests"]


@define
class Guests:
    """The plugins of one app that run as a whole in a place of their own."""

    walls: Walls
    places: Places
    ways: WaysOut
    containers: Containers
    nursery: trio.Nursery
    notice: Callable[..., None]
    supervisors: dict[str, Supervisor] = field(factory=dict)
    """By ``kind/name``."""

    async def place(
        self, assignment: Assignment, environment: Environment, level: str, runtime: str
    ) -> Mapping[str, Sequence[Any]]:
        """Start the plugin, and give its workers. Raises what `Supervisor.peer` and `RemotePlugin.prepare` raise."""
        table, plugin = assignment.table, assignment.plugin
        subject = f"{table.kind}/{table.name}"
        handles = Handles(table.hosts)
        options = handles.options(assignment.settings.options)
        socket = await start_sheltered(
            self.nursery, partial(self._keep_way, subject, table.hosts, handles), partial(self.notice, subject)
        )
        work = self.places.work / f"{table.kind}-{table.name}"
        inside = level != "process"
        hello = {
            "kind": table.kind,
            "name": table.name,
            "entry_point": plugin.value,
            "runtime": plugin.manifest.runtime if plugin.manifest is not None else "trio",
            "settings": {
                "name": table.name,
                "options": options,
                "data_dir": "/tmp" if inside else str(work),  # noqa: S108  # a tmpfs in the container
                "profile": assignment.settings.profile,
            },
            "egress": {"socket": f"/egress/{socket.name}" if inside else str(socket)} if socket is not None else None,
        }
        started = (
            partial(self._contain, environment, runtime, subject, socket)
            if inside
            else partial(self._launch, environment, work, socket, tools=table.kind == "tools")
        )
        return await self._keep(subject, hello, started, level)

    async def _keep(
        self, subject: str, hello: Mapping[str, Any], started: Callable[[], Awaitable[Running]], level: str
    ) -> Mapping[str, Sequence[Any]]:
        async def link() -> Any:
            return await supervisor.peer()

        plugin = RemotePlugin(
            hello,
            link,
            level=level,  # type: ignore[arg-type]  # one of the levels
            evidence=lambda: supervisor.state.evidence,
            figures=lambda: supervisor.state.figures,
        )
        supervisor = Supervisor(
            subject,
            started,
            plugin.prepare,
            serve=plugin.serve,
            notice=lambda who, detail, how: self.notice(who, detail, level=how),
            state_file=self.places.states / f"{subject.replace('/', '-')}.json",
        )
        self.supervisors[subject] = supervisor
        self.nursery.start_soon(supervisor.run)
        return await plugin.workers()

    async def _keep_way(
        self,
        subject: str,
        hosts: Sequence[str],
        handles: Handles,
        task_status: trio.TaskStatus[Path | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with trio.open_nursery() as nursery:
            socket = await self.ways.open(nursery, subject, hosts, handles.grants)
            task_status.started(socket)

    async def _launch(self, environment: Environment, work: Path, socket: Path | None, *, tools: bool) -> Running:
        command = guest_command(sys.executable, [str(path) for path in environment.paths])
        spec = ProcessSpec(
            command=command,
            environment=environment,
            work_dir=work,
            limits=self.walls.of_processes,
            egress_socket=socket,
            subprocesses=tools,
        )
        return await launch(spec, self.nursery)

    async def _contain(self, environment: Environment, runtime: str, subject: str, socket: Path | None) -> Running:
        await self.containers.ready()
        paths = [f"/plugin/{place}" for place in range(len(environment.paths))]
        return await self.containers.start(
            environment,
            runtime,
            guest_command("/usr/bin/python3", paths),
            supervised=False,
            egress_socket=socket,
            plugins=subject,
        )

    async def stop(self) -> None:
        """End all, at the same time."""
        async with trio.open_nursery() as nursery:
            for supervisor in self.supervisors.values():
                nursery.start_soon(supervisor.stop)
