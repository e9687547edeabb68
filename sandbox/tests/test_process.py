"""A plugin process: behind which layers it runs, what it can see, what it may use, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from fairlead_sandbox.errors import EngineUnavailable, SandboxError, SandboxLost
from fairlead_sandbox.process import Machine, ProcessLimits, available, launch, look_at_machine
from fairlead_sandbox.process._tree import descendants

from .process_guests import WAYS, alive, as_user, bare, guest, guest_spec, require, way_of, without_bubblewrap

MEGABYTE = 1 << 20
LOOK = "from pathlib import Path\nimport os\n"


@pytest.fixture(scope="module")
def machine() -> Machine:
    return trio.run(look_at_machine)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, machine: Machine) -> Machine:
    """Each way in which a machine can isolate a process."""
    return way_of(machine, request.param)


async def test_it_starts_answers_and_ends(way: Machine, tmp_path: Path) -> None:
    """The same on every machine; nothing of it lives afterwards."""
    async with guest(guest_spec(tmp_path / "work"), way) as running:
        assert 42 == await running.do("value = 6 * 7")
        pids = descendants(running.process.pid)
        assert running.process.figures()["memory_bytes"] > MEGABYTE
        assert 0 < running.process.figures()["cpu_seconds"] < 60
    assert "it was killed by its host" == await running.process.wait()
    assert [] == alive(pids)
    assert 0 == running.process.figures()["memory_bytes"]


async def test_evidence_is_what_the_kernel_says(machine: Machine, tmp_path: Path) -> None:
    """Every layer of this machine, seen from outside."""
    require(machine, bubblewrap=True, landlock=True)
    async with guest(guest_spec(tmp_path / "work"), machine) as running:
        evidence = running.process.evidence
        assert ("process", True, True, True) == tuple(
            evidence[name] for name in ("level", "bubblewrap", "seccomp", "no_new_privileges")
        )
        assert {"ipc", "mnt", "net", "pid", "uts"} <= set(evidence["namespaces"])
        assert (machine.landlock, "none", "none") == tuple(
            evidence[name] for name in ("landlock", "capabilities", "network")
        )
        assert (256, 64 * MEGABYTE) == (evidence["limits"]["files"], evidence["limits"]["file_bytes"])
        assert await running.do(f"{LOOK}value = 'Seccomp:\\t2' in Path('/proc/self/status').read_text()")


async def test_weaker_machine_is_told_as_weaker(machine: Machine, tmp_path: Path) -> None:
    """Nothing is claimed that is not there."""
    require(machine, landlock=True)
    async with guest(guest_spec(tmp_path / "work"), bare(machine)) as running:
        evidence = running.process.evidence
        assert (False, [], None, "no sockets") == tuple(
            evidence[name] for name in ("bubblewrap", "namespaces", "cgroup", "network")
        )


async def test_required_layer_that_is_missing_is_refused_with_its_mending(machine: Machine, tmp_path: Path) -> None:
    """Before anything of the plugin runs."""
    spec = guest_spec(tmp_path / "work", requires={"bubblewrap", "seccomp"})
    async with trio.open_nursery() as nursery:
        with pytest.raises(EngineUnavailable, match="apt install bubblewrap"):
            await launch(spec, nursery, without_bubblewrap(machine))
    assert not (tmp_path / "work").exists()


async def test_isolation_that_fails_is_an_error_with_its_words(machine: Machine, tmp_path: Path) -> None:
    """A wrapper that cannot do it: the plugin is not run without it."""
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    broken = attrs.evolve(machine, bubblewrap=program)
    async with trio.open_nursery() as nursery:
        with pytest.raises(EngineUnavailable, match="No permissions to create new namespace"):
            await launch(guest_spec(tmp_path / "work"), nursery, broken)


async def test_environment_is_cleared(way: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host has in its own is not there, under any name; what it is given is."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("TZ", "Europe/Vienna")
    spec = guest_spec(tmp_path / "work", variables={"FAIRLEAD_PROFILE": "test"})
    async with guest(spec, way) as running:
        found = await running.do("import os\nvalue = dict(os.environ)")
    home = str(tmp_path / "work")
    expected = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, "TZ": "Europe/Vienna"}
    assert {**expected, "FAIRLEAD_PROFILE": "test"} == {name: found[name] for name in found if name != "LC_CTYPE"}


def test_variable_of_the_host_cannot_be_given(tmp_path: Path) -> None:
    """Neither by mistake."""
    with pytest.raises(ValueError, match="'LD_PRELOAD' cannot be given"):
        guest_spec(tmp_path, variables={"LD_PRELOAD": "x.so"})
    with pytest.raises(ValueError, match="no layers"):
        guest_spec(tmp_path, requires={"magic"})


async def test_it_works_in_its_own_directory_and_writes_nowhere_else(way: Machine, tmp_path: Path) -> None:
    """The directory is for nobody else, and what lies in it stays from one start to the next."""
    work = tmp_path / "work"
    async with guest(guest_spec(work), way) as running:
        assert str(work) == await running.do("import os\nvalue = os.getcwd()")
        await running.do("open('kept', 'w').write('x')\nimport tempfile\ntempfile.TemporaryFile()")
        for place in (tmp_path, Path("/etc"), Path("/"), Path(sys.prefix), Path(__file__).parent):
            # A directory below /tmp may be one of its own /tmp, where it may write.
            with suppress(SandboxError):
                await running.do(f"open({str(place / 'planted')!r}, 'w')")
            assert not (place / "planted").exists()
    assert 0o700 == work.stat().st_mode & 0o777
    async with guest(guest_spec(work), way) as running:
        assert "x" == await running.do("value = open('kept').read()")


async def test_it_has_no_privileges_and_starts_nothing(way: Machine, tmp_path: Path) -> None:
    """Threads are all that it may start."""
    async with guest(guest_spec(tmp_path / "work"), way) as running:
        for attempt in ("os.fork()", "os.setuid(0)", "os.posix_spawn('/bin/true', ['true'], {})", "os.mknod('/x')"):
            with pytest.raises(SandboxError, match=r"Permission|permitted"):
                await running.do(f"import os\n{attempt}")
        assert 1 == await running.do("import threading\nvalue = threading.active_count()", op="call")
        assert 7 == await running.do("value = 7", op="thread")


async def test_memory_is_limited(way: Machine, tmp_path: Path) -> None:
    """It gets an error or is killed; it does not get the memory."""
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(memory_bytes=64 * MEGABYTE))
    async with guest(spec, way) as running:
        with pytest.raises(SandboxError, match=r"MemoryError|ended"):
            await running.do("state['hoard'] = [bytearray(1 << 20) for _ in range(600)]")


async def test_memory_at_the_limit_of_the_cgroup_is_told(machine: Machine, tmp_path: Path) -> None:
    """The kernel's own count, not a guess from the signal."""
    if not machine.cgroups:
        require(attrs.evolve(machine, root=False), root=True)
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(memory_bytes=64 * MEGABYTE))
    async with guest(spec, machine) as running:
        with pytest.raises(SandboxLost):
            await running.do("state['hoard'] = [bytearray(1 << 20) for _ in range(400)]")
        assert "ended by SIGKILL, at its limit of memory (64 MB)" == await running.process.wait()


