"""Runs in a plugin's process before the plugin's own program, gives up what the program must not have, and becomes it.

Standard library only: it is read as text and run by the plugin's own interpreter, with the four numbers REPORT, GATE,
KEEP, UNSHARE. It says on the descriptor REPORT that it is there, waits for a byte from GATE (the host puts it into its
cgroup meanwhile), leaves a parent behind where KEEP is 1, reads its orders from GATE, follows them, says what it did,
and executes the program: REPORT then ends. Any failure ends it, told in one line.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["main"]

LATER = 5
"""How much more willingly than the host it waits for a processor (nice(2))."""
FAILED = 126
"""The exit status after which the program was never started."""
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38
SECCOMP_MODE_FILTER = 2
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
READ = 0b1101
"""LANDLOCK_ACCESS_FS_EXECUTE, READ_FILE, READ_DIR."""
OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
"""The rights that a rule for something that is no directory may have: execute, write, read, truncate, ioctl."""
RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights of the file system each version of landlock knows; later ones no more than version 5."""

WITH_TCP, WITH_SCOPES = 4, 6
"""The versions that can refuse binding and connecting, and signals and abstract sockets of others."""

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Everything, in order."""
    report, gate, kept, flags = (int(word) for word in sys.argv[1:5])
    try:
        os.write(report, b"here\n")
        if not os.read(gate, 1):
            os._exit(FAILED)
        if kept:
            keep(report, gate, flags)
        with os.fdopen(gate, "rb") as orders:
            order = json.loads(orders.read())
        told = confine(order, report)
        os.set_inheritable(report, False)
        os.write(report, json.dumps(told).encode() + b"\n")
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606  # what it is for
    except Exception as error:  # noqa: BLE001  # nothing may go on half confined
        os.write(report, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n")
        os._exit(FAILED)


def call(name: str | int, *arguments: object) -> int:
    """A function of libc by name, or a system call by number."""
    function = libc.syscall if isinstance(name, int) else getattr(libc, name)
    words = (ctypes.c_long(name), *arguments) if isinstance(name, int) else arguments
    got = function(*words)
    if got < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return int(got)


def prctl(option: int, value: int, pointer: int | None = None) -> None:
    call(
        "prctl",
        ctypes.c_int(option),
        ctypes.c_ulong(value),
        ctypes.c_void_p(pointer),
        ctypes.c_long(0),
        ctypes.c_long(0),
    )


# -- where there is no bubblewrap: namespaces of our own, and a parent that leaves nothing behind


def keep(report: int, gate: int, flags: int) -> None:
    """Fork; the child goes on, the parent stays until the child ends and then ends whatever is left of its session."""
    host = os.getppid()
    if flags:
        unshare(flags)
    prctl(PR_SET_DUMPABLE, 0)
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    signal.signal(signal.SIGTERM, lambda *_: leave(child, FAILED))
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != host:
        leave(child, FAILED)
    os.write(report, json.dumps({"child": child}).encode() + b"\n")
    for number in (0, 1, 2, report, gate):
        os.close(number)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            leave(None, code if code >= 0 else 128 - code)


def unshare(flags: int) -> None:
    """Namespaces; with one of users where this is not root, which keeps the user's number."""
    uid, gid = os.getuid(), os.getgid()
    call("unshare", ctypes.c_int(flags))
    if flags & CLONE_NEWUSER:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text, "ascii")
    if not flags & CLONE_NEWNET:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = bytearray(struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
        (found,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", found | IFF_UP))


def leave(child: int | None, code: int) -> NoReturn:
    """End the child and all of its session, over and over until nobody is found, and go."""
    if child is not None:
        os.kill(child, signal.SIGKILL)
    me, found = os.getpid(), True
    while found:
        found = False
        for name in (place.name for place in Path("/proc").iterdir()):
            if name.isdigit() and int(name) != me and session(name) == me:
                found = True
                with suppress(ProcessLookupError):
                    os.kill(int(name), signal.SIGKILL)
    os._exit(code)


def session(pid: str) -> int:
    """The session of a process that lives; 0 for one that does not."""
    try:
        words = Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if words[0] in (b"Z", b"X") else int(words[3])


# -- what the program must not have


def confine(order: dict[str, Any], report: int) -> dict[str, Any]:
    """Give up identity, resources, files and system calls, in the order in which each still can be given up."""
    os.umask(0o077)
    told: dict[str, Any] = {}
    if order["uid"] is not None:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    os.chdir(order["cwd"])
    os.nice(LATER)
    for name, value in order["rlimits"].items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))
    os.closerange(3, report)
    os.closerange(report + 1, 4096)
    if not sys.platform.startswith("linux"):
        return told
    # Changing the user made the kernel forget it.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # Version 3 of the interface, this process; with no_new_privs, executing as root brings none of them back.
    call("capset", ctypes.c_char_p(struct.pack("=Ii", 0x20080522, 0)), ctypes.c_char_p(bytes(24)))
    if order["landlock"]:
        told["landlock"] = landlock(order["landlock"])
    if order["seccomp"]:
        seccomp(base64.b64decode(order["seccomp"]))
        told["seccomp"] = True
    return told


def landlock(rules: dict[str, Any]) -> int:
    """Allow what lies beneath these paths, nothing else; the version that did it."""
    version = int(rules["version"])
    handled = (1 << RIGHTS.get(version, 16)) - 1
    net = 0b11 if version >= WITH_TCP and not rules["tcp"] else 0
    scoped = 0b11 if version >= WITH_SCOPES and rules["scoped"] else 0
    size = 8 if version < WITH_TCP else 16 if version < WITH_SCOPES else 24
    attributes = struct.pack("QQQ", handled, net, scoped)[:size]
    ruleset = call(LANDLOCK_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path, rights in [(path, READ) for path in rules["read"]] + [(path, handled) for path in rules["write"]]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        allowed = rights & handled
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            allowed &= OF_FILES
        rule = struct.pack("=Qi", allowed, place)
        call(LANDLOCK_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint32(0))
        os.close(place)
    call(LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
    return version


def seccomp(program: bytes) -> None:
    """Install a filter for this process and all that it becomes or forks."""
    code = ctypes.create_string_buffer(program, len(program))
    filters = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(filters, len(filters))
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(pointer))


if __name__ == "__main__":
    main()
