"""Tools that attack: each probe has its outcome, and the next call works in a clean sandbox."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import field, frozen

from fairlead.errors import ToolError
from fairlead_sandbox.errors import (
    BoundaryBroken,
    Killed,
    OutOfMemory,
    OutputLimit,
    PidLimit,
    SandboxError,
    Timeout,
)
from fairlead_sandbox.runner import Limits, Outcome, Watch, Work

from .inside_namespace import IDENTITIES, Sandbox, sandbox

SECONDS = 0.5
SURVEY = """
import json
names = [n for n in os.listdir('/proc') if n.isdigit()]
found = {'pids': len(names), 'tmp': os.listdir('/tmp'), 'shm': os.listdir('/dev/shm'), 'ids': os.getresuid(),
 'groups': os.getgroups(), 'files': sorted(int(n) for n in os.listdir('/proc/self/fd'))[:3], 'home': os.environ['HOME'],
 'variables': sorted(os.environ), 'cwd': os.getcwd(), 'nice': os.getpriority(os.PRIO_PROCESS, 0),
 'handler': str(__import__('signal').getsignal(15)), 'json': json.dumps.__module__}
return json.dumps(found)
"""
CLEAN = {
    "pids": 4,
    "tmp": [],
    "shm": [],
    "ids": [IDENTITIES.call] * 3,
    "groups": [],
    "files": [0, 1, 2],
    "home": "/tmp",  # noqa: S108  # the sandbox's own
    "variables": ["HOME", "LANG", "PATH"],
    "cwd": "/mnt/work",
    "nice": 0,
    "handler": "0",
    "json": "json",
}


def work(code: str, **limits: Any) -> Work:
    given = {"seconds": 10.0, **limits}
    return Work(
        os.urandom(8).hex(), "probes", "run", {"code": code}, effect="read", recall=True, limits=Limits(**given)
    )


async def run(box: Sandbox, code: str, **limits: Any) -> Outcome:
    return await box.runner.call(work(code, **limits), Deaf())


class Deaf(Watch):
    """Hears questions and answers none."""

    async def ask(self, service: str, args: Mapping[str, Any]) -> Any:
        await trio.sleep_forever()


async def assert_clean(box: Sandbox) -> None:
    """The next call finds the sandbox as the first one did."""
    assert box.runner.usable
    outcome = await run(box, SURVEY)
    assert None is outcome.error
    assert CLEAN == json.loads(outcome.value)


@frozen
class Probe:
    """An attack and what must come of it."""

    name: str
    code: str
    error: type[Exception] | None = None
    value: str = "done"
    limits: Mapping[str, Any] = field(factory=dict)
    within: float = 5.0
    """Seconds."""
    says: str = ""
    """Words of the error."""


QUICK = {"seconds": SECONDS}
SPREAD = """
import subprocess, sys
def spread(depth):
    if os.fork() == 0:
        os.setsid()
        if depth and os.fork() == 0:
            spread(depth - 1)
        while True: pass
