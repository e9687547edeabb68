"""The promises of every tool, and that the manifest says what the code says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead import Settings, Tool, ToolSpec
from fairlead.testing import ToolConformance
from fairlead.wire import build_validator, check
from fairlead_workbench import Workbench
from fairlead_workbench.plugin import fairlead_tools

from . import manifest

EXAMPLES: dict[str, dict[str, Any]] = {
    "shell": {"command": "echo hello"},
    "python": {"code": "1 + 1"},
    "read_file": {"path": "poem.txt"},
    "write_file": {"path": "new/poem.txt", "content": "roses\n"},
    "edit_file": {"path": "poem.txt", "old": "red", "new": "blue"},
    "list_files": {},
    "search_files": {"pattern": "ro.es"},
    "send_file": {"path": "poem.txt"},
}


FAILING: dict[str, dict[str, Any]] = {
    "read_file": {"path": "no such file"},
    "write_file": {"path": "../outside.txt", "content": "x"},
    "edit_file": {"path": "poem.txt", "old": "violets", "new": "x"},
    "list_files": {"path": "no such directory"},
    "search_files": {"pattern": "("},
    "send_file": {"path": "no such file"},
}
SLOW: dict[str, dict[str, Any]] = {"shell": {"command": "sleep 30"}, "python": {"code": "import time; time.sleep(30)"}}
LARGE: dict[str, dict[str, Any]] = {"shell": {"command": "seq 1000000"}, "python": {"code": "print('x' * 10**7)"}}


class TestWorkbenchConformance(ToolConformance):
    root: Path

    def settings(self, tmp_path: Path) -> Settings:
        return Settings("workbench", data_dir=tmp_path)

    async def make_worker(self, tmp_path: Path) -> Tool:
        self.root = tmp_path
        return Workbench(workspace=str(tmp_path))

    async def example(self, spec: ToolSpec) -> Mapping[str, Any]:
        (self.root / "poem.txt").write_text("roses are red\n")
        return EXAMPLES[spec.name]

    async def failing_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        (self.root / "poem.txt").write_text("roses are red\n")
        return FAILING.get(spec.name)

    async def slow_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        return SLOW.get(spec.name)

    async def large_example(self, spec: ToolSpec) -> Mapping[str, Any] | None:
        return LARGE.get(spec.name)


def test_manifest_has_the_tools_of_the_code() -> None:
    """Otherwise: uv run python plugins/workbench/tests/manifest.py --write."""
    found = manifest.current()
    assert manifest.wanted() == found
    check("plugin-manifest", found)
    for spec in found["tools"]:
        check("tool-spec", spec)


def test_every_tool_wants_a_container() -> None:
    """Nothing here is fit for the host; what runs programs or writes goes alone and is told apart."""
    specs = {spec.name: spec for spec in Workbench().specs()}
    assert set(EXAMPLES) == set(specs)
    assert {"container"} == {spec.isolation for spec in specs.values()} | {manifest.current()["isolation"]}
    effects = {name: spec.effect for name, spec in specs.items()}
    assert {"shell", "python", "edit_file"} == {name for name, effect in effects.items() if effect == "once"}
    assert {"write_file"} == {name for name, effect in effects.items() if effect == "idempotent"}
    assert all(spec.parallel == (spec.effect == "read") for spec in specs.values())


def test_table_says_which_tools_are_offered() -> None:
    """In their own order; the names are those of the schema."""
    (worker,) = fairlead_tools(Settings("workbench", {"tools": ["read_file", "shell"], "seconds": 5}))
    assert ["shell", "read_file"] == [spec.name for spec in worker.specs()]
    assert sorted(EXAMPLES) == sorted(manifest.current()["settings"]["properties"]["tools"]["items"]["enum"])


@pytest.mark.parametrize(
    "options", [{"tools": []}, {"tools": ["rm"]}, {"seconds": 0}, {"max_seconds": 601}, {"file_bytes": 1}, {"x": 1}]
)
def test_table_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """By the manifest, before any code of the plugin runs."""
    assert not build_validator(manifest.current()["settings"]).is_valid(options)


async def test_check_says_where_it_works(tmp_path: Path) -> None:
    """And what to do where there is no workspace."""
    (finding,) = await Workbench(workspace=str(tmp_path)).check()
    assert (True, f"works in {tmp_path}") == (finding.ok, finding.detail)
    (finding,) = await Workbench(workspace=str(tmp_path / "gone")).check()
    assert (False, f"mkdir -p {tmp_path / 'gone'}") == (finding.ok, finding.next_step)


async def test_workspace_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it is the current directory."""
    monkeypatch.setenv("FAIRLEAD_WORKSPACE", str(tmp_path))
    assert str(tmp_path) in (await Workbench().check())[0].detail
    monkeypatch.delenv("FAIRLEAD_WORKSPACE")
    monkeypatch.chdir("/")
    assert "works in /" == (await Workbench().check())[0].detail


async def test_current_directory_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable that would name another."""
    monkeypatch.delenv("FAIRLEAD_WORKSPACE", raising=False)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (finding,) = await Workbench().check()
    assert (False, "the current directory is gone", "set FAIRLEAD_WORKSPACE") == (
        finding.ok,
        finding.detail,
        finding.next_step,
    )
