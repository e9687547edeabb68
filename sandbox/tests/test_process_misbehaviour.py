"""What a hostile plugin tries from its process, in each way in which a machine can isolate it.

The host is this very process: after every probe it is alive, what it guards is whole, and nothing of the plugin lives.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead_sandbox.errors import BoundaryBroken, SandboxError, SandboxLost
from fairlead_sandbox.process import Machine, ProcessLimits, look_at_machine
from fairlead_sandbox.process._tree import descendants

from .process_guests import WAYS, Guest, alive, guest, guest_spec, way_of

MEGABYTE = 1 << 20
SYSCALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({})
value = ctypes.get_errno()
"""
TOKEN = "token-of-the-host-8f3a"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return trio.run(look_at_machine)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    return way_of(machine, request.param)


@pytest.fixture
async def plugin(way: Machine, tmp_path: Path) -> AsyncIterator[Guest]:
    """One that is killed in the end, with all that it started; the host has not grown meanwhile."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with guest(guest_spec(tmp_path / "work"), way) as running:
        pids = descendants(running.process.pid)
        yield running
    assert [] == alive(pids)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024, "kilobytes"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """What a host has: a configuration with a token, a data directory, another plugin's directory, a key, sockets."""
    monkeypatch.setenv("FAIRLEAD_TOKEN", TOKEN)
    files = [tmp_path / name for name in ("fairlead.toml", "data/journal.db", "plugins/other/work/cache", ".ssh/id")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TOKEN)
    home = Path.home() / f".fairlead-test-{os.getpid()}"
    home.write_text(TOKEN)
    with ExitStack() as stack:
        stack.callback(home.unlink)
        yield [*files, home, Path("/etc/passwd"), Path("/etc/shadow"), Path("/root/.bashrc")]


async def test_files_of_the_host_cannot_be_read(plugin: Guest, secrets: list[Path], tmp_path: Path) -> None:
    """Not its configuration, data, keys, or the directory of another plugin; not by name, and not by a link."""
    for file in secrets:
        for attempt in (
            f"value = open({str(file)!r}).read()",
            f"import os, time\nlink = str(time.time_ns())\nos.symlink({str(file)!r}, link)\nvalue = open(link).read()",
            f"import os\nos.link({str(file)!r}, 'hard')\nvalue = open('hard').read()",
            f"import os\nvalue = os.listdir({str(file.parent)!r})",
        ):
            if file.parent in (tmp_path, Path("/etc"), Path("/root")) and "listdir" in attempt:
                continue
            with pytest.raises(SandboxError, match=r"Permission|No such file|cross-device|not permitted"):
                await plugin.do(attempt)


async def test_environment_and_memory_of_the_host_cannot_be_read(plugin: Guest, secrets: list[Path]) -> None:
    """Neither by /proc nor by the calls of debuggers, of the host and of whoever is its parent."""
    code = f"""
import os
found = []
pids = [{os.getpid()}, os.getppid(), 1]
try:
    pids += [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
except OSError:
    pass
for pid in pids:
    for name in ("environ", "mem", "maps", "cmdline", "cwd/fairlead.toml", "root/etc/passwd"):
        try:
            text = open(f"/proc/{{pid}}/{{name}}", "rb").read(100000)
        except OSError:
            continue
        found.append([pid, name, text.decode("latin-1")])
value = found
"""
    for _pid, name, text in await plugin.do(code):
        assert TOKEN not in text
        # Of its own first process, where there is one, it may read the command.
        assert name == "cmdline"
    numbers = {"ptrace": 101, "process_vm_readv": 310, "kcmp": 312, "pidfd_getfd": 438}
    for name, number in numbers.items():
        for pid in (os.getpid(), 1):
            got = await plugin.do(SYSCALL.format(f"{number}, 16, {pid}, 0, 0, 0, 0"))
            assert got in (errno.EPERM, errno.ESRCH, errno.ENOSYS), name


KERNEL = {
    "add_key": 248,
    "bpf": 321,
    "fsopen": 430,
    "init_module": 175,
    "io_uring_setup": 425,
    "kexec_load": 246,
    "keyctl": 250,
    "mount": 165,
    "mq_open": 240,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "open_tree": 428,
    "perf_event_open": 298,
    "pivot_root": 155,
    "ptrace": 101,
    "quotactl": 179,
    "reboot": 169,
    "setns": 308,
    "shmget": 29,
    "swapon": 167,
    "syslog": 103,
    "unshare": 272,
    "userfaultfd": 323,
    "vmsplice": 278,
}
"""Numbers for x86-64."""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64; run it there")
@pytest.mark.parametrize("name", KERNEL)
async def test_kernel_offers_only_what_python_needs(machine: Machine, name: str, shared: Guest) -> None:
    """Whatever else there is, is refused before the kernel looks at it."""
    assert errno.EPERM == await shared.do(SYSCALL.format(f"{KERNEL[name]}, 0, 0, 0, 0, 0, 0"))


