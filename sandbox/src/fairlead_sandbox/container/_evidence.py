"""What really isolates a container: read back from the engine and from the kernel, never from what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from fairlead_sandbox.container._seccomp import digest
from fairlead_sandbox.errors import EngineUnavailable

__all__ = ["Evidence", "ProcessFacts", "process_facts", "read_evidence"]

DOCTOR = "fairlead sandbox doctor"
FILTER = "2"
"""Seccomp: the mode with a filter (proc_pid_status(5))."""


@frozen
class ProcessFacts:
    """What the kernel says of PID 1, where this process can see it."""

    pid: int
    seccomp: bool
    no_new_privileges: bool
    capabilities: str
    """The bounding set, as the kernel's hexadecimal mask."""
    namespaces: tuple[str, ...]
    """Those that differ from ours."""


@frozen
class Evidence:
    """The proof that goes along with a result."""

    level: str
    """``container`` or ``kernel``."""
    container: str
    image: str
    runtime: str
    network: str
    user: str
    read_only: bool
    capabilities: tuple[str, ...]
    """Of PID 1; code of plugins has none."""
    no_new_privileges: bool
    seccomp: str
    """The hash of the profile; empty at the level ``kernel``, where another kernel answers, which takes none."""
    memory_bytes: int
    cpus: float
    pids: int
    mounts: tuple[str, ...]
    """Path inside, with ``:ro`` or ``:rw``."""
    workspace: str = ""
    """The quota's guarantee, where a workspace is mounted."""
    process: ProcessFacts | None = None
    """None where the kernel cannot be asked: the engine runs in another machine, or PID 1 has a kernel of its own."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self, value_serializer=lambda _, __, value: list(value) if isinstance(value, tuple) else value)


def read_evidence(
    asked: Mapping[str, Any], inspected: Mapping[str, Any], level: str, process: ProcessFacts | None, workspace: str
) -> Evidence:
    """The answer of ``/containers/ID/json`` as evidence.

    `EngineUnavailable` names the first option that the engine has not taken as it was asked: the container must not
    be used then.
    """
    _compare(asked, inspected)
    host = inspected["HostConfig"]
    seccomp = next(option for option in host["SecurityOpt"] if option.startswith("seccomp="))
    if process is not None:
        _compare_process(process, host["CapAdd"] or ())
    return Evidence(
        level=level,
        container=inspected["Id"],
        image=inspected["Image"],
        runtime=host["Runtime"],
        network=host["NetworkMode"],
        user=inspected["Config"]["User"],
        read_only=host["ReadonlyRootfs"],
        capabilities=tuple(_capabilities(host)),
        no_new_privileges="no-new-privileges" in host["SecurityOpt"],
        seccomp=digest(seccomp.removeprefix("seccomp=")) if level == "container" else "",
        memory_bytes=host["Memory"],
        cpus=host["NanoCpus"] / 10**9,
        pids=host["PidsLimit"],
        mounts=tuple(f"{mount['Destination']}:{'rw' if mount['RW'] else 'ro'}" for mount in inspected["Mounts"]),
        workspace=workspace,
        process=process,
    )


def _capabilities(host: Mapping[str, Any]) -> list[str]:
    """Newer engines write ``CAP_KILL`` for ``KILL``."""
    return sorted(name.removeprefix("CAP_") for name in host["CapAdd"] or ())


def _compare(asked: Mapping[str, Any], inspected: Mapping[str, Any]) -> None:
    if not inspected["State"]["Running"]:
        raise _mismatch("State.Running", inspected["State"], True)
    if inspected["Image"] != asked["Image"]:
        raise _mismatch("Image", inspected["Image"], asked["Image"])
    if inspected["Config"]["User"] != asked["User"]:
        raise _mismatch("Config.User", inspected["Config"]["User"], asked["User"])
    host = inspected["HostConfig"]
    for key, value in asked["HostConfig"].items():
        found = _capabilities(host) if key == "CapAdd" else host.get(key)
        if not _same(key, value, found):
            raise _mismatch(f"HostConfig.{key}", found, value)
    binds = {(mount["Source"], mount["Target"], not mount["ReadOnly"]) for mount in asked["HostConfig"]["Mounts"]}
    found_binds = {(mount["Source"], mount["Destination"], mount["RW"]) for mount in inspected["Mounts"]}
    if binds != found_binds:
        raise _mismatch("Mounts", sorted(found_binds), sorted(binds))
    networks = set(inspected["NetworkSettings"]["Networks"] or ())
    if not networks <= {"none"}:
        raise _mismatch("NetworkSettings.Networks", sorted(networks), ["none"])


def _same(key: str, asked: Any, found: Any) -> bool:
    if key == "Runtime" and not asked:
        return bool(found)
    if key == "Mounts":
        # Compared with what is really mounted; the engine leaves defaults out of the copy of the request.
        return True
    if key == "Ulimits":
        return _by_name(asked) == _by_name(found or ())
    return bool(asked == found or (not asked and not found))


def _by_name(ulimits: Any) -> list[tuple[str, int, int]]:
    return sorted((item["Name"], item["Soft"], item["Hard"]) for item in ulimits)


def _mismatch(key: str, found: object, asked: object) -> EngineUnavailable:
    shown = [text if len(text := repr(value)) < 200 else f"{text[:200]}..." for value in (asked, found)]  # noqa: PLR2004  # characters of an error
    problem = (
        f"the engine did not isolate as asked: {key} should be {shown[0]} and is {shown[1]}; the container was killed"
    )
    return EngineUnavailable(problem, next_step=DOCTOR, floor="container")


# -- the kernel's own word


def process_facts(pid: int, container: str, proc: Path = Path("/proc")) -> ProcessFacts | None:
    """What the kernel says of the process, where it is that container's; None where it cannot be seen from here."""
    place = proc / str(pid)
    try:
        # The engine may count its processes in another namespace or machine: then this is a stranger's number.
        if pid <= 0 or container not in (place / "cgroup").read_text("utf-8", "replace"):
            return None
        status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    except (OSError, ValueError):
        return None
    return ProcessFacts(
        pid=pid,
        seccomp=status.get("Seccomp", "").strip() == FILTER,
        no_new_privileges=status.get("NoNewPrivs", "").strip() == "1",
        capabilities=status.get("CapBnd", "").strip(),
        namespaces=_namespaces(place, proc / "self"),
    )


def _namespaces(place: Path, own: Path) -> tuple[str, ...]:
    """Only root may look into those of a process of another user; without the right the answer is empty."""
    names = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    try:
        return tuple(name for name in names if (place / "ns" / name).readlink() != (own / "ns" / name).readlink())
    except OSError:
        return ()


BITS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "SETGID": 6, "SETUID": 7}
"""linux/capability.h"""
OWN_NAMESPACES = {"ipc", "mnt", "net", "pid", "uts"}


def _compare_process(process: ProcessFacts, added: Any) -> None:
    if not process.seccomp or not process.no_new_privileges:
        raise _mismatch("/proc/PID/status", process, "Seccomp: 2, NoNewPrivs: 1")
    mask = sum(1 << BITS[name.removeprefix("CAP_")] for name in added)
    if int(process.capabilities or "0", 16) & ~mask:
        raise _mismatch("/proc/PID/status CapBnd", process.capabilities, f"{mask:016x}")
    if process.namespaces and not set(process.namespaces) >= OWN_NAMESPACES:
        raise _mismatch("/proc/PID/ns", process.namespaces, sorted(OWN_NAMESPACES))
