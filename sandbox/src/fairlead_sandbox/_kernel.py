"""What the kernel offers without an engine: bubblewrap's namespaces, landlock, seccomp."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from pathlib import Path

import trio

from fairlead import Finding

__all__ = ["landlock", "landlock_version", "seccomp", "try_bubblewrap"]

LANDLOCK_CREATE_RULESET = 444
"""The same number on every architecture (kernel, include/uapi/asm-generic/unistd.h)."""
LANDLOCK_VERSION = 1
"""LANDLOCK_CREATE_RULESET_VERSION: give the version of the interface and make nothing (landlock_create_ruleset(2))."""
SECCOMP_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")
SHOWN = 200
"""Characters of a program's own words."""


async def try_bubblewrap(seconds: float) -> Finding:
    """Run ``true`` with every namespace of its own: bwrap may be installed and the kernel still refuse."""
    program = shutil.which("bwrap")
    if program is None:
        return Finding("bubblewrap", ok=False, detail="bwrap is not installed", next_step="sudo apt install bubblewrap")
    command = [program, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "true"]
    allow = "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000"
    with trio.move_on_after(seconds):
        try:
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        except OSError as error:
            return Finding(
                "bubblewrap", ok=False, detail=f"{program}: {error}", next_step="sudo apt install bubblewrap"
            )
        if done.returncode == 0:
            return Finding("bubblewrap", ok=True, detail=f"{program} makes namespaces")
        return Finding("bubblewrap", ok=False, detail=f"{program} fails: {_words(done)}", next_step=allow)
    return Finding("bubblewrap", ok=False, detail=f"{program} did not end in {seconds:g} s", next_step=allow)


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode("utf-8", "replace").strip()
    return said[:SHOWN] or f"exit status {done.returncode}"


def landlock() -> Finding:
    """The version of landlock's interface, from the kernel itself."""
    name, mend = "landlock", "use a kernel from 5.13 on, with landlock in its boot parameter lsm="
    if os.uname().sysname != "Linux":
        return Finding(name, ok=False, detail=f"{os.uname().sysname} has none", next_step="use Linux")
    version = _ask_landlock()
    if version > 0:
        return Finding(name, ok=True, detail=f"interface version {version}")
    reason = {errno.ENOSYS: "the kernel has none", errno.EOPNOTSUPP: "switched off at boot"}
    code = -version
    return Finding(name, ok=False, detail=reason.get(code, f"refused: {os.strerror(code)}"), next_step=mend)


def landlock_version() -> int:
    """The version of its interface; 0 where there is none."""
    return max(0, _ask_landlock()) if os.uname().sysname == "Linux" else 0


def _ask_landlock() -> int:
    """The version, or the negative errno."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    version = call(ctypes.c_long(LANDLOCK_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(LANDLOCK_VERSION))
    return int(version) if version > 0 else -ctypes.get_errno()


def seccomp(actions: Path = SECCOMP_ACTIONS) -> Finding:
    """Whether filters can be installed, and with which actions."""
    try:
        found = actions.read_text("ascii").split()
    except (OSError, UnicodeError):
        mend = "use a kernel from 4.14 on, built with CONFIG_SECCOMP_FILTER"
        return Finding("seccomp", ok=False, detail=f"{actions} cannot be read: no filters", next_step=mend)
    return Finding("seccomp", ok=True, detail=f"filters with {', '.join(found)}")
