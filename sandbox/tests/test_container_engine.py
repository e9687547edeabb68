"""Containers on the real engine: what isolates them, how they end, and that none is left."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from fairlead_sandbox.container import (
    ContainerLimits,
    ContainerSpec,
    Engine,
    Mount,
    diagnose,
    list_containers,
    open_engine,
)
from fairlead_sandbox.container._seccomp import digest, seccomp_profile
from fairlead_sandbox.errors import EngineUnavailable, ImageMissing, SandboxLost
from fairlead_sandbox.image import Image, find_image

from .container_engine import IDLE, engine, has_image, python, said_by

pytestmark = pytest.mark.docker


@pytest.fixture
async def docker(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine(tmp_path.resolve()) as opened:
        yield opened


@pytest.fixture
async def image(docker: Engine) -> Image:
    return await has_image(docker)


def open_files(opened: Engine) -> int:
    opened.api.close()  # the connections that the SDK keeps for its next calls
    return len(list(Path("/proc/self/fd").iterdir()))


def exists(opened: Engine, name: str) -> bool:
    found = opened.api.containers(all=True, filters={"id": name})
    return bool(found)


# -- isolation


async def test_evidence_is_what_the_engine_and_the_kernel_say(docker: Engine, image: Image) -> None:
    """By the ids of container and image, with every limit; and as plain JSON."""
    container = await docker.start_container(ContainerSpec(image.id, IDLE))
    found = container.inspected
    assert ("container", container.id, image.id) == (found.level, found.container, found.image)
    assert ("none", True, True) == (found.network, found.read_only, found.no_new_privileges)
    assert digest(seccomp_profile()) == found.seccomp
    limits = ContainerLimits()
    assert (limits.memory_bytes, limits.cpus, limits.pids) == (found.memory_bytes, found.cpus, found.pids)
    assert container.evidence == json.loads(json.dumps(container.evidence))
    if found.process is not None:
        assert (True, True) == (found.process.seccomp, found.process.no_new_privileges)
    await container.kill()


LOOK = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(number, *arguments) < 0 else "allowed"
def family(number):
    try:
        socket.socket(number, socket.SOCK_STREAM if number not in (16, 38) else socket.SOCK_RAW).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
def write(path):
    try:
        open(path, "w").close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"
def fill(directory):
    for number in range(10_000):
        try:
            open(f"{directory}/{number}", "x").close()
        except OSError:
            return number
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
machine = os.uname().machine
calls = {"io_uring_setup": 425, "clone3": 435, "pidfd_getfd": 438}
if machine == "x86_64":
    calls |= {"ptrace": 101, "unshare": 272, "bpf": 321, "keyctl": 250, "userfaultfd": 323, "shmget": 29, "mount": 165}
print(json.dumps({
    "uid": os.getuid(), "groups": os.getgroups(), "capabilities": status["CapEff"].strip(),
    "calls": {name: call(number, 0, 0, 0, 0, 0) for name, number in calls.items()},
    "new user namespace": call(56, 0x10000011, 0, 0, 0, 0) if machine == "x86_64" else "EPERM",
    "families": {name: family(number) for name, number in
                 {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40}.items()},
    "interfaces": os.listdir("/sys/class/net"),
    "writes": {path: write(path) for path in ("/x", "/etc/x", "/usr/x", "/dev/x", "/proc/sys/x", "/tmp/x")},
    "files": {path: fill(path) for path in ("/tmp", "/dev/shm")},
    "environment": sorted(os.environ),
    "ipc": [open("/proc/sys/" + name).read().split()
            for name in ("kernel/sem", "kernel/shmmni", "fs/mqueue/queues_max")],
    "root": os.path.exists("/var/run/docker.sock"),
}))
"""


