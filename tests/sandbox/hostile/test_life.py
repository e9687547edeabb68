"""Attacks with how a call ends, or does not."""

from __future__ import annotations

import pytest

from .conftest import Arena
from .probes import SAME, Probe, table

pytestmark = pytest.mark.docker

ENDS = [
    Probe("leaves with success", "os._exit(0)", "SandboxError", SAME),
    Probe("leaves with a failure", "os._exit(3)", "SandboxError"),
    Probe("exits", "sys.exit(0)", "SandboxError"),
    Probe("exits as an interpreter does", "raise SystemExit('goodbye')", "SandboxError"),
    Probe("is interrupted", "raise KeyboardInterrupt", "SandboxError"),
    Probe("ends its generators", "raise GeneratorExit", "SandboxError"),
    Probe("raises a class of its own", "class E(BaseException): pass\nraise E", "SandboxError"),
    Probe(
        "raises a group of groups",
        "raise BaseExceptionGroup('x', [ExceptionGroup('y', [OSError()]), SystemExit()])",
        "SandboxError",
    ),
    Probe("aborts", "os.abort()", "Killed", SAME),
    Probe("segmentation fault", "ctypes.string_at(8)", "Killed", SAME),
    Probe("illegal instruction", "os.kill(os.getpid(), 4)", "Killed"),
    Probe("kills itself", "os.kill(os.getpid(), 9)", "Killed"),
    Probe("alarm", "import signal, time\nsignal.alarm(1)\ntime.sleep(5)", "Killed"),
    Probe("limit of its own time", "import resource\nresource.setrlimit(0, (1, 1))\nwhile True: pass", "Killed"),
    Probe("replaced by another program", "os.execv('/bin/true', ['true'])", "SandboxError"),
    Probe("replaced by a program that hangs", "os.execv('/bin/sleep', ['sleep', '99'])", "Timeout", tool="quick"),
    Probe("recursion", "def f(): return f()\nreturn f()", "SandboxError"),
    Probe(
        "exits in a thread",
        "import threading\nt = threading.Thread(target=os._exit, args=(7,)); t.start(); t.join()",
        "SandboxError",
    ),
]
HANGS = [
    Probe("spins", "while True: pass", "Timeout", SAME, "quick"),
    Probe("sleeps", "import time\ntime.sleep(99)", "Timeout", tool="quick"),
    Probe("sleeps politely", "await trio.sleep(99)", "Timeout", tool="quick"),
    Probe("stops itself", "os.kill(os.getpid(), 19)", "Timeout", SAME, "quick"),
    Probe(
        "swallows cancellation",
        "while True:\n try: await trio.sleep(9)\n except BaseException: pass",
        "Timeout",
        tool="quick",
    ),
    Probe(
        "ignores every signal",
        "import signal\nfor n in range(1, 65):\n try: signal.signal(n, 1)\n"
        " except (OSError, ValueError): pass\nwhile True: pass",
        "Timeout",
        tool="quick",
    ),
    Probe("waits for its own input", "import time\nif not sys.stdin.read(): time.sleep(99)", "Timeout", tool="quick"),
    Probe("hangs when it is over", "import atexit, time\natexit.register(time.sleep, 99)"),
    Probe(
        "thread that never ends", "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"
    ),
    Probe(
        "lock that nobody gives back",
        "import threading\nl = threading.Lock(); l.acquire(); l.acquire()",
        "Timeout",
        tool="quick",
    ),
    Probe("pipe that nobody writes to", "r, w = os.pipe(); os.read(r, 1)", "Timeout", tool="quick"),
]


@table(ENDS, HANGS)
def test_attack_with_its_end(arena: Arena, level: str, probe: Probe) -> None:
    """The failure is typed, and the next call is served."""
    arena.attack(probe)


@pytest.mark.parametrize("level", ["container", "kernel"])
def test_new_session_is_served_after_all_this(arena: Arena, level: str) -> None:
    """In a sandbox of its own, as clean as the first one."""
    assert "fine" == arena.probe("latecomer", "return 'fine'")
    assert arena.clean == arena.survey("latecomer")
    assert arena.sandboxes["latecomer"] not in (arena.sandboxes["attacker"], arena.sandboxes["neighbour"])
