"""Which files belong to which session: opened, closed and erased at the same time by many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from fairlead_sandbox.container import UidRange, Workspace, WorkspaceError
from fairlead_sandbox.isolator._volumes import Owner, Volumes


class FakeWorkspaces:
    """Workspaces whose closing takes a second, in which they seem to be another process's."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.open_now: set[str] = set()
        self.closing: set[str] = set()

    async def names(self) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(sorted(self.there))

    async def create(self, quota_bytes: int) -> Workspace:
        await trio.sleep(0.1)
        name = f"{len(self.there):032x}"
        self.there.add(name)
        self.open_now.add(name)
        return self._workspace(name)

    async def open(self, name: str) -> Workspace:
        await trio.lowlevel.checkpoint()
        if name in self.closing:
            raise WorkspaceError(f"the workspace {name!r} is open in another process")
        self.open_now.add(name)
        return self._workspace(name)

    async def close(self, name: str) -> None:
        self.open_now.discard(name)
        self.closing.add(name)
        await trio.sleep(1.0)
        self.closing.discard(name)

    async def remove(self, name: str) -> None:
        await self.close(name)
        self.there.discard(name)

    @staticmethod
    def _workspace(name: str) -> Workspace:
        return Workspace(name, Path("/work"), Path("/record"), 1 << 20, "hard", UidRange(1_000_000, 16))


@pytest.fixture
def workspaces() -> FakeWorkspaces:
    return FakeWorkspaces()


@pytest.fixture
def volumes(workspaces: FakeWorkspaces, tmp_path: Path) -> Volumes:
    fake: Any = workspaces
    return Volumes(fake, tmp_path / "index", 1 << 20)


async def test_owner_finds_its_volume_again(volumes: Volumes, autojump_clock: trio.testing.MockClock) -> None:
    """The same one each time; another owner, also of the same session, has another one."""
    first = await volumes.take(Owner("s"))
    await volumes.leave(first, keep=True)
    again = await volumes.take(Owner("s"))
    other = await volumes.take(Owner("s", "table"))
    assert first.name == again.name != other.name


async def test_volume_that_is_being_closed_is_waited_for(
    volumes: Volumes, autojump_clock: trio.testing.MockClock
) -> None:
    """It is not another process's, although for a moment it looks like that."""
    volume = await volumes.take(Owner("s"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: volumes.leave(volume, keep=True))
        await trio.sleep(0.1)
        assert volume.name == (await volumes.take(Owner("s"))).name


async def test_many_at_once_make_one_volume(
    volumes: Volumes, workspaces: FakeWorkspaces, autojump_clock: trio.testing.MockClock
) -> None:
    """Two containers of one session that start together get the same files."""
    found: list[str] = []

    async def take() -> None:
        found.append((await volumes.take(Owner("s"))).name)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(take)
    assert 1 == len(set(found)) == len(workspaces.there)


async def test_last_one_closes_it(
    volumes: Volumes, workspaces: FakeWorkspaces, autojump_clock: trio.testing.MockClock
) -> None:
    """While another container has it mounted, it stays open."""
    one = await volumes.take(Owner("s"))
    two = await volumes.take(Owner("s"))
    await volumes.leave(one, keep=True)
    assert {one.name} == workspaces.open_now
    await volumes.leave(two, keep=True)
    assert set() == workspaces.open_now
    assert {one.name} == workspaces.there


async def test_what_nobody_owns_is_removed(
    volumes: Volumes, workspaces: FakeWorkspaces, autojump_clock: trio.testing.MockClock
) -> None:
    """A warm sandbox that was never used leaves no files."""
    volume = await volumes.take(None)
    await volumes.leave(volume, keep=False)
    assert set() == workspaces.there


async def test_volume_that_is_gone_is_made_anew(
    volumes: Volumes, workspaces: FakeWorkspaces, autojump_clock: trio.testing.MockClock
) -> None:
    """Somebody removed its files; the session goes on with empty ones."""
    volume = await volumes.take(Owner("s"))
    await volumes.leave(volume, keep=True)
    workspaces.there.clear()
    workspaces.there.add("f" * 32)
    assert volume.name != (await volumes.take(Owner("s"))).name


async def test_erasing_waits_for_containers_that_end(
    volumes: Volumes, workspaces: FakeWorkspaces, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """All owners of the session lose their files, nobody else does, and nothing is known of the session then."""
    volume = await volumes.take(Owner("s"))
    other = await volumes.take(Owner("s", "table"))
    strange = await volumes.take(Owner("another"))
    await volumes.leave(other, keep=True)

    async def end() -> None:
        await trio.sleep(3.0)
        await volumes.leave(volume, keep=True)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        assert Volumes.has_files(tmp_path / "index", "s")
        await volumes.erase("s")
    assert {strange.name} == workspaces.there
    assert not Volumes.has_files(tmp_path / "index", "s")
    assert not volumes.known(Owner("s"))
    assert volumes.known(Owner("another"))


async def test_files_in_use_are_not_erased(
    volumes: Volumes, workspaces: FakeWorkspaces, autojump_clock: trio.testing.MockClock
) -> None:
    """A call that does not end keeps them; erasing again, later, removes them."""
    volume = await volumes.take(Owner("s"))
    with pytest.raises(WorkspaceError, match="still uses"):
        await volumes.erase("s")
    assert {volume.name} == workspaces.there
    assert volumes.known(Owner("s"))
    await volumes.leave(volume, keep=True)
    await volumes.erase("s")
    assert set() == workspaces.there


async def test_erasing_what_is_not_there_is_fine(volumes: Volumes) -> None:
    """Nothing was kept of the session."""
    await volumes.erase("nobody")
