"""A Docker Engine of the test's own, beside the machine's: with gVisor, or with user namespaces."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import trio

from fairlead_sandbox.container import Engine, open_engine
from fairlead_sandbox.image import TAG

from .container_engine import engine, has_image, missing

__all__ = ["GVISOR", "own_engine"]

_ARGUMENTS = ["--platform=ptrace", "--network=none"]
GVISOR = {
    "runtimes": {
        "runsc": {"path": "/usr/bin/runsc", "runtimeArgs": [*_ARGUMENTS, "--host-uds=open"]},
        "runsc-closed": {"path": "/usr/bin/runsc", "runtimeArgs": _ARGUMENTS},
    }
}
"""Debian's, on ptrace: KVM is not everywhere."""
REMAP_FIRST = 700_000
START_SECONDS = 30
LOCK = Path(tempfile.gettempdir()) / "fairlead-tests-own-engine"
"""Held while one runs: they share their namespaces in containerd and their ranges of users."""


def _require(*programs: str) -> None:
    if os.geteuid() != 0:
        missing("a Docker Engine of one's own needs root: sudo -E pytest sandbox")
    for program, package in (("dockerd", "docker.io"), *((name, name) for name in programs)):
        if shutil.which(program) is None:
            missing(f"sudo apt install {package}")


@contextlib.asynccontextmanager
async def own_engine(
    root: Path, settings: dict[str, Any], *programs: str, remap: bool = False, roots: Iterable[Path] = ()
) -> AsyncIterator[Engine]:
    """Start it, give it the base image, and end it.

    `root`, `roots`: what may be mounted; `programs`: what must be there; `remap`: with user namespaces.
    """
    _require(*programs)
    # A short path: that of a Unix socket has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="dockerd-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        await trio.Path(name).chmod(0o711)  # for an engine that is another user in there
        async with _alone(), engine(root) as machine, _daemon(directory, root, settings, remap=remap) as host:
            image = await has_image(machine)
            async with open_engine(
                project="tests", roots=[root, *(more.resolve() for more in roots)], host=host
            ) as opened:
                await trio.to_thread.run_sync(_copy, machine, opened, image.id)
                yield opened


@contextlib.asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Wait until no other process of tests has an engine of its own."""
    with LOCK.open("w") as lock:
        await trio.to_thread.run_sync(fcntl.flock, lock, fcntl.LOCK_EX)
        yield


def _copy(source: Engine, target: Engine, image: str) -> None:
    for _ in target.api.load_image(source.api.get_image(TAG), quiet=True):  # type: ignore[no-untyped-call]  # the stubs have none
        pass
    assert target.api.inspect_image(TAG)["Id"] == image  # type: ignore[no-untyped-call]  # the stubs have none


@contextlib.asynccontextmanager
async def _daemon(directory: Path, root: Path, settings: dict[str, Any], *, remap: bool) -> AsyncIterator[str]:
    (directory / "daemon.json").write_text(json.dumps(settings))
    command = ["dockerd", "--config-file", f"{directory}/daemon.json", "-H", f"unix://{directory}/d.sock"]
    command += ["--data-root", f"{directory}/data", "--exec-root", f"{directory}/exec", "--pidfile", f"{directory}/pid"]
    command += ["--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    # Where the machine's containerd is shared, its containers are kept apart.
    command += ["--containerd-namespace", "fairlead", "--containerd-plugins-namespace", "fairlead-plugins"]
    # In a network of its own: an engine without a bridge removes docker0, also that of another engine.
    command = ["unshare", "--net", *command]
    if remap:
        command = _remapped(directory, command)
        # What is mounted below `root` from now on is seen by the engine too, as on machines whose root is shared.
        subprocess.run(["mount", "--bind", root, root], check=True)
        subprocess.run(["mount", "--make-shared", root], check=True)
    with (directory / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        await _answers(directory, daemon)
        yield f"unix://{directory}/d.sock"
    finally:
        daemon.terminate()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(daemon.wait)
        for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
            place = line.split()[4]
            if place.startswith(f"{directory}/") or (remap and place == str(root)):
                subprocess.run(["umount", "-l", place], check=True)


def _remapped(directory: Path, command: Sequence[str]) -> list[str]:
    """With ranges of its own for user namespaces, seen by nobody else on the machine."""
    ranges = directory / "ranges"
    ranges.write_text(f"nobody:{REMAP_FIRST}:65536\n")
    binds = f"touch /etc/subuid /etc/subgid; mount --bind {ranges} /etc/subuid; mount --bind {ranges} /etc/subgid"
    script = f'{binds}; exec "$@" --userns-remap=nobody:nogroup'
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "sh", *command]


async def _answers(directory: Path, daemon: subprocess.Popen[bytes]) -> None:
    with trio.move_on_after(START_SECONDS):
        while daemon.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as knock:
                knock.connect(f"{directory}/d.sock")
                return
            await trio.sleep(0.1)  # real time: another program starts meanwhile
    missing(f"this machine starts no second engine:\n{(directory / 'log').read_text()[-2000:]}")