async def test_files_and_their_sizes_are_limited(way: Machine, tmp_path: Path) -> None:
    """By rlimits, wherever it runs."""
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(files=32, file_bytes=MEGABYTE))
    async with guest(spec, way) as running:
        with pytest.raises(SandboxError, match="Too many open files"):
            await running.do("state['open'] = [open('/dev/null') for _ in range(64)]")
        await running.do("state['open'] = None")
        with pytest.raises(SandboxError, match="File too large"):
            await running.do("open('large', 'wb').write(bytes(2 << 20))")


async def test_processor_time_is_limited(machine: Machine, tmp_path: Path) -> None:
    """A second of it, and no more."""
    spec = guest_spec(tmp_path / "work", limits=ProcessLimits(cpu_seconds=1))
    async with guest(spec, machine) as running:
        with pytest.raises(SandboxLost):
            await running.do("while True: pass")
        assert (await running.process.wait()).startswith("ended by SIG")


async def test_network_of_the_host_cannot_be_reached(way: Machine, tmp_path: Path) -> None:
    """Neither by address nor by a socket without a name in the file system."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind("\0fairlead-test-secret")
        hidden.listen()
        port = server.getsockname()[1]
        async with guest(guest_spec(tmp_path / "work"), way) as running:
            for family, address in (
                ("AF_INET", ("127.0.0.1", port)),
                ("AF_INET", ("198.51.100.1", 80)),
                ("AF_UNIX", "\0fairlead-test-secret"),
                ("AF_UNIX", "/var/run/docker.sock"),
            ):
                with pytest.raises(SandboxError, match=r"refused|unreachable|supported|permitted|Permission|No such"):
                    await running.do(f"import socket\nsocket.socket(socket.{family}).connect({address!r})")


async def test_loopback_of_its_own_works_where_it_has_namespaces(machine: Machine, tmp_path: Path) -> None:
    """Servers of asyncio and trio, and libraries that talk to themselves, need one."""
    require(machine, bubblewrap=True)
    code = """
import socket
server = socket.create_server(("localhost", 0))
client = socket.create_connection(server.getsockname())
value = server.accept()[1][0]
"""
    for way in (machine, as_user(machine), without_bubblewrap(machine)):
        async with guest(guest_spec(tmp_path / "work"), way) as running:
            if way.bubblewrap is None:
                code = code.replace('"localhost"', '"127.0.0.1"')
            assert "127.0.0.1" == await running.do(code)


async def test_egress_socket_is_the_only_way_out(machine: Machine, tmp_path: Path) -> None:
    """It lies where it lies in the host, and its neighbours are not there."""
    require(machine, bubblewrap=True)
    place = tmp_path / "sockets"
    place.mkdir()
    (place / "secret").write_text("hands off")
    with socket.socket(socket.AF_UNIX) as proxy:
        proxy.bind(str(place / "egress.sock"))
        (place / "egress.sock").chmod(0o600)
        proxy.listen()

        def answer() -> None:
            with proxy.accept()[0] as client:
                client.sendall(b"hello")

        answered = threading.Thread(target=answer)
        answered.start()
        spec = guest_spec(tmp_path / "work", egress_socket=place / "egress.sock")
        async with guest(spec, machine) as running:
            assert "egress" == running.process.evidence["network"]
            code = """
