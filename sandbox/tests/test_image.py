"""The base image: what it is made from, whether it is ours, and whether its Python fits."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trio

from fairlead.errors import IsolationUnavailable
from fairlead_sandbox.container import ContainerSpec
from fairlead_sandbox.errors import ImageMissing
from fairlead_sandbox.image import (
    DebianRecipe,
    Image,
    ImageBuildError,
    RegistryRecipe,
    build_image,
    check_python,
    find_image,
    remove_old_images,
)
from fairlead_sandbox.image._build import _last_status, _python_in
from fairlead_sandbox.image._image import TAG, read_image
from fairlead_sandbox.image._sources import own_sources, own_suite

from .container_engine import IDLE, engine, has_image, missing, python

DEB822 = """
Types: deb deb-src
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://deb.nodesource.com/node_20.x
Suites: nodistro
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no
"""
LIST = """
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] http://mirror.example/debian bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb https://packages.cloud.google.com/apt cloud-sdk-bookworm main
"""


def test_sources_are_the_machines_own_without_strangers(tmp_path: Path) -> None:
    """Of both formats; what is switched off, of another suite or a comment is left out."""
    (tmp_path / "sources.list").write_text(LIST)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "debian.sources.save").write_text(DEB822)
    expected = """Types: deb
Uris: http://mirror.example/debian
Suites: bookworm
Components: main contrib
Signed-By: /usr/share/keyrings/x.gpg

Types: deb
Uris: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
    assert expected == own_sources("bookworm", tmp_path)
    assert "" == own_sources("trixie", tmp_path)
    assert "" == own_sources("bookworm", tmp_path / "none")


def test_suite_is_the_machines_own(tmp_path: Path) -> None:
    """From the file that every Linux has."""
    file = tmp_path / "os-release"
    file.write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    assert "bookworm" == own_suite(file)
    assert "" == own_suite(tmp_path / "none")


def test_recipe_has_a_hash_of_what_goes_in() -> None:
    """The order of packages does not matter; anything else does."""
    recipe = DebianRecipe("bookworm", ["git", "jq"])
    assert recipe.digest() == DebianRecipe("bookworm", ["jq", "git", "python3"]).digest()
    others = [DebianRecipe("trixie", ["git", "jq"]), DebianRecipe("bookworm"), RegistryRecipe("python:3.12-slim")]
    assert 4 == len({recipe.digest(), *(other.digest() for other in others)})


@pytest.mark.parametrize("name", ["", "-o", "a b", "../x", "Git", "x=1.0;rm"])
def test_name_that_is_no_package_is_refused(name: str) -> None:
    """It would be an argument of a program."""
    with pytest.raises(ValueError, match="no name of a Debian package"):
        DebianRecipe("bookworm", [name])


@pytest.mark.parametrize("name", ["", "-x", "a b", "http://x", "x@sha256:1"])
def test_name_that_is_no_reference_is_refused(name: str) -> None:
    """The same."""
    with pytest.raises(ValueError, match="no reference of an image"):
        RegistryRecipe(name)


def inspected(**changes: Any) -> dict[str, Any]:
    labels = {"fairlead.recipe": "00", "fairlead.python": "3.11", "fairlead.source": "debian bookworm"}
    return {"Id": "sha256:1", "Architecture": "amd64", "Size": 1, "Config": {"Labels": labels, **changes}}


