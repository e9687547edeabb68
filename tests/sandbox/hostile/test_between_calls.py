"""What one call leaves for the next one, and for other sessions: nothing."""

from __future__ import annotations

import pytest

from .conftest import Arena
from .probes import SAME, Probe, table

pytestmark = pytest.mark.docker


def left(name: str, code: str, then: str, *, outcome: str = "done", kernel: str | None = None) -> Probe:
    """An attack that leaves something; `then` is an expression that is true where it is gone."""
    return Probe(name, code, outcome, kernel, then=f"return 'clean' if {then} else 'LEFT'")


LEFT = [
    left("file in /tmp", "open('/tmp/x', 'w').write('x')", "not os.path.exists('/tmp/x')", kernel=SAME),
    left("file in /dev/shm", "open('/dev/shm/x', 'w').write('x')", "not os.path.exists('/dev/shm/x')"),
    left("hidden files", "open('/tmp/.x', 'w'); os.mkdir('/tmp/.d'); open('/tmp/.d/y', 'w')", "not os.listdir('/tmp')"),
    left("link out of /tmp", "open('/work/kept', 'w'); os.symlink('/work', '/tmp/x')", "os.path.exists('/work/kept')"),
    left(
        "shared memory of POSIX",
        "from multiprocessing.shared_memory import SharedMemory\nSharedMemory('x', create=True, size=100)",
        "tried(lambda: os.stat('/dev/shm/x')) == 'refused'",
    ),
    left(
        "shared memory of System V",
        "return syscall(29, 4242, 4096, 0o1777)",
        "libc.shmget(4242, 4096, 0) == -1",
        outcome="refused",
        kernel="DONE",
    ),
    left("queue of System V", "return syscall(68, 4242, 0o1777)", "libc.msgget(4242, 0) == -1", outcome="refused"),
    left(
        "semaphores of System V",
        "return syscall(64, 4242, 1, 0o1777)",
        "libc.semget(4242, 1, 0) == -1",
        outcome="refused",
    ),
    left(
        "queue of POSIX",
        "return syscall(240, ctypes.c_char_p(b'x'), os.O_CREAT | os.O_RDWR, 0o777, 0)",
        "syscall(240, ctypes.c_char_p(b'x'), os.O_RDWR, 0, 0) == 'refused'",
        outcome="refused",
    ),
    left(
        "abstract socket",
        "import socket, time\ns = socket.socket(1); s.bind('\\0x'); s.listen()\nif os.fork() == 0: time.sleep(99)",
        "tried(lambda: __import__('socket').socket(1).connect('\\0x')) == 'refused'",
    ),
    left(
        "server on loopback",
        "import socket, time\ns = socket.create_server(('127.0.0.1', 4242))\nif os.fork() == 0: time.sleep(99)",
        "tried(lambda: __import__('socket').create_connection(('127.0.0.1', 4242), 1)) == 'refused'",
        kernel=SAME,
    ),
    left("environment", "os.environ['LEFT'] = 'x'; libc.setenv(b'LEFT', b'x', 1)", "'LEFT' not in os.environ"),
    left(
        "changed library",
        "import json\njson.dumps = json.loads = print\ntrio.sleep = None\nsys.modules.clear()\nsys.path.clear()",
        "callable(trio.sleep) and len(sys.path) > 1",
        kernel=SAME,
    ),
    left(
        "changed builtins",
        "import builtins\nbuiltins.open = builtins.len = print",
        "len('xx') == 2",
        outcome="SandboxError",
    ),
    left(
        "hook on imports",
        "sys.meta_path.insert(0, 1 / 2); sys.addaudithook(lambda *a: None)",
        "0.5 not in sys.meta_path",
    ),
    left(
        "changed plugin",
        "import acme_hostile\nacme_hostile.Probes.call = acme_hostile.tried = None",
        "callable(__import__('acme_hostile').tried)",
    ),
    left("mask of new files", "os.umask(0o777)", "os.umask(0o22) == 0o22"),
    left(
        "handlers and timers",
        "import signal\nsignal.signal(14, lambda *a: None); signal.alarm(1)",
        "__import__('signal').alarm(0) == 0",
    ),
    left(
        "blocked signals",
        "import signal\nsignal.pthread_sigmask(0, range(1, 65))",
        "not __import__('signal').pthread_sigmask(0, [])",
    ),
    left("nice", "os.nice(10)", "os.nice(0) == 0"),
    left("one processor", "os.sched_setaffinity(0, {0})", "len(os.sched_getaffinity(0)) == os.cpu_count()"),
    left("limits", "import resource\nresource.setrlimit(7, (20, 20))", "__import__('resource').getrlimit(7)[0] > 20"),
    left(
        "lock on a file",
        "import fcntl, time\nf = open('/work/lock', 'w'); fcntl.flock(f, 2)\nif os.fork() == 0: time.sleep(99)",
        "__import__('fcntl').flock(open('/work/lock', 'w'), 6) is None",
    ),
    left("watches of files", "x = [libc.inotify_init() for _ in range(50)]", "libc.inotify_init() > 0"),
    left(
        "key in a keyring",
        "return syscall(248, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), ctypes.c_char_p(b'y'), 1, -4)",
        "syscall(249, ctypes.c_char_p(b'user'), ctypes.c_char_p(b'x'), 0, -4) == 'refused'",
        outcome="refused",
    ),
    left(
        "debugger's word",
        "libc.prctl(0x59616d61, -1, 0, 0, 0)\nlibc.prctl(4, 1, 0, 0, 0)",
        "tried(lambda: os.listdir(f'/proc/{os.getppid()}/fd')) == 'refused'",
    ),
    left(
        "subreaper",
        "import time\nlibc.prctl(36, 1, 0, 0, 0)\nif os.fork() == 0:\n if os.fork() == 0: time.sleep(99)\n os._exit(0)",
        "len([n for n in os.listdir('/proc') if n.isdigit()]) == 4",
    ),
    left(
        "file that runs at each start",
        "for name in ('sitecustomize', 'json'): open(f'/work/{name}.py', 'w').write('raise SystemExit')",
        "__import__('json').__file__.startswith('/usr')",
    ),
]


@table(LEFT)
def test_attack_on_the_next_call(arena: Arena, level: str, probe: Probe) -> None:
    """It is gone, or it never was."""
    arena.attack(probe)


@pytest.mark.parametrize("level", ["container", "kernel"])
def test_files_stay_within_their_session(arena: Arena, level: str) -> None:
    """They are there for the session's next call, and for no other session."""
    assert "done" == arena.probe("attacker", "open('/work/mine', 'w').write('secret')")
    assert "secret" == arena.probe("attacker", "return open('/work/mine').read()")
    assert "[]" == arena.probe("neighbour", "return str(os.listdir('/work'))")
    assert arena.sandboxes["attacker"] != arena.sandboxes["neighbour"]
