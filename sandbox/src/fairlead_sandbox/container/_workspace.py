"""The files of sessions: a directory each that outlives its containers, with a limit that does too.

Where this process is root, a workspace is an ext4 file system of a fixed size in a sparse file: the kernel lets nobody
write past it, and its number of files is limited too (guarantee ``hard``). Elsewhere it is a plain directory, and its
size can only be measured after a call (``checked``): `measure` tells, and whoever runs calls must ask. A tmpfs with a
size would be lost with its container.

The record of calls has a limit of its own, so that a tool which fills its files cannot keep calls from being noted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import trio
from attrs import frozen

from fairlead_sandbox.container._disk import (
    WorkspaceError,
    erase,
    make_file_system,
    mount_file_system,
    unmount_file_system,
    walk,
)
from fairlead_sandbox.container._engine import Engine
from fairlead_sandbox.container._spec import MIB, ContainerSpec, UidRange, Workspace
from fairlead_sandbox.container._threads import in_thread
from fairlead_sandbox.container._uids import SIZE, HeldRange, claim_range

__all__ = ["Measure", "Workspaces"]

NAME = re.compile(r"[0-9a-f]{32}")
MINIMUM_BYTES = 4 * MIB
RECORD_BYTES = 64 * MIB
"""For what became of calls; a sparse file, so that it takes what is in it."""
OWN_FILES = 11
"""Inodes that ext4 keeps for itself, and the directory that is mounted."""
PARTS = ("work", "record")
ABOUT: Mapping[str, Callable[[Any], Any]] = {"uid": int, "quota_bytes": int, "guarantee": str}
"""What is kept of a workspace beside its files."""
ABANDONED_SECONDS = 600.0
"""After which one that has no such thing is not in the making any more."""
TOP = "files"
"""What is mounted is a directory *in* the file system: an engine that does not see the file system, because it has a
mount namespace of its own, then finds nothing, instead of a directory without a limit."""
Guarantee = Literal["hard", "checked"]


@frozen
class Measure:
    """How full a workspace is."""

    used_bytes: int
    files: int
    quota_bytes: int

    @property
    def exceeded(self) -> bool:
        return self.used_bytes > self.quota_bytes


class Workspaces:
    """All workspaces of one data directory, which must be among the engine's own directories.

    `image`: for programs that reach the files of other users in a container; needed where this process is not root.
    `hard`: whether the kernel shall enforce quotas; by default where it can. Use it as an asynchronous block, which
    ends by closing all. What a process that was killed left mounted is found again by `open`, or taken off by `tidy`.
    """

    def __init__(self, directory: Path, engine: Engine, *, image: str = "", hard: bool | None = None) -> None:
        if os.geteuid() != 0 and not image:
            raise ValueError("without root the files of other users are reached through a container: give an image")
        self._directory = directory.resolve()
        self._engine, self._image = engine, image
        self._hard = os.geteuid() == 0 if hard is None else hard
        self._held: dict[str, tuple[HeldRange, Workspace]] = {}

    async def __aenter__(self) -> Self:
        await self.tidy()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def names(self) -> tuple[str, ...]:
        """Of all that are there, also those that another process has open."""

        def look() -> tuple[str, ...]:
            with contextlib.suppress(FileNotFoundError):
                return tuple(sorted(path.name for path in self._directory.iterdir() if NAME.fullmatch(path.name)))
            return ()

        return await in_thread(look)

    async def create(self, quota_bytes: int) -> Workspace:
        """A new, empty one, open for containers of this process. Its name is made here."""
        if quota_bytes < MINIMUM_BYTES:
            raise ValueError(f"found a workspace of {quota_bytes} bytes, expected at least {MINIMUM_BYTES}")
        held = self._engine.facts.uid_space.claim()
        name = secrets.token_hex(16)
        try:
            guarantee = await in_thread(
                lambda: self._make(name, quota_bytes, held.uids), undo=lambda _: self._erase(name)
            )
        except BaseException:
            held.release()
            raise
        workspace = self._hold(name, quota_bytes, guarantee, held)
        if os.geteuid() != 0:
            try:
                await self._give(workspace, held.uids.first, held.uids.first)
            except BaseException:
                await self.close(name)
                await in_thread(lambda: self._erase(name))
                raise
        return workspace

    async def open(self, name: str) -> Workspace:
        """One that was made before. `WorkspaceError` where there is none, or another process has it open."""
        if name in self._held:
            return self._held[name][1]
        about = await in_thread(lambda: self._about(name))
        held = claim_range(UidRange(about["uid"], SIZE))
        if held is None:
            problem = f"the workspace {name!r} is open in another process"
            raise WorkspaceError(problem, next_step="fairlead sandbox ls, which names the process")
        guarantee: Guarantee = "hard" if about["guarantee"] == "hard" else "checked"
        try:
            if guarantee == "hard":
                await in_thread(lambda: self._mount(name), undo=lambda _: self._unmount(name))
        except BaseException:
            held.release()
            raise
        return self._hold(name, about["quota_bytes"], guarantee, held)

    def _hold(self, name: str, quota_bytes: int, guarantee: Guarantee, held: HeldRange) -> Workspace:
        place = self._place(name)
        workspace = Workspace(name, place / "work" / TOP, place / "record" / TOP, quota_bytes, guarantee, held.uids)
        self._held[name] = (held, workspace)
        return workspace

    async def close(self, name: str) -> None:
        """Take it off, once no container has it mounted; the files stay. Not open is fine."""
        held = self._held.pop(name, None)
        if held is not None:
            try:
                with trio.CancelScope(shield=True):
                    await in_thread(lambda: self._unmount(name))
            finally:
                held[0].release()

    async def aclose(self) -> None:
        """Close all."""
        for name in tuple(self._held):
            await self.close(name)

    async def remove(self, name: str) -> None:
        """Erase the files. `WorkspaceError` where another process has it open."""
        workspace = await self.open(name)
        if os.geteuid() != 0:
            await self._give(workspace, os.geteuid(), os.getegid())
        await self.close(name)
        await in_thread(lambda: self._erase(name))

    async def tidy(self) -> tuple[str, ...]:
        """Take off what a process left mounted that is gone; gives the names. Containers that have it keep it."""
        others = [name for name in await self.names() if name not in self._held]
        return tuple([name for name in others if await in_thread(partial(self._tidy, name))])

    def _tidy(self, name: str) -> bool:
        place = self._place(name)
        if not any(os.path.ismount(place / part) for part in PARTS):
            return False
        try:
            held = claim_range(UidRange(self._about(name)["uid"], SIZE))
        except WorkspaceError:
            # Another process makes or removes it just now; or one was killed meanwhile, and nobody can ever open it.
            with contextlib.suppress(FileNotFoundError):
                if time.time() - place.stat().st_mtime > ABANDONED_SECONDS:
                    self._erase(name)
                    return True
            return False
        if held is None:
            return False
        try:
            self._unmount(name)
        finally:
            held.release()
        return True

    async def measure(self, workspace: Workspace) -> Measure:
        """How full it is: at once for a file system, by looking at every file for a directory."""
        if workspace.guarantee == "hard":
            found = await in_thread(lambda: os.statvfs(workspace.path))
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            return Measure(used, found.f_files - found.f_ffree - OWN_FILES, workspace.quota_bytes)
        if os.geteuid() == 0:
            used, files = await in_thread(lambda: walk(workspace.path))
        else:
            used = int((await self._inside(workspace, ["du", "-s", "-B1", "/work"])).split()[0])
            # The directory itself is one of them.
            files = int((await self._inside(workspace, ["du", "-s", "--inodes", "/work"])).split()[0]) - 1
        return Measure(used, files, workspace.quota_bytes)

    # -- on the disk; these block

    def _place(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise WorkspaceError(f"{name!r} is no name of a workspace: 32 digits from 0 to f are")
        return self._directory / name

    def _make(self, name: str, quota_bytes: int, uids: UidRange) -> Guarantee:
        place = self._place(name)
        # Nobody else on the machine may walk through to files of strange users. An engine with other users' ids must.
        mode = 0o711 if self._engine.facts.remapped else 0o700
        try:
            self._directory.mkdir(mode=mode, parents=True, exist_ok=True)
            place.mkdir(mode=mode)
            for part in PARTS:
                (place / part).mkdir(mode=mode)
            guarantee: Guarantee = "hard" if self._hard and self._make_hard(place, quota_bytes) else "checked"
            owner = self._engine.facts.uid_offset + uids.first
            for part in PARTS:
                (place / part).chmod(mode)
                (place / part / TOP).mkdir(mode=0o700)
                if os.geteuid() == 0:
                    os.chown(place / part / TOP, owner, owner)
            about = {"uid": uids.first, "quota_bytes": quota_bytes, "guarantee": guarantee}
            (place / "about.new").write_text(json.dumps(about), "ascii")
            (place / "about.new").replace(place / "about.json")
        except BaseException as error:
            self._erase(name)
            if isinstance(error, OSError):
                problem = f"a workspace cannot be made in {self._directory}: {error.strerror}"
                raise WorkspaceError(problem, next_step=f"df -h -i {self._directory}") from error
            raise
        return guarantee

    @staticmethod
    def _make_hard(place: Path, quota_bytes: int) -> bool:
        """Whether this machine can: it may have no loop devices, or no program that makes file systems."""
        try:
            for part, size in zip(PARTS, (quota_bytes, RECORD_BYTES), strict=True):
                make_file_system(place / f"{part}.ext4", size)
                mount_file_system(place / f"{part}.ext4", place / part)
                (place / part / "lost+found").rmdir()
        except (WorkspaceError, OSError):
            for part in PARTS:
                unmount_file_system(place / part)
                (place / f"{part}.ext4").unlink(missing_ok=True)
            return False
        return True

    def _about(self, name: str) -> dict[str, Any]:
        try:
            about = json.loads((self._place(name) / "about.json").read_text("ascii"))
            return {key: kind(about[key]) for key, kind in ABOUT.items()}
        except FileNotFoundError as error:
            raise WorkspaceError(f"there is no workspace {name!r} in {self._directory}") from error
        except (ValueError, KeyError, TypeError) as error:
            problem = f"what is known of the workspace {name!r} in {self._directory} is damaged: {error!r}"
            raise WorkspaceError(problem, next_step=f"rm -r {self._place(name)}") from error

    def _mount(self, name: str) -> None:
        for part in PARTS:
            mount_file_system(self._place(name) / f"{part}.ext4", self._place(name) / part)

    def _unmount(self, name: str) -> None:
        for part in PARTS:
            unmount_file_system(self._place(name) / part)

    def _erase(self, name: str) -> None:
        self._unmount(name)
        erase(self._place(name))

    # -- without root

    async def _give(self, workspace: Workspace, uid: int, gid: int) -> None:
        await self._inside(workspace, ["chown", "-R", "-h", f"{uid}:{gid}", "/work", "/record"])

    async def _inside(self, workspace: Workspace, command: list[str]) -> str:
        """What a program says that has the workspace in a container; it may read and give away every file."""
        # It begins when it is told to: whatever ends at once could not be looked at before.
        waiting = ["sh", "-c", 'read -r _ && exec "$@"', "sh", *command]
        spec = ContainerSpec(self._image, waiting, workspace=workspace, plugins="workspace")
        container = await self._engine.start_container(spec)
        said = b""
        try:
            await container.stream.send(b"\n")
            while piece := await container.stream.receive_some():
                said += piece
            ended = await container.wait()
        finally:
            await container.kill()
        if ended != "exit status 0":
            raise WorkspaceError(f"{command[0]} in the workspace {workspace.name!r} failed: {ended}")
        return said.decode("utf-8", "replace")
