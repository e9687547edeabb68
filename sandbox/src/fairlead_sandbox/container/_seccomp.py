"""The system calls that code in a container may make: a list of what is allowed, and no other.

Docker's default profile allows more than tools need, among it io_uring, AF_VSOCK, AF_ALG, AF_NETLINK, ptrace and calls
that read another process. What is not named here fails with EPERM. ``clone3`` fails with ENOSYS: its flags lie in
memory, where no filter can look, and libraries that see ENOSYS use ``clone``. No architecture is named, so that the
engine allows the machine's own and no other (the 32-bit calls of the same kernel are closed).
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from typing import Any

__all__ = ["CALLS", "digest", "seccomp_profile"]

EPERM, ENOSYS = 1, 38
NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (clone(2)); NEWTIME shares a bit with the signal."""
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}

FILES = """
access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate
fchdir fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat
fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek lsetxattr lstat mkdir
mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs
statx symlink symlinkat sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes write writev
"""
MEMORY = """
brk madvise membarrier memfd_create mincore mlock mlock2 mmap mprotect mremap mseal msync munlock munlockall munmap
pkey_alloc pkey_free pkey_mprotect
"""
PROCESSES = """
arch_prctl capget capset execve execveat exit exit_group fork get_robust_list getegid geteuid getgid getgroups getpgid
getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get kill
pidfd_open pidfd_send_signal prctl prlimit64 rseq sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield set_robust_list set_tid_address setfsgid setfsuid setgid setgroups setpgid setpriority
setregid setresgid setresuid setreuid setrlimit setsid setuid tgkill tkill vfork wait4 waitid
"""
SIGNALS_AND_TIME = """
alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep pause restart_syscall rt_sigaction
rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo setitimer
sigaltstack signalfd signalfd4 time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
timerfd_create timerfd_gettime timerfd_settime times
"""
WAITING = """
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 futex futex_requeue
futex_wait futex_waitv futex_wake poll ppoll pselect6 select
"""
NETWORK = """
accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto
setsockopt shutdown socketpair
"""
MACHINE = "getcpu getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self sysinfo uname"

CALLS = tuple(sorted(set(f"{FILES}{MEMORY}{PROCESSES}{SIGNALS_AND_TIME}{WAITING}{NETWORK}{MACHINE}".split())))
"""Allowed with any argument. Names that the machine's architecture or library does not know are passed over."""


def _allow(names: list[str], *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(arguments)}


@functools.cache
def seccomp_profile() -> str:
    """The profile as the JSON that the engine takes; always the same text."""
    argument = {"index": 0, "valueTwo": 0}
    # clone(2), "C library/kernel differences": there the stack comes before the flags.
    flags = {**argument, "index": 1 if platform.machine() == "s390x" else 0}
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": EPERM,
        "syscalls": [
            _allow(list(CALLS)),
            *(_allow(["socket"], {**argument, "value": family, "op": "SCMP_CMP_EQ"}) for family in FAMILIES.values()),
            _allow(["clone"], {**flags, "value": NAMESPACES, "op": "SCMP_CMP_MASKED_EQ"}),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS, "args": []},
        ],
    }
    return json.dumps(profile, separators=(",", ":"), sort_keys=True)


def digest(profile: str) -> str:
    """What evidence says of a profile: ``sha256:`` and 64 digits."""
    return f"sha256:{hashlib.sha256(profile.encode()).hexdigest()}"
