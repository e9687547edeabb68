"""Whole plugins outside of the host: one process, or one container, for each table, kept running by a supervisor."""

from __future__ import annotations

import hashlib
import shutil
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
from fairlead_sandbox.ingress import Ingress, as_reached
from fairlead_sandbox.isolator._containers import Containers
from fairlead_sandbox.isolator._egress import WaysOut
from fairlead_sandbox.isolator._ingress import make_place, open_way_in
from fairlead_sandbox.isolator._secrets import Handles
from fairlead_sandbox.isolator._shelter import start_sheltered
from fairlead_sandbox.process import ProcessSpec, Pulse, Running, Supervisor, launch
from fairlead_sandbox.remote import RemotePlugin

__all__ = ["Guest", "Guests"]


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


@define(eq=False)
class Guest:
    """One plugin's process or container, with all that it needs on the host."""

    plugin: RemotePlugin
    supervisor: Supervisor
    scope: trio.CancelScope

    async def stop(self) -> None:
        """End it, and its ways out and in."""
        await self.supervisor.stop()
        self.scope.cancel()


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
    """By ``kind/name``; those of a session's tools are not among them."""

    async def place(
        self, assignment: Assignment, environment: Environment, level: str, runtime: str
    ) -> Mapping[str, Sequence[Any]]:
        """Start the plugin, and give its workers. Raises what `Supervisor.peer` and `RemotePlugin.prepare` raise."""
        guest = await self.start(assignment, environment, level, runtime)
        self.supervisors[guest.plugin.subject] = guest.supervisor
        workers, table = await guest.plugin.workers(), assignment.table
        for channel in workers.get("channels", ()):
            channel.reached = partial(as_reached, listen=table.listen, hosts=table.hosts)
        return workers

    async def start(
        self, assignment: Assignment, environment: Environment, level: str, runtime: str, session: str | None = None
    ) -> Guest:
        """A guest whose process is started when its first worker is wanted. For tools: of one session alone."""
        subject = f"{assignment.table.kind}/{assignment.table.name}"
        live = partial(self._live, assignment, environment, level, runtime, session)
        guest: Guest = await start_sheltered(self.nursery, live, partial(self.notice, subject))
        return guest

    async def _live(
        self,
        assignment: Assignment,
        environment: Environment,
        level: str,
        runtime: str,
        session: str | None,
        task_status: trio.TaskStatus[Guest] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """All that a guest needs on the host, until its scope is cancelled."""
        table = assignment.table
        subject = f"{table.kind}/{table.name}"
        handles = Handles(table.hosts)
        options = handles.options(assignment.settings.options)
        handles.tell(subject, self.notice)
        work = self.work_of(table, session)
        async with trio.open_nursery() as nursery:
            ways = await self._open_ways(nursery, subject, table, handles)
            hello = _hello(assignment, options, level, work, ways)
            started = (
                partial(self._contain, environment, runtime, subject, ways)
                if level != "process"
                else partial(self._launch, nursery, environment, work, ways, tools=table.kind == "tools")
            )
            state = self.places.states / f"{subject.replace('/', '-')}.json" if session is None else None
            plugin, supervisor = self._pair(subject, hello, started, level, state)
            nursery.start_soon(supervisor.run)
            task_status.started(Guest(plugin, supervisor, nursery.cancel_scope))

    def work_of(self, table: PluginConfig, session: str | None) -> Path:
        """The directory that it may write; each session has one of its own."""
        own = self.places.work / f"{table.kind}-{table.name}"
        return own if session is None else own.with_name(f"{own.name}.sessions") / _digest(session)

    def _pair(
        self,
        subject: str,
        hello: Mapping[str, Any],
        started: Callable[[], Awaitable[Running]],
        level: str,
        state_file: Path | None,
    ) -> tuple[RemotePlugin, Supervisor]:
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
            state_file=state_file,
            pulse=Pulse(plugin.ping),
        )
        return plugin, supervisor

    async def _open_ways(self, nursery: trio.Nursery, subject: str, table: PluginConfig, handles: Handles) -> Ways:
        out = await self.ways.open(nursery, subject, table.hosts, handles.grants)
        if not table.listen:
            return Ways(out, None)
        place = out.parent if out is not None else make_place(self.places.run)
        return Ways(out, await open_way_in(nursery, subject, table.listen, place, self.notice))

    async def _launch(
        self, nursery: trio.Nursery, environment: Environment, work: Path, ways: Ways, *, tools: bool
    ) -> Running:
        command = guest_command(sys.executable, [str(path) for path in environment.paths])
        # Where there are two sockets, it is shown the directory that has both.
        shown = ways.sockets[0].parent if len(ways.sockets) > 1 else next(iter(ways.sockets), None)
        work.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = ProcessSpec(
            command=command,
            environment=environment,
            work_dir=work,
            limits=self.walls.of_processes,
            egress_socket=shown,
            subprocesses=tools,
            # A tool that wants a container gets a process only where that is one with walls.
            requires=("bubblewrap", "seccomp") if tools else (),
        )
        process = await launch(spec, nursery)
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

    async def forget(self, session: str) -> None:
        """Remove what tools at level process have kept of a session. Their guests are stopped by whoever has them."""
        for work in self.places.work.glob(f"*.sessions/{_digest(session)}"):
            await trio.to_thread.run_sync(partial(shutil.rmtree, work, ignore_errors=True))

    async def stop(self) -> None:
        """End all, at the same time."""
        async with trio.open_nursery() as nursery:
            for supervisor in self.supervisors.values():
                nursery.start_soon(supervisor.stop)


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _hello(assignment: Assignment, options: Any, level: str, work: Path, ways: Ways) -> Mapping[str, Any]:
    """What the plugin is told first."""
    table, plugin = assignment.table, assignment.plugin
    inside = level != "process"
    return {
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
