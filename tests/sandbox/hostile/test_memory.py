"""Attacks on memory and disk."""

from __future__ import annotations

import pytest

from .conftest import Arena
from .probes import SAME, Probe, table

pytestmark = pytest.mark.docker
FILL = (
    "import errno\n"
    "def fill(place, piece=bytes(1 << 20)):\n"
    " written = 0\n"
    " try:\n"
    "  with open(place, 'wb', 0) as file:\n"
    "   for _ in range(4096): written += file.write(piece)\n"
    " except OSError as error: return errno.errorcode[error.errno], written\n"
    " return 'DONE', written\n"
)
EMPTY = "import shutil\nfor n in os.listdir('/work'): os.remove('/work/' + n)\n"

MEMORY = [
    Probe("leak", "x = []\nwhile True: x.append(bytearray(1 << 20))", "OutOfMemory", "SandboxLost"),
    Probe(
        "leak of a grandchild",
        "import subprocess\ncode = 'x = []\\nwhile True: x.append(bytearray(1 << 20))'\n"
        "subprocess.run([sys.executable, '-I', '-S', '-c', code])",
        "OutOfMemory",
    ),
    Probe(
        "leak of many children",
        "for _ in range(20):\n if os.fork() == 0:\n  x = []\n  while True: x.append(bytearray(1 << 20))\nos.wait()",
        "OutOfMemory",
    ),
    Probe("memory without a file", "f = os.memfd_create('x')\nwhile True: os.write(f, bytes(1 << 20))", "OutOfMemory"),
    Probe(
        "shared anonymous memory",
        "import mmap\nm = mmap.mmap(-1, 1 << 30)\nfor n in range(0, 1 << 30, 4096): m[n] = 1",
        "OutOfMemory",
    ),
    Probe(
        "locked memory",
        "import mmap\nm = mmap.mmap(-1, 1 << 26)\n"
        "return syscall(149, ctypes.addressof(ctypes.c_char.from_buffer(m)), 1 << 26)",
        "refused",
    ),
    Probe("recursion in C", "x = []\nfor _ in range(10**6): x = [x]\nreturn repr(x)", "SandboxError"),
    Probe("a number without end", "return str(9 ** 9 ** 9)", "Timeout", tool="quick"),
    Probe(
        "pipes that nobody reads",
        "import fcntl\nx = []\ntry:\n for _ in range(4096):\n  r, w = os.pipe()\n"
        "  fcntl.fcntl(w, 1031, 1 << 20); os.set_blocking(w, False)\n"
        "  x.append((r, w)); os.write(w, bytes(1 << 20))\nexcept OSError: return 'refused'",
        "refused",
    ),
    Probe("open files without end", "x = []\nwhile True: x.append(open('/dev/null'))", "SandboxError"),
]
DISK = [
    Probe("full /tmp", f"{FILL}return fill('/tmp/x')[0]", "ENOSPC", SAME),
    Probe("full /dev/shm", f"{FILL}return fill('/dev/shm/x')[0]", "ENOSPC"),
    Probe(
        "all inodes of /tmp",
        "import errno\ntry:\n for n in range(10**6): os.close(os.open(f'/tmp/{n}', os.O_CREAT))\n"
        "except OSError as error: return errno.errorcode[error.errno]",
        "ENOSPC",
    ),
    Probe("full workspace", f"{FILL}return fill('/work/x')[0]", "ENOSPC", then=f"{EMPTY}return 'clean'"),
    Probe(
        "full workspace in many files",
        f"{FILL}total = sum(fill(f'/work/{{n}}', bytes(1 << 19))[1] for n in range(8))\n"
        "return 'more than it may' if total > 16_000_000 else 'bounded'",
        "bounded",
        then=f"{EMPTY}return 'clean'",
    ),
    Probe(
        "all inodes of the workspace",
        "import errno\ntry:\n for n in range(10**6): os.close(os.open(f'/work/{n}', os.O_CREAT))\n"
        "except OSError as error: return errno.errorcode[error.errno]",
        "ENOSPC",
        then=f"{EMPTY}return 'clean'",
    ),
    Probe(
        "sparse file of a terabyte",
        "return tried(lambda: os.truncate(os.open('/tmp/x', os.O_CREAT | os.O_RDWR), 1 << 40))",
        "refused",
    ),
    Probe(
        "deleted file that stays open",
        f"{FILL}f = os.open('/tmp/x', os.O_CREAT | os.O_RDWR); os.unlink('/tmp/x')\n"
        "if os.fork() == 0:\n try:\n  while True: os.write(f, bytes(1 << 20))\n"
        " except OSError: __import__('time').sleep(99)",
        then=f"{FILL}wrote = fill('/tmp/x')[1]; return 'clean' if wrote > 10_000_000 else str(wrote)",
    ),
    Probe("deep directories", "os.chdir('/tmp')\nfor _ in range(400): os.mkdir('d'); os.chdir('d')", kernel=SAME),
    Probe(
        "directories that nobody may enter", "os.makedirs('/tmp/a/b/c'); os.chmod('/tmp/a/b', 0); os.chmod('/tmp/a', 0)"
    ),
    Probe(
        "names that are no text",
        "open(b'/tmp/\\xff\\xfe\\n', 'w'); open('/tmp/-rf *', 'w'); open('/tmp/' + 'x' * 255, 'w')",
    ),
    Probe("pipes and sockets as files", "import socket\nos.mkfifo('/tmp/f'); socket.socket(1).bind('/tmp/s')"),
    Probe("locked workspace", "os.chmod('/work', 0)"),
    Probe("workspace of another user", "return tried(lambda: os.chown('/work', 0, 0))", "refused"),
]


@table(MEMORY, DISK)
def test_attack_on_memory_and_disk(arena: Arena, level: str, probe: Probe) -> None:
    """It ends at the limit, and the next call has all of it again."""
    arena.attack(probe)
