"""Docker Engine and what it can run, asked through Docker's SDK. The functions block: call them in a worker thread."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from typing import Any

from fairlead import Finding

__all__ = ["ask_engine", "describe_engine", "describe_gvisor"]

DOCKER, GVISOR = "docker engine", "gvisor"
DEFAULT_HOST = "unix:///var/run/docker.sock"
INSTALL = "sudo apt install docker.io (or see https://docs.docker.com/engine/install/)"
START = "sudo systemctl start docker (without systemd: sudo dockerd &)"
JOIN = "sudo usermod -aG docker $USER, and log in again (it gives root on this machine)"
GVISOR_STEP = (
    "install runsc (https://gvisor.dev/docs/user_guide/install/), then:"
    " sudo runsc install && sudo systemctl restart docker"
)


def ask_engine(seconds: float) -> tuple[Finding, Finding]:
    """The engine that ``DOCKER_HOST`` names, or the machine's own, and whether it has gVisor.

    Waits at most `seconds` for each of its answers.
    """
    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        _connect(host, seconds)
        version, info = _question(seconds)
    except Exception as error:  # noqa: BLE001  # the SDK raises what requests and urllib3 raise; a survey must not
        return _silent(host, error)
    return describe_engine(version, info), describe_gvisor(info)


def _connect(host: str, seconds: float) -> None:
    """Knock at a Unix socket. The SDK would do it too, but it loses its own socket where nobody answers."""
    scheme, _, path = host.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as knock:
            knock.settimeout(seconds)
            knock.connect(path)


def _question(seconds: float) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    import docker  # noqa: PLC0415  # 90 ms that only a survey should pay

    client = docker.from_env(timeout=seconds)  # type: ignore[arg-type]  # the stubs say int, requests takes any number
    try:
        return client.version(), client.info()
    finally:
        client.close()


def _silent(host: str, error: Exception) -> tuple[Finding, Finding]:
    cause: BaseException = error
    while not isinstance(cause, OSError) and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__ or cause
    mend = JOIN if isinstance(cause, PermissionError) else START if shutil.which("dockerd") else INSTALL
    detail = f"no engine answers at {host}: {str(cause) or type(cause).__name__}"
    gvisor = Finding(GVISOR, ok=False, detail="not known: no Docker Engine answers", next_step=mend)
    return Finding(DOCKER, ok=False, detail=detail, next_step=mend), gvisor


def describe_engine(version: Mapping[str, Any], info: Mapping[str, Any]) -> Finding:
    """The answers of ``/version`` and ``/info`` as one line."""
    options = _security(info)
    facts = [
        f"Docker Engine {version.get('Version', '(no version)')}",
        f"API {version.get('ApiVersion', '?')}",
        f"storage {info.get('Driver', '?')}",
        f"cgroup v{info.get('CgroupVersion') or '1'}",
        f"user namespaces {'on' if 'userns' in options else 'off'}",
        f"seccomp {'on' if 'seccomp' in options else 'off'}",
        "rootless" if "rootless" in options else "runs as root",
    ]
    return Finding(DOCKER, ok=True, detail=", ".join(facts))


def _security(info: Mapping[str, Any]) -> set[str]:
    """``["name=seccomp,profile=default", "name=userns"]`` as names."""
    words = (option.partition(",")[0] for option in info.get("SecurityOptions") or ())
    return {word.removeprefix("name=") for word in words}


def describe_gvisor(info: Mapping[str, Any]) -> Finding:
    """Whether the engine has a runtime that is gVisor's, by the name or the program."""
    runtimes: Mapping[str, Any] = info.get("Runtimes") or {}
    for name, runtime in sorted(runtimes.items()):
        program = (runtime or {}).get("path", "") if isinstance(runtime, Mapping) else ""
        if "runsc" in (name, program.rpartition("/")[2]):
            return Finding(GVISOR, ok=True, detail=f"registered as the runtime {name!r}")
    have = ", ".join(sorted(runtimes)) or "none"
    return Finding(GVISOR, ok=False, detail=f"not registered; the engine's runtimes are: {have}", next_step=GVISOR_STEP)
