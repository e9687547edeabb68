"""What a container uses, from its cgroup's own files: no call to the engine, which takes seconds for its answer."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cgroup_places", "read_figures"]

V2 = ""
"""The controllers of the one hierarchy of cgroup v2, as ``/proc/PID/cgroup`` writes them."""


def cgroup_places(
    pid: int, container: str, proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")
) -> dict[str, Path]:
    """Controller to directory; empty where the process cannot be seen from here. With cgroup v2 the key is ``""``."""
    try:
        lines = (proc / str(pid) / "cgroup").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    places: dict[str, Path] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if container in path:
            for controller in controllers.split(","):
                places[controller] = root / controller / path.lstrip("/")
    return places


def read_figures(places: dict[str, Path]) -> dict[str, float]:
    """``cpu_seconds``, ``memory_bytes``, ``oom_kills``: those that can be read now."""
    figures = {
        "cpu_seconds": _cpu_seconds(places),
        "memory_bytes": _number(places, "memory", "memory.usage_in_bytes", "memory.current"),
        "oom_kills": _field(places, "memory", "memory.oom_control", "memory.events", "oom_kill"),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _cpu_seconds(places: dict[str, Path]) -> float | None:
    if "cpuacct" in places:
        nanoseconds = _number(places, "cpuacct", "cpuacct.usage", "")
        return None if nanoseconds is None else nanoseconds / 1e9
    microseconds = _field(places, "cpu", "", "cpu.stat", "usage_usec")
    return None if microseconds is None else microseconds / 1e6


def _read(places: dict[str, Path], controller: str, first: str, second: str) -> str | None:
    place, name = (places[controller], first) if controller in places else (places.get(V2), second)
    try:
        return (place / name).read_text("ascii") if place and name else None
    except OSError:
        return None


def _number(places: dict[str, Path], controller: str, first: str, second: str) -> float | None:
    text = _read(places, controller, first, second)
    return float(text) if text and text.strip().isdigit() else None


def _field(places: dict[str, Path], controller: str, first: str, second: str, name: str) -> float | None:
    text = _read(places, controller, first, second) or ""
    fields = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    return float(fields[name]) if fields.get(name, "").isdigit() else None
