"""Plugins in processes of their own, started in the simplest way, for tests of guest and host together."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

import fairlead
import fairlead_sandbox
from fairlead.wire import check
from fairlead_sandbox.boundary import Peer
from fairlead_sandbox.guest import guest_command
from fairlead_sandbox.inside._frames import FrameReader
from fairlead_sandbox.remote import RemotePlugin

HERE = Path(__file__).parent
PLUGINS = HERE.parents[1] / "plugins"
PATHS = [
    str(HERE),
    str(Path(fairlead.__file__).parents[1]),
    str(Path(fairlead_sandbox.__file__).parents[1]),
    *(str(PLUGINS / name / "src") for name in ("budgets", "clock", "rules", "sqlite")),
    sysconfig.get_paths()["purelib"],
]


class Pipes:
    """The standard input and output of a process. Keeps what went through, so that a test can look at it."""

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.written, self.read = b"", b""
        self.keeps = True

    async def receive(self, max_bytes: int = 65536, /) -> bytes:
        data = bytes(await self._stdout.receive_some(max_bytes))
        if self.keeps:
            self.read += data
        return data

    async def send(self, item: bytes, /) -> None:
        if self.keeps:
            self.written += item
        await self._stdin.send_all(item)

    async def aclose(self) -> None:
        await self._stdin.aclose()
        await self._stdout.aclose()

    def frames(self) -> list[dict[str, Any]]:
        """All that either side has said; none of it differs from the published schema."""
        found = [frame for data in (self.written, self.read) for frame in FrameReader(2**30).feed(data)]
        for frame in found:
            check("boundary", frame)
        return found


class Started:
    """A process that serves a plugin."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.pipes = Pipes(process)
        self.peer: Peer | None = None
        self.last = b""
        self.ended = trio.Event()

    async def watch(self) -> None:
        assert self.process.stderr is not None
        async for data in self.process.stderr:
            self.last = (self.last + data)[-4000:]
        await self.process.wait()
        self.ended.set()

    async def words(self) -> str:
        await self.ended.wait()
        return f"exit {self.process.returncode}: {self.last.decode()}".strip()


class Launcher:
    """Starts a plugin's process when somebody needs it, and again when it has gone."""

    def __init__(self, nursery: trio.Nursery, hello: Mapping[str, Any]) -> None:
        self._nursery = nursery
        self._lock = trio.Lock()
        self.peer: Peer | None = None
        self.started: list[Started] = []
        self.plugin = RemotePlugin(hello, self.link, level="process", evidence=self.evidence)

    def evidence(self) -> Mapping[str, Any]:
        return {"level": "process", "pid": self.started[-1].process.pid}

    async def link(self) -> Peer:
        async with self._lock:
            if self.peer is None or self.peer.ended is not None:
                self.peer = await self._start()
            return self.peer

    async def _start(self) -> Peer:
        command = guest_command(sys.executable, PATHS)
        pipe = subprocess.PIPE
        process = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe, stderr=pipe, env={})
        started = Started(process)
        self.started.append(started)
        self._nursery.start_soon(started.watch)
        peer = started.peer = Peer(
            started.pipes, serve=self.plugin.serve, on_stuck=process.kill, last_words=started.words
        )
        self._nursery.start_soon(peer.run)
        await self.plugin.prepare(peer)
        return peer

    def kill(self) -> None:
        self.started[-1].process.kill()


def hello_for(
    kind: str,
    entry_point: str,
    *,
    name: str = "kit",
    runtime: str = "trio",
    options: Mapping[str, Any] | None = None,
    data_dir: Path | str = ".",
    egress: Path | None = None,
) -> dict[str, Any]:
    settings = {"name": name, "options": dict(options or {}), "data_dir": str(data_dir), "profile": "development"}
    return {
        "kind": kind,
        "name": name,
        "entry_point": entry_point,
        "runtime": runtime,
        "settings": settings,
        "egress": None if egress is None else {"socket": str(egress)},
    }


@asynccontextmanager
async def launching() -> AsyncIterator[Callable[..., Launcher]]:
    """Gives a function that makes launchers; at the end each process has ended by itself, and kept to the schema."""
    made: list[Launcher] = []
    async with trio.open_nursery() as nursery:

        def launch(kind: str, entry_point: str, **more: Any) -> Launcher:
            made.append(Launcher(nursery, hello_for(kind, entry_point, **more)))
            return made[-1]

        try:
            yield launch
        finally:
            with trio.CancelScope(shield=True):
                started = [each for launcher in made for each in launcher.started]
                for each in started:
                    if each.peer is not None:
                        await each.peer.aclose()
                with trio.move_on_after(5) as scope:
                    for each in started:
                        await each.ended.wait()
                for each in started:
                    each.process.kill()
            nursery.cancel_scope.cancel()
    assert not scope.cancelled_caught, "a process outlives its host"
    for each in started:
        if each.pipes.keeps:
            each.pipes.frames()
