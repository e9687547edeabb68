"""What really isolates a process: read back from the kernel, not from what was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead_sandbox.process._cgroup import Cgroup
from fairlead_sandbox.process._plan import Plan
from fairlead_sandbox.process._tree import namespaces, status

__all__ = ["read_evidence"]

FILTERED = "2"
"""SECCOMP_MODE_FILTER in /proc/PID/status."""
NAMES = {
    "Max address space": "address_space",
    "Max core file size": "core_bytes",
    "Max cpu time": "cpu_seconds",
    "Max data size": "data_bytes",
    "Max file size": "file_bytes",
    "Max open files": "files",
    "Max processes": "processes",
}


def read_evidence(plan: Plan, pid: int, cgroup: Cgroup | None, told: Mapping[str, Any]) -> dict[str, Any]:
    """For a program that runs, by its pid as the host sees it. Empty of a layer means: that layer is not there.

    Of landlock the kernel tells nobody: its version is what the shim told before the program began.
    """
    lines = status(pid)
    apart = namespaces(pid)
    evidence: dict[str, Any] = {
        "level": "process",
        "pid": pid,
        "bubblewrap": plan.wrapped and "mnt" in apart,
        "namespaces": apart,
        "seccomp": lines.get("Seccomp") == FILTERED,
        "landlock": told.get("landlock", 0),
        "no_new_privileges": lines.get("NoNewPrivs") == "1",
        "capabilities": lines.get("CapEff", "?").lstrip("0") or "none",
        "uid": int(lines.get("Uid", "-1").split()[0]),
        "network": _network(plan, apart),
        "limits": _limits(pid),
        "cgroup": None,
    }
    if cgroup is not None:
        with contextlib.suppress(OSError, ValueError):
            if pid in cgroup.pids():
                evidence["cgroup"] = {"memory_bytes": cgroup.memory_limit(), "processes": plan.spec.limits.processes}
    return evidence


def _network(plan: Plan, apart: list[str]) -> str:
    if plan.spec.network:
        return "host"
    if "net" not in apart:
        return "no sockets" if plan.machine.architecture else "host"
    return "egress" if plan.egress and plan.spec.egress_socket is not None else "none"


def _limits(pid: int) -> dict[str, int]:
    """The hard limits that are set."""
    found = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/limits").read_text("ascii").splitlines():
            name, hard = line[:25].strip(), line[46:67].strip()
            if name in NAMES and hard.isdigit():
                found[NAMES[name]] = int(hard)
    return found
