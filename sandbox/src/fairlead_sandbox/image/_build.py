"""Making the image: from a registry's, or from Debian's packages where no registry answers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import trio
from attrs import evolve

from fairlead.errors import FairleadError
from fairlead_sandbox.container import Engine
from fairlead_sandbox.image._image import TAG, Image, find_image
from fairlead_sandbox.image._recipe import DebianRecipe, Recipe, RegistryRecipe
from fairlead_sandbox.image._sources import own_sources, own_suite

__all__ = ["ImageBuildError", "build_image"]

Say = Callable[[str], object]
REPOSITORY, _, VERSION = TAG.partition(":")
PYTHON = re.compile(r"(?:\./)?usr/(?:local/)?bin/python(3\.\d+)")
SHOWN_LINES = 12
CANCEL_SECONDS = 5.0
UNNEEDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/bash-completion/*",
)
NO_SET_UID = 'find "$1" -xdev -type f -perm /6000 -exec chmod a-s {} +'
"""No program in the image changes its user by itself; `no-new-privileges` says the same to the kernel."""


class ImageBuildError(FairleadError):
    """The image could not be made; the image of before, where there is one, is as it was."""


async def build_image(engine: Engine, recipe: Recipe | None = None, *, say: Say = lambda _: None) -> Image:
    """Make the image, tag it ``fairlead-base``, and give it as it lies on the engine.

    Without a recipe: from Debian's packages of the machine's own release. About 20 s, with network. `say` is told of
    each step. `ImageBuildError` says what is missing; cancelled, nothing is tagged and no file is left.
    """
    recipe = recipe or DebianRecipe()
    if isinstance(recipe, RegistryRecipe):
        made = await _from_registry(engine, recipe, say)
    elif isinstance(recipe, DebianRecipe):
        made = await _from_debian(engine, evolve(recipe, suite=recipe.suite or own_suite()), say)
    else:
        raise TypeError(f"{type(recipe).__name__} is no recipe")
    image = await find_image(engine, made)
    await engine.ask(lambda: engine.api.tag(image.id, REPOSITORY, VERSION))
    say(f"{TAG} is {image.id}, with Python {image.python}")
    return image


# -- from Debian's packages


async def _from_debian(engine: Engine, recipe: DebianRecipe, say: Say) -> str:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise ImageBuildError("mmdebstrap is not installed", next_step="sudo apt install mmdebstrap")
    if not recipe.suite:
        problem = "this machine is no Debian, so it has no packages to make an image from"
        raise ImageBuildError(problem, next_step="fairlead sandbox build --from python:3.12-slim")
    with tempfile.TemporaryDirectory(prefix="fairlead-image-") as name:
        directory = Path(name)
        await trio.Path(name).chmod(0o755)  # mmdebstrap's helpers run as another user
        await _bootstrap(program, recipe, directory, say)
        tar = directory / "root.tar"
        python = await trio.to_thread.run_sync(_python_in, tar)
        labels = _labels(recipe, python, f"debian {recipe.suite}")
        say(f"importing {(await trio.Path(tar).stat()).st_size // 1_000_000} MB into the engine")
        return await engine.ask(lambda: _import(engine.api, tar, labels))


async def _bootstrap(program: str, recipe: DebianRecipe, directory: Path, say: Say) -> None:
    command = [program, "--variant=essential", f"--include={','.join(recipe.packages)}", "--format=tar"]
    command += [f"--dpkgopt=path-exclude={path}" for path in UNNEEDED]
    command += [f"--customize-hook={NO_SET_UID}", recipe.suite, str(directory / "root.tar")]
    sources = own_sources(recipe.suite)
    if sources:
        file = directory / "own.sources"
        file.write_text(sources, "utf-8")
        command.append(str(file))
    say(f"installing {', '.join(recipe.packages)} of {recipe.suite} into an empty directory")
    with (directory / "log").open("wb+") as log:
        done = await trio.run_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
            env=_environment(directory),
            start_new_session=True,
            deliver_cancel=_end_group,
        )
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
    if done.returncode:
        faults = [line for line in said.splitlines() if line.startswith(("E:", "W:", "Err:"))] or said.splitlines()
        words = "\n".join(faults[-SHOWN_LINES:])
        raise ImageBuildError(
            f"mmdebstrap ended with status {done.returncode}:\n{words}",
            next_step="sudo apt update, to see whether the machine's package sources answer",
        )


async def _end_group(process: trio.Process) -> None:
    """The program with its children, which it waits for before it ends; by force where that takes too long."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with trio.move_on_after(CANCEL_SECONDS):
            await process.wait()