async def test_what_code_inside_can_do(docker: Engine) -> None:
    """Seen from inside: no network, no capability, nothing to write but two small directories, few system calls."""
    seen: dict[str, Any] = json.loads(await python(docker, LOOK))
    assert seen["uid"] > 10_000
    assert ("0000000000000000", ["lo"], False) == (seen["capabilities"], seen["interfaces"], seen["root"])
    assert "ENOSYS" == seen["calls"].pop("clone3")
    assert {"EPERM"} == {*seen["calls"].values(), seen["new user namespace"]}
    closed = dict.fromkeys(("netlink", "packet", "alg", "vsock"), "EPERM")
    assert {"unix": "allowed", "inet": "allowed", "inet6": "allowed"} | closed == seen["families"]
    assert "allowed" == seen["writes"].pop("/tmp/x")  # noqa: S108  # a path inside
    assert "allowed" not in seen["writes"].values()
    assert all(4000 < count < 4096 for count in seen["files"].values())
    assert [["0"] * 4, ["0"], ["0"]] == seen["ipc"]
    assert {"HOME", "HOSTNAME", "LANG", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE"} >= set(
        seen["environment"]
    )


async def test_two_containers_share_no_user(docker: Engine) -> None:
    """The kernel counts by user: one cannot exhaust the other's processes."""
    first, second = [int(await python(docker, "import os; print(os.getuid())")) for _ in range(2)]
    assert abs(first - second) >= 16


async def test_directories_of_ours_are_read_only(docker: Engine, image: Image, tmp_path: Path) -> None:
    """A plugin's packages are there, and nobody can change them."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text("words = 'of the plugin'")
    program = (
        "import sys; sys.path.append('/plugin/0'); import mine; print(mine.words, flush=True); input();"
        " open('/plugin/0/x', 'w')"
    )
    spec = ContainerSpec(
        image.id, ["python3", "-c", program], mounts=[Mount(tmp_path.resolve() / "tools", "/plugin/0")]
    )
    container = await docker.start_container(spec)
    assert b"of the plugin\n" == await container.stream.receive()
    await container.stream.send(b"\n")
    assert re.search("exit status 1: .*Read-only file system", await container.wait(), re.DOTALL)


async def test_proxys_socket_is_reached_without_a_network(docker: Engine, image: Image, tmp_path: Path) -> None:
    """Through the one directory that it lies in, read-only, by a user who is nobody on the host."""
    directory = tmp_path.resolve() / "egress"
    directory.mkdir(mode=0o755)
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(directory / "proxy"))
    (directory / "proxy").chmod(0o666)
    listener.listen()
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/egress/proxy'); s.send(b'from inside'); input()"
    )
    spec = ContainerSpec(image.id, ["python3", "-c", program], egress_socket=directory / "proxy", supervised=False)
    with listener:
        container = await docker.start_container(spec)
        connection, _ = await listener.accept()
        with connection:
            assert b"from inside" == await connection.recv(100)
    assert ("none", ("/egress:ro",)) == (container.inspected.network, container.inspected.mounts)
    await container.kill()


async def test_memory_is_limited_and_counted(docker: Engine, image: Image) -> None:
    """The kernel kills what takes more; the figures come from the cgroup."""
    program = "print(1, flush=True); input(); x = bytearray(200 << 20)"
    spec = ContainerSpec(image.id, ["python3", "-c", program], limits=ContainerLimits(memory_bytes=64 << 20))
    container = await docker.start_container(spec)
    await container.stream.receive()
    figures = container.figures()
    assert 1 << 20 < figures["memory_bytes"] < 64 << 20
    assert 0 < figures["cpu_seconds"] < 10
    await container.stream.send(b"\n")
    assert "ended by SIGKILL" == await container.wait()


# -- life and death


async def test_end_of_file_ends_it(docker: Engine, image: Image) -> None:
    """Closing says that nothing more comes; what the container does then is its own, and it is gone afterwards."""
    container = await docker.start_container(ContainerSpec(image.id, IDLE))
    await container.stream.send(b"hello")
    assert b"hello" == await container.stream.receive()
    await container.aclose()
    assert container.ended
    assert not exists(docker, container.id)
    assert () == docker.containers


async def test_kill_is_quick_and_can_be_repeated(docker: Engine, image: Image) -> None:
    """Also while it spins; the engine has removed it when this returns."""
    container = await docker.start_container(ContainerSpec(image.id, ["python3", "-c", "while True: pass"]))
    with trio.fail_after(3):
        await container.kill()
        await container.kill()
        await container.aclose()
    assert not exists(docker, container.id)


async def test_last_words(docker: Engine, image: Image) -> None:
    """The status and the end of standard error, also of one that ended before anybody asked."""
    program = "import sys; input(); print('out'); sys.exit('I give up')"
    container = await docker.start_container(ContainerSpec(image.id, ["python3", "-c", program]))
    await container.stream.send(b"\n")
    assert "out\n" == await said_by(container)
    assert "exit status 1: I give up" == await container.wait()


async def test_one_that_ends_at_once_is_lost_with_its_last_words(
    docker: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could say what isolated it, so nobody gets it."""
    inspect = docker.api.inspect_container

    def too_late(name: str) -> Any:
        while exists(docker, name):
            time.sleep(0.01)  # real time: in a thread, until the engine has removed it
        return inspect(name)

    monkeypatch.setattr(docker.api, "inspect_container", too_late)
    with pytest.raises(SandboxLost, match="ended as soon as it had begun: exit status 3") as caught:
        await docker.start_container(ContainerSpec(image.id, ["sh", "-c", "echo no >&2; exit 3"]))
    assert "no\n" == caught.value.last_words
    assert () == docker.containers