spread(3)
"""
MEMFD = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"

PROCESSES = [
    Probe("fork bomb", "while True:\n try: os.fork()\n except OSError: pass", Timeout, limits=QUICK),
    Probe(
        "fork bomb whose first process ends",
        "if os.fork() == 0:\n while True:\n  try: os.fork()\n  except OSError: pass\nos._exit(0)",
        SandboxError,
    ),
    Probe("children that left the session", SPREAD),
    Probe("children that ignore signals", "import signal\nif os.fork() == 0:\n signal.signal(15, 1)\n signal.pause()"),
    Probe("stopped child", "import signal\nif os.fork() == 0: os.kill(os.getpid(), 19)"),
    Probe("stops itself", "os.kill(os.getpid(), 19)", Timeout, limits=QUICK),
    Probe("spins", "while True: pass", Timeout, limits=QUICK),
    Probe("spins in C", "return str(sum(range(10**12)))", Timeout, limits=QUICK),
    Probe(
        "ignores every signal",
        "import signal\nfor n in range(1, 65):\n try: signal.signal(n, 1)\n except (OSError, ValueError): pass\n"
        "while True: pass",
        Timeout,
        limits=QUICK,
    ),
    Probe(
        "swallows cancellation",
        "while True:\n try: await trio.sleep(9)\n except BaseException: pass",
        Timeout,
        limits=QUICK,
    ),
    Probe("leaves at once", "os._exit(3)", SandboxError),
    Probe("leaves with success", "os._exit(0)", SandboxError),
    Probe("raises SystemExit", "raise SystemExit(0)", SandboxError),
    Probe("raises KeyboardInterrupt", "raise KeyboardInterrupt", SandboxError),
    Probe("raises GeneratorExit", "raise GeneratorExit", SandboxError),
    Probe("raises in words", "raise ToolError('no such thing')", ToolError),
    Probe("kills itself", "os.kill(os.getpid(), 9)", Killed),
    Probe("aborts", "os.abort()", Killed),
    Probe("segmentation fault", "import ctypes\nctypes.string_at(8)", Killed),
    Probe("recursion", "def f(): return f()\nreturn f()", SandboxError),
    Probe("recursion in C", "x = []\nfor _ in range(10**6): x = [x]\nreturn repr(x)", SandboxError),
    Probe(
        "threads without end",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
        PidLimit,
    ),
    Probe(
        "processes without end", "while True:\n if os.fork() == 0: os.setsid(); __import__('time').sleep(99)", PidLimit
    ),
    Probe(
        "threads that outlive the tool",
        "import threading\nthreading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()",
    ),
    Probe("hooks at exit that hang", "import atexit, time\natexit.register(time.sleep, 99)"),
    Probe("a class whose text kills", "class E(Exception):\n def __str__(self): os._exit(9)\nraise E", SandboxError),
    Probe(
        "a class whose text spins",
        "class E(Exception):\n def __str__(self):\n  while True: pass\nraise E",
        Timeout,
        limits=QUICK,
    ),
    Probe("replaced by another program", "os.execv('/bin/true', ['true'])", SandboxError),
    Probe("program that outlives it", "import subprocess\nsubprocess.Popen(['sleep', '99'], start_new_session=True)"),
]

MEMORY_AND_DISK = [
    Probe("leak", "x = []\nwhile True: x.append(bytearray(1 << 20))", OutOfMemory),
    Probe(
        "leak of a grandchild",
        "import subprocess, sys\ncode = 'x = []\\nwhile True: x.append(bytearray(1 << 20))'\n"
        "subprocess.run([sys.executable, '-I', '-S', '-c', code])",
        OutOfMemory,
    ),
    Probe("leak under a limit of addresses", "x = bytearray(1 << 33)", OutOfMemory, limits={"address_bytes": 1 << 31}),
    Probe("fills /dev/shm", "with open('/dev/shm/x', 'wb') as f:\n while True: f.write(bytes(1 << 20))", SandboxError),
    Probe(
        "fills the inodes",
        "for n in range(10**6): os.close(os.open(f'/tmp/{n}', os.O_CREAT | os.O_WRONLY))",
        SandboxError,
    ),
    Probe(
        "large file",
        "with open('big', 'wb') as f:\n for _ in range(9): f.write(bytes(1 << 20))",
        SandboxError,
        limits={"file_bytes": 4 << 20},
    ),
    Probe("files in /tmp", "open('/tmp/x', 'w').write('x'); os.mkdir('/tmp/d'); open('/tmp/d/y', 'w').write('y')"),
    Probe(
        "directories that nobody may enter", "os.makedirs('/tmp/a/b/c'); os.chmod('/tmp/a/b', 0); os.chmod('/tmp/a', 0)"
    ),
    Probe("deep directories", "for _ in range(300): os.mkdir('d'); os.chdir('d')", limits={}),
    Probe("deep directories in /tmp", "os.chdir('/tmp')\nfor _ in range(300): os.mkdir('d'); os.chdir('d')"),
    Probe("EAGAIN that has another reason", "raise BlockingIOError(11, 'try again')", SandboxError),
    Probe("locked workspace", "os.chmod('/mnt/work', 0)"),
    Probe("link out of /tmp", "os.symlink('/mnt/work', '/tmp/x'); open('/mnt/work/kept', 'w').write('k')"),
    Probe("named pipe and socket", "import socket\nos.mkfifo('/tmp/f'); socket.socket(1).bind('/tmp/s')"),
    Probe("odd names", "open(b'/tmp/\\xff\\n', 'w'); open('/tmp/-rf *', 'w')"),
    Probe("lock of /tmp's own mode", "os.chmod('/tmp', 0)", SandboxError),
    Probe("open files without end", "x = []\nwhile True: x.append(open('/dev/null'))", SandboxError),
]

OUTPUT = [
    Probe("flood", "while True: os.write(1, b'x' * 65536)", OutputLimit, within=1.0),
    Probe("flood of lines", "while True: print('x')", OutputLimit),
    Probe("flood of errors", "while True: os.write(2, b'\\xff\\x00' * 4096)", OutputLimit),
    Probe("flood of a child", "import subprocess\nsubprocess.run(['yes'])", OutputLimit),
    Probe(
        "flood of children that were left",
        "import subprocess\nsubprocess.Popen(['yes'], start_new_session=True)\nawait trio.sleep(9)",
        OutputLimit,
    ),
    Probe("flood of control characters", "while True: os.write(1, b'\\x01' * 65536)", OutputLimit, within=1.0),
    Probe("bytes that are no text", "os.write(1, b'\\xff\\xfe\\xc3')"),
    Probe("closes its output", "os.close(1); os.close(2)"),
    Probe("flood of progress", "while True: await context.progress('x' * 10**6)", Timeout, limits=QUICK),
]

PROTOCOL = [
    Probe("huge result", "return 'x' * (1 << 24)", SandboxError),
    Probe("result that is no text", "return object()", SandboxError),
    Probe("nothing as a result", "return None", SandboxError),
    Probe("lone surrogate", "return '\\ud800'", SandboxError),
    Probe("NaN", "return ToolResult(call.id, call.tool, (Data(float('nan')),))", SandboxError),
    Probe(
        "deep data",
        "x = []\nfor _ in range(99): x = [x]\nreturn ToolResult(call.id, call.tool, (Data(x),))",
        SandboxError,
    ),
    Probe(
        "long integer",
        "return ToolResult(call.id, call.tool, (Data(10**500),))",
        SandboxError,
    ),
    Probe(
        "writes to every file",
        "for fd in range(3, 256):\n try: os.write(fd, b'\\x00\\x00\\x00\\x02{}')\n except OSError: pass",
        BoundaryBroken,
    ),
    Probe("closes every file", "os.closerange(0, 256)", SandboxError),
]


def frame(text: str) -> str:
    """Code that sends a frame on the call's own channel, whatever its number is."""
    return (
        "import socket, stat\n"
        "def channels():\n"
        " for fd in range(3, 256):\n"
        "  try:\n"
        "   if stat.S_ISSOCK(os.fstat(fd).st_mode) and socket.socket(fileno=os.dup(fd)).family == 1: yield fd\n"
        "  except OSError: pass\n"
        f"body = {text!r}.encode('utf-8')\n"
        "def send():\n"
        " for fd in channels():\n"
        "  try: os.write(fd, len(body).to_bytes(4, 'big') + body)\n"
        "  except OSError: pass\n"
    )


