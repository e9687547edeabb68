"""The engine as it is seen from outside: which containers a process has, and when they are gone."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from attrs import frozen

from fairlead_sandbox.container import Listing, list_containers, open_engine

__all__ = ["Belongings", "containers_of", "descendants", "inspected", "lives", "within"]


def containers_of(pid: int) -> list[Listing]:
    """Those that a process made, also one that is dead: nothing is tidied here."""

    async def look() -> list[Listing]:
        async with open_engine(project="fairlead", roots=[], collect=False) as engine:
            return [each for each in await list_containers(engine) if each.pid == pid]

    return trio.run(look)


def inspected(container: str) -> dict[str, Any]:
    """The engine's own word about a container."""

    async def look() -> dict[str, Any]:
        async with open_engine(project="fairlead", roots=[], collect=False) as engine:
            return dict(await trio.to_thread.run_sync(engine.api.inspect_container, container))

    return trio.run(look)


def within(seconds: float, fact: Callable[[], object]) -> bool:
    """Whether it becomes true in that time."""
    until = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)  # real time: other processes and the engine work meanwhile
    return True


@frozen
class Belongings:
    """What this process has on the machine."""

    containers: frozenset[str]
    processes: frozenset[int]
    threads: frozenset[str]
    """But for trio's own, which wait some seconds for more work."""
    files: int
    """Open ones."""
    mounts: frozenset[str]
    """Of the app's data."""
    temporary: frozenset[str]

    @classmethod
    def now(cls, data: Path) -> Belongings:
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return cls(
            frozenset(each.id for each in containers_of(os.getpid())),
            frozenset(descendants(os.getpid())),
            frozenset(each.name for each in threading.enumerate() if not each.name.startswith("Trio thread")),
            len(list(Path("/proc/self/fd").iterdir())),
            frozenset(place for place in mounts if place.startswith(f"{data}/")),
            frozenset(path.name for path in Path(tempfile.gettempdir()).iterdir()),
        )

    def more_than(self, before: Belongings) -> dict[str, object]:
        """What there is now and was not before."""
        found: dict[str, object] = {
            "containers": self.containers - before.containers,
            "processes": self.processes - before.processes,
            "threads": self.threads - before.threads,
            "files": max(0, self.files - before.files),
            "mounts": self.mounts - before.mounts,
            "temporary": self.temporary - before.temporary,
        }
        return {name: value for name, value in found.items() if value}


def descendants(pid: int) -> list[int]:
    """The processes below one."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def lives(pid: int) -> bool:
    """Whether a process is there and not only waits to be buried by its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
