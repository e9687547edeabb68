"""What people have done for the sandbox by hand: tidying up after dead processes, and erasing files of sessions."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.config import Config
from fairlead_sandbox.container import Workspace, Workspaces
from fairlead_sandbox.container._disk import mount_file_system
from fairlead_sandbox.errors import EngineUnavailable
from fairlead_sandbox.isolator._guests import _digest as digest_of
from fairlead_sandbox.isolator._volumes import Owner, Volumes
from fairlead_sandbox.operations import erase_session_files, tidy_sandboxes

from .container_engine import engine, has_image, missing

pytestmark = pytest.mark.docker
QUOTA = 8 << 20


@pytest.fixture
async def workspaces(tmp_path: Path) -> AsyncIterator[Workspaces]:
    """Of the data directory `tmp_path`, as an app has them."""
    if os.geteuid() != 0:
        missing("file systems are mounted here, which needs root: sudo -E pytest sandbox")
    async with engine(tmp_path) as docker:
        image = await has_image(docker)
        async with Workspaces(tmp_path / "workspaces", docker, image=image.id) as opened:
            yield opened


async def made(workspaces: Workspaces, tmp_path: Path, session: str = "") -> Workspace:
    """A workspace with a file; it belongs to the session, if there is one. No process holds it any more."""
    workspace = await workspaces.create(QUOTA)
    (workspace.path / "notes").write_text("tea", "utf-8")
    if session:
        Volumes(workspaces, tmp_path / "workspaces" / "index", QUOTA).assign(workspace, Owner(session))
    await workspaces.close(workspace.name)
    return workspace


async def test_files_of_no_session_are_removed(workspaces: Workspaces, tmp_path: Path) -> None:
    """A process that was killed made them for a session to come; those of a session, and of the living, stay."""
    await made(workspaces, tmp_path)
    kept = await made(workspaces, tmp_path, "desk")
    held = await workspaces.create(QUOTA)
    done = await tidy_sandboxes(Config(data_dir=tmp_path))
    assert 1 == done["workspaces"]
    assert sorted([kept.name, held.name]) == list(await workspaces.names())


async def test_mounts_of_dead_processes_are_taken_off(workspaces: Workspaces, tmp_path: Path) -> None:
    """The files stay."""
    workspace = await made(workspaces, tmp_path, "desk")
    place = tmp_path / "workspaces" / workspace.name
    mount_file_system(place / "work.ext4", place / "work")
    assert 1 == (await tidy_sandboxes(Config(data_dir=tmp_path)))["unmounted"]
    assert not (place / "work").is_mount()
    opened = await workspaces.open(workspace.name)
    assert "tea" == (opened.path / "notes").read_text("utf-8")


async def test_files_of_a_session_are_erased(workspaces: Workspaces, tmp_path: Path) -> None:
    """Those of that session, by a program that has called no tool; then there are none."""
    await made(workspaces, tmp_path, "desk")
    kept = await made(workspaces, tmp_path, "sofa")
    config = Config(data_dir=tmp_path)
    assert await erase_session_files(config, "desk")
    assert (kept.name,) == await workspaces.names()
    assert not await erase_session_files(config, "desk")


async def test_files_stay_where_no_engine_answers(
    workspaces: Workspaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says so, by itself and in no group, and it can be tried again."""
    workspace = await made(workspaces, tmp_path, "desk")
    config = Config(data_dir=tmp_path)
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nonexistent")
        with pytest.raises(EngineUnavailable, match="no Docker Engine answers"):
            await erase_session_files(config, "desk")
    assert (workspace.name,) == await workspaces.names()
    assert await erase_session_files(config, "desk")


async def test_files_of_a_process_are_erased_without_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that tools at the level process have made, in the directory of the session and in no other."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    guests = tmp_path / "work" / "tools-desk.sessions"
    for session in ("desk", "sofa"):
        (guests / digest_of(session)).mkdir(parents=True)
    assert await erase_session_files(Config(data_dir=tmp_path), "desk")
    assert [digest_of("sofa")] == [path.name for path in guests.iterdir()]
