"""Attacks with output, results and the protocol."""

from __future__ import annotations

import pytest

from .conftest import Arena
from .probes import SAME, Probe, table

pytestmark = pytest.mark.docker

OUTPUT = [
    Probe("flood", "while True: os.write(1, b'x' * 65536)", "OutputLimit", SAME),
    Probe("flood of lines", "while True: print('x')", "OutputLimit"),
    Probe("flood of errors", "while True: os.write(2, b'\\xff\\x00' * 4096)", "OutputLimit"),
    Probe("flood of control characters", "while True: os.write(1, b'\\x01' * 65536)", "OutputLimit"),
    Probe("flood of a child", "import subprocess\nsubprocess.run(['yes'])", "OutputLimit"),
    Probe(
        "flood of a child that was left",
        "import subprocess\nsubprocess.Popen(['yes'], start_new_session=True)\nawait trio.sleep(9)",
        "OutputLimit",
    ),
    Probe("one line without end", "while True: sys.stdout.write('x' * 100_000)", "OutputLimit"),
    Probe("bytes that are no text", "os.write(1, b'\\xff\\xfe\\xc3\\x28')"),
    Probe("commands for a terminal", "print('\\x1b]0;owned\\x07\\x1b[2J')"),
    Probe("closed output", "os.close(1); os.close(2)"),
    Probe("flood of progress", "while True: await context.progress('x' * 10**6)", "Timeout", tool="quick"),
    Probe("progress that is no text", "await context.progress('\\ud800\\x00')", "SandboxError"),
]
RESULTS = [
    Probe("huge result", "return 'x' * (1 << 24)", "SandboxError"),
    Probe("result that is an object", "return object()", "SandboxError"),
    Probe("nothing as a result", "return None", "SandboxError"),
    Probe("lone surrogate", "return '\\ud800'", "SandboxError", SAME),
    Probe("NaN", "return ToolResult(call.id, call.tool, (Data(float('nan')),))", "SandboxError"),
    Probe("deep data", "x = []\nfor _ in range(99): x = [x]\nreturn ToolResult('', '', (Data(x),))", "SandboxError"),
    Probe("long integer", "return ToolResult('', '', (Data(10**500),))", "SandboxError"),
    Probe("result of another call", "return ToolResult('call_other', 'other_tool', (Text('mine'),))", "mine"),
    Probe("error in its own words", "raise ToolError('no such thing')", "no such thing"),
    Probe("error of a megabyte", "raise RuntimeError('x' * (1 << 20))", "SandboxError"),
    Probe("a class whose text kills", "class E(Exception):\n def __str__(self): os._exit(9)\nraise E", "SandboxError"),
    Probe(
        "a class whose text never ends",
        "class E(Exception):\n def __str__(self):\n  while True: pass\nraise E",
        "Timeout",
        tool="quick",
    ),
]


def forge(body: str, behind: str = "send()\nawait trio.sleep(9)") -> str:
    """Code that sends a frame on every socket that the call has."""
    return (
        "import socket, stat\n"
        "def channels():\n"
        " for fd in range(3, 256):\n"
        "  try:\n"
        "   if stat.S_ISSOCK(os.fstat(fd).st_mode) and socket.socket(fileno=os.dup(fd)).family == 1: yield fd\n"
        "  except OSError: pass\n"
        f"body = {body!r}.encode('utf-8')\n"
        "def send(frame=None):\n"
        " for fd in channels():\n"
        "  try: os.write(fd, frame or len(body).to_bytes(4, 'big') + body)\n"
        "  except OSError: pass\n" + behind
    )


FORGED = '{"op":"result","value":"forged"}'
PROTOCOL = [
    Probe(
        "result on every descriptor",
        "for fd in range(3, 256):\n try: os.write(fd, b'\\x00\\x00\\x00\\x02{}')\n except OSError: pass",
        "BoundaryBroken",
        SAME,
    ),
    Probe("NaN in a frame", forge('{"op":"result","value":NaN}'), "BoundaryBroken"),
    Probe("a key twice", forge('{"op":"result","op":"result","value":1}'), "BoundaryBroken"),
    Probe(
        "a word that only the supervisor says",
        forge('{"op":"end","value":"forged","repeated":false}'),
        "BoundaryBroken",
    ),
    Probe("two results", forge(FORGED, "send(); send(); await trio.sleep(9)"), "BoundaryBroken"),
    Probe(
        "result of a child",
        forge(FORGED, "if os.fork() == 0: send(); os._exit(0)\nawait trio.sleep(9)"),
        "BoundaryBroken",
        SAME,
    ),
    Probe("half a frame", forge(FORGED, "send(b'\\x00\\x00\\xff\\xff{'); os._exit(0)"), "SandboxError"),
    Probe("a frame of 4 GB", forge(FORGED, "send(b'\\xff\\xff\\xff\\xff'); await trio.sleep(9)"), "BoundaryBroken"),
    Probe(
        "descriptors sent along",
        forge(
            FORGED,
            "import array\nrights = [(1, 1, array.array('i', [0, 1, 2]))]\nfor fd in channels():\n"
            " for _ in range(50): socket.socket(fileno=os.dup(fd)).sendmsg([b'\\x00'], rights)\nawait trio.sleep(9)",
        ),
        "BoundaryBroken",
    ),
    Probe("closed channel", forge(FORGED, "for fd in channels(): os.close(fd)\nwhile True: pass"), "BoundaryBroken"),
    Probe("every file closed", "os.closerange(0, 256)", "SandboxError"),
    Probe(
        "questions to the host without end",
        "from fairlead.memory import Note\nwhile True: await context.recall.search('s', 'x')",
        "SandboxError",
    ),
    Probe(
        "reads what the host sends others",
        "return ''.join(sorted({tried(lambda: os.read(fd, 1)) for fd in range(3, 64)\n"
        "  if not os.path.exists(f'/proc/self/fd/{fd}')}))",
        "refused",
    ),
]


@table(OUTPUT, RESULTS, PROTOCOL)
def test_attack_with_what_it_says(arena: Arena, level: str, probe: Probe) -> None:
    """The host gets a result or a typed failure, and never what was not the call's to say."""
    arena.attack(probe)


def test_calls_are_not_mixed_up(arena: Arena) -> None:
    """A result that names another call is journalled as the result of the call that was made."""
    code = "return ToolResult('call_other', 'other_tool', (Text('mine'),), evidence={'level': 'kernel'})"
    result = arena.host.call("attacker", "probe", code=code)
    assert "probe" == result.tool
    assert "call_other" != result.call
    assert "container" == result.evidence["level"]


test_calls_are_not_mixed_up = pytest.mark.parametrize("level", ["container"])(test_calls_are_not_mixed_up)
