"""Which files belong to which session: a volume each, found again by whoever goes on with the session."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import trio

from fairlead_sandbox.container import Workspace, WorkspaceError, Workspaces

__all__ = ["Volumes"]


class Volumes:
    """The volumes of one data directory; a name in its index stands for a session."""

    def __init__(self, workspaces: Workspaces, index: Path, quota_bytes: int) -> None:
        self._workspaces = workspaces
        self._index = index
        self._quota_bytes = quota_bytes
        self._users: dict[str, int] = {}
        """Containers that have it mounted, by its name."""
        self._locks: dict[str, trio.Lock] = {}

    def known(self, owner: str) -> bool:
        """Whether the owner has a volume already."""
        return self._entry(owner).exists()

    @staticmethod
    def is_known(index: Path, owner: str) -> bool:
        """The same, where no engine is open."""
        return _entry(index, owner).exists()

    async def take(self, owner: str | None) -> Workspace:
        """The owner's volume, made where there is none; for None a new one, which `assign` may give to somebody.

        `WorkspaceError`: it cannot be made, or another process uses it. Give it back with `leave`.
        """
        lock = self._locks.setdefault(owner or "", trio.Lock())
        async with lock:
            workspace = await self._find(owner) if owner is not None else None
            if workspace is None:
                workspace = await self._workspaces.create(self._quota_bytes)
                if owner is not None:
                    self.assign(workspace, owner)
        self._users[workspace.name] = self._users.get(workspace.name, 0) + 1
        return workspace

    def assign(self, workspace: Workspace, owner: str) -> None:
        """From now on it is the owner's."""
        self._index.mkdir(parents=True, exist_ok=True, mode=0o700)
        entry = self._entry(owner)
        new = entry.with_name(f"{entry.name}.{os.getpid()}.new")
        new.write_text(workspace.name, "ascii")
        new.replace(entry)

    async def leave(self, workspace: Workspace, *, keep: bool) -> None:
        """A container is gone. The last one closes the volume; what nobody owns (`keep` is false) is removed."""
        left = self._users.get(workspace.name, 1) - 1
        self._users[workspace.name] = left
        if left <= 0:
            del self._users[workspace.name]
            with contextlib.suppress(WorkspaceError):  # it lies there until `fairlead sandbox gc`
                await (self._workspaces.close(workspace.name) if keep else self._workspaces.remove(workspace.name))

    async def erase(self, owner: str) -> bool:
        """Remove the owner's files for good. False where it has none. `WorkspaceError`: somebody uses them."""
        name = self._name(owner)
        if name is None:
            return False
        await self._workspaces.remove(name)
        self._entry(owner).unlink(missing_ok=True)
        return True

    async def _find(self, owner: str) -> Workspace | None:
        name = self._name(owner)
        if name is None or name not in await self._workspaces.names():
            return None
        return await self._workspaces.open(name)

    def _name(self, owner: str) -> str | None:
        try:
            return self._entry(owner).read_text("ascii").strip() or None
        except OSError:
            return None

    def _entry(self, owner: str) -> Path:
        return _entry(self._index, owner)


def _entry(index: Path, owner: str) -> Path:
    return index / hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()
