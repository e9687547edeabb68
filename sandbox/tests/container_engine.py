"""The real engine for tests, with the base image on it; what is missing is named, and in CI it fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from fairlead_sandbox.container import Container, ContainerSpec, Engine, open_engine
from fairlead_sandbox.errors import EngineUnavailable, ImageMissing
from fairlead_sandbox.image import Image, ImageBuildError, build_image, find_image

__all__ = ["IDLE", "engine", "has_image", "missing", "python", "said_by"]

IDLE = ("cat",)
"""Says back what it is told, and ends at the end of file: what the supervisor does, in four letters."""


def missing(problem: str) -> NoReturn:
    """Skip, or fail where nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {problem}")
    pytest.skip(problem)


@contextlib.asynccontextmanager
async def engine(root: Path, project: str = "tests") -> AsyncIterator[Engine]:
    """The engine of this machine; directories below `root` may be mounted."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            opened = await stack.enter_async_context(open_engine(project=project, roots=[root]))
        except EngineUnavailable as error:
            missing(str(error))
        yield opened


async def has_image(opened: Engine) -> Image:
    """The base image, made from Debian's packages where the engine has none."""
    try:
        return await find_image(opened)
    except ImageMissing:
        try:
            return await build_image(opened)
        except ImageBuildError as error:
            missing(str(error))


async def python(opened: Engine, program: str, *, supervised: bool = False) -> str:
    """What a Python program prints in a container."""
    image = await has_image(opened)
    spec = ContainerSpec(image.id, ["python3", "-I", "-c", f"input()\n{program}"], supervised=supervised)
    container = await opened.start_container(spec)
    try:
        await container.stream.send(b"\n")
        return await said_by(container)
    finally:
        await container.kill()


async def said_by(container: Container) -> str:
    """All of its standard output, until it ends."""
    said = b""
    while piece := await container.stream.receive_some():
        said += piece
    return said.decode()
