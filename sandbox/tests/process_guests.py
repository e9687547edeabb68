"""Small programs for plugin processes: one that answers calls over real frames, with code that a test sends to it."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve, field, frozen

import fairlead_sandbox
from fairlead_sandbox.boundary import Peer
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.process import Machine, PluginProcess, ProcessSpec, launch
from fairlead_sandbox.process._tree import status

CODE = Path(fairlead_sandbox.__file__).parent
"""Holds `inside`, whose frames need nothing but the standard library."""
ENVIRONMENT = Environment((CODE,), digest="of the tests")
BARE = (
    "this machine lacks a layer of isolation; get bubblewrap with: sudo apt install bubblewrap, and run the tests as"
    " root or where user namespaces are allowed"
)

GUEST = """
import os, sys, threading
sys.path[:0] = sys.argv[1:]
from inside._frames import FrameReader, encode
out = os.dup(1)
os.dup2(2, 1)
reader = FrameReader(1 << 20)
lock = threading.Lock()
state = {}
def answer(frame):
    with lock:
        data = encode(frame)
        while data:
            data = data[os.write(out, data):]
def serve(frame):
    scope = {"state": state, "args": frame["args"], "answer": answer, "out": out}
    try:
        exec(frame["args"].get("code", ""), scope)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        answer({"type": "error", "id": frame["id"], "error": {"class": "SandboxError", "problem": problem}})
    else:
        answer({"type": "result", "id": frame["id"], "value": scope.get("value")})
while data := os.read(0, 65536):
    for frame in reader.feed(data):
        if frame["type"] == "call":
            if frame["op"] == "thread":
                threading.Thread(target=serve, args=(frame,), daemon=True).start()
            else:
                serve(frame)
"""


def guest_spec(work_dir: Path, code: str = GUEST, **more: Any) -> ProcessSpec:
    """Runs `code` in a plugin process; by default the guest that does what it is told."""
    command = [sys.executable, "-I", "-S", "-c", code, str(CODE)]
    return ProcessSpec(command, ENVIRONMENT, work_dir, **more)


@frozen
class Guest:
    """A guest that runs, and its host's end of the boundary."""

    process: PluginProcess
    peer: Peer
    outcome: list[str] = field(factory=list)

    async def do(self, code: str, op: str = "call", **args: Any) -> Any:
        """Run code in the guest; what it leaves in ``value``."""
        return await self.peer.call(op, {"code": code, **args})


@asynccontextmanager
async def guest(spec: ProcessSpec, machine: Machine) -> AsyncIterator[Guest]:
    """Killed at the end, in any case."""
    async with trio.open_nursery() as nursery:
        process = await launch(spec, nursery, machine)
        peer = Peer(process.stream, on_stuck=process.kill, last_words=process.wait)
        nursery.start_soon(peer.run)
        try:
            yield Guest(process, peer)
        finally:
            await process.kill()
            await peer.aclose()


def require(machine: Machine, *, bubblewrap: bool = False, landlock: bool = False, root: bool = False) -> Machine:
    """The machine; the test is skipped where it lacks a layer, and fails where it must not lack one."""
    there = {"bubblewrap": machine.bubblewrap is not None, "landlock": machine.landlock > 0, "root": machine.root}
    wanted = {"bubblewrap": bubblewrap, "landlock": landlock, "root": root}
    missing = [name for name, needed in wanted.items() if needed and not there[name]]
    if missing:
        words = f"{', '.join(missing)}: {BARE}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    return machine


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run. What is dead may wait for the init of this machine to take note of it."""
    return [pid for pid in pids if status(pid).get("State", "Z")[0] not in "ZX"]


def as_user(machine: Machine) -> Machine:
    """With a namespace of users, as where the host is not root."""
    return evolve(machine, bubblewrap_as="user")


def without_bubblewrap(machine: Machine) -> Machine:
    return evolve(machine, bubblewrap=None)


def bare(machine: Machine) -> Machine:
    """Landlock, seccomp and rlimits only: what is left where a machine allows no namespaces."""
    return evolve(machine, bubblewrap=None, unshare=0, cgroups={})


WAYS: dict[str, Callable[[Machine], Machine]] = {
    "bubblewrap": lambda machine: machine,
    "user": as_user,
    "unshare": without_bubblewrap,
    "bare": bare,
}


def way_of(machine: Machine, name: str) -> Machine:
    """One of the ways in which a machine can isolate a process."""
    require(machine, bubblewrap=name in ("bubblewrap", "user"), landlock=True)
    return WAYS[name](machine)
