"""What people type for the sandbox: make the image, list and tidy what the engine has, and look whether all is well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import asdict

from fairlead import Finding
from fairlead.config import Config
from fairlead.errors import FairleadError
from fairlead_sandbox._places import PROJECT, Places
from fairlead_sandbox._survey import survey
from fairlead_sandbox.container import Engine, Workspaces, collect_garbage, list_containers, open_engine
from fairlead_sandbox.environments import collect_garbage as collect_bundles
from fairlead_sandbox.image import DebianRecipe, RegistryRecipe, build_image, find_image
from fairlead_sandbox.process import available, look_at_machine

__all__ = ["build_sandbox_image", "check_sandbox", "list_sandboxes", "tidy_sandboxes"]


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
    """Remove containers that dead processes left, and bundles of plugins that nobody has used for a month.

    `EngineUnavailable`.
    """
    async with _engine(config) as engine:
        removed = await collect_garbage(engine)
    bundles = await trio.to_thread.run_sync(collect_bundles, Places.of(config).cache)
    return {"containers": [each.id for each in removed], "bundles": len(bundles)}


async def check_sandbox(config: Config) -> Sequence[Finding]:
    """What the machine has for isolation, whether the image is there, and how many files of sessions there are."""
    found = [*await survey(), *available(await look_at_machine())]
    try:
        async with _engine(config) as engine:
            reference = config.isolation.get("image", "")
            image = await find_image(engine, *filter(None, [reference]))
            detail = f"{image.id[7:19]} from {image.source}, Python {image.python}, {image.size_bytes / 1e6:.0f} MB"
            found.append(Finding("image", ok=True, detail=detail))
            names = await Workspaces(Places.of(config).volumes, engine, image=image.id).names()
            found.append(Finding("workspaces", ok=True, detail=f"{len(names)} in {Places.of(config).volumes}"))
    except FairleadError as error:
        found.append(Finding("image", ok=False, detail=error.problem, next_step=error.next_step))
    return found