def _environment(directory: Path) -> dict[str, str]:
    """Ours, without what is nobody's business; proxies are needed."""
    kept = ("PATH", "HOME", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {**{name: os.environ[name] for name in kept if name in os.environ}, "TMPDIR": str(directory), "LC_ALL": "C"}


def _python_in(tar: Path) -> str:
    with tarfile.open(tar, "r:") as file:
        for member in file:
            if match := PYTHON.fullmatch(member.name):
                return match[1]
    raise ImageBuildError("the packages bring no Python 3", next_step="add python3 to the packages")


def _import(api: Any, tar: Path, labels: Mapping[str, str]) -> str:
    changes = [f"LABEL {name}={json.dumps(value)}" for name, value in labels.items()]
    answer = api.import_image_from_file(str(tar), changes=changes)
    return _last_status(answer)


def _last_status(answer: str) -> str:
    """The id at the end of a stream of JSON objects; an error of the engine is one of them."""
    status = ""
    for line in answer.splitlines():
        step = json.loads(line)
        if "error" in step:
            raise ImageBuildError(f"the engine could not import the image: {step['error']}")
        status = str(step.get("status", status))
    return status


# -- from a registry


async def _from_registry(engine: Engine, recipe: RegistryRecipe, say: Say) -> str:
    say(f"pulling {recipe.reference}")
    base = await engine.ask(lambda: _pull(engine.api, recipe.reference))
    pinned = next(iter(base.get("RepoDigests") or ()), base["Id"])
    variables = dict(text.split("=", 1) for text in (base.get("Config") or {}).get("Env") or () if "=" in text)
    python = ".".join(variables.get("PYTHON_VERSION", "").split(".")[:2])
    if not re.fullmatch(r"3\.\d+", python):
        problem = f"{recipe.reference} does not say which Python it has (PYTHON_VERSION)"
        raise ImageBuildError(problem, next_step="fairlead sandbox build --from python:3.12-slim")
    labels = _labels(recipe, python, pinned)
    return await engine.ask(lambda: _label(engine.api, str(base["Id"]), labels))


def _pull(api: Any, reference: str) -> dict[str, Any]:
    name, _, digest = reference.partition("@")
    tag = None if digest else (name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else "latest")
    try:
        api.pull(reference if digest else name.removesuffix(f":{tag}"), tag=tag)
    except Exception as error:
        problem = f"{reference} could not be pulled: {getattr(error, 'explanation', None) or error}"
        raise ImageBuildError(problem, next_step="fairlead sandbox build, which needs no registry") from error
    return dict(api.inspect_image(reference))


def _label(api: Any, base: str, labels: Mapping[str, str]) -> str:
    """The same layers under labels of ours: an image's labels belong to its id."""
    dockerfile = io.BytesIO(f"FROM {base}\nUSER 0:0\nENTRYPOINT []\n".encode())
    made = ""
    for step in api.build(fileobj=dockerfile, labels=dict(labels), rm=True, forcerm=True, decode=True):
        if "error" in step:
            raise ImageBuildError(f"the engine could not label the image: {step['error']}")
        made = str((step.get("aux") or {}).get("ID", made))
    return made


def _labels(recipe: Recipe, python: str, source: str) -> dict[str, str]:
    return {"fairlead.recipe": recipe.digest(), "fairlead.python": python, "fairlead.source": source}
