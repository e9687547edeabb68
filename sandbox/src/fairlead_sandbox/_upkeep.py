"""What people type for the sandbox: make the image, list and tidy what the engine has, and look whether all is well."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import asdict

from fairlead import Finding
from fairlead.config import Config
from fairlead.errors import FairleadError
from fairlead_sandbox._places import PROJECT, Places
from fairlead_sandbox._survey import survey
from fairlead_sandbox.container import (
    Engine,
    WorkspaceError,
    Workspaces,
    collect_garbage,
    diagnose,
    list_containers,
    open_engine,
)
from fairlead_sandbox.environments import collect_garbage as collect_bundles
from fairlead_sandbox.errors import ImageMissing
from fairlead_sandbox.image import DebianRecipe, RegistryRecipe, build_image, find_image
from fairlead_sandbox.isolator import make
from fairlead_sandbox.isolator._guests import _digest as digest_of
from fairlead_sandbox.isolator._volumes import Volumes
from fairlead_sandbox.process import available, look_at_machine

__all__ = ["build_sandbox_image", "check_sandbox", "erase_session_files", "list_sandboxes", "tidy_sandboxes"]

_ALREADY_TOLD = ("engine", "level kernel")
"""Findings about the engine that the survey of the machine has in its own words."""


@asynccontextmanager
async def _engine(config: Config) -> AsyncIterator[Engine]:
    places = Places.of(config)
    async with open_engine(project=PROJECT, roots=places.roots) as engine:
        yield engine


async def build_sandbox_image(
    config: Config, *, base: str = "", packages: Sequence[str] = (), say: Callable[[str], object] = lambda _: None
) -> dict[str, Any]:
    """Make the image of all sandboxes; what it is, as JSON.

    `base`: an image of a registry (``python:3.12-slim``); empty: from this machine's own Debian packages. `packages`:
    Debian's names of what shall be in it too. `say` is told what happens. `EngineUnavailable`; `FairleadError`: it
    cannot be made, and the one of before is as it was.
    """
    try:
        recipe = RegistryRecipe(base) if base else DebianRecipe(packages=tuple(packages))
    except ValueError as error:
        raise FairleadError(str(error), next_step="fairlead sandbox build --help") from None
    async with _engine(config) as engine:
        return asdict(await build_image(engine, recipe, say=say))


async def list_sandboxes(config: Config) -> Sequence[dict[str, Any]]:
    """The containers of Fairlead on the engine, also those of other processes, as JSON. `EngineUnavailable`."""
    async with _engine(config) as engine:
        return [{**asdict(each), "forgotten": each.forgotten} for each in await list_containers(engine)]


async def tidy_sandboxes(config: Config) -> dict[str, Any]:
    """Remove what dead processes left, and bundles of plugins that nobody has used for a month.

    That is: containers, file systems that are still mounted, and files that belong to no session.
    `EngineUnavailable`.
    """
    places = Places.of(config)
    async with _engine(config) as engine:
        removed = await collect_garbage(engine)
        workspaces = await _workspaces(config, engine)
        unmounted = await workspaces.tidy() if workspaces is not None else ()
        files = await _remove_ownerless(workspaces, places.volumes) if workspaces is not None else 0
    bundles = await trio.to_thread.run_sync(collect_bundles, places.cache)
    return {
        "containers": [each.id for each in removed],
        "bundles": len(bundles),
        "unmounted": len(unmounted),
        "workspaces": files,
    }


async def _workspaces(config: Config, engine: Engine) -> Workspaces | None:
    """None where there is no image: then there was never a container either."""
    try:
        image = await find_image(engine, *filter(None, [config.isolation.get("image", "")]))
    except ImageMissing:
        return None
    return Workspaces(Places.of(config).volumes, engine, image=image.id)


async def _remove_ownerless(workspaces: Workspaces, directory: Path) -> int:
    """How many there were: a process that is killed leaves those that it had made for a session to come."""

    def owned() -> set[str]:
        return {entry.read_text("ascii").strip() for entry in directory.glob("index/**/*") if entry.is_file()}

    removed = 0
    names = await workspaces.names()  # first: one that is assigned meanwhile is in the index then
    for name in sorted(set(names) - await trio.to_thread.run_sync(owned)):
        with contextlib.suppress(WorkspaceError):  # a living process holds it
            await workspaces.remove(name)
            removed += 1
    return removed


async def erase_session_files(config: Config, session: str) -> bool:
    """Remove for good the files that isolated tools have made in a session. False where there are none.

    `EngineUnavailable`, `ImageMissing`: they are of another user, and reached through a container alone.
    `WorkspaceError`: a process still uses them.
    """
    places = Places.of(config)
    in_processes = places.work.glob(f"*.sessions/{digest_of(session)}")
    if not Volumes.has_files(places.volumes / "index", session) and not any(in_processes):
        return False
    failure: FairleadError | None = None
    async with trio.open_nursery() as nursery:
        isolator = make(config, nursery, lambda *_, **__: None)
        try:
            await isolator.forget(session)
        except FairleadError as error:
            failure = error
        finally:
            with trio.CancelScope(shield=True):
                await isolator.close()
            nursery.cancel_scope.cancel()
    if failure is not None:  # raised here, where no nursery makes a group of it
        raise failure
    return True


async def check_sandbox(config: Config) -> Sequence[Finding]:
    """What the machine has for isolation, whether the image is there, and how many files of sessions there are."""
    found = [*await survey(), *available(await look_at_machine())]
    try:
        async with _engine(config) as engine:
            found += [each for each in await diagnose(engine) if each.subject not in _ALREADY_TOLD]
            reference = config.isolation.get("image", "")
            image = await find_image(engine, *filter(None, [reference]))
            detail = f"{image.id[7:19]} from {image.source}, Python {image.python}, {image.size_bytes / 1e6:.0f} MB"
            found.append(Finding("image", ok=True, detail=detail))
            names = await Workspaces(Places.of(config).volumes, engine, image=image.id).names()
            found.append(Finding("workspaces", ok=True, detail=f"{len(names)} in {Places.of(config).volumes}"))
    except FairleadError as error:
        found.append(Finding("image", ok=False, detail=error.problem, next_step=error.next_step))
    return found
