"""What ``fairlead sandbox doctor`` says of the engine: whether containers isolate as they should."""

from __future__ import annotations

import os
import shutil

from fairlead import Finding
from fairlead_sandbox.container._engine import Engine
from fairlead_sandbox.container._facts import REGISTER
from fairlead_sandbox.container._orphans import list_containers

__all__ = ["diagnose"]

REMAP = (
    'optional: write {"userns-remap": "default"} into /etc/docker/daemon.json, and: sudo systemctl restart docker'
    " (images must be made again)"
)


async def diagnose(engine: Engine) -> tuple[Finding, ...]:
    """One finding for each thing that decides how well containers isolate here; raises what `Engine.ask` raises."""
    facts = engine.facts
    listings = await list_containers(engine)
    forgotten = [listing for listing in listings if listing.forgotten]
    left = f"{len(listings)} of Fairlead's are there, {len(forgotten)} of them forgotten"
    return (
        Finding("engine", ok=True, detail=f"Docker Engine {facts.version}, API {facts.api}, cgroup v{facts.cgroup}"),
        _seccomp(engine),
        _user_namespaces(engine),
        _kernel(engine),
        await _limits(engine),
        _quotas(),
        Finding("containers", ok=not forgotten, detail=left, next_step="fairlead sandbox gc" if forgotten else ""),
    )


def _seccomp(engine: Engine) -> Finding:
    if engine.facts.seccomp:
        return Finding("seccomp", ok=True, detail="our own list of system calls is enforced")
    mend = "use an engine that was built with seccomp, on a kernel with CONFIG_SECCOMP_FILTER"
    return Finding("seccomp", ok=False, detail="the engine has none: no container is started", next_step=mend)


def _user_namespaces(engine: Engine) -> Finding:
    if engine.facts.remapped:
        return Finding("user namespaces", ok=True, detail="root in a container is nobody on the host")
    detail = "off: our supervisor begins as the host's root, without its capabilities but five, and gives it up"
    return Finding("user namespaces", ok=True, detail=detail, next_step=REMAP)


def _kernel(engine: Engine) -> Finding:
    runtimes = engine.facts.runtimes
    own = sorted(name for name in runtimes if engine.facts.level(name) == "kernel")
    if own:
        return Finding("level kernel", ok=True, detail=f"with the runtime {' or '.join(own)}")
    detail = f"no runtime with a kernel of its own; the engine has: {', '.join(sorted(runtimes))}"
    return Finding("level kernel", ok=False, detail=detail, next_step=REGISTER)


async def _limits(engine: Engine) -> Finding:
    """What the kernel of this machine cannot limit: containers whose limits are not there are never used."""
    info = await engine.ask(engine.api.info)
    names = {"MemoryLimit": "memory", "SwapLimit": "swap", "PidsLimit": "processes", "CpuCfsQuota": "processors"}
    missing = [word for name, word in names.items() if not info.get(name)]
    if not missing:
        return Finding("limits", ok=True, detail=f"{', '.join(names.values())}: enforced by the kernel")
    mend = "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or with cgroup_enable=memory swapaccount=1"
    return Finding("limits", ok=False, detail=f"the kernel cannot limit: {', '.join(missing)}", next_step=mend)


def _quotas() -> Finding:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    if os.geteuid() != 0:
        detail = "measured after each call only: this process is not root, so it cannot mount file systems"
        return Finding("workspace quotas", ok=True, detail=detail)
    if shutil.which("mkfs.ext4", path=path) is None:
        detail = "measured after each call only: mkfs.ext4 is not installed"
        return Finding("workspace quotas", ok=False, detail=detail, next_step="sudo apt install e2fsprogs")
    return Finding("workspace quotas", ok=True, detail="enforced by the kernel, where it has loop devices")
