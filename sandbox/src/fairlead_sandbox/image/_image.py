"""The image that containers run, as it lies on the engine."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from fairlead.errors import IsolationUnavailable
from fairlead_sandbox.container import Engine
from fairlead_sandbox.errors import ImageMissing, SandboxLost

__all__ = ["TAG", "Image", "check_python", "find_image", "read_image", "remove_old_images"]

TAG = "fairlead-base:latest"
BUILD = "fairlead sandbox build"
COMPILED = re.compile(r"\.cpython-(\d)(\d+)[a-z]*-")
"""``_x.cpython-311-x86_64-linux-gnu.so`` (PEP 3149). Modules of the stable interface (``.abi3.so``) run with every
version, and so do libraries without a mark."""


@frozen
class Image:
    """Found on the engine."""

    id: str
    """``sha256:...``: containers are made from this and from no name."""
    recipe: str
    """The hash of what it was made from."""
    python: str
    """``3.11``"""
    source: str
    """``debian bookworm``, or the registry's name with its digest."""
    machine: str
    """The engine's word for the processor: ``amd64``."""
    size_bytes: int


async def find_image(engine: Engine, reference: str = TAG) -> Image:
    """The image by tag or id. `ImageMissing` where the engine has none, or one that Fairlead did not make."""
    try:
        inspected = await engine.ask(lambda: dict(engine.api.inspect_image(reference)))  # type: ignore[no-untyped-call]  # the stubs have none
    except ImageMissing as error:
        problem = f"the engine has no image {reference!r} to run sandboxes from"
        raise ImageMissing(problem, next_step=_next(reference), floor="container") from error
    return read_image(inspected, reference)


def read_image(inspected: Mapping[str, Any], reference: str = TAG) -> Image:
    """The engine's answer as an image of ours."""
    config = inspected.get("Config") or {}
    labels = config.get("Labels") or {}
    missing = [name for name in ("fairlead.recipe", "fairlead.python", "fairlead.source") if not labels.get(name)]
    if missing or config.get("Volumes"):
        what = f"has no label {missing[0]}" if missing else "brings volumes of its own"
        problem = f"the image {reference!r} was not made by Fairlead: it {what}"
        raise ImageMissing(problem, next_step=_next(reference), floor="container")
    return Image(
        id=str(inspected["Id"]),
        recipe=str(labels["fairlead.recipe"]),
        python=str(labels["fairlead.python"]),
        source=str(labels["fairlead.source"]),
        machine=str(inspected.get("Architecture", "")),
        size_bytes=int(inspected.get("Size") or 0),
    )


def _next(reference: str) -> str:
    """To build ours helps nobody whose configuration names another one."""
    return BUILD if reference == TAG else f"remove `image` from [isolation], or write image = {TAG!r}; then {BUILD}"


async def remove_old_images(engine: Engine) -> tuple[str, ...]:
    """Remove those that Fairlead made and that have no name any more, and give their ids; what is in use stays."""
    filters: dict[str, Any] = {"dangling": True, "label": "fairlead.recipe"}
    removed = []
    for found in await engine.ask(lambda: engine.api.images(filters=filters)):
        name = str(found["Id"])
        with contextlib.suppress(SandboxLost):
            await engine.ask(partial(engine.api.remove_image, name))
            removed.append(name)
    return tuple(removed)


def check_python(image: Image, paths: Sequence[Path], host: tuple[int, int] = sys.version_info[:2]) -> None:
    """The compiled modules below `paths` can be imported by the image's Python, or `IsolationUnavailable` says why not.

    A plugin's packages are the host's, mounted: what was compiled for the host's version runs with no other.
    """
    if image.python == f"{host[0]}.{host[1]}":
        return
    for version, file in _compiled(paths):
        if version != image.python:
            raise IsolationUnavailable(
                f"{file.name} was compiled for Python {version}, and the image has Python {image.python}",
                next_step=f"fairlead sandbox build --from python:{version}-slim"
                f" (or run Fairlead with Python {image.python})",
                floor="container",
            )


def _compiled(paths: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for path in paths:
        for file in path.rglob("*.so"):
            if match := COMPILED.search(file.name):
                yield f"{match[1]}.{match[2]}", file
