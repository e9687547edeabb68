"""What an idle container takes of the machine's memory, and who of its processes takes it. For `sandbox.py`.

The measure of the goal is what the kernel counts for the container's own control group without page cache: memory of
its processes that no file backs, and the kernel's own for them. Files, of the image and the plugin, are pages that all
containers share and that the kernel drops when it needs room; they are not counted. The engine's shim, one process for
each container, is the engine's affair and stands on a line of its own.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence
from pathlib import Path

import trio
from attrs import frozen
from sandbox_table import Row  # type: ignore[import-not-found]  # beside this program, which is no package
from sandbox_world import Sandboxed, World  # type: ignore[import-not-found]  # as above

from fairlead_sandbox.container._figures import cgroup_places
from fairlead_sandbox.environments import Environment

MB = 1 << 20
GOAL_MB = 10.0
SETTLE_SECONDS = 6.0
"""A second more than after which no process waits for the next call."""
SLEEP_SECONDS = 20.0
"""After which the plugins are loaded no more: a minute, where nobody measures."""
ROLES = ("supervisor", "seed", "zygote")


@frozen
class Taken:
    """Of one container; MB."""

    anonymous: float
    kernel: float
    cache: float
    processes: tuple[float, ...]
    """Proportional set sizes, in the order of `ROLES`."""
    shim: float


async def memory_rows(world: World, environment: Environment, count: int) -> list[Row]:
    """Of `count` containers of one set of plugins, each of which has answered one call."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        before = 0.0
        for number in range(count + 1):
            if number == 1:  # with the first one, what all share is there
                before = _available()
            sandbox = await stack.enter_async_context(world.sandbox(environment, sleep_seconds=SLEEP_SECONDS))
            await sandbox.call("nothing")
            made.append(sandbox)
        await trio.sleep(SETTLE_SECONDS)
        rested = [_taken(sandbox) for sandbox in made]
        await trio.sleep(SLEEP_SECONDS)
        asleep = [_taken(sandbox) for sandbox in made]
        machine = (before - _available()) / count
        woken = statistics.median([(await sandbox.call("nothing"))[0] for sandbox in made])
        again = statistics.median([(await sandbox.call("nothing"))[0] for sandbox in made])
    return [
        *_rows(asleep, machine),
        Row("the call that wakes it takes", f"{1000 * woken:.0f} ms", f"{woken / again:.0f}x the one after it"),
        Row("the first minute, with its plugins loaded", f"{_own(rested):.1f} MB"),
        *_shares(rested),
    ]


def _own(taken: Sequence[Taken]) -> float:
    return statistics.median(each.anonymous + each.kernel for each in taken)


def _shares(taken: Sequence[Taken]) -> list[Row]:
    rows = []
    for place, role in enumerate(ROLES[: len(taken[0].processes)]):
        part = statistics.median(each.processes[place] for each in taken)
        rows.append(Row(f"  {role}, with its share of what several have", f"{part:.1f} MB"))
    return rows


def _rows(taken: Sequence[Taken], machine: float) -> list[Row]:
    own = _own(taken)
    rows = [
        Row(
            "memory of an idle container, control group without cache",
            f"{own:.1f} MB",
            f"{own / GOAL_MB:.2f} of the goal",
            f"<= {GOAL_MB:g} MB",
            own <= GOAL_MB,
        ),
        Row("  of it the kernel's own", f"{statistics.median(each.kernel for each in taken):.1f} MB"),
    ]
    rows += _shares(taken)
    rows.append(Row("page cache in its name", f"{statistics.median(each.cache for each in taken):.1f} MB"))
    rows.append(Row("beside it, the engine's shim", f"{statistics.median(each.shim for each in taken):.1f} MB"))
    rows.append(Row("the machine had less for each", f"{machine:.1f} MB"))
    return rows


def _taken(sandbox: Sandboxed) -> Taken:
    process = sandbox.container.inspected.process
    assert process is not None, "the engine's processes cannot be seen from here"
    places = cgroup_places(process.pid, sandbox.container.id)
    group = places.get("memory") or places[""]
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    if "memory" in places:
        anonymous, cache = int(stat["rss"]), int(stat["cache"])
        kernel = int((group / "memory.kmem.usage_in_bytes").read_text())
    else:
        anonymous, cache, kernel = int(stat["anon"]), int(stat["file"]), int(stat["kernel"])
    pids = sorted(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    pids.remove(process.pid)
    shares = tuple(_share(pid) for pid in (process.pid, *pids))
    return Taken(anonymous / MB, kernel / MB, cache / MB, shares, _share(_parent(process.pid)))


def _share(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _parent(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


def _available() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) / 1024