FORGED = '{"op":"result","value":"forged"}'
PROTOCOL += [
    Probe("NaN in a frame", frame('{"op":"result","value":NaN}') + "send()", BoundaryBroken),
    Probe("a key twice", frame('{"op":"result","op":"result","value":1}') + "send()", BoundaryBroken),
    Probe("a surrogate in a frame", frame('{"op":"result","value":"\\ud800"}') + "send()", BoundaryBroken),
    Probe("an unknown word", frame('{"op":"shutdown"}') + "send(); await trio.sleep(9)", BoundaryBroken),
    Probe(
        "an ask without a number",
        frame('{"op":"ask","service":"x","args":{}}') + "send(); await trio.sleep(9)",
        BoundaryBroken,
    ),
    Probe("two results", frame(FORGED) + "send(); send(); await trio.sleep(9)", BoundaryBroken),
    Probe("result and then nothing", frame(FORGED) + "send(); await trio.sleep(9)", value="forged", within=1.0),
    Probe(
        "forged by a child",
        frame(FORGED) + "if os.fork() == 0: send(); os._exit(0)\nawait trio.sleep(9)",
        BoundaryBroken,
    ),
    Probe(
        "forged by a program that was given the channel",
        frame(FORGED)
        + "import subprocess, sys\nfds = list(channels())\n"
        + "code = f'import os\\nfor fd in {fds}: os.write(fd, {len(body).to_bytes(4, \"big\") + body!r})'\n"
        + "subprocess.run([sys.executable, '-I', '-S', '-c', code], pass_fds=fds)\nawait trio.sleep(9)",
        BoundaryBroken,
    ),
    Probe(
        "forged after the end",
        frame(FORGED) + "if os.fork() == 0:\n __import__('time').sleep(0.1)\n send()\nos._exit(5)",
        SandboxError,
    ),
    Probe(
        "half a frame",
        frame("x") + "for fd in channels(): os.write(fd, b'\\x00\\x00\\xff\\xff{')\nos._exit(0)",
        SandboxError,
    ),
    Probe(
        "a frame of 4 GB",
        frame("x") + "for fd in channels(): os.write(fd, b'\\xff\\xff\\xff\\xff')\nawait trio.sleep(9)",
        BoundaryBroken,
    ),
    Probe(
        "descriptors sent along",
        frame("x") + "import array\nrights = [(1, 1, array.array('i', [0, 1, 2]))]\nfor fd in channels():\n"
        " for _ in range(50): socket.socket(fileno=os.dup(fd)).sendmsg([b'\\x00'], rights)\nawait trio.sleep(9)",
        BoundaryBroken,
    ),
    Probe(
        "closes its channel",
        frame("x") + "for fd in channels(): os.close(fd)\nwhile True: pass",
        BoundaryBroken,
        within=1.0,
    ),
]

