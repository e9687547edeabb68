"""The operations that a program finds by an entry point: where they look, and what they give."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.config import Config, PluginConfig
from fairlead.errors import PluginLoadError
from fairlead.plugins import installed
from fairlead_sandbox import operations

from .packages import entry_points, plugin_files, wheel

WORKS = """
from fairlead import Policy
from fairlead.hookspecs import hookimpl

class Curfew(Policy):
    boundaries = frozenset({"message_in"})

    async def review(self, review):
        return None

@hookimpl
def fairlead_policies(settings):
    assert settings.options == {"hours": [1, 2]}, settings.options
    return [Curfew()]
"""


def made(directory: Path, version: str, code: str = WORKS, **manifest: Any) -> str:
    files = plugin_files("acme_curfew", code=code, **manifest)
    points = entry_points("curfew", "acme_curfew", "policies")
    return str(wheel(directory, "acme-curfew", files, version=version, entry_points=points))


def config(directory: Path, **options: Any) -> Config:
    tables = (PluginConfig("policies", "night", "curfew", options=options),) if options else ()
    return Config(data_dir=directory / "data", plugins=tables)


def test_operations_are_found_by_their_entry_point() -> None:
    """By programs that do not import this package."""
    (point,) = importlib.metadata.entry_points(group="fairlead.operations", name="sandbox")
    assert operations is point.load()


async def test_core_lists_what_was_added(tmp_path: Path) -> None:
    """With its manifest and its directory, without this package and without an import."""
    there = config(tmp_path)
    added = await operations.add_plugin(there, made(tmp_path, "1.0", hosts=["night.example:443"]), no_index=True)
    assert json.loads(json.dumps(added)) == added
    assert [added] == await operations.list_plugins(there)
    (plugin,) = [each for each in installed(there.data_dir) if each.distribution == "acme-curfew"]
    assert ("policies", "curfew", "1.0", "") == (plugin.kind, plugin.name, plugin.version, plugin.problem)
    assert plugin.manifest is not None
    assert ("night.example:443",) == plugin.manifest.hosts
    assert Path(plugin.site).parent.parent == there.data_dir / "plugins/acme-curfew"
    assert {"name": "acme-curfew"} == await operations.remove_plugin(there, "curfew")
    assert [] == await operations.list_plugins(there)


async def test_upgrade_is_tried_with_the_options_of_each_table(tmp_path: Path) -> None:
    """What does not take them, or is another plugin now, stays out of use."""
    there = config(tmp_path, hours=[1, 2])
    await operations.add_plugin(there, made(tmp_path, "1.0"), no_index=True)
    done = await operations.upgrade_plugin(there, "curfew", made(tmp_path, "2.0"), no_index=True)
    assert (True, ["policies/night"]) == (done["changed"], done["tried"])
    other = config(tmp_path, hours=[3])
    with pytest.raises(PluginLoadError, match=r"3\.0 does not work, so 2\.0 stays in use.*hours"):
        await operations.upgrade_plugin(other, "curfew", made(tmp_path, "3.0"), no_index=True)
    gone = wheel(
        tmp_path,
        "acme-curfew",
        plugin_files("acme_curfew"),
        version="4.0",
        entry_points=entry_points("dusk", "acme_curfew", "policies"),
    )
    with pytest.raises(PluginLoadError, match="has no policies/curfew any more"):
        await operations.upgrade_plugin(there, "curfew", str(gone), no_index=True)
    (now,) = await operations.list_plugins(there)
    assert "2.0" == now["version"]


async def test_plugin_that_nothing_enables_is_tried_where_it_needs_no_options(tmp_path: Path) -> None:
    """One that must be told something cannot be tried without a table."""
    there, broken = config(tmp_path), "raise ZeroDivisionError('no night')\n"
    await operations.add_plugin(there, made(tmp_path, "1.0"), no_index=True)
    with pytest.raises(PluginLoadError, match="no night"):
        await operations.upgrade_plugin(there, "curfew", made(tmp_path, "2.0", broken), no_index=True)
    needy = {"type": "object", "required": ["hours"], "properties": {"hours": {"type": "array"}}}
    await operations.remove_plugin(there, "curfew")
    await operations.add_plugin(there, made(tmp_path, "1.0", settings=needy), no_index=True)
    done = await operations.upgrade_plugin(there, "curfew", made(tmp_path, "3.0", settings=needy), no_index=True)
    assert (True, []) == (done["changed"], done["tried"])
