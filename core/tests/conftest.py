"""What the tests of the core share."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest


class Site:
    """A directory of installed distributions, as an installer leaves it, on the path: real metadata, real modules."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def install(
        self,
        distribution: str,
        entry_points: Mapping[str, Mapping[str, str]],
        files: Mapping[str, str],
        *,
        version: str = "1.0",
        manifest: Mapping[str, Any] | None = None,
    ) -> None:
        """Entry points by group and name, files by path; a manifest goes into the directory of the first file."""
        info = self.directory / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [
            line
            for group, named in entry_points.items()
            for line in (f"[{group}]", *(f"{n} = {v}" for n, v in named.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if manifest is not None:
            (self.directory / next(iter(files))).parent.joinpath("fairlead-plugin.json").write_text(
                json.dumps(manifest)
            )
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site; what was imported from it is forgotten afterwards."""
    directory = tmp_path / "site"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    yield Site(directory)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(directory)):
            del sys.modules[name]
