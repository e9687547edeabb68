"""A seccomp filter as classic BPF, assembled here: a list of calls that are allowed, some only with certain arguments.

A call that is not in the list is answered with EPERM, so that a library finds another way or says what it lacks; a call
of another architecture ends the process (seccomp(2): numbers mean something else there). clone3 is answered with
ENOSYS: its flags lie in memory that a filter cannot read, and libc then uses clone.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator

from attrs import frozen

from fairlead_sandbox.process._syscalls import NUMBERS

__all__ = ["Allowance", "assemble"]

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
LOAD, AND, RETURN = 0x20, 0x54, 0x06
EQUAL, GREATER, AT_LEAST, ANY_BIT = 0x15, 0x25, 0x35, 0x45
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
"""Where struct seccomp_data has them; each argument is 64 bits, the low half first on both architectures."""
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""Set in the numbers of x86-64's other ABI, which no program here has a use for."""

CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020000
"""NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into a terminal on somebody's behalf."""
PR_SET_MM = 35
SIGNAL_OWNERS = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX make the kernel send a signal of choice to a process of choice."""
SIGNAL_OWNER_CALLS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP do the same by ioctl."""
FORKS = ("fork", "vfork")
OF_OTHERS = ("setpgid", "setsid", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_open")
"""Reach, or leave for, what lies outside; harmless in a pid namespace."""
OF_PATHS = (
    "truncate",
    "chmod",
    "fchmodat",
    "fchmodat2",
    "chown",
    "lchown",
    "fchownat",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
)
"""Change a file that landlock would not let it open; truncating by path is guarded from version 3 of it on."""

Instruction = tuple[int, int, int, int]


@frozen
class Allowance:
    """What differs from one launch to the next."""

    subprocesses: bool = False
    """It may fork; otherwise it may only start threads."""
    inet: bool = True
    """It may make sockets of IPv4 and IPv6: there is a network namespace around it, or it may use the network."""
    unix: bool = True
    """It may make Unix sockets: the file system that it sees has none of the host's."""
    memfd: bool = True
    """Memory in a file without a name counts for no rlimit, so only where a cgroup counts it."""
    only_pid: int | None = None
    """Its own pid, where no pid namespace hides the others: it may signal nobody else, and not leave its session."""
    metadata: bool = True
    """It may change modes, owners and times by path: the file system that it sees has nothing of the host's."""


def assemble(machine: str, allowance: Allowance) -> bytes:
    """The program for ``PR_SET_SECCOMP``, in the byte order of this machine.

    `machine` as ``uname -m`` gives it; `KeyError` where there is no table for it.
    """
    numbers = NUMBERS[machine]
    program: list[Instruction] = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, ARCHITECTURES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
    ]
    if machine == "x86_64":
        program += [(AT_LEAST, 0, 1, X32), _refuse(errno.EPERM)]
    special = dict(_special(allowance))
    for name, block in special.items():
        if name in numbers:
            program += [(EQUAL, 0, len(block), numbers[name]), *block]
    for low, high in _ranges(number for name, number in numbers.items() if name not in special):
        program += [(AT_LEAST, 0, 2, low), (GREATER, 1, 0, high), (RETURN, 0, 0, ALLOW)]
    program.append(_refuse(errno.EPERM))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def _special(allowance: Allowance) -> Iterator[tuple[str, list[Instruction]]]:
    """The calls that depend on their arguments or on the launch."""
    refused = [_refuse(errno.EPERM)]
    inet = [socket.AF_INET, socket.AF_INET6] if allowance.inet else []
    unix = [socket.AF_UNIX] if allowance.unix else []
    yield "socket", _one_of(0, [*unix, *inet], errno.EAFNOSUPPORT)
    yield "socketpair", _pair(datagrams=allowance.unix)
    yield "clone", _clone(allowance.subprocesses)
    yield "clone3", [_refuse(errno.ENOSYS)]
    yield "ioctl", _none_of(1, TERMINAL_INPUT if allowance.only_pid is None else TERMINAL_INPUT + SIGNAL_OWNER_CALLS)
    yield "prctl", _none_of(0, (PR_SET_MM,))
    yield "personality", _one_of(0, (0, 0xFFFFFFFF), errno.EPERM)
    # Zero is the caller itself; another number may be a process of the host with the same user.
    yield "prlimit64", _one_of(0, (0,), errno.EPERM)
    yield "sched_setaffinity", _one_of(0, (0,), errno.EPERM)
    if not allowance.subprocesses:
        yield from ((name, refused) for name in FORKS)
    if not allowance.memfd:
        yield "memfd_create", refused
    if allowance.only_pid is not None:
        yield from ((name, refused) for name in OF_OTHERS)
        yield "fcntl", _none_of(1, SIGNAL_OWNERS)
        yield "kill", _one_of(0, (0, allowance.only_pid), errno.EPERM)
        yield "tgkill", _one_of(0, (allowance.only_pid,), errno.EPERM)
    if not allowance.metadata:
        yield from ((name, refused) for name in OF_PATHS)


def _refuse(code: int) -> Instruction:
    return (RETURN, 0, 0, ERRNO | code)


def _argument(place: int) -> Instruction:
    """The low half. Every argument looked at here is an int in C: the kernel reads no more of it either."""
    return (LOAD, 0, 0, ARGUMENTS_AT + 8 * place)


def _one_of(place: int, values: Iterable[int], code: int) -> list[Instruction]:
    tests = [instruction for value in values for instruction in ((EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW))]
    return [_argument(place), *tests, _refuse(code)]


def _none_of(place: int, values: Iterable[int]) -> list[Instruction]:
    tests = [instruction for value in values for instruction in ((EQUAL, 0, 1, value), _refuse(errno.EPERM))]
    return [_argument(place), *tests, (RETURN, 0, 0, ALLOW)]


def _pair(*, datagrams: bool) -> list[Instruction]:
    """Two connected sockets. One of datagrams could still be led to any socket of the host that has a name."""
    rest = (
        [] if datagrams else [_argument(1), (AND, 0, 0, 0xF), (EQUAL, 1, 0, socket.SOCK_STREAM), _refuse(errno.EPERM)]
    )
    family = [_argument(0), (EQUAL, 1, 0, int(socket.AF_UNIX)), _refuse(errno.EAFNOSUPPORT)]
    return [*family, *rest, (RETURN, 0, 0, ALLOW)]


def _clone(subprocesses: bool) -> list[Instruction]:  # noqa: FBT001  # private, and named where it is called
    """Threads; processes where they are allowed; never a namespace."""
    thread: list[Instruction] = [] if subprocesses else [(ANY_BIT, 1, 0, CLONE_THREAD), _refuse(errno.EPERM)]
    return [
        _argument(0),
        (ANY_BIT, 0, 1, CLONE_NAMESPACES),
        _refuse(errno.EPERM),
        *thread,
        (RETURN, 0, 0, ALLOW),
    ]


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring numbers as one pair: three instructions instead of two for each."""
    ordered = sorted(numbers)
    low = high = ordered[0]
    for number in ordered[1:]:
        if number != high + 1:
            yield low, high
            low = number
        high = number
    yield low, high
