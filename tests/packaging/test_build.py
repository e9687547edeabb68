"""What is built: a wheel and an sdist of every distribution, with what belongs into them."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..workspace import OURS, ROOMS, ROOT, build

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.packaging

distributions = pytest.mark.parametrize("distribution", OURS)
rooms = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)


@pytest.fixture(scope="session")
def direct_wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels built from the checkout, without an sdist between."""
    return build(tmp_path_factory.mktemp("direct"), "--wheel")


def find_wheel(directory: Path, distribution: str) -> Path:
    (wheel,) = directory.glob(f"{distribution.replace('-', '_')}-[0-9]*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, str]:
    """The files of a wheel with their hashes; without its own list of them, which may be in any order."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(".dist-info/RECORD")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


def code_of(room: Path) -> Iterator[str]:
    """The files of a room's package, as paths in its wheel."""
    source = room / "src"
    for path in source.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(source).as_posix()


def test_workspace_builds_nothing_but_its_distributions(wheelhouse: Path) -> None:
    """One wheel and one sdist for each."""
    names = [path.name.partition("-")[0].replace("_", "-") for path in wheelhouse.iterdir() if path.name[0] != "."]
    assert sorted(OURS * 2) == sorted(names)


@distributions
def test_wheel_from_sdist_equals_wheel_from_checkout(distribution: str, wheelhouse: Path, direct_wheels: Path) -> None:
    """Nothing that the wheel needs is missing from the sdist."""
    assert contents(find_wheel(direct_wheels, distribution)) == contents(find_wheel(wheelhouse, distribution))


@rooms
def test_wheel_holds_the_package_and_nothing_else(room: Path, wheelhouse: Path) -> None:
    """Every file under src, `py.typed` and manifest among them; no tests, no build files.

    The core brings the schemas, and its plugin for pytest as a module of its own.
    """
    distribution = OURS[1 + ROOMS.index(room)]
    schemas = {f"fairlead/schemas/{path.name}" for path in (ROOT / "schemas").iterdir()}
    extra = {*schemas, "fairlead_pytest.py"} if room.name == "core" else set()
    found = {name for name in contents(find_wheel(wheelhouse, distribution)) if ".dist-info/" not in name}
    assert {*code_of(room), *extra} == found


def test_root_has_no_code(wheelhouse: Path) -> None:
    """`fairlead` only depends on the others."""
    assert [] == [name for name in contents(find_wheel(wheelhouse, "fairlead")) if ".dist-info/" not in name]


def test_sdist_of_the_core_carries_the_schemas(wheelhouse: Path) -> None:
    """They lie beside `core/` in a checkout, and inside it in an sdist."""
    (sdist,) = wheelhouse.glob("fairlead_core-*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {Path(name).name for name in archive.getnames() if "/src/fairlead/schemas/" in name}
    assert {path.name for path in (ROOT / "schemas").iterdir()} == found
