"""What the processes ask of the kernel: identities, privileges, limits.

One identity for each role, and no capability after the start (credentials(7), kill(2), ptrace(2)):

    role         real  effective  saved   because
    supervisor   S     S          C       it can become C for a moment, to kill and to delete what belongs to a call
    seed, zygote Z     C          Z       its children can become C without a privilege; C cannot signal it
    call         C     C          C       ``kill(-1)`` as C takes all of a call's processes at once, and nobody else

A signal to the supervisor is dropped by the kernel: it is PID 1 and has no handlers. Neither it nor the zygote nor the
call's first process can be traced or read by another one: they are not dumpable.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = [
    "Identities",
    "as_call",
    "become_call",
    "become_supervisor",
    "become_zygote",
    "forbid_privileges",
    "has_pidfd",
    "hide",
    "limit",
    "offer_to_oom_killer",
]

PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 4, 38
_libc = ctypes.CDLL(None, use_errno=True)
_RLIMITS = {
    "processes": resource.RLIMIT_NPROC,
    "files": resource.RLIMIT_NOFILE,
    "file_bytes": resource.RLIMIT_FSIZE,
    "address_bytes": resource.RLIMIT_AS,
}


class Identities(NamedTuple):
    """The numbers of the three roles. All None: nothing could be separated, all run as who they are."""

    supervisor: int | None
    zygote: int | None
    call: int | None
    group: int | None

    @property
    def separate(self) -> bool:
        return self.call is not None


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")


def has_pidfd() -> bool:
    """Whether the end of any process can be waited for (pidfd_open(2)); gVisor has none."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def hide() -> None:
    """Nobody without privileges can trace this process, read its memory or take its files."""
    _prctl(PR_SET_DUMPABLE, 0)


def forbid_privileges() -> None:
    """No program that is started from here on gives privileges."""
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def become_supervisor(who: Identities) -> None:
    """From uid 0: the group for good, and no capability is left. Without separation: nothing."""
    if who.supervisor is not None and who.call is not None and who.group is not None:
        os.setgroups([])
        os.setresgid(who.group, who.group, who.group)
        os.setresuid(who.supervisor, who.supervisor, who.call)
    hide()


def become_zygote(who: Identities) -> None:
    """From uid 0, in the zygote's own process."""
    if who.zygote is not None and who.call is not None and who.group is not None:
        os.setgroups([])
        os.setresgid(who.group, who.group, who.group)
        os.setresuid(who.zygote, who.call, who.zygote)
    hide()


def become_call(who: Identities) -> None:
    """In a child of the zygote. It needs no privilege: the call's number is its effective one already."""
    if who.call is not None:
        os.setresuid(who.call, who.call, who.call)


def offer_to_oom_killer() -> None:
    """Where memory runs out, this process goes first (proc(5), oom_score_adj). Leaves it hidden."""
    _prctl(PR_SET_DUMPABLE, 1)  # the file belongs to root where a process is hidden
    try:
        handle = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(handle, b"1000")
        finally:
            os.close(handle)
    except OSError:
        pass  # a /proc without it: the supervisor's own score still protects it
    finally:
        hide()


@contextlib.contextmanager
def as_call(who: Identities) -> Iterator[None]:
    """The supervisor acts as the call's user: its kills and deletions reach what belongs to calls, and nothing else."""
    if who.supervisor is None or who.call is None:
        yield
        return
    os.seteuid(who.call)
    try:
        yield
    finally:
        os.seteuid(who.supervisor)
        hide()  # a change of identity sets it to the system's default


def limit(limits: Mapping[str, Any]) -> None:
    """Set the limits of this process and its children; None and what is missing leave the one there is."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name, which in _RLIMITS.items():
        wanted = limits.get(name)
        if wanted is not None:
            hard = resource.getrlimit(which)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(which, (value, value))
