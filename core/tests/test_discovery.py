"""What is installed, from metadata alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead import hookspecs
from fairlead.plugins import InstalledPlugin, Manifest, installed

TRAP = "raise SystemExit('discovery imported a plugin')\n"
PACKAGE = {"stranger/__init__.py": TRAP, "stranger/plugin.py": TRAP}
GROUP = {"fairlead.tools": {"stranger": "stranger.plugin"}}


def found(name: str = "stranger") -> list[InstalledPlugin]:
    return [plugin for plugin in installed() if plugin.name == name]


def problem(site: Any, manifest: Any) -> str:
    site.install("acme-stranger", GROUP, PACKAGE, manifest=manifest)
    (plugin,) = found()
    assert plugin.manifest is None
    return plugin.problem


def test_listing_imports_nothing(site: Any) -> None:
    """A plugin that would end the process on import is listed, with its manifest."""
    site.install("acme-stranger", GROUP, PACKAGE, version="2.1", manifest={"api": "1.0", "secrets": ["key"]})
    expected = InstalledPlugin(
        "tools", "stranger", "acme-stranger", "2.1", "stranger.plugin", Manifest("1.0", secrets=("key",))
    )
    assert [expected] == found()
    assert "stranger" not in sys.modules


def test_all_five_groups_are_listed(site: Any) -> None:
    """One distribution may have plugins of every kind; other groups are not ours."""
    groups = {group: {"stranger": "stranger.plugin"} for group in [*hookspecs.GROUPS.values(), "console_scripts"]}
    site.install("acme-stranger", groups, PACKAGE)
    assert sorted(hookspecs.GROUPS) == [plugin.kind for plugin in found()]


def test_single_file_has_no_manifest(site: Any) -> None:
    """A module without a package is accepted without one."""
    site.install("acme", {"fairlead.tools": {"stranger": "single:plugin"}}, {"single.py": TRAP})
    assert [(None, "")] == [(plugin.manifest, plugin.problem) for plugin in found()]


def test_missing_module_is_listed(site: Any) -> None:
    """Metadata alone does not tell that an import will fail."""
    site.install("acme", {"fairlead.tools": {"stranger": "nowhere.plugin"}}, {})
    assert [(None, "")] == [(plugin.manifest, plugin.problem) for plugin in found()]


def test_manifest_nearest_to_the_module_counts(site: Any) -> None:
    """One package may hold several plugins, each with its own; a namespace package is looked through."""
    site.install("one", {"fairlead.tools": {"stranger": "acme.deep.plugin:it"}}, {"acme/deep/plugin.py": TRAP})
    (site.directory / "acme/fairlead-plugin.json").write_text('{"api": "1.0", "stage": "stable"}')
    assert ["stable"] == [plugin.manifest.stage for plugin in found() if plugin.manifest]
    (site.directory / "acme/deep/fairlead-plugin.json").write_text('{"api": "1.0", "stage": "deprecated"}')
    assert ["deprecated"] == [plugin.manifest.stage for plugin in found() if plugin.manifest]


def test_two_distributions_of_one_name_are_both_refused(site: Any) -> None:
    """Each is listed with the name and version of both."""
    site.install("acme-one", GROUP, PACKAGE)
    site.install("acme-two", GROUP, {}, version="3.0")
    problems = [plugin.problem for plugin in found()]
    assert 2 == len(problems)
    for text in problems:
        assert "acme-one 1.0 (stranger.plugin) and acme-two 3.0 (stranger.plugin)" in text


def test_same_name_in_two_groups_is_no_conflict(site: Any) -> None:
    """A name belongs to its kind."""
    site.install("acme-one", GROUP, PACKAGE)
    site.install("acme-two", {"fairlead.channels": {"stranger": "stranger.plugin"}}, {})
    assert ["", ""] == [plugin.problem for plugin in found()]


def test_distribution_that_is_on_the_path_twice_is_one(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first place wins, as it does for an import; the spelling of the name does not count."""
    site.install("acme-stranger", GROUP, PACKAGE)
    second = tmp_path / "second"
    (second / "acme_stranger-0.9.dist-info").mkdir(parents=True)
    (second / "acme_stranger-0.9.dist-info/METADATA").write_text("Name: Acme.Stranger\nVersion: 0.9\n")
    (second / "acme_stranger-0.9.dist-info/entry_points.txt").write_text("[fairlead.tools]\nstranger = old.plugin\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second), str(site.directory)])
    assert [("1.0", "")] == [(plugin.version, plugin.problem) for plugin in found()]


@pytest.mark.parametrize("wanted", ["2.0", "1.7", "0.9"])
def test_other_version_of_the_api_is_refused(site: Any, wanted: str) -> None:
    """Both versions are named, also where a later manifest has keys that are not known yet."""
    text = problem(site, {"api": wanted, "a key of the future": True})
    assert (
        f"acme-stranger 1.0 needs version {wanted} of the plugin API; this core offers {hookspecs.API_VERSION}" == text
    )


@pytest.mark.parametrize(
    ("manifest", "fault"),
    [
        ({}, "'api' is a required property"),
        ({"api": "one"}, "at /api: 'one' does not match"),
        ({"api": 1.0}, "at /api: 1.0 is not of type 'string'"),
        ({"api": "1.0", "secret": ["x"]}, "('secret' was unexpected)"),
        ({"api": "1.0", "isolation": "none"}, "at /isolation: 'none' is not one of"),
        ([], "[] is not of type 'object'"),
    ],
)
def test_malformed_manifest_is_refused(site: Any, manifest: Any, fault: str) -> None:
    """The fault and its place are told."""
    text = problem(site, manifest)
    assert text.startswith("fairlead-plugin.json of acme-stranger 1.0 is not a manifest: ")
    assert fault in text


def test_manifest_that_is_no_json_is_refused(site: Any) -> None:
    """The text is read strictly."""
    site.install("acme-stranger", GROUP, PACKAGE, manifest={})
    (site.directory / "stranger/fairlead-plugin.json").write_text('{"api": "1.0", "api": "1.0"}')
    assert ["stands twice" in plugin.problem for plugin in found()] == [True]


def test_damaged_distribution_hides_no_other(site: Any) -> None:
    """Metadata without a name, and entry points that cannot be read."""
    site.install("acme-stranger", GROUP, PACKAGE)
    for name, data in (
        ("bad", b"\xff\xfe[fairlead.tools]\nbad = x\n"),
        ("nameless", b"[fairlead.tools]\nnameless = x\n"),
    ):
        (site.directory / f"{name}-1.0.dist-info").mkdir()
        (site.directory / f"{name}-1.0.dist-info/entry_points.txt").write_bytes(data)
    assert 1 == len(found())
    assert ["unknown"] == [plugin.distribution for plugin in found("nameless")]


def test_import_of_the_public_module_is_light() -> None:
    """Neither stevedore nor jsonschema nor the metadata of others is read before somebody asks."""
    code = (
        "import sys, fairlead.config, fairlead.plugins\n"
        "heavy = {'stevedore', 'jsonschema', 'cattrs', 'importlib.metadata._adapters'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("value", ["stranger./etc.plugin", "stranger.../..", "/etc/passwd", "stranger.a b"])
def test_entry_point_that_leads_out_of_its_package_has_no_manifest(site: Any, value: str) -> None:
    """Nothing is read from where its names lead."""
    site.install("acme-stranger", {"fairlead.tools": {"stranger": value}}, PACKAGE, manifest={"api": "1.0"})
    (plugin,) = found()
    assert (None, value) == (plugin.manifest, plugin.value)
