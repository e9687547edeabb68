"""The Docker Engine: its SDK in worker threads, and the containers that this process has made with it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from fairlead_sandbox.container._container import Container, Hold, status_in_words
from fairlead_sandbox.container._evidence import process_facts, read_evidence
from fairlead_sandbox.container._facts import EngineFacts
from fairlead_sandbox.container._hijack import AttachedStream, PendingExit, attach, watch_exit
from fairlead_sandbox.container._instance import Instance
from fairlead_sandbox.container._options import check_creation
from fairlead_sandbox.container._request import compose, labels
from fairlead_sandbox.container._spec import ContainerSpec
from fairlead_sandbox.container._threads import in_thread
from fairlead_sandbox.container._translate import is_changing, translated
from fairlead_sandbox.container._uids import HeldRange, held_ranges
from fairlead_sandbox.errors import EngineUnavailable, SandboxLost

if TYPE_CHECKING:
    from docker import APIClient

__all__ = ["Engine"]

T = TypeVar("T")
DOCTOR = "fairlead sandbox doctor"
THREADS = 8
"""Calls to the engine at once: each has a thread and a connection."""
CLOSING_SECONDS = 10.0
ENDING_SECONDS = 2.0
AGAIN_SECONDS = 0.02


class Engine:
    """One Docker Engine, as one process uses it; made by `open_engine`.

    Blocking calls go through `ask`. Containers that are still there at the end are killed with the engine's block.
    """

    def __init__(self, api: APIClient, path: str, facts: EngineFacts, project: str, roots: Sequence[Path]) -> None:
        self.api = api
        """Docker's SDK; its methods block, call them through `ask`."""
        self.facts = facts
        self.instance = Instance.current()
        self.project = project
        self._path = path
        self._roots = tuple(root.resolve() for root in roots)
        self._limiter = trio.CapacityLimiter(THREADS)
        self._containers: dict[str, Container] = {}
        self._taken: set[int] = set()

    @property
    def containers(self) -> tuple[Container, ...]:
        """Those of this process that are not known to be gone."""
        return tuple(self._containers.values())

    async def ask(self, call: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """Run a call of the SDK in a thread; its errors become ours. `undo` as in `in_thread`."""

        def work() -> T:
            with translated():
                return call()

        return await in_thread(work, undo=undo, limiter=self._limiter)

    async def start_container(self, spec: ContainerSpec) -> Container:
        """A running container with its streams attached and its isolation read back.

        `ImageMissing` where the image is not there, `EngineUnavailable` where the engine does not answer, does not
        have the runtime, or has not isolated as asked; `ConfigError` where the request is not allowed; `SandboxLost`,
        with its last words, where PID 1 ended at once. Whatever it
        raises, and cancelled at any point, it leaves no container behind.
        """
        level = self.facts.level(spec.runtime)
        if spec.egress_socket:
            self.facts.check_sockets(spec.runtime)
        if not self.facts.seccomp:
            raise EngineUnavailable("the engine was built without seccomp", next_step=DOCTOR, floor="container")
        held = self._claim(spec)
        uids = held.uids if held else spec.workspace.uids  # type: ignore[union-attr]  # one of the two is there
        release = held.release if held else lambda: None
        try:
            request = compose(spec, uids, kernel=level == "kernel")
            request["Labels"] = labels(spec, uids, request, self.instance, self.project)
            check_creation(request, self._roots)
            name = await self.ask(lambda: self._create(request), undo=self._remove)
            hold = Hold(uids, release, partial(self._containers.pop, name, None), partial(self.remove, name))
            return await self._start(name, request, level, hold, spec.workspace.guarantee if spec.workspace else "")
        except BaseException:
            release()
            raise

    def _claim(self, spec: ContainerSpec) -> HeldRange | None:
        """A range of its own, or that of the workspace, which whoever opened it holds."""
        return self.facts.uid_space.claim(self._taken) if spec.workspace is None else None

    def _create(self, request: dict[str, Any]) -> str:
        created = self.api.create_container_from_config(request)  # type: ignore[no-untyped-call]  # the stubs have none
        return str(created["Id"])

    def _remove(self, container: str) -> None:
        until = time.monotonic() + CLOSING_SECONDS
        while time.monotonic() < until:
            try:
                with translated():
                    self.api.remove_container(container, force=True, v=True)
            except SandboxLost as error:
                if not is_changing(error):
                    return
                # The engine removes it by itself, because it ended: it is gone in a moment.
                time.sleep(AGAIN_SECONDS)
            except EngineUnavailable:
                return

    async def _start(self, name: str, request: dict[str, Any], level: str, hold: Hold, workspace: str) -> Container:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.remove, name)
            exit_ = await watch_exit(self._path, self.facts.api, name)
            stack.callback(exit_.close)
            stream = await attach(self._path, self.facts.api, name)
            stack.callback(stream.close)
            await self.ask(lambda: self.api.start(name))
            inspected = await self._inspect(name)
            if not inspected["State"]["Running"]:
                raise await _lost(stream, exit_)
            pid = int(inspected["State"]["Pid"])
            process = process_facts(pid, name) if level == "container" else None
            evidence = read_evidence(request, inspected, level, process, workspace)
            made = self._containers[name] = Container(name, evidence, stream, exit_, hold, pid)
            # From here on the container answers for itself.
            stack.pop_all()
        return made

    async def _inspect(self, name: str) -> dict[str, Any]:
        try:
            return dict(await self.ask(lambda: self.api.inspect_container(name)))
        except SandboxLost:
            # It ended and was removed before it could be looked at.
            return {"State": {"Running": False}}

    async def remove(self, container: str) -> None:
        """Kill and remove a container, whatever its state; none of that name is fine too. Not cancelled for 10 s."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_SECONDS):
            await in_thread(lambda: self._remove(container), limiter=self._limiter)

    def avoid(self, uids: Sequence[str]) -> None:
        """Ranges in labels of containers that others have made."""
        self._taken = held_ranges(uids)

    async def aclose(self) -> None:
        """Kill what is still running."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSING_SECONDS):
            async with trio.open_nursery() as nursery:
                for container in self.containers:
                    nursery.start_soon(container.kill)
        await in_thread(self.api.close)


async def _lost(stream: AttachedStream, exit_: PendingExit) -> SandboxLost:
    """Why a container ended before anything was said to it."""
    with trio.move_on_after(ENDING_SECONDS):
        await stream.drain()
        await exit_.wait()
    how = status_in_words(exit_.status)
    return SandboxLost(f"the container ended as soon as it had begun: {how}", last_words=stream.last_words)