import os, socket
client = socket.socket(socket.AF_UNIX)
client.connect(os.environ["FAIRLEAD_EGRESS"])
value = [client.recv(5).decode(), os.listdir(os.path.dirname(os.environ["FAIRLEAD_EGRESS"]))]
"""
            assert ["hello", ["egress.sock"]] == await running.do(code)
        answered.join(timeout=5)


async def test_last_words_are_its_end_and_the_end_of_what_it_said(way: Machine, tmp_path: Path) -> None:
    """As much as fits."""
    code = "import sys, os\nsys.stderr.write('x' * 100000 + 'the end')\nsys.stderr.flush()\nos._exit(3)"
    async with trio.open_nursery() as nursery:
        process = await launch(guest_spec(tmp_path / "work", code), nursery, way)
        words = await process.wait()
    assert words.startswith("exit status 3: xxx")
    assert words.endswith("the end")
    assert len(words) < 9000
    async with trio.open_nursery() as nursery:
        process = await launch(guest_spec(tmp_path / "work", "import ctypes\nctypes.string_at(0)"), nursery, way)
        assert "ended by SIGSEGV" == await process.wait()


async def test_end_of_its_input_ends_a_well_behaved_one(way: Machine, tmp_path: Path) -> None:
    """That is how it learns that the host wants it to stop, or has died."""
    async with trio.open_nursery() as nursery:
        process = await launch(guest_spec(tmp_path / "work"), nursery, way)
        await process.stream.send_eof()
        assert "exit status 0" == await process.wait()


async def test_cancelling_the_nursery_kills(way: Machine, tmp_path: Path) -> None:
    """No process outlives the block that started it."""
    async with trio.open_nursery() as nursery:
        process = await launch(guest_spec(tmp_path / "work", "while True: pass"), nursery, way)
        pids = descendants(process.pid)
        assert pids
        nursery.cancel_scope.cancel()
    assert [] == alive(pids)


async def test_cancelling_the_start_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    """At any step of it."""
    before = set(descendants(os.getpid()))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for steps in range(1, 25, 2):
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_after, scope, steps)
                await launch(guest_spec(tmp_path / "work"), nursery, machine)
            nursery.cancel_scope.cancel()
    assert before == set(descendants(os.getpid()))
    assert descriptors == len(list(Path("/proc/self/fd").iterdir()))


async def _cancel_after(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.sleep(0.002)  # real time: another process starts meanwhile
    scope.cancel()


HOST = """
import sys, trio
from pathlib import Path
from attrs import evolve
from fairlead_sandbox.environments import Environment
from fairlead_sandbox.process import ProcessSpec, launch, look_at_machine

async def main():
    machine = await look_at_machine()
    if sys.argv[2] != "bubblewrap":
        machine = evolve(machine, bubblewrap=None)
    if sys.argv[2] == "bare":
        machine = evolve(machine, unshare=0)
    command = [sys.executable, "-I", "-S", "-c", "import threading; threading.Event().wait()"]
    async with trio.open_nursery() as nursery:
        process = await launch(ProcessSpec(command, Environment((), ""), Path(sys.argv[1])), nursery, machine)
        print(process.evidence["pid"], flush=True)

trio.run(main)
"""


@pytest.mark.parametrize("name", ["bubblewrap", "unshare", "bare"])
async def test_it_dies_with_its_host(machine: Machine, name: str, tmp_path: Path) -> None:
    """Although the host was killed without a word, and the plugin does not read its input."""
    require(machine, bubblewrap=name == "bubblewrap")
    command = [sys.executable, "-c", HOST, str(tmp_path / "work"), name]
    async with trio.open_nursery() as nursery:
        host: trio.Process = await nursery.start(partial(trio.run_process, command, stdout=-1, check=False))
        assert host.stdout is not None
        pid = int(await host.stdout.receive_some(100))
        handle = os.pidfd_open(pid)
        host.send_signal(signal.SIGKILL)
        with trio.fail_after(2):
            await trio.lowlevel.wait_readable(handle)
        os.close(handle)


async def test_layers_are_described_with_their_mending(machine: Machine) -> None:
    """For ``fairlead doctor``: those that are there, and the command for those that are not."""
    nothing = available(Machine())
    assert [False] * 6 == [finding.ok for finding in nothing]
    assert all(finding.next_step for finding in nothing)
    everything = available(attrs.evolve(machine, root=True))
    assert [finding.subject for finding in nothing] == [finding.subject for finding in everything]
    if machine.bubblewrap is not None:
        assert everything[0].ok
        assert "bwrap shows a plugin its own code" in everything[0].detail
