"""Whole plugins outside of the host: one process, or one container, for each table, kept running by a supervisor."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio
from attrs import define, field, frozen

from fairlead.config import PluginConfig
from fairlead.isolation import Assignment
from fairlead_sandbox._places import Places, Walls
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.guest import guest_command
from fairlead_sandbox.ingress import Ingress
from fairlead_sandbox.isolator._containers import Containers
from fairlead_sandbox.isolator._egress import WaysOut
from fairlead_sandbox.isolator._ingress import make_place, open_way_in
from fairlead_sandbox.isolator._secrets import Handles
from fairlead_sandbox.isolator._shelter import start_sheltered
from fairlead_sandbox.process import ProcessSpec, Running, Supervisor, launch
from fairlead_sandbox.remote import RemotePlugin

__all__ = ["Guests"]


@frozen
class Ways:
    """The sockets of the host over which a plugin reaches others, and is reached. They lie in one directory."""

    out: Path | None
    into: Ingress | None

    @property
    def sockets(self) -> list[Path]:
        found = [self.out, self.into.socket_path if self.into is not None else None]
        return [socket for socket in found if socket is not None]

    def told(self, directory: str) -> Mapping[str, Any]:
        """What the guest must know of them; the directory is where it finds theirs, empty for the host's own."""

        def place(socket: Path | None) -> Mapping[str, str] | None:
            if socket is None:
                return None
            return {"socket": f"{directory}/{socket.name}" if directory else str(socket)}

        return {"egress": place(self.out), "ingress": place(self.into.socket_path if self.into is not None else None)}

    def expect(self, user: int) -> None:
        """The plugin has been started, as this user of the host."""
        if self.into is not None:
            self.into.expect(user)


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
        ways = await self._open_ways(subject, table, handles)
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
            **ways.told("/egress" if inside else ""),
        }
        started = (
            partial(self._contain, environment, runtime, subject, ways)
            if inside
            else partial(self._launch, environment, work, ways, tools=table.kind == "tools")
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

    async def _open_ways(self, subject: str, table: PluginConfig, handles: Handles) -> Ways:
        out = await start_sheltered(
            self.nursery, partial(self._keep_way, subject, table.hosts, handles), partial(self.notice, subject)
        )
        if not table.listen:
            return Ways(out, None)
        place = out.parent if out is not None else make_place(self.places.run)
        return Ways(out, await open_way_in(self.nursery, subject, table.listen, place, self.notice))

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

    async def _launch(self, environment: Environment, work: Path, ways: Ways, *, tools: bool) -> Running:
        command = guest_command(sys.executable, [str(path) for path in environment.paths])
        # Where there are two sockets, it is shown the directory that has both.
        shown = ways.sockets[0].parent if len(ways.sockets) > 1 else next(iter(ways.sockets), None)
        spec = ProcessSpec(
            command=command,
            environment=environment,
            work_dir=work,
            limits=self.walls.of_processes,
            egress_socket=shown,
            subprocesses=tools,
        )
        process = await launch(spec, self.nursery)
        ways.expect(process.evidence["uid"])
        return process

    async def _contain(self, environment: Environment, runtime: str, subject: str, ways: Ways) -> Running:
        await self.containers.ready()
        paths = [f"/plugin/{place}" for place in range(len(environment.paths))]
        container = await self.containers.start(
            environment,
            runtime,
            guest_command("/usr/bin/python3", paths),
            supervised=False,
            egress_socket=next(iter(ways.sockets), None),
            plugins=subject,
        )
        ways.expect(container.uids.first)
        return container

    async def stop(self) -> None:
        """End all, at the same time."""
        async with trio.open_nursery() as nursery:
            for supervisor in self.supervisors.values():
                nursery.start_soon(supervisor.stop)