TRY = (
    "def tried(act):\n"
    " try: act()\n"
    " except (OSError, ValueError): return 'refused'\n"
    " return 'DONE'\n"
    "seed, zygote = sorted(int(n) for n in os.listdir('/proc') if n.isdigit() and int(n) not in (1, os.getpid()))\n"
    "assert zygote == os.getppid()\n"
    "libc = __import__('ctypes').CDLL(None, use_errno=True)\n"
)


def refused(name: str, act: str) -> Probe:
    return Probe(name, f"{TRY}import resource, signal\nreturn tried(lambda: {act})", value="refused")


def failing(call: str) -> str:
    return f"os.read(-1, 1) if {call} == -1 else 0"


NEIGHBOURS = [
    refused("kills the zygote", "os.kill(zygote, 9)"),
    refused("stops the zygote", "os.kill(zygote, 19)"),
    refused("kills the seed", "os.kill(seed, 9)"),
    refused("stops the seed", "os.kill(seed, 19)"),
    refused("memory of the seed", "open(f'/proc/{seed}/mem', 'r+b')"),
    refused("files of the seed", "os.listdir(f'/proc/{seed}/fd')"),
    refused("traces the seed", failing("libc.ptrace(16, seed, 0, 0)")),
    Probe(
        "signals the supervisor", "import signal\nfor n in range(1, 65):\n try: os.kill(1, n)\n except OSError: pass"
    ),
    refused("memory of the supervisor", "open('/proc/1/mem', 'rb')"),
    refused("memory of the zygote", "open(f'/proc/{zygote}/mem', 'r+b')"),
    refused("files of the supervisor", "os.listdir('/proc/1/fd')"),
    refused("files of the zygote", "os.listdir(f'/proc/{zygote}/fd')"),
    refused("environment of the supervisor", "open('/proc/1/environ', 'rb').read()"),
    refused("traces the supervisor", failing("libc.ptrace(16, 1, 0, 0)")),
    refused("traces the zygote", failing("libc.ptrace(16, zygote, 0, 0)")),
    refused("limits of the zygote", "resource.prlimit(zygote, resource.RLIMIT_NOFILE, (1, 1))"),
    refused("limits of the supervisor", "resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))"),
    refused("a file of the zygote", failing("libc.syscall(438, os.pidfd_open(zygote), 3, 0)")),
    refused("priority of the supervisor", "os.setpriority(os.PRIO_PROCESS, 1, 19)"),
    refused("becomes root", "os.setuid(0)"),
    refused("becomes the supervisor", f"os.setresuid({IDENTITIES.supervisor}, -1, -1)"),
    refused("becomes the zygote", f"os.setresuid({IDENTITIES.zygote}, -1, -1)"),
    refused("reads the record", "os.listdir('/mnt/record')"),
    refused("writes among the record", "open('/mnt/record/x', 'w')"),
    refused("writes to the plugins", "open('/mnt/probes/probes/evil.py', 'w')"),
    refused("writes to the runtime", "open('/mnt/fairlead/inside/_call.py', 'a')"),
    refused("mounts", failing("libc.mount(b'none', b'/tmp', b'tmpfs', 0, 0)")),
    refused("raises its limits", "resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))"),
    Probe(
        "traces its own first process from a child",
        f"{TRY}if os.fork() == 0: os._exit(0 if libc.ptrace(16, os.getppid(), 0, 0) == -1 else 1)\n"
        "assert os.wait()[1] == 0",
    ),
    Probe("changes the handlers", "import signal\nsignal.signal(15, lambda *a: None); signal.alarm(1)"),
]
NEIGHBOURS.append(
    Probe(
        "changes the runtime",
        "import json, sys\njson.dumps = json.loads = print\nos.environ['X'] = 'y'\n"
        "sys.path.clear()\ntrio.run = None\nsys.modules.clear()",
    )
)

