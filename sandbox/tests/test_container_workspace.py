"""A session's files outlive its containers, and never grow past their limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from fairlead_sandbox.container import ContainerSpec, Engine, Workspace, WorkspaceError, Workspaces
from fairlead_sandbox.image import Image

from .container_engine import engine, has_image, missing, said_by

pytestmark = pytest.mark.docker
QUOTA = 8 << 20
FILL = """
input()
try:
    with open("/work/big", "wb") as file:
        while True:
            file.write(bytes(1 << 20))
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture
async def docker(tmp_path: Path) -> AsyncIterator[Engine]:
    async with engine(tmp_path.resolve()) as opened:
        yield opened


@pytest.fixture
async def image(docker: Engine) -> Image:
    return await has_image(docker)


@pytest.fixture
async def workspaces(docker: Engine, image: Image, tmp_path: Path) -> AsyncIterator[Workspaces]:
    if os.geteuid() != 0:
        missing("quotas of the kernel need root: sudo -E pytest sandbox")
    async with Workspaces(tmp_path.resolve() / "workspaces", docker, image=image.id) as opened:
        yield opened


async def run(docker: Engine, image: Image, workspace: Workspace, program: str) -> str:
    spec = ContainerSpec(image.id, ["python3", "-c", f"input()\n{program}"], workspace=workspace, supervised=False)
    container = await docker.start_container(spec)
    try:
        await container.stream.send(b"\n\n")
        said = await said_by(container)
        assert "exit status 0" == await container.wait()
        return said
    finally:
        await container.kill()


async def test_files_outlive_the_container(docker: Engine, image: Image, workspaces: Workspaces) -> None:
    """The next one, and the next opening, find them as they were; the container's user owns them."""
    workspace = await workspaces.create(QUOTA)
    await run(docker, image, workspace, "open('/work/notes', 'w').write('kept')")
    read = "import os; print(open('/work/notes').read(), os.stat('/work/notes').st_uid == os.getuid())"
    assert "kept True\n" == await run(docker, image, workspace, read)
    await workspaces.close(workspace.name)
    assert workspace == await workspaces.open(workspace.name)
    assert "kept True\n" == await run(docker, image, workspace, read)


async def test_kernel_enforces_the_quota(docker: Engine, image: Image, workspaces: Workspaces) -> None:
    """Of bytes and of files; the record of calls has room of its own."""
    workspace = await workspaces.create(QUOTA)
    if workspace.guarantee != "hard":
        missing("loop devices and mkfs.ext4: sudo apt install e2fsprogs mount; sudo modprobe loop")
    assert "No space left on device\n" == await run(docker, image, workspace, FILL)
    measured = await workspaces.measure(workspace)
    assert (1, False) == (measured.files, measured.exceeded)
    assert measured.used_bytes > QUOTA / 2
    empty = "import os; os.unlink('/work/big')\nfor n in range(9999):\n  try: open(f'/work/{n}', 'x').close()\n"
    left = await run(docker, image, workspace, f"{empty}  except OSError:\n    print(n)\n    break")
    assert 400 < int(left) < 1000
    assert "1\n" == await run(docker, image, workspace, "print(open('/record/x', 'w').write('1'))")


async def test_directory_is_measured_where_the_kernel_cannot_help(
    docker: Engine, image: Image, workspaces: Workspaces, tmp_path: Path
) -> None:
    """Then the workspace says so, and evidence with it."""
    async with Workspaces(tmp_path.resolve() / "plain", docker, image=image.id, hard=False) as plain:
        workspace = await plain.create(QUOTA)
        assert "checked" == workspace.guarantee
        await run(docker, image, workspace, "open('/work/big', 'wb').write(bytes(9 << 20))")
        measured = await plain.measure(workspace)
        assert (True, 1) == (measured.exceeded, measured.files)
        container = await docker.start_container(ContainerSpec(image.id, ["cat"], workspace=workspace))
        assert "checked" == container.inspected.workspace
        await container.kill()
        await plain.remove(workspace.name)
        assert () == await plain.names()


async def test_removed_workspace_is_gone(workspaces: Workspaces, tmp_path: Path) -> None:
    """With its mounts and its files."""
    workspace = await workspaces.create(QUOTA)
    assert (workspace.name,) == await workspaces.names()
    await workspaces.remove(workspace.name)
    assert () == await workspaces.names()
    assert workspace.name not in Path("/proc/mounts").read_text()
    with pytest.raises(WorkspaceError, match="there is no workspace"):
        await workspaces.open(workspace.name)


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc", "a" * 31, "A" * 32, "a" * 32 + "\n", "a" * 33])
async def test_name_is_never_a_path(workspaces: Workspaces, name: str) -> None:
    """Only what `create` gave."""
    with pytest.raises(WorkspaceError, match="no name of a workspace"):
        await workspaces.open(name)


async def test_too_small_is_a_mistake_of_the_caller(workspaces: Workspaces) -> None:
    """A file system needs some room for itself."""
    with pytest.raises(ValueError, match="expected at least 4194304"):
        await workspaces.create(1000)


async def test_other_process_cannot_open_it_and_a_dead_one_leaves_nothing_mounted(
    workspaces: Workspaces, docker: Engine, tmp_path: Path
) -> None:
    """One process at a time; what it left mounted when it was killed is taken off by the next."""
    program = f"""
import os, signal, trio
from pathlib import Path
from fairlead_sandbox.container import Workspaces, open_engine
async def main():
    async with open_engine(project="other", roots=[]) as engine:
        workspaces = Workspaces(Path({str(tmp_path.resolve() / "workspaces")!r}), engine)
        print((await workspaces.create({QUOTA})).name, flush=True)
        input()
        os.kill(os.getpid(), signal.SIGKILL)
trio.run(main)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        name = (await trio.to_thread.run_sync(other.stdout.readline)).strip()
        with pytest.raises(WorkspaceError, match="open in another process"):
            await workspaces.open(name)
        assert () == await workspaces.tidy()
        other.stdin.write("\n")
        other.stdin.close()
        await trio.to_thread.run_sync(other.wait)
    assert name in Path("/proc/mounts").read_text()
    assert (name,) == await workspaces.tidy()
    assert name not in Path("/proc/mounts").read_text()
    await workspaces.remove(name)


async def test_two_containers_of_a_session_share_its_files(
    docker: Engine, image: Image, workspaces: Workspaces
) -> None:
    """Of two sets of plugins, at the same time, with the same user."""
    workspace = await workspaces.create(QUOTA)
    first = await docker.start_container(ContainerSpec(image.id, ["cat"], workspace=workspace))
    assert workspace.uids == first.uids
    await run(docker, image, workspace, "open('/work/x', 'w')")
    await first.stream.send(b"alive")
    assert b"alive" == await first.stream.receive()
    await first.kill()
