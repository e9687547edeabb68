"""What the shim in the new process is told to do."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairlead_sandbox.process._bubblewrap import system_paths
from fairlead_sandbox.process._plan import Plan
from fairlead_sandbox.process._seccomp import Allowance, assemble

__all__ = ["write_orders"]

STACK = 8 << 20
"""Bytes of address space that each thread takes without using them."""
ROOM = 1 << 30
"""Bytes of address space for code and files that are mapped; they cost no memory of their own."""
DEVICES = ("/dev/random", "/dev/urandom", "/dev/zero")


def write_orders(plan: Plan, *, counted: bool, pid: int) -> bytes:
    """As JSON. `counted`: a cgroup counts its memory; `pid`: of the program, where no pid namespace changes it."""
    spec, machine = plan.spec, plan.machine
    order: dict[str, Any] = {
        "uid": plan.user,
        "cwd": str(spec.work_dir),
        "argv": [str(plan.interpreter.program), *spec.command[1:]],
        "env": _variables(plan),
        "rlimits": _rlimits(plan, counted=counted),
        "landlock": _landlock(plan) if machine.landlock else None,
        "seccomp": "",
    }
    if machine.architecture:
        allowance = Allowance(
            subprocesses=spec.subprocesses,
            inet=spec.network or "net" in plan.namespaces,
            unix=plan.wrapped,
            memfd=counted,
            only_pid=None if "pid" in plan.namespaces else pid,
            metadata=plan.wrapped,
        )
        order["seccomp"] = base64.b64encode(assemble(machine.architecture, allowance)).decode("ascii")
    return json.dumps(order).encode()


def _variables(plan: Plan) -> Mapping[str, str]:
    spec = plan.spec
    variables = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(spec.work_dir)}
    if zone := os.environ.get("TZ"):
        variables["TZ"] = zone
    if spec.egress_socket is not None and plan.egress:
        variables["FAIRLEAD_EGRESS"] = str(spec.egress_socket)
    return {**variables, **spec.variables}


def _rlimits(plan: Plan, *, counted: bool) -> Mapping[str, int]:
    """Names as in the module `resource`."""
    limits = plan.spec.limits
    memory = limits.memory_bytes
    values = {
        "CORE": 0,
        # Where a cgroup counts what is really used, the stacks of threads need not count as if they were.
        "DATA": memory + limits.processes * STACK if counted else memory,
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.files,
    }
    if not counted:
        values["AS"] = memory + ROOM
    if limits.cpu_seconds is not None:
        values["CPU"] = limits.cpu_seconds
    if sys.platform.startswith("linux"):
        values["MSGQUEUE"] = 0
    if plan.counts_processes:
        # Two more: bubblewrap's own first process is counted with ours.
        values["NPROC"] = limits.processes + 2
    return values


def _landlock(plan: Plan) -> Mapping[str, Any]:
    spec = plan.spec
    if plan.wrapped:
        # Bubblewrap shows nothing that it must not read; this holds although somebody finds a way around its mounts.
        read, write = [Path("/")], [spec.work_dir, Path("/tmp"), Path("/dev")]  # noqa: S108  # inside, and its own
    else:
        read = [*plan.interpreter.read, *spec.environment.paths, *system_paths(spec), *map(Path, DEVICES)]
        write = [spec.work_dir, Path("/dev/null")]
    return {
        "version": plan.machine.landlock,
        "read": [str(path) for path in read],
        "write": [str(path) for path in write],
        "tcp": spec.network or "net" in plan.namespaces,
        "scoped": True,
    }
