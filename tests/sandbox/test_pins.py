"""Two plugins that need different versions of one library: both work, and the host's environment is as it was."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import sys
import sysconfig
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from fairlead.config import PluginConfig

from ..cli.programs import Home
from .hosted import configure, hosted, require_engine, told

PLUGIN = """
import acme_units

from fairlead import Tool, ToolSpec
from fairlead.hookspecs import hookimpl


class Units(Tool):
    def specs(self):
        return [ToolSpec("{name}", "Says the version.", {{"type": "object"}}, effect="read", isolation="process")]

    async def call(self, call, context):
        return acme_units.VERSION


@hookimpl
def fairlead_tools(settings):
    return [Units()]
"""


def wheel(directory: Path, name: str, version: str, source: str, *, needs: str = "", plugin: str = "") -> Path:
    """Written by hand: nothing is fetched, nothing is built."""
    package = name.replace("-", "_")
    info = f"{package}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {each}\n" for each in needs.split())
    files = {
        f"{package}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if plugin:
        files[f"{package}/fairlead-plugin.json"] = '{"api": "1.0"}'
        files[f"{info}/entry_points.txt"] = f"[fairlead.tools]\n{plugin} = {package}\n"
    digests = {each: hashlib.sha256(text.encode()).digest() for each, text in files.items()}
    lines = [f"{each},sha256={base64.urlsafe_b64encode(d).rstrip(b'=').decode()}," for each, d in digests.items()]
    path = directory / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for each, text in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,\n"])}.items():
            archive.writestr(each, text)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With both plugins in environments of their own, as `fairlead plugins add` makes them."""
    place = tmp_path_factory.mktemp("pins")
    shelf = place / "wheels"
    shelf.mkdir()
    for version in ("1.0", "2.0"):
        wheel(shelf, "acme-units", version, f"VERSION = {version!r}\n")
    for name, pin in (("old", "1.0"), ("new", "2.0")):
        source = PLUGIN.format(name=f"{name}_units")
        path = wheel(place, f"acme-{name}", "1.0", source, needs=f"acme-units=={pin}", plugin=f"acme-{name}")
        done = Home(place).run("plugins", "add", str(path), "--no-index", "--find-links", str(shelf), "--yes")
        assert 0 == done.returncode, done.stderr
    return place / "data"


def installed() -> list[tuple[str, str, int]]:
    """What the host's environment holds, with the times of its records."""
    found = []
    for each in distributions(path=[sysconfig.get_paths()["purelib"]]):
        record = next((file for file in each.files or () if file.name == "RECORD"), None)
        time = Path(str(each.locate_file(record))).stat().st_mtime_ns if record is not None else 0
        found.append((str(each.metadata["Name"]), each.version, time))
    return sorted(found)


BEFORE = installed()


@pytest.mark.parametrize("level", ["process", pytest.param("container", marks=pytest.mark.docker)])
def test_conflicting_pins_both_work(level: str, data: Path) -> None:
    """At the same time, in one app."""
    if level == "container":
        require_engine()
    tables = [PluginConfig("tools", name, isolation=level) for name in ("acme-old", "acme-new")]  # type: ignore[arg-type]  # a level
    with hosted(configure(data, *tables)) as host:
        results = [host.call("s", name) for name in ("old_units", "new_units", "old_units")]
    assert ["1.0", "2.0", "1.0"] == [told(result) for result in results]
    assert {level} == {result.evidence["level"] for result in results}


def test_environment_of_the_host_is_unchanged(data: Path) -> None:
    """Nothing was installed into it, and nothing of the plugins can be imported."""
    assert installed() == BEFORE
    for name in ("acme_units", "acme_old", "acme_new"):
        assert importlib.util.find_spec(name) is None
        assert name not in sys.modules
