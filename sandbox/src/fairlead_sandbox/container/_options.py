"""Which options a container is created with, and the two places where anything else is refused.

`check_options` reads what a configuration says, at load. `check_creation` reads the very request for the engine, at
each creation, whoever composed it. Both know what is allowed, and refuse every key that they do not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields

from fairlead.errors import ConfigError
from fairlead_sandbox.container._seccomp import seccomp_profile
from fairlead_sandbox.container._spec import MIB, ContainerLimits

__all__ = ["CAPABILITIES", "EGRESS", "RECORD", "SYSCTLS", "WORK", "check_creation", "check_options"]

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""What the supervisor begins with (`fairlead_sandbox.inside`): to hand the workspace over, and to give itself, the
zygote and the calls a user each. It gives up all of them before any code of a plugin is loaded."""
SYSCTLS = {"kernel.shmmni": "0", "kernel.msgmni": "0", "kernel.sem": "0 0 0 0", "fs.mqueue.queues_max": "0"}
"""No SysV shared memory, message queues and semaphores, no POSIX message queues: they would survive a call."""
_TOP = "bin boot dev etc home lib opt proc root root/.ssh run sbin sys tmp usr usr/lib var var/lib var/run"
CLOSED_PLACES = tuple(Path("/", name) for name in _TOP.split())
"""None of them, and nothing that one of them lies in, is a directory of ours."""

WORK, RECORD, EGRESS = "/work", "/record", "/egress"
"""Where a workspace's files lie, where its supervisor notes what calls did, where the proxy's socket is."""
WRITABLE = (WORK, RECORD)
TARGET = re.compile(r"/(work|record|egress|fairlead/[a-z]+|plugin/[0-9]{1,3})")

BOUNDS: dict[str, tuple[float, float]] = {
    "memory_bytes": (16 * MIB, 1 << 40),
    "cpus": (0.05, 1024),
    "pids": (8, 32_768),
    "tmp_bytes": (MIB, 1 << 36),
    "shm_bytes": (MIB, 1 << 36),
    "inodes": (64, 1 << 20),
    "files": (32, 1 << 20),
    "file_bytes": (4096, 1 << 40),
}
"""Option to the least and the greatest value that make sense."""

_HOST_FILES = "it would show files of the host to code that must not see them"
_HOST_NETWORK = "containers have no network; give the plugin `hosts = [...]`, and it reaches those through the proxy"
_HOST_KERNEL = "it would take away what isolates the container"
FORBIDDEN = {
    "binds": _HOST_FILES,
    "mounts": _HOST_FILES,
    "volumes": _HOST_FILES,
    "volumes_from": _HOST_FILES,
    "network": _HOST_NETWORK,
    "network_mode": _HOST_NETWORK,
    "ports": _HOST_NETWORK,
    "extra_hosts": _HOST_NETWORK,
    "dns": _HOST_NETWORK,
    "links": _HOST_NETWORK,
} | dict.fromkeys(
    (
        *("privileged", "cap_add", "security_opt", "seccomp", "apparmor", "devices", "device_requests"),
        *("device_cgroup_rules", "pid_mode", "ipc_mode", "uts_mode", "userns_mode", "cgroupns_mode", "cgroup_parent"),
        *("sysctls", "tmpfs", "read_only", "user", "init", "oom_kill_disable", "restart", "log_driver", "env"),
    ),
    _HOST_KERNEL,
)
"""Options of Docker that people try, to the reason why they are refused. Every other unknown key is refused too."""


def check_options(options: Mapping[str, Any], where: str = "isolation") -> ContainerLimits:
    """The limits that a table of the configuration asks for, each within its bounds.

    `where`: the table's name, for errors. `ConfigError` names the key of whatever is not a limit: nothing in a
    configuration changes how a container is isolated, only how much it may use.
    """
    values: dict[str, Any] = {}
    known = [attribute.name for attribute in fields(ContainerLimits)]
    for key, value in options.items():
        path = f"{where}.{key}"
        if key not in known:
            reason = FORBIDDEN.get(str(key).lower())
            found = f"is not allowed: {reason}" if reason else "is no option of a container"
            raise ConfigError(f"{key!r} {found}", path=path, next_step=f"remove it; allowed are {', '.join(known)}")
        values[key] = _number(key, value, path)
    return ContainerLimits(**values)


