"""Which files belong to which session: a volume each, found again by whoever goes on with the session."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from weakref import WeakValueDictionary

import trio
from attrs import frozen

from fairlead_sandbox.container import Workspace, WorkspaceError, Workspaces

__all__ = ["Owner", "Volumes"]

ENDING_SECONDS = 20.0
"""For containers that were told to end."""


@frozen
class Owner:
    """Whose files they are."""

    session: str
    table: str = ""
    """Of the plugin that has them for itself; empty for those that share the session's workspace."""


class Volumes:
    """The volumes of one data directory.

    In its index there is a directory for each session, and in that a file for each owner, which names the volume.
    """

    def __init__(self, workspaces: Workspaces, index: Path, quota_bytes: int) -> None:
        self._workspaces = workspaces
        self._index = index
        self._quota_bytes = quota_bytes
        self._users: dict[str, int] = {}
        """Containers that have it mounted, by its name."""
        self._left = trio.Event()
        """Somebody has left a volume; then it is another event."""
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    def known(self, owner: Owner) -> bool:
        """Whether the owner has a volume already."""
        return self._entry(owner).exists()

    @staticmethod
    def has_files(index: Path, session: str) -> bool:
        """Whether anything is kept for a session, also where no engine is open."""
        return (index / _digest(session)).exists()

    async def take(self, owner: Owner | None) -> Workspace:
        """The owner's volume, made where there is none; for None a new one, which `assign` may give to somebody.

        `WorkspaceError`: it cannot be made, or another process uses it. Give it back with `leave`.
        """
        if owner is None:
            return self._used(await self._workspaces.create(self._quota_bytes))
        async with self._locks.setdefault(str(self._entry(owner)), trio.Lock()):
            name = self._name(owner)
            if name is not None and name in await self._workspaces.names():
                async with self._moving(name):  # else it is found half closed, and seems to be another process's
                    return self._used(await self._workspaces.open(name))
            workspace = await self._workspaces.create(self._quota_bytes)
            self.assign(workspace, owner)
            return self._used(workspace)

    def _used(self, workspace: Workspace) -> Workspace:
        self._users[workspace.name] = self._users.get(workspace.name, 0) + 1
        return workspace

    def _moving(self, name: str) -> trio.Lock:
        """Held by whoever opens or closes the volume of this name."""
        return self._locks.setdefault(name, trio.Lock())

    def assign(self, workspace: Workspace, owner: Owner) -> None:
        """From now on it is the owner's."""
        entry = self._entry(owner)
        entry.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = entry.with_name(f"{entry.name}.{os.getpid()}.new")
        new.write_text(workspace.name, "ascii")
        new.replace(entry)

    async def leave(self, workspace: Workspace, *, keep: bool) -> None:
        """A container is gone. The last one closes the volume; what nobody owns (`keep` is false) is removed."""
        async with self._moving(workspace.name):
            left = self._users.get(workspace.name, 1) - 1
            self._users[workspace.name] = left
            if left <= 0:
                del self._users[workspace.name]
                with contextlib.suppress(WorkspaceError):  # it lies there until `fairlead sandbox gc`
                    await (self._workspaces.close(workspace.name) if keep else self._workspaces.remove(workspace.name))
        self._left.set()
        self._left = trio.Event()

    async def erase(self, session: str) -> None:
        """Remove the files of a session for good, of all owners, once its containers are gone.

        `WorkspaceError`: somebody uses them, and does not end in time.
        """
        place = self._index / _digest(session)
        for entry in sorted(place.glob("*")) if place.is_dir() else ():
            if not entry.name.endswith(".new"):
                await self._erase(_read(entry))
            entry.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            place.rmdir()

    async def _erase(self, name: str | None) -> None:
        if name is None or name not in await self._workspaces.names():
            return
        with trio.move_on_after(ENDING_SECONDS):
            while self._users.get(name):
                await self._left.wait()
        async with self._moving(name):
            if self._users.get(name):
                raise WorkspaceError("a call still uses the files of the session", next_step="try it again later")
            await self._workspaces.remove(name)

    def _name(self, owner: Owner) -> str | None:
        return _read(self._entry(owner))

    def _entry(self, owner: Owner) -> Path:
        return self._index / _digest(owner.session) / (_digest(owner.table) if owner.table else "shared")


def _read(entry: Path) -> str | None:
    try:
        return entry.read_text("ascii").strip() or None
    except OSError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
