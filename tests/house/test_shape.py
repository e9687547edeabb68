"""The shape of the checkout: what lies at the top, and what every room has."""

from __future__ import annotations

import json
import re

import pytest

from .checkout import CORE, GENERATED, PLUGINS, ROOMS, ROOT, Room, parse, place, python_files, read_toml, report

TOP = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "core",
    "docs",
    "plugins",
    "pyproject.toml",
    "sandbox",
    "schemas",
    "tests",
    "tox.ini",
    "uv.lock",
}
NAMES = {"cli": "terminal"}
"""Plugins that are not named after their directory: the command line is a program, and its channel the terminal."""
GROUPS = {"fairlead.channels", "fairlead.tools", "fairlead.providers", "fairlead.memories", "fairlead.policies"}

rooms = pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
plugins = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda room: room.name)


def test_top_level_is_exactly_the_agreed_one() -> None:
    """Beside dot files and what tools generate, nothing new lies at the top, and nothing is missing."""
    found = {path.name for path in ROOT.iterdir() if path.name[0] != "." and path.name not in GENERATED}
    assert TOP == found, "a new thing goes into a room, into tests/ or into docs/; TOP in this file is the agreed list"


@rooms
def test_room_has_the_one_shape(room: Room) -> None:
    """Project file, licence, README, a typed package under src, tests of its own; nothing else beside them."""
    expected = [
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "tests",
        f"src/{room.package}/__init__.py",
        f"src/{room.package}/py.typed",
    ]
    report([name for name in expected if not (room.path / name).exists()], f"is missing in {room.name}")
    assert [room.package] == [path.name for path in (room.path / "src").iterdir() if path.name not in GENERATED]
    allowed = {"pyproject.toml", "LICENSE", "README.md", "tests", "src", *({"hatch_build.py"} if room == CORE else ())}
    found = {path.name for path in room.path.iterdir() if path.name not in GENERATED and path.name[0] != "."}
    assert allowed == found
    # Each wheel carries the text of its licence, as the licence wants; a build sees only its own room.
    assert (ROOT / "LICENSE").read_bytes() == (room.path / "LICENSE").read_bytes()


@rooms
def test_room_has_tests(room: Room) -> None:
    """Each room is tested where it lies."""
    assert list((room.path / "tests").rglob("test_*.py")), f"{room.name}/tests has no test_*.py"


@rooms
def test_room_is_named_after_its_directory(room: Room) -> None:
    """`plugins/openai` is the distribution `fairlead-openai` with the package `fairlead_openai`."""
    project = room.project["project"]
    assert project["name"] == ("fairlead-core" if room == CORE else f"fairlead-{room.path.name}")
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert room.project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{room.package}"]


@plugins
def test_plugin_is_found_by_the_name_of_its_directory(plugin: Room) -> None:
    """Its entry points stand in groups of the five kinds, carry its name and lead into its own package."""
    groups = plugin.project["project"].get("entry-points", {})
    name = NAMES.get(plugin.path.name, plugin.path.name)
    assert groups, f"{plugin.name} offers nothing: no entry point in {sorted(GROUPS)}"
    assert set(groups) <= GROUPS
    for points in groups.values():
        assert [name] == list(points)
        assert {plugin.package} == {re.split("[.:]", target)[0] for target in points.values()}


@plugins
def test_plugin_has_a_manifest(plugin: Room) -> None:
    """What a plugin says of itself is read without importing it."""
    manifest = json.loads((plugin.source / "fairlead-plugin.json").read_text("utf-8"))
    assert "api" in manifest, "the least version of the plugin API that it needs"


def test_root_depends_on_the_core_and_the_rooms_and_on_nothing_else() -> None:
    """`pip install fairlead` gives everything that is ours; third parties belong to the room that imports them."""
    root = read_toml(ROOT / "pyproject.toml")
    names = [requirement.partition(">")[0] for requirement in root["project"]["dependencies"]]
    assert sorted(room.project["project"]["name"] for room in ROOMS) == sorted(names)
    assert sorted(names) == sorted(root["tool"]["uv"]["sources"])


def test_type_checker_knows_every_room() -> None:
    """mypy finds a package below the directories of `mypy_path`: one for each room, and the benchmarks' programs."""
    paths = read_toml(ROOT / "pyproject.toml")["tool"]["mypy"]["mypy_path"]
    places = [*(f"{room.name}/src" for room in ROOMS), "tests/benchmarks"]
    assert [f"$MYPY_CONFIG_FILE_DIR/{place}" for place in places] == paths


def test_every_test_file_lies_in_a_directory_of_tests() -> None:
    """pytest collects `tests` directories; a test elsewhere would never run."""
    strays = [place(path) for path in python_files() if path.name.startswith("test_") and "tests" not in path.parts]
    report(strays, "move it into the tests directory of its room")


def test_no_directory_of_tests_is_a_package() -> None:
    """An `__init__.py` in a directory of tests would make the tests of two rooms one module."""
    strays = [place(path) for path in python_files() if path.name == "__init__.py" and path.parent.name == "tests"]
    report(strays, "remove it: tests import their neighbours relatively without one")


def test_every_python_file_parses() -> None:
    """The tests of this directory read all of them."""
    assert all(parse(path) for path in python_files())
