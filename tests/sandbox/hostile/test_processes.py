"""Attacks with processes and signals."""

from __future__ import annotations

import pytest

from .conftest import Arena
from .probes import SAME, Probe, refused, table

pytestmark = pytest.mark.docker

SPREADING = [
    Probe("fork bomb", "while True:\n try: os.fork()\n except OSError: pass", "Timeout", "SandboxLost", "quick"),
    Probe(
        "fork bomb whose first process ends",
        "if os.fork() == 0:\n while True:\n  try: os.fork()\n  except OSError: pass\nos._exit(0)",
        "SandboxError",
    ),
    Probe(
        "daemon with two forks",
        "import time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(99)\n os._exit(0)\nos.wait()",
        kernel=SAME,
    ),
    Probe(
        "a hundred sessions",
        "import time\nfor _ in range(40):\n if os.fork() == 0:\n  os.setsid()\n  time.sleep(99)\n",
    ),
    Probe("program that outlives it", "import subprocess\nsubprocess.Popen(['sleep', '99'], start_new_session=True)"),
    Probe("nohup from a shell", "os.system('nohup sleep 99 >/dev/null 2>&1 &')", "done"),
    Probe("processes without end", "import time\nwhile True:\n if os.fork() == 0: time.sleep(99)", "PidLimit"),
    Probe(
        "threads without end",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        "PidLimit",
    ),
    Probe("stopped child", "import signal\nif os.fork() == 0: os.kill(os.getpid(), 19)", kernel=SAME),
    Probe(
        "child that ignores every signal",
        "import signal\nif os.fork() == 0:\n for n in range(1, 65):\n  try: signal.signal(n, 1)\n"
        "  except (OSError, ValueError): pass\n while True: signal.pause()",
    ),
    Probe("child in its own group and tty", "import pty\npid, _ = pty.fork()\nif pid == 0:\n while True: pass"),
    Probe("unreaped children", "for _ in range(30):\n if os.fork() == 0: os._exit(0)"),
    Probe("vfork of a program that hangs", "os.posix_spawn('/bin/sleep', ['sleep', '99'], {})"),
]
NEIGHBOURS = [
    Probe("kills all that it may", "os.kill(-1, 9)"),
    Probe("kills its group", "os.killpg(0, 9)", "Killed"),
    refused("kills the process that it was forked from", "os.kill(os.getppid(), 9)", kernel=SAME),
    refused("stops the process that it was forked from", "os.kill(os.getppid(), 19)"),
    Probe(
        "every signal to PID 1",
        "for n in range(1, 65):\n try: os.kill(1, n)\n except OSError: pass",
        kernel="SandboxLost",
    ),
    Probe(
        "queues signals to PID 1",
        "return ''.join({syscall(129, 1, n, ctypes.create_string_buffer(128)) for n in (9, 19, 35)})",
        "refused",
    ),
    refused("memory of PID 1", "open('/proc/1/mem', 'rb')"),
    refused("files of PID 1", "os.listdir('/proc/1/fd')"),
    refused("environment of PID 1", "open('/proc/1/environ', 'rb').read()"),
    refused("where PID 1 is", "os.readlink('/proc/1/cwd')"),
    refused("memory of its parent", "open(f'/proc/{os.getppid()}/mem', 'r+b')", kernel=SAME),
    refused("files of its parent", "os.listdir(f'/proc/{os.getppid()}/fd')"),
    Probe("traces PID 1", "return syscall(101, 16, 1, 0, 0)", "refused", SAME),
    Probe("traces its parent", "return syscall(101, 16, os.getppid(), 0, 0)", "refused"),
    Probe("seizes its parent", "return syscall(101, 0x4206, os.getppid(), 0, 0)", "refused"),
    Probe(
        "reads its parent's memory by the call for it",
        "return syscall(310, os.getppid(), ctypes.create_string_buffer(16), 1, ctypes.create_string_buffer(16), 1, 0)",
        "refused",
    ),
    Probe("takes a file of its parent", "return syscall(438, os.pidfd_open(os.getppid()), 3, 0)", "refused"),
    Probe("compares its files with PID 1's", "return syscall(312, os.getpid(), 1, 0, 0, 0)", "refused"),
    Probe(
        "priority, scheduling and processors of its parent",
        "p = os.getppid()\nfor act in (lambda: os.setpriority(0, p, 19), lambda: os.sched_setaffinity(p, {0}),"
        " lambda: os.sched_setscheduler(p, os.SCHED_IDLE, os.sched_param(0))):\n tried(act)",
        then="return 'clean' if os.sched_getscheduler(0) == 0 and os.getpriority(0, 0) == 0"
        " and len(os.sched_getaffinity(0)) == os.cpu_count() else 'changed'",
    ),
    refused(
        "limits of its parent",
        "__import__('resource').prlimit(os.getppid(), __import__('resource').RLIMIT_NOFILE, (1, 1))",
    ),
    refused("becomes root", "os.setuid(0)", kernel=SAME),
    refused("becomes the supervisor", "os.setresuid(os.getuid() - 2, -1, -1)", kernel=SAME),
    refused("becomes the user of the zygote", "os.setresuid(os.getuid() - 1, -1, -1)"),
    refused("joins root's group", "os.setgroups([0])"),
    refused("is spared by the killer", "open('/proc/self/oom_score_adj', 'w').write('-999')"),
    refused("runs before all others", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))"),
    refused("raises its limits", "__import__('resource').setrlimit(6, (99999, 99999))"),
    Probe(
        "traces its own first process from a child",
        "if os.fork() == 0: os._exit(0 if syscall(101, 16, os.getppid(), 0, 0) == 'refused' else 1)\n"
        "return 'refused' if os.wait()[1] == 0 else 'DONE'",
        "refused",
    ),
]


@table(SPREADING, NEIGHBOURS)
def test_attack_with_processes(arena: Arena, level: str, probe: Probe) -> None:
    """Nothing of it is left, and nobody else is reached."""
    arena.attack(probe)