def _number(key: str, value: Any, path: str) -> Any:
    least, most = BOUNDS[key]
    whole = key != "cpus"
    right = isinstance(value, int) or (isinstance(value, float) and not whole)
    if not right or isinstance(value, bool) or not math.isfinite(value) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        problem = f"{value!r} was found, {kind} from {least:g} to {most:g} is expected"
        raise ConfigError(problem, path=path, next_step=f"set {path} to such a number")
    return value


# -- at creation


def check_creation(request: Mapping[str, Any], allowed: Sequence[Path]) -> None:
    """The request that creates a container is what `fairlead_sandbox.container` makes, or `ConfigError` names the key.

    `allowed`: the directories below which a source of a mount may lie, resolved. Everything else of the request must
    be known here with exactly the value that isolates; so it does not matter who composed it, and from what.
    """
    _check(request, REQUEST, "")
    host = request.get("HostConfig")
    if not isinstance(host, Mapping):
        raise _refusal("HostConfig", host, "an object")
    _check(host, HOST_CONFIG, "HostConfig.")
    if host["Memory"] != host["MemorySwap"]:
        raise _refusal("HostConfig.MemorySwap", host["MemorySwap"], f"{host['Memory']}, as the memory: no swap")
    if bool(host["CapAdd"]) != (request["User"] == "0:0"):
        raise _refusal("HostConfig.CapAdd", host["CapAdd"], "capabilities for the supervisor, and for nobody else")
    for place, mount in enumerate(host["Mounts"]):
        _check_mount(mount, allowed, f"HostConfig.Mounts.{place}")


def _check(request: Mapping[str, Any], rules: Mapping[str, Callable[[Any], bool]], prefix: str) -> None:
    for key, value in request.items():
        rule = rules.get(key)
        if rule is None:
            raise ConfigError(
                f"the option {key!r} of Docker is not allowed: {value!r} was found",
                path=f"{prefix}{key}",
                next_step="remove it: containers are made with the options of fairlead_sandbox.container only",
            )
        if not rule(value):
            raise _refusal(f"{prefix}{key}", value, "what fairlead_sandbox.container sets")
    missing = sorted(rules.keys() - request.keys())
    if missing:
        raise _refusal(f"{prefix}{missing[0]}", None, "the value that isolates")


def _refusal(path: str, value: object, expected: str) -> ConfigError:
    text = repr(value)
    shown = text if len(text) < 200 else f"{text[:200]}..."  # noqa: PLR2004  # characters of an error
    return ConfigError(f"{shown} was found, {expected} is expected", path=path, next_step="remove it")


def _check_mount(mount: Mapping[str, Any], allowed: Sequence[Path], path: str) -> None:
    _check(mount, MOUNT, f"{path}.")
    source = Path(mount["Source"])
    if not mount["ReadOnly"] and mount["Target"] not in WRITABLE:
        raise _refusal(f"{path}.ReadOnly", False, f"true: only {' and '.join(WRITABLE)} can be written")
    if source != source.resolve():
        raise _refusal(f"{path}.Source", str(source), f"a path without symbolic links ({source.resolve()})")
    if source.is_socket() or source.is_block_device() or source.is_char_device():
        raise _refusal(f"{path}.Source", str(source), "a directory or a file")
    roots = [root for root in allowed if _is_narrow(root)]
    if not any(source.is_relative_to(root) for root in roots):
        ours = ", ".join(map(str, roots)) or "none"
        raise _refusal(f"{path}.Source", str(source), f"a path below one of our own directories ({ours})")


def _is_narrow(root: Path) -> bool:
    """A directory of ours, and not half of the machine."""
    return root.is_absolute() and not any(place.is_relative_to(root) for place in CLOSED_PLACES)


