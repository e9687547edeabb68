"""A real tool behind the real supervisor: in a container, under another kernel (gVisor), with user namespaces."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import trio

import fairlead
from fairlead_sandbox.container import (
    SUPERVISOR,
    ContainerSpec,
    Engine,
    Mount,
    Workspaces,
    diagnose,
    inside_mount,
    open_engine,
)
from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.image import find_image
from fairlead_sandbox.runner import Identities, Runner, Setup, Table, Work

from .container_daemon import GVISOR, own_engine
from .container_engine import IDLE, engine, has_image, said_by

pytestmark = pytest.mark.docker
PROBES = Path(__file__).parent / "inside_probes"
SOURCES = {
    "/plugin/0": PROBES,
    "/plugin/1": Path(fairlead.__file__).parent.parent,
    "/plugin/2": Path(sysconfig.get_paths()["purelib"]),
}


async def call_a_tool(docker: Engine, data: Path, runtime: str = "") -> str:
    """Through the supervisor, with a workspace, on an engine that may mount where our packages lie."""
    image = await find_image(docker)
    async with Workspaces(data / "workspaces", docker) as workspaces:
        workspace = await workspaces.create(16 << 20)
        mounts = [inside_mount(), *(Mount(source.resolve(), target) for target, source in SOURCES.items())]
        container = await docker.start_container(
            ContainerSpec(image.id, SUPERVISOR, mounts=mounts, workspace=workspace, runtime=runtime)
        )
        runner = Runner(container.stream, container.kill)
        try:
            who = Identities.from_base(container.uids.first)
            tables = [Table("probes", "probes.plugin")]
            await runner.start(Setup(list(SOURCES), tables, identities=who, work="/work", record="/record"))
            outcome = await runner.call(Work("1", "probes", "echo", {"text": "from inside"}))
        finally:
            await runner.aclose()
    assert outcome.error is None
    return str(outcome.value)


async def test_tool_is_called_in_a_container(tmp_path: Path) -> None:
    """Engine, supervisor, zygote, call and workspace together, at the level ``container``."""
    async with engine(tmp_path.resolve()) as machine:
        await has_image(machine)
        roots = [tmp_path, *(source.resolve() for source in SOURCES.values())]
        async with open_engine(project="tests", roots=roots) as docker:
            assert "from inside" == await call_a_tool(docker, tmp_path)


async def through_the_socket(docker: Engine, path: Path, runtime: str) -> bytes:
    """What a program says to the proxy's socket."""
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/egress/proxy'); s.send(b'from inside'); input()"
    )
    spec = ContainerSpec(
        (await find_image(docker)).id, ["python3", "-c", program], egress_socket=path, supervised=False, runtime=runtime
    )
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        container = await docker.start_container(spec)
        connection, _ = await listener.accept()
        with connection:
            said = await connection.recv(100)
    await container.kill()
    return said


VICTIM = """
import trio
from pathlib import Path
from fairlead_sandbox.container import SUPERVISOR, ContainerSpec, Mount, inside_mount, open_engine
from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.image import find_image
from fairlead_sandbox.runner import Identities, Runner, Setup, Table, Watch, Work
SOURCES = {sources}
class Look(Watch):
    async def output(self, stream, text):
        print(text, flush=True)
async def main():
    async with open_engine(project="victim", roots=[Path(source) for source in SOURCES.values()]) as engine:
        mounts = [inside_mount(), *(Mount(Path(source), target) for target, source in SOURCES.items())]
        container = await engine.start_container(
            ContainerSpec((await find_image(engine)).id, SUPERVISOR, mounts=mounts)
        )
        runner = Runner(container.stream, container.kill)
        who = Identities.from_base(container.uids.first)
        await runner.start(Setup(list(SOURCES), [Table("probes", "probes.plugin")], identities=who))
        code = "print('" + container.id + "', flush=True)\\nwhile True: pass"
        await runner.call(Work("1", "probes", "run", dict(code=code)), Look())
trio.run(main)
"""


async def test_host_that_is_killed_in_a_call_leaves_no_container(tmp_path: Path) -> None:
    """The tool spins; the supervisor sees the end of file, and all of it is gone within a second."""
    sources = {target: str(source.resolve()) for target, source in SOURCES.items()}
    async with engine(tmp_path.resolve()) as machine:
        await has_image(machine)
        program = VICTIM.replace("{sources}", repr(sources))
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            name = (await trio.to_thread.run_sync(victim.stdout.readline)).strip()
            assert machine.api.containers(filters={"id": name})
            victim.kill()
            until = time.monotonic() + 1.0
            while machine.api.containers(all=True, filters={"id": name}):
                assert time.monotonic() < until, "a container was left after a second"
                await trio.sleep(0.02)  # real time: another process and the engine work meanwhile


async def test_level_kernel_is_gvisor(tmp_path: Path) -> None:
    """Evidence says ``kernel``, the kernel inside is another one, and calls work as in a container."""
    async with own_engine(tmp_path.resolve(), GVISOR, "runsc", roots=SOURCES.values()) as docker:
        image = await find_image(docker)
        program = "input()\nprint(open('/proc/version').read())"
        spec = ContainerSpec(image.id, ["python3", "-c", program], runtime="runsc")
        container = await docker.start_container(spec)
        assert ("kernel", "runsc", "") == (
            container.inspected.level,
            container.inspected.runtime,
            container.inspected.seccomp,
        )
        await container.stream.send(b"\n")
        assert Path("/proc/version").read_text() != await said_by(container)
        await container.kill()
        assert "from inside" == await call_a_tool(docker, tmp_path.resolve(), "runsc")
        findings = {finding.subject: finding for finding in await diagnose(docker)}
        assert "with the runtime runsc or runsc-closed" == findings["level kernel"].detail
        directory = tmp_path.resolve() / "egress"
        directory.mkdir()
        assert b"from inside" == await through_the_socket(docker, directory / "proxy", "runsc")
        with pytest.raises(EngineUnavailable, match="lets nothing reach the proxy's socket"):
            await through_the_socket(docker, directory / "other", "runsc-closed")


async def test_user_namespaces(tmp_path: Path) -> None:
    """Root inside is nobody on the host, ids stay below 65,536, and workspaces have their owners."""
    async with own_engine(tmp_path.resolve(), {}, remap=True, roots=SOURCES.values()) as docker:
        assert (True, 700_000) == (docker.facts.remapped, docker.facts.uid_offset)
        container = await docker.start_container(ContainerSpec((await find_image(docker)).id, IDLE))
        assert container.uids.first + container.uids.size <= 65_536
        assert container.inspected.process is not None
        assert "user" in container.inspected.process.namespaces
        await container.kill()
        assert "from inside" == await call_a_tool(docker, tmp_path.resolve())
        findings = {finding.subject: finding for finding in await diagnose(docker)}
        assert not findings["user namespaces"].next_step