IPC = [
    Probe(
        "large question to the host",
        "await context.recall.search('s', 'x' * 300_000)",
        BoundaryBroken,
    ),
    Probe(
        "questions without end",
        "async with trio.open_nursery() as nursery:\n"
        " for _ in range(100): nursery.start_soon(context.recall.search, 's', 'x')",
        BoundaryBroken,
    ),
    Probe(
        "shared memory of POSIX",
        "from multiprocessing.shared_memory import SharedMemory\nSharedMemory('x', create=True, size=100)",
        limits={},
    ),
    Probe(
        "abstract socket",
        "import socket\ns = socket.socket(1); s.bind('\\0x'); s.listen()\n"
        "if os.fork() == 0: __import__('time').sleep(99)",
    ),
]

ALL = [*PROCESSES, *MEMORY_AND_DISK, *OUTPUT, *PROTOCOL, *NEIGHBOURS, *IPC]


@pytest.mark.parametrize("probe", ALL, ids=lambda probe: probe.name)
async def test_attack_has_its_outcome_and_the_next_call_is_clean(probe: Probe, tmp_path: Path) -> None:
    """Typed, in time, and nothing of it is left."""
    async with sandbox(tmp_path) as box:
        began = time.monotonic()
        outcome = await run(box, probe.code, **probe.limits)
        took = time.monotonic() - began
        if probe.error is None:
            assert (None, probe.value) == (outcome.error, outcome.value)
        else:
            assert probe.error is type(outcome.error), outcome
            assert probe.says in str(outcome.error)
        assert took < probe.within
        await assert_clean(box)