@pytest.fixture
async def shared(machine: Machine, tmp_path: Path) -> AsyncIterator[Guest]:
    async with guest(guest_spec(tmp_path / "work"), machine) as running:
        yield running


async def test_no_namespace_can_be_made(plugin: Guest) -> None:
    """Neither by clone nor by its newer form, which libc takes for missing."""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86-64; run it there")
    assert errno.ENOSYS == await plugin.do(SYSCALL.format("435, 0, 0"))
    for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x02000000, 0x08000000, 0x04000000):
        assert errno.EPERM == await plugin.do(SYSCALL.format(f"56, {flag | 17}, 0, 0, 0, 0"))


@pytest.mark.parametrize("family", ["AF_NETLINK", "AF_VSOCK", "AF_ALG", "AF_PACKET"])
async def test_sockets_are_of_the_common_families_only(plugin: Guest, family: str) -> None:
    """The others lead out of the namespace, or to seldom tested parts of the kernel."""
    with pytest.raises(SandboxError, match="not supported"):
        await plugin.do(f"import socket\nsocket.socket(socket.{family}, socket.SOCK_RAW)")


async def test_host_cannot_be_signalled(plugin: Guest) -> None:
    """Neither the host, nor its group, nor everybody. This test would not end otherwise."""
    for target in (os.getpid(), os.getppid(), -os.getpgrp()):
        with suppress(SandboxError):
            await plugin.do(f"import os\nos.kill({target}, 9)")
    with suppress(SandboxError):
        await plugin.do(f"import os\nos.killpg({os.getpgrp()}, 9)")
    # Everybody that it can reach: itself among them, where it has a world of its own.
    with suppress(SandboxError):
        await plugin.do("import os\nos.kill(-1, 9)")


async def test_its_own_parent_may_be_killed_and_that_is_its_end(plugin: Guest) -> None:
    """Also its own group; nothing survives."""
    for attempt in ("os.kill(os.getppid(), 9)", "os.kill(0, 9)", "os.kill(os.getpid(), 9)"):
        with suppress(SandboxError):
            await plugin.do(f"import os\n{attempt}")


async def test_metadata_of_the_hosts_files_is_left_alone(plugin: Guest, secrets: list[Path]) -> None:
    """Landlock guards contents only; something else must guard modes, owners and times."""
    before = [os.stat(file) for file in secrets if file.exists()]  # noqa: PTH116  # the same call for each
    for file in secrets:
        for attempt in (f"os.chmod({str(file)!r}, 0o777)", f"os.utime({str(file)!r}, (1, 1))"):
            with suppress(SandboxError):
                await plugin.do(f"import os\n{attempt}")
    after = [os.stat(file) for file in secrets if file.exists()]  # noqa: PTH116  # the same call for each
    assert [(each.st_mode, each.st_mtime, each.st_ino) for each in before] == [
        (each.st_mode, each.st_mtime, each.st_ino) for each in after
    ]


# -- crashes of every sort: the end is told, with its cause


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise SystemExit(4)", "exit status 4"),
        ("import os\nos._exit(5)", "exit status 5"),
        ("import ctypes\nctypes.string_at(0)", "ended by SIGSEGV"),
        ("import os\nos.abort()", "ended by SIG"),
        (
            "import sys\nsys.stderr.write('last cry')\nsys.stderr.flush()\nimport os\nos._exit(6)",
            "exit status 6: last cry",
        ),
        ("import os\nos.close(out)\nos.close(0)\nos._exit(0)", "exit status 0"),
    ],
)
async def test_crash_is_told_with_its_cause(plugin: Guest, code: str, words: str) -> None:
    """The open call fails with it."""
    with pytest.raises(SandboxLost) as caught:
        await plugin.do(code)
    assert caught.value.last_words.startswith(words)
    assert (await plugin.process.wait()).startswith(words)


SPIN = """
import threading
def spin():
    while True: pass
for _ in range(8):
    threading.Thread(target=spin).start()
spin()
"""


async def test_spinning_process_is_killed_in_no_time(plugin: Guest) -> None:
    """It holds a processor, and no lock of ours; every thread of it dies."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_lost, plugin, SPIN)
        with trio.fail_after(30):
            while plugin.process.figures()["cpu_seconds"] < 0.2:  # noqa: ASYNC110  # only the kernel knows it
                await trio.sleep(0.02)  # real time: the plugin uses a processor meanwhile
        with trio.fail_after(2):
            await plugin.process.kill()


async def _lost(plugin: Guest, code: str) -> None:
    with pytest.raises(SandboxError):
        await plugin.do(code)


async def test_ignored_cancellation_costs_its_life(plugin: Guest) -> None:
    """2 s after the cancellation."""
    with trio.fail_after(6), trio.move_on_after(0.2):
        await plugin.do("import time\nwhile True: time.sleep(1)")
    assert isinstance(plugin.peer.ended, BoundaryBroken)
    assert "killed by its host" in await plugin.process.wait()


async def test_flood_on_the_boundary_ends_it(plugin: Guest) -> None:
    """The host reads no more than one frame's length of it."""
    with pytest.raises(BoundaryBroken):
        await plugin.do("import os\nwhile True: os.write(out, b'x' * 65536)")
    await plugin.process.kill()


