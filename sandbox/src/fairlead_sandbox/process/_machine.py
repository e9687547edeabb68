"""Which layers this machine has: found by trying, once."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import trio
from attrs import field, frozen

from fairlead import Finding
from fairlead_sandbox import _kernel
from fairlead_sandbox.process._cgroup import find_parents, sweep
from fairlead_sandbox.process._syscalls import NUMBERS

__all__ = ["Machine", "available", "known_machine", "look_at_machine"]

SECONDS = 5
"""For one program of a trial."""
NEW_USER, NEW_PID, NEW_NET, NEW_IPC, NEW_UTS = 0x10000000, 0x20000000, 0x40000000, 0x08000000, 0x04000000
OWN_NAMESPACES = NEW_PID | NEW_NET | NEW_IPC | NEW_UTS
UNSHARE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(ctypes.c_int(int(sys.argv[1]))) != 0)"
ROOT_OPTIONS = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")
USER_OPTIONS = ("--unshare-user", *ROOT_OPTIONS)


@frozen
class Machine:
    """What there is to isolate a process with. A test takes layers away with `attrs.evolve`."""

    bubblewrap: Path | None = None
    """The program, where it makes the namespaces that we ask for."""
    bubblewrap_as: Literal["root", "user"] = "user"
    """``root``: without a namespace of users, so that the process can be given a user of its own."""
    unshare: int = 0
    """The flags of unshare(2) with which we get namespaces by ourselves; 0: not at all."""
    landlock: int = 0
    """The version of its interface; 0: none."""
    architecture: str = ""
    """For which there are seccomp filters, as ``uname -m`` names it; empty: none."""
    root: bool = False
    cgroups: Mapping[str, Path] = field(factory=dict)
    """Where cgroups can be made, by controller."""


@functools.cache
def known_machine() -> Machine:
    """What was found when this process first started a plugin, or last looked. Blocks."""
    return _look()


async def look_at_machine() -> Machine:
    """Try every layer; some 100 ms. Nothing is left behind, and what killed hosts left is swept up.

    The answer holds for as long as nobody installs things.
    """
    known_machine.cache_clear()
    return await trio.to_thread.run_sync(known_machine, abandon_on_cancel=True)


def _look() -> Machine:
    if not sys.platform.startswith("linux"):
        return Machine()
    root = os.geteuid() == 0
    program = shutil.which("bwrap")
    mode: Literal["root", "user"] | None = None
    if program is not None:
        if root and _bwrap_works(program, ROOT_OPTIONS):
            mode = "root"
        elif _bwrap_works(program, USER_OPTIONS):
            mode = "user"
    flags = OWN_NAMESPACES | (0 if root else NEW_USER)
    machine = platform.machine()
    cgroups = find_parents()
    sweep(cgroups)
    return Machine(
        bubblewrap=Path(program) if program is not None and mode is not None else None,
        bubblewrap_as=mode or "user",
        unshare=flags if _ends_well([sys.executable, "-I", "-S", "-c", UNSHARE, str(flags)]) else 0,
        landlock=_kernel.landlock_version(),
        architecture=machine if machine in NUMBERS and _kernel.seccomp().ok else "",
        root=root,
        cgroups=cgroups,
    )


def _bwrap_works(program: str, options: Sequence[str]) -> bool:
    """With a tmpfs, a /proc and a /dev of its own: some machines allow namespaces and not these."""
    true = shutil.which("true") or "/bin/true"
    # --size came with version 0.8.
    binds = ["--size", "65536", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]  # noqa: S108  # inside, and its own
    return _ends_well([program, *options, "--ro-bind", "/", "/", *binds, true])


def _ends_well(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603  # bwrap from the PATH and this interpreter, with fixed arguments
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=SECONDS, check=False, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def available(machine: Machine) -> tuple[Finding, ...]:
    """The layers for ``fairlead doctor``: what each adds, and the command for what is missing."""
    return (
        _bubblewrap(machine),
        _namespaces(machine),
        _seccomp(machine),
        _landlock(machine),
        _user(machine),
        _cgroup(machine),
    )


def _finding(subject: str, ok: bool, there: str, missing: str, mend: str) -> Finding:  # noqa: FBT001  # private
    return Finding(f"plugin process: {subject}", ok=ok, detail=there if ok else missing, next_step="" if ok else mend)


def _bubblewrap(machine: Machine) -> Finding:
    return _finding(
        "file system",
        machine.bubblewrap is not None,
        f"{machine.bubblewrap} shows a plugin its own code, its interpreter and its directory, and nothing else",
        "bubblewrap is missing or cannot make namespaces: the host's files are guarded by landlock alone",
        "sudo apt install bubblewrap (0.8 or later)",
    )


def _namespaces(machine: Machine) -> Finding:
    return _finding(
        "namespaces",
        machine.bubblewrap is not None or machine.unshare != 0,
        "a plugin has no network but its proxy, and sees no process but its own",
        "a plugin has no sockets of the network, and its proxy cannot be reached",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000",
    )


def _seccomp(machine: Machine) -> Finding:
    return _finding(
        "seccomp",
        bool(machine.architecture),
        f"a list of allowed system calls for {machine.architecture}",
        f"no filter for {platform.machine()}, or the kernel takes none",
        "use Linux on x86-64 or arm64, with a kernel built with CONFIG_SECCOMP_FILTER",
    )


def _landlock(machine: Machine) -> Finding:
    return _finding(
        "landlock",
        machine.landlock > 0,
        f"rules for files, version {machine.landlock} of the interface",
        "the kernel has none, or it is switched off",
        "use a kernel from 5.13 on, with landlock in its boot parameter lsm=",
    )


def _user(machine: Machine) -> Finding:
    return _finding(
        "user",
        machine.root,
        "each plugin has a user of its own",
        "a plugin runs as the same user as the host",
        "where bubblewrap is missing this matters: run fairlead as root, or install bubblewrap",
    )


def _cgroup(machine: Machine) -> Finding:
    return _finding(
        "cgroup",
        bool(machine.cgroups),
        "memory and processes are counted by a cgroup",
        "memory is limited by RLIMIT_DATA and RLIMIT_AS",
        "start fairlead with: systemd-run --user --scope -p Delegate=yes fairlead ... (or as root)",
    )