def _is(*values: object) -> Callable[[Any], bool]:
    """Equal and of the same type: True is not 1 here."""
    return lambda found: any(found == value and type(found) is type(value) for value in values)


def _between(least: float, most: float) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, int) and not isinstance(found, bool) and least <= found <= most


def _texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _is_user(found: Any) -> bool:
    uid, _, gid = str(found).partition(":")
    return uid == gid and uid.isascii() and uid.isdigit()


def _is_tmpfs(found: Any) -> bool:
    if not isinstance(found, dict) or set(found) != {"/tmp", "/dev/shm"}:  # noqa: S108  # paths in the container
        return False
    return all(
        {"noexec", "nosuid", "nodev"} <= set(words := str(text).split(","))
        and {word.partition("=")[0] for word in words} == {"noexec", "nosuid", "nodev", "size", "nr_inodes", "mode"}
        for text in found.values()
    )


def _is_ulimits(found: Any) -> bool:
    names = {item.get("Name") for item in found} if isinstance(found, list) else set()
    return names == {"nofile", "nproc", "core", "fsize", "memlock", "msgqueue"}


def _is_id(found: Any) -> bool:
    algorithm, _, digits = str(found).partition(":")
    return algorithm == "sha256" and len(digits) == 64 and set(digits) <= set("0123456789abcdef")  # noqa: PLR2004  # hex


def _is_labels(found: Any) -> bool:
    return isinstance(found, dict) and all(str(key).startswith("fairlead.") for key in found)


REQUEST: dict[str, Callable[[Any], bool]] = {
    "Image": _is_id,
    "Cmd": _texts,
    "Entrypoint": _is([]),
    "Env": _texts,
    "User": _is_user,
    "WorkingDir": _is("/"),
    "Hostname": _is("sandbox"),
    "Labels": _is_labels,
    "Healthcheck": _is({"Test": ["NONE"]}),
    "AttachStdin": _is(True),
    "AttachStdout": _is(True),
    "AttachStderr": _is(True),
    "OpenStdin": _is(True),
    "StdinOnce": _is(True),
    "Tty": _is(False),
    "NetworkDisabled": _is(True),
    "HostConfig": lambda found: isinstance(found, Mapping),
}
HOST_CONFIG: dict[str, Callable[[Any], bool]] = {
    "NetworkMode": _is("none"),
    "IpcMode": _is("none"),
    "PidMode": _is(""),
    "UTSMode": _is(""),
    "UsernsMode": _is(""),
    "CgroupnsMode": _is("private"),
    "Privileged": _is(False),
    "ReadonlyRootfs": _is(True),
    "CapDrop": _is(["ALL"]),
    "CapAdd": _is([], list(CAPABILITIES)),
    "SecurityOpt": lambda found: found == ["no-new-privileges", f"seccomp={seccomp_profile()}"],
    "Sysctls": _is(SYSCTLS),
    "Devices": _is([]),
    "Mounts": lambda found: isinstance(found, list) and all(isinstance(item, dict) for item in found),
    "Tmpfs": _is_tmpfs,
    "Ulimits": _is_ulimits,
    "Memory": _between(*BOUNDS["memory_bytes"]),
    "MemorySwap": _between(*BOUNDS["memory_bytes"]),
    "NanoCpus": _between(1, 1024 * 10**9),
    "PidsLimit": _between(8, 1 << 16),
    "OomScoreAdj": _between(0, 1000),
    "Init": _is(False),
    "AutoRemove": _is(True),
    "LogConfig": _is({"Type": "none", "Config": {}}),
    "RestartPolicy": _is({"Name": "no", "MaximumRetryCount": 0}),
    "Runtime": lambda found: isinstance(found, str),
}
MOUNT: dict[str, Callable[[Any], bool]] = {
    "Type": _is("bind"),
    "Source": lambda found: isinstance(found, str) and Path(found).is_absolute(),
    "Target": lambda found: isinstance(found, str) and TARGET.fullmatch(found) is not None,
    "ReadOnly": lambda found: isinstance(found, bool),
    "BindOptions": _is({"Propagation": "rprivate"}),
}
