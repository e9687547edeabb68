"""Plugins that have an environment of their own, which `fairlead plugins add` makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairlead._loading import load
from fairlead.config import Config, PluginConfig
from fairlead.errors import IsolationUnavailable
from fairlead.plugins import installed


def add(site: Any, name: str, manifest: Any = None) -> None:
    files = {f"acme_{name}/__init__.py": "", f"acme_{name}/plugin.py": "raise SystemExit"}
    site.install(f"acme-{name}", {"fairlead.channels": {name: f"acme_{name}.plugin"}}, files, manifest=manifest)


def test_plugin_with_an_environment_of_its_own_is_found_there(site: Any, tmp_path: Path) -> None:
    """It alone, not what it depends on; its code and its manifest are found beside its metadata."""
    add(site, "stranger", {"api": "1.0", "hosts": ["example.org:443"]})
    add(site, "friend")
    own = tmp_path / "data" / "plugins" / "acme-stranger" / "current"
    own.mkdir(parents=True)
    site.directory.rename(own / "site")
    (own / "plugin.json").write_text('{"distribution": "Acme_Stranger"}')
    for damaged in ('{"distribution": 1}', "[]", "{"):
        other = tmp_path / "data" / "plugins" / f"damaged{len(damaged)}" / "current"
        other.mkdir(parents=True)
        (other / "plugin.json").write_text(damaged)
    names = {plugin.name: plugin for plugin in installed(tmp_path / "data")}
    assert "friend" not in names
    found = names["stranger"]
    assert str(own / "site") == found.site
    assert found.manifest is not None
    assert ("example.org:443",) == found.manifest.hosts


def test_plugin_with_an_environment_of_its_own_is_not_imported_by_the_host(site: Any, tmp_path: Path) -> None:
    """Whoever trusts it with the host installs it there."""
    add(site, "stranger")
    own = tmp_path / "data" / "plugins" / "acme-stranger" / "current"
    own.mkdir(parents=True)
    site.directory.rename(own / "site")
    (own / "plugin.json").write_text('{"distribution": "acme-stranger"}')
    levels: tuple[Any, ...] = ("host", None)
    report, other = (
        load(
            Config(data_dir=tmp_path / "data", plugins=(PluginConfig("channels", "stranger", isolation=level),))
        ).reports[0]
        for level in levels
    )
    assert isinstance(report.error, IsolationUnavailable)
    assert "an environment of its own" in report.error.problem
    assert ("ready", None) == (other.status, other.error)