async def test_flood_of_valid_frames_ends_it(plugin: Guest) -> None:
    """Answers that nobody asked for are no protocol."""
    with pytest.raises(BoundaryBroken):
        await plugin.do("while True: answer({'type': 'result', 'id': 999, 'value': 'x' * 10000})")


async def test_flood_on_standard_error_makes_it_wait(plugin: Guest) -> None:
    """The host keeps the end, reads slowly, and answers others meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_lost, plugin, "import os\nwhile True: os.write(2, b'x' * 65536)")
        began = os.times()
        await trio.sleep(1)  # real time: another process writes meanwhile
        used = sum(os.times()[:2]) - sum(began[:2])
        assert used < 0.5
        await plugin.process.kill()
    assert len(await plugin.process.wait()) < 9000


LEAKS = (
    "hoard = []\nwhile True: hoard.append(bytearray(1 << 20))",
    """
import mmap
hoard = []
while True:
    hoard.append(mmap.mmap(-1, 1 << 20))
    hoard[-1].write(b'x' * (1 << 20))
""",
    """
import os
hoard = []
while True:
    hoard.append(os.memfd_create('x'))
    os.write(hoard[-1], b'x' * (1 << 22))
""",
    """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
""",
)


async def test_leak_ends_at_its_limit(way: Machine, tmp_path: Path) -> None:
    """By whatever way memory is taken, also where no rlimit counts it."""
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(memory_bytes=64 * MEGABYTE, files=64))
    for code in LEAKS:
        async with guest(spec, way) as running:
            with pytest.raises(SandboxError):
                await running.do(code)


# -- processes of its own, where it may have them


FORKS = """
import os, signal, time
child = os.fork()
if child == 0:
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    try:
        os.setsid()
    except OSError:
        pass
    if os.fork():
        os._exit(0)
    for number in range(0, 3):
        os.close(number)
    while True:
        time.sleep(1)
os.waitpid(child, 0)
value = True
"""


async def test_children_that_want_to_survive_die_with_it(way: Machine, tmp_path: Path) -> None:
    """With every signal ignored, in a session of their own where that is possible, and without a parent."""
    mark = f"survivor-{tmp_path.name}-{os.getpid()}"
    spec = guest_spec(tmp_path / mark, subprocesses=True)
    for end in ("kill", "exit"):
        async with guest(spec, way) as running:
            assert await running.do(FORKS)
            assert _marked(mark)
            if end == "exit":
                with pytest.raises(SandboxLost):
                    await running.do("import os\nos._exit(0)")
                await running.process.wait()
        assert [] == _marked(mark)


async def test_fork_bomb_ends(machine: Machine, tmp_path: Path) -> None:
    """At its limit of processes, and when it is killed."""
    mark = f"bomb-{tmp_path.name}-{os.getpid()}"
    spec = guest_spec(tmp_path / mark, subprocesses=True, limits=ProcessLimits(processes=32))
    async with guest(spec, machine) as running:
        with pytest.raises(SandboxError, match=r"BlockingIOError|ended"):
            await running.do("import os\nwhile True: os.fork()")
        await running.process.kill()
    assert [] == _marked(mark)


def _marked(mark: str) -> list[int]:
    """The processes of this machine that work in the directory of the test."""
    found = []
    for place in Path("/proc").iterdir():
        with suppress(OSError):
            if place.name.isdigit() and mark in str((place / "cwd").readlink()):
                found.append(int(place.name))
    return alive(found)


async def test_two_plugins_know_nothing_of_each_other(way: Machine, tmp_path: Path) -> None:
    """Neither their files nor their processes, nor sockets without a name."""
    async with guest(guest_spec(tmp_path / "a"), way) as one, guest(guest_spec(tmp_path / "b"), way) as other:
        await one.do("open('mine', 'w').write('secret')")
        with pytest.raises(SandboxError, match=r"Permission|No such file"):
            await other.do(f"open({str(tmp_path / 'a' / 'mine')!r})")
        victim: Any = one.process.evidence["pid"]
        with suppress(SandboxError):
            await other.do(f"import os\nos.kill({victim}, 9)")
        assert 3 == await one.do("value = 3")


async def test_host_is_alive_and_whole() -> None:
    """After all of it: no children, and able to make sockets and processes."""
    assert [] == alive(descendants(os.getpid())[1:])
    with socket.create_server(("127.0.0.1", 0)):
        pass
    assert 0 == (await trio.run_process(["true"])).returncode
    assert ctypes.CDLL(None).getpid() == os.getpid()
