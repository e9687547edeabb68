"""From what is asked of a container to the one request that the engine gets."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from fairlead_sandbox.container._instance import Instance
from fairlead_sandbox.container._options import CAPABILITIES, EGRESS, RECORD, SYSCTLS, WORK
from fairlead_sandbox.container._seccomp import seccomp_profile
from fairlead_sandbox.container._spec import ContainerSpec, UidRange

__all__ = ["compose", "labels"]

KERNEL_PIDS = 4096
"""gVisor's own threads count as the container's: what runs inside has its own limits (rlimits, the supervisor's)."""
OOM_SCORE = 500
"""Before the host's own processes, after a call's (1000)."""
ENVIRONMENT = (
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/tmp",
    "LANG=C.UTF-8",
    "PYTHONDONTWRITEBYTECODE=1",
    "PYTHONNOUSERSITE=1",
)


def compose(spec: ContainerSpec, uids: UidRange, *, kernel: bool = False) -> dict[str, Any]:
    """The body of ``POST /containers/create``, without labels.

    `kernel`: the runtime brings a kernel of its own.
    """
    user = 0 if spec.supervised else uids.first
    return {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Entrypoint": [],
        "Env": list(ENVIRONMENT),
        "User": f"{user}:{user}",
        # Not the workspace: with user namespaces the runtime itself could not enter it. Our code goes there.
        "WorkingDir": "/",
        "Hostname": "sandbox",
        "Healthcheck": {"Test": ["NONE"]},
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "Tty": False,
        "NetworkDisabled": True,
        "HostConfig": _host_config(spec, kernel=kernel),
    }


def _host_config(spec: ContainerSpec, *, kernel: bool) -> dict[str, Any]:
    limits = spec.limits
    return {
        "NetworkMode": "none",
        # No SysV objects from outside and no /dev/shm of the engine's: ours below has a limit of files too.
        "IpcMode": "none",
        "PidMode": "",
        "UTSMode": "",
        "UsernsMode": "",
        "CgroupnsMode": "private",
        "Privileged": False,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES) if spec.supervised else [],
        "SecurityOpt": ["no-new-privileges", f"seccomp={seccomp_profile()}"],
        "Sysctls": dict(SYSCTLS),
        "Devices": [],
        "Mounts": _mounts(spec),
        "Tmpfs": {
            "/tmp": _tmpfs(limits.tmp_bytes, limits.inodes),  # noqa: S108  # a path in the container
            "/dev/shm": _tmpfs(limits.shm_bytes, limits.inodes),  # noqa: S108  # the same
        },
        "Ulimits": _ulimits(spec),
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "NanoCpus": round(limits.cpus * 10**9),
        "PidsLimit": max(limits.pids, KERNEL_PIDS) if kernel else limits.pids,
        "OomScoreAdj": OOM_SCORE,
        "Init": False,
        "AutoRemove": True,
        # The default driver writes everything to the host's disk, without a limit.
        "LogConfig": {"Type": "none", "Config": {}},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "Runtime": spec.runtime,
    }


def _tmpfs(size: int, inodes: int) -> str:
    return f"noexec,nosuid,nodev,size={size},nr_inodes={inodes},mode=1777"


def _ulimits(spec: ContainerSpec) -> list[dict[str, Any]]:
    limits = spec.limits
    values = {
        "nofile": limits.files,
        "nproc": limits.pids,
        "core": 0,
        "fsize": limits.file_bytes,
        "memlock": 64 * 1024,
        "msgqueue": 0,
    }
    return [{"Name": name, "Soft": value, "Hard": value} for name, value in values.items()]


def _mounts(spec: ContainerSpec) -> list[dict[str, Any]]:
    binds = [(str(mount.source), mount.target, True) for mount in spec.mounts]
    if spec.workspace:
        binds += [(str(spec.workspace.path), WORK, False), (str(spec.workspace.record), RECORD, False)]
    if spec.egress_socket:
        binds.append((str(spec.egress_socket.parent), EGRESS, True))
    return [
        {
            "Type": "bind",
            "Source": source,
            "Target": target,
            "ReadOnly": read_only,
            "BindOptions": {"Propagation": "rprivate"},
        }
        for source, target, read_only in binds
    ]


def labels(
    spec: ContainerSpec, uids: UidRange, request: dict[str, Any], instance: Instance, project: str
) -> dict[str, str]:
    """What other instances, and people, can know of a container."""
    text = json.dumps(request, sort_keys=True)
    now = time.time()
    return {
        "fairlead.project": project,
        "fairlead.instance": instance.name,
        "fairlead.boot": instance.boot,
        "fairlead.config": hashlib.sha256(text.encode()).hexdigest()[:16],
        "fairlead.created": f"{now:.3f}",
        "fairlead.expires": f"{now + spec.max_age:.3f}",
        "fairlead.uids": f"{uids.first}+{uids.size}",
        "fairlead.plugins": spec.plugins,
    }
