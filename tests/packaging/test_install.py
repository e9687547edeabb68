"""What is installed: the core alone, its schemas in every kind of install, plugins known without being imported."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..workspace import OURS, ROOMS, ROOT, Environment, create_environment, install, install_wheels, run

if TYPE_CHECKING:
    from ..conftest import MakeEnvironment

pytestmark = pytest.mark.packaging

READ_SCHEMAS = """
import json
from fairlead.wire import load_schema, schema_names
print(json.dumps({name: load_schema(name) for name in schema_names()}))
"""

LIST_PLUGINS = """
import importlib.metadata, json, sys
found = {
    f"{point.group}:{point.name}": distribution.name
    for distribution in importlib.metadata.distributions()
    for point in distribution.entry_points
    if point.group.startswith("fairlead.")
}
print(json.dumps([found, [name for name in sys.modules if name.startswith("fairlead")]]))
"""

IMPORT_PLUGINS = """
import importlib.metadata, json
loaded = {
    f"{point.group}:{point.name}": point.load() is not None
    for distribution in importlib.metadata.distributions()
    for point in distribution.entry_points
    if point.group.startswith("fairlead.")
}
print(json.dumps(loaded))
"""

LIST_DISTRIBUTIONS = """
import importlib.metadata, json
print(json.dumps({distribution.name: distribution.version for distribution in importlib.metadata.distributions()}))
"""


@pytest.fixture(scope="module")
def everything(make_environment: MakeEnvironment) -> Environment:
    return make_environment()


def published_schemas() -> dict[str, object]:
    paths = (ROOT / "schemas").glob("*.schema.json")
    return {path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8")) for path in paths}


def declared_plugins() -> dict[str, str]:
    """``group:name`` of every entry point in the checkout, and the distribution that has it."""
    found: dict[str, str] = {}
    for room in ROOMS:
        project = tomllib.loads((room / "pyproject.toml").read_text("utf-8"))["project"]
        for group, points in project.get("entry-points", {}).items():
            if group.startswith("fairlead."):
                found |= {f"{group}:{name}": project["name"] for name in points}
    return found


def test_pip_installs_the_core_alone_from_a_checkout(tmp_path: Path) -> None:
    """`pip install ./core` needs nothing else of the checkout installed, and brings six libraries with their needs."""
    run(sys.executable, "-m", "venv", tmp_path)
    environment = Environment(tmp_path)
    run(environment.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "./core")
    assert published_schemas() == json.loads(environment.run(READ_SCHEMAS))
    names = [found["name"] for found in json.loads(run(environment.python, "-m", "pip", "list", "--format", "json"))]
    assert ["fairlead-core"] == [name for name in names if name.startswith("fairlead")]
    run(environment.python, "-m", "pip", "check")


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_schemas_are_found_in_every_kind_of_install(
    kind: str, wheelhouse: Path, third_parties: Path, tmp_path: Path
) -> None:
    """Inside the package from a wheel and an sdist; in the checkout from an editable install."""
    environment = create_environment(tmp_path / "environment", third_parties)
    if kind == "wheel":
        install_wheels(environment, wheelhouse, "fairlead-core")
    elif kind == "sdist":
        install(environment, *wheelhouse.glob("fairlead_core-*.tar.gz"))
    else:
        install(environment, "--editable", ROOT / "core")
    assert published_schemas()
    assert published_schemas() == json.loads(environment.run(READ_SCHEMAS))


def test_plugins_are_found_by_name_without_being_imported(everything: Environment) -> None:
    """Installing makes a plugin known, and runs none of its code."""
    found, imported = json.loads(everything.run(LIST_PLUGINS))
    assert declared_plugins() == found
    assert [] == imported


def test_plugins_import_with_what_they_declare(everything: Environment) -> None:
    """No plugin needs a library that only the tests have installed."""
    assert dict.fromkeys(declared_plugins(), True) == json.loads(everything.run(IMPORT_PLUGINS))


def test_only_our_own_wheels_are_installed_under_our_names(everything: Environment) -> None:
    """Every distribution of ours is there in the version of this checkout, and no stranger beside them."""
    found = json.loads(everything.run(LIST_DISTRIBUTIONS))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert dict.fromkeys(OURS, version) == {name: found[name] for name in found if name.startswith("fairlead")}