def test_image_that_is_not_ours_is_missing() -> None:
    """Somebody else's of the same name, and one that brings volumes of its own."""
    assert Image("sha256:1", "00", "3.11", "debian bookworm", "amd64", 1) == read_image(inspected())
    for changes, words in (({"Labels": None}, "no label fairlead.recipe"), ({"Volumes": {"/data": {}}}, "volumes")):
        with pytest.raises(ImageMissing, match=words) as caught:
            read_image(inspected(**changes))
        assert "fairlead sandbox build" == caught.value.next_step


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("_x.cpython-311-x86_64-linux-gnu.so", True),
        ("_x.cpython-312-x86_64-linux-gnu.so", False),
        ("_x.cpython-313t-x86_64-linux-gnu.so", False),
        ("_x.abi3.so", True),
        ("libz-1.2.so", True),
        ("pure.py", True),
    ],
)
def test_compiled_modules_must_fit_the_images_python(tmp_path: Path, file: str, *, fits: bool) -> None:
    """Said in words, with the command that makes an image that fits."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / file).touch()
    image = read_image(inspected())
    if fits:
        check_python(image, [tmp_path], (3, 12))
    else:
        with pytest.raises(IsolationUnavailable, match="and the image has Python") as caught:
            check_python(image, [tmp_path], (3, 12))
        assert "fairlead sandbox build --from python:3.1" in caught.value.next_step
    check_python(image, [tmp_path], (3, 11))


def test_engines_error_in_an_import_is_told() -> None:
    """It comes as one of many lines, with the status 200."""
    assert "sha256:1" == _last_status('{"status":"Extracting"}\n{"status":"sha256:1"}\n')
    with pytest.raises(ImageBuildError, match="no space left"):
        _last_status('{"status":"Extracting"}\n{"error":"no space left"}\n')


def test_file_system_without_python_is_refused(tmp_path: Path) -> None:
    """Before it is given to the engine."""
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "python3.11").touch()
    subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "with.tar", "./usr"], check=True)
    subprocess.run(["tar", "-C", tmp_path, "-cf", tmp_path / "without.tar", "-T", "/dev/null"], check=True)
    assert "3.11" == _python_in(tmp_path / "with.tar")
    with pytest.raises(ImageBuildError, match="no Python 3"):
        _python_in(tmp_path / "without.tar")


async def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    async with engine(tmp_path.resolve()) as docker:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ImageBuildError) as caught:
            await build_image(docker)
    assert "sudo apt install mmdebstrap" == caught.value.next_step


@pytest.mark.docker
async def test_cancelled_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of mmdebstrap's, no file, and the image of before under its name."""
    if shutil.which("mmdebstrap") is None:
        missing("sudo apt install mmdebstrap")
    tmp_path.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with engine(tmp_path.resolve()) as docker:
        before = await has_image(docker)
        with trio.move_on_after(1.5) as scope:
            await build_image(docker)
        assert scope.cancelled_caught
        assert [] == list(tmp_path.iterdir())
        assert before == await find_image(docker)
    busy = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in read(path)]
    assert [] == busy


def read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


async def test_registry_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """With the way that needs none."""
    async with engine(tmp_path.resolve()) as docker:
        with pytest.raises(ImageBuildError, match=r"127\.0\.0\.1:9/python:3\.12-slim could not be pulled") as caught:
            await build_image(docker, RegistryRecipe("127.0.0.1:9/python:3.12-slim"))
    assert "fairlead sandbox build, which needs no registry" == caught.value.next_step


@pytest.mark.docker
async def test_image_has_what_shell_tools_need(tmp_path: Path) -> None:
    """The real one: Python and the usual programs, none of which changes its user; found by its id as well."""
    programs = ["bash", "dash", "cat", "cp", "diff", "find", "grep", "gzip", "ls", "python3", "rg", "sed", "sh", "tar"]
    async with engine(tmp_path.resolve()) as docker:
        image = await has_image(docker)
        assert image == await find_image(docker, image.id)
        looking = (
            f"import os, shutil, sys; print([n for n in {programs} if not shutil.which(n)],"
            " '%d.%d' % sys.version_info[:2],"
            " [f for d, _, fs in os.walk('/usr') for f in fs if os.lstat(d + '/' + f).st_mode & 0o6000])"
        )
        assert f"[] {image.python} []\n" == await python(docker, looking)


@pytest.mark.docker
async def test_image_of_a_registry_is_labelled(tmp_path: Path) -> None:
    """What is there gets our labels on top of its layers; it says which Python it has, or it is refused."""
    from fairlead_sandbox.image._build import _label, _labels  # noqa: PLC0415  # a step that needs no registry

    async with engine(tmp_path.resolve()) as docker:
        base = await has_image(docker)
        labels = _labels(RegistryRecipe("python:3.11-slim"), "3.11", "python@sha256:0")
        made = await docker.ask(lambda: _label(docker.api, base.id, labels))
        try:
            labelled = await find_image(docker, made)
            assert ("python@sha256:0", "3.11") == (labelled.source, labelled.python)
            assert labelled.id != base.id
            container = await docker.start_container(ContainerSpec(made, IDLE))
            assert made not in await remove_old_images(docker)
            await container.kill()
            assert made in await remove_old_images(docker)
        finally:
            with contextlib.suppress(ImageMissing):
                await docker.ask(lambda: docker.api.remove_image(made, force=True))


def test_missing_image_that_the_configuration_names_has_a_hint_of_its_own() -> None:
    """To build our image helps nobody who asks for another one."""
    for reference, begins in ((TAG, "fairlead sandbox build"), ("python:3.12", "remove `image` from [isolation]")):
        with pytest.raises(ImageMissing) as caught:
            read_image({"Id": "sha256:1", "Config": {}}, reference)
        assert caught.value.next_step.startswith(begins)