async def test_engine_that_did_otherwise_gets_its_container_killed(
    docker: Engine, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The difference is named, and nothing was said to PID 1 yet."""
    inspect = docker.api.inspect_container

    def lie(name: str) -> Any:
        answer = inspect(name)
        answer["HostConfig"]["PidsLimit"] = 0
        return answer

    monkeypatch.setattr(docker.api, "inspect_container", lie)
    with pytest.raises(
        EngineUnavailable, match=r"HostConfig\.PidsLimit should be 128 and is 0; the container was killed"
    ):
        await docker.start_container(ContainerSpec(image.id, IDLE))
    assert [] == [found for found in await list_containers(docker) if found.ours]


async def test_doctor_says_what_isolates(docker: Engine, image: Image) -> None:
    """One line each; what is not as it should be has a command."""
    findings = await diagnose(docker)
    subjects = ["engine", "seccomp", "user namespaces", "level kernel", "limits", "workspace quotas", "containers"]
    assert subjects == [finding.subject for finding in findings]
    assert [] == [finding for finding in findings if not (finding.detail and (finding.ok or finding.next_step))]


async def test_flood_waits_for_its_reader(docker: Engine, image: Image) -> None:
    """A container that writes without end is held up; it is not the host that keeps it all."""
    container = await docker.start_container(
        ContainerSpec(image.id, ["python3", "-c", "while True: print('x' * 9999)"])
    )
    for _ in range(50):
        assert len(await container.stream.receive()) <= 65536
    assert len(container.stream._buffer) <= 65536  # noqa: SLF001  # what is held is the point
    with trio.fail_after(3):
        await container.kill()


async def test_end_of_the_block_ends_what_is_left(tmp_path: Path) -> None:
    """Nobody has to remember."""
    async with engine(tmp_path.resolve()) as opened:
        spec = ContainerSpec((await has_image(opened)).id, ["python3", "-c", "import time; time.sleep(1000)"])
        name = (await opened.start_container(spec)).id
    async with engine(tmp_path.resolve()) as opened:
        assert not exists(opened, name)


@pytest.mark.parametrize("milliseconds", [0, 1, 5, 10, 20, 40, 60, 80, 100, 150])
async def test_cancelled_start_leaves_nothing(docker: Engine, image: Image, milliseconds: int) -> None:
    """At any point: no container, no file descriptor, no range of user ids."""
    await (await docker.start_container(ContainerSpec(image.id, IDLE))).kill()
    before = open_files(docker)
    with trio.move_on_after(milliseconds / 1000):
        container = await docker.start_container(ContainerSpec(image.id, ["python3", "-c", "while True: pass"]))
        await container.kill()
    assert [] == [found for found in await list_containers(docker) if found.ours]
    assert before >= open_files(docker)


async def test_host_that_is_killed_leaves_no_container(docker: Engine, image: Image) -> None:
    """SIGKILL in the middle of a call: the end of file reaches PID 1, and it is gone within a second."""
    program = f"""
import trio
from pathlib import Path
from fairlead_sandbox.container import ContainerSpec, open_engine
PID_1 = '''
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
while True: pass
'''
async def main():
    async with open_engine(project="victim", roots=[]) as engine:
        container = await engine.start_container(ContainerSpec("{image.id}", ["python3", "-c", PID_1]))
        print(container.id, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""
    victim = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)  # our own program
    assert victim.stdout is not None
    with victim, victim.stdout:
        name = (await trio.to_thread.run_sync(victim.stdout.readline)).strip()
        assert exists(docker, name)
        victim.send_signal(signal.SIGKILL)
        until = time.monotonic() + 1.0
        while exists(docker, name) and time.monotonic() < until:  # noqa: ASYNC110  # another process and the engine
            await trio.sleep(0.02)  # real time: another process and the engine work meanwhile
        assert not exists(docker, name)


# -- what is missing


async def test_image_that_is_not_there(docker: Engine) -> None:
    """A typed error with the command that makes one."""
    spec = ContainerSpec(f"sha256:{'0' * 64}", IDLE)
    with pytest.raises(ImageMissing) as caught:
        await docker.start_container(spec)
    assert "fairlead sandbox build" == caught.value.next_step
    with pytest.raises(ImageMissing):
        await find_image(docker, "fairlead-nothing:latest")
    assert () == docker.containers


async def test_runtime_that_is_not_there(docker: Engine, image: Image) -> None:
    """Nothing weaker is used instead."""
    with pytest.raises(EngineUnavailable, match=r"no runtime 'runsc-of-nobody'; it has: .*runc") as caught:
        await docker.start_container(evolve(ContainerSpec(image.id, IDLE), runtime="runsc-of-nobody"))
    assert ("kernel", True) == (caught.value.floor, "runsc install" in caught.value.next_step)


async def test_command_that_is_not_there(docker: Engine, image: Image) -> None:
    """The engine's own words, and nothing is left."""
    with pytest.raises(EngineUnavailable, match="no-such-program"):
        await docker.start_container(ContainerSpec(image.id, ["no-such-program"]))
    assert [] == [found for found in await list_containers(docker) if found.ours]


@pytest.mark.parametrize("host", ["unix:///nowhere.sock", "tcp://127.0.0.1:1"])
async def test_engine_that_is_not_there(host: str) -> None:
    """Also one of another machine: it could not see our directories."""
    with pytest.raises(EngineUnavailable) as caught:
        async with open_engine(project="tests", roots=[], host=host):
            pass
    assert caught.value.next_step


async def test_other_instances_are_left_alone(docker: Engine, image: Image, tmp_path: Path) -> None:
    """Two engines of two processes see each other's containers, and neither collects the other's."""
    container = await docker.start_container(ContainerSpec(image.id, IDLE, plugins="files"))
    program = """
import sys, trio
from fairlead_sandbox.container import collect_garbage, list_containers, open_engine
async def main():
    async with open_engine(project="other", roots=[]) as engine:
        gone = await collect_garbage(engine)
        for found in await list_containers(engine):
            print(found.id, found.maker, found.ours, found.plugins, found.project)
trio.run(main)
"""
    done = await trio.run_process([sys.executable, "-c", program], capture_stdout=True)
    assert f"{container.id} alive False files tests" in done.stdout.decode().splitlines()
    await container.stream.send(b"still here")
    assert b"still here" == await container.stream.receive()
    await container.kill()
