"""Workspaces that somebody else makes, that nobody finished, and that are damaged: the others go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from fairlead_sandbox.container import WorkspaceError, Workspaces

from .container_engine import engine, has_image, missing

pytestmark = pytest.mark.docker
QUOTA = 8 << 20


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Workspaces, Workspaces]]:
    """Two programs with one data directory."""
    if os.geteuid() != 0:
        missing("quotas of the kernel need root: sudo -E pytest sandbox")
    place = tmp_path.resolve() / "workspaces"
    async with engine(tmp_path.resolve()) as opened:
        image = await has_image(opened)
        async with Workspaces(place, opened, image=image.id) as first:
            yield first, Workspaces(place, opened, image=image.id)


async def test_one_that_another_program_makes_is_left_alone(
    both: tuple[Workspaces, Workspaces], tmp_path: Path
) -> None:
    """It is mounted before anything is known of it; whoever opens the same directory then opens it."""
    workspace = await both[0].create(QUOTA)
    about = tmp_path / "workspaces" / workspace.name / "about.json"
    text = about.read_text()
    about.unlink()
    assert () == await both[1].tidy()
    assert os.path.ismount(workspace.path.parent)
    about.write_text(text)


async def test_one_that_nobody_finished_is_taken_away(both: tuple[Workspaces, Workspaces], tmp_path: Path) -> None:
    """Its program was killed: the mount and the file behind it would stay for ever."""
    workspace = await both[0].create(QUOTA)
    place = tmp_path / "workspaces" / workspace.name
    (place / "about.json").unlink()
    os.utime(place, (1, 1))
    assert (workspace.name,) == await both[1].tidy()
    assert not place.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uid": "x"}', '{"uid": 5}', "\xff"])
async def test_one_that_is_damaged_says_so(both: tuple[Workspaces, Workspaces], tmp_path: Path, text: str) -> None:
    """Power loss, a full disk, somebody's editor: it is an error of this one, with what to do."""
    workspace = await both[0].create(QUOTA)
    await both[0].close(workspace.name)
    (tmp_path / "workspaces" / workspace.name / "about.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(WorkspaceError, match="is damaged") as caught:
        await both[0].open(workspace.name)
    assert f"rm -r {tmp_path.resolve()}/workspaces/{workspace.name}" == caught.value.next_step


async def test_full_disk_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    """Not one of the tool, and nothing is left that takes more room."""
    if os.geteuid() != 0:
        missing("quotas of the kernel need root: sudo -E pytest sandbox")
    place = tmp_path.resolve() / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", place], check=True)
    try:
        with suppress(OSError):
            (place / "full").write_bytes(b"x" * (1 << 20))
        async with engine(tmp_path.resolve()) as opened:
            image = await has_image(opened)
            async with Workspaces(place / "workspaces", opened, image=image.id) as workspaces:
                with pytest.raises(WorkspaceError, match=r"cannot be made in .*: No space left on device") as caught:
                    await workspaces.create(QUOTA)
                assert f"df -h -i {place}/workspaces" == caught.value.next_step
                assert () == await workspaces.names()
    finally:
        subprocess.run(["umount", "-l", place], check=True)
