"""A cgroup for one plugin process, where this machine lets us make one: it counts what rlimits cannot.

Version 1 has a tree for each controller, version 2 one for all. Nothing here needs a running systemd; where the
directories are not ours to write, there is no cgroup, and the evidence says so.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from fairlead_sandbox.process._spec import ProcessLimits

__all__ = ["Cgroup", "find_parents", "make_cgroup", "sweep"]

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
CONTROLLERS = ("memory", "pids")
PREFIX = "fairlead-plugin-"
YOUNG = 60.0
"""Seconds in which an empty cgroup may be one that another host has just made."""


@frozen
class Cgroup:
    """A directory, or on version 1 one for each controller."""

    places: Mapping[str, Path]
    """By controller."""
    unified: bool
    """Version 2."""

    def add(self, pid: int) -> None:
        """Move a process in; its children are then born there. `OSError` where it has gone."""
        for place in set(self.places.values()):
            (place / "cgroup.procs").write_text(str(pid), "ascii")

    def pids(self) -> list[int]:
        """Who is in it."""
        with contextlib.suppress(OSError):
            return [int(word) for word in (self.places["pids"] / "cgroup.procs").read_text("ascii").split()]
        return []

    def kill(self) -> bool:
        """Kill all in it; whether there was anybody. Call it until there is nobody: on version 1 one may fork."""
        found = self.pids()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(found)

    def memory_limit(self) -> int:
        """Bytes, read back from the kernel."""
        name = "memory.max" if self.unified else "memory.limit_in_bytes"
        return int((self.places["memory"] / name).read_text("ascii"))

    def out_of_memory(self) -> bool:
        """The kernel killed in it for want of memory."""
        name = "memory.events" if self.unified else "memory.oom_control"
        with contextlib.suppress(OSError, ValueError):
            lines = (self.places["memory"] / name).read_text("ascii").splitlines()
            return any(line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in lines)
        return False

    def remove(self) -> bool:
        """Remove it; false while somebody is in it."""
        gone = True
        for place in set(self.places.values()):
            try:
                place.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


def find_parents(root: Path = ROOT, own: Path = OWN) -> Mapping[str, Path]:
    """Where cgroups can be made, by controller: below this process's own ones. Empty where one of them cannot be.

    On version 2 the parent must already hand the controllers on: a cgroup that has processes cannot start to.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text("utf-8").splitlines()]
    except OSError:
        return {}
    names = {name: path for _, joined, path in lines for name in (joined.split(",") if joined else ("",))}
    if all(name in names for name in CONTROLLERS):
        found = {name: root / name / names[name].lstrip("/") for name in CONTROLLERS}
        return found if all(_is_ours(place) for place in found.values()) else {}
    if "" not in names:
        return {}
    place = root / names[""].lstrip("/")
    try:
        controllers = (place / "cgroup.subtree_control").read_text("ascii").split()
    except OSError:
        return {}
    return dict.fromkeys(CONTROLLERS, place) if {*CONTROLLERS} <= {*controllers} and _is_ours(place) else {}


def _is_ours(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK)


def sweep(parents: Mapping[str, Path]) -> None:
    """Remove what hosts that were killed have left: empty, and not young. Whatever cannot be removed is in use."""
    for parent in set(parents.values()):
        for place in parent.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if time.time() - place.stat().st_mtime > YOUNG:
                    place.rmdir()


def make_cgroup(parents: Mapping[str, Path], limits: ProcessLimits) -> Cgroup | None:
    """A new one with these limits; None where the kernel refuses after all. Blocks for well under a millisecond."""
    if not parents:
        return None
    name = f"{PREFIX}{secrets.token_hex(8)}"
    made = Cgroup({key: place / name for key, place in parents.items()}, len(set(parents.values())) == 1)
    try:
        for place in set(made.places.values()):
            place.mkdir()
        if made.unified:
            _write(made.places["memory"], {"memory.max": limits.memory_bytes})
            _write_if_there(made.places["memory"], {"memory.swap.max": 0, "memory.oom.group": 1})
        else:
            _write(made.places["memory"], {"memory.limit_in_bytes": limits.memory_bytes})
            # Memory and swap together, where the kernel counts swap.
            _write_if_there(made.places["memory"], {"memory.memsw.limit_in_bytes": limits.memory_bytes})
        _write(made.places["pids"], {"pids.max": limits.processes})
    except OSError:
        made.remove()
        return None
    return made


def _write(place: Path, values: Mapping[str, int]) -> None:
    for name, value in values.items():
        (place / name).write_text(str(value), "ascii")


def _write_if_there(place: Path, values: Mapping[str, int]) -> None:
    with contextlib.suppress(OSError):
        _write(place, values)
